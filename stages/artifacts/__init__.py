"""Where files live, what they mean, and the cache of earlier results."""

from stages.artifacts.cache import RunCache, capacity
from stages.artifacts.canonical import digest
from stages.artifacts.records import Run, read_run
from stages.artifacts.state import State, inspect, recorded_digests, survey
from stages.artifacts.workspace import Workspace, read_json, write_json

__all__ = [
    "Run",
    "RunCache",
    "State",
    "Workspace",
    "capacity",
    "digest",
    "inspect",
    "read_json",
    "read_run",
    "recorded_digests",
    "survey",
    "write_json",
]
