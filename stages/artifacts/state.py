"""Whether a stage's result is valid, can be restored, or must be made, and why.

doit's ``uptodate``, ``doit why`` and the stages themselves all ask here, so that
what is foretold and what happens cannot differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.artifacts.cache import RunCache
from stages.artifacts.keys import Parts, differences, key_of, parts_of
from stages.artifacts.records import Run, read_run
from stages.artifacts.workspace import Workspace
from stages.graph import Stage

Kind = Literal["valid", "cached", "run", "waits"]


@dataclass(frozen=True)
class State:
    """What a stage's turn would bring.

    ``kind`` is "valid" (nothing to do), "cached" (an earlier result comes back),
    "run", or "waits" (it runs only if a stage before it makes something else than
    last time). ``key`` is None while an input is unknown. ``digests`` are those of
    its outputs as far as they are known.
    """

    stage: Stage
    kind: Kind
    key: str | None = None
    parts: Parts = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)


def inspect(
    ws: Workspace,
    stage: Stage,
    settings: Mapping[str, Any],
    digests: Mapping[str, str],
) -> State:
    """The state of one stage, given its inputs' canonical digests by path.

    Raises:
        UserError: a user's file or a tool is missing.
    """
    run = read_run(ws, stage.name)
    unknown = [name for name in stage.inputs if name not in digests]
    if unknown:
        return _waiting(ws, stage, settings, dict(digests), run, unknown)
    parts = parts_of(stage, settings, digests, ws.root)
    key = key_of(parts)
    reasons = _reasons(ws, run, key, parts)
    if run is not None and not reasons:
        return State(stage, "valid", key, parts, (), _digests(run))
    cached = RunCache(ws).peek(key) if stage.cached else None
    if cached is not None:
        return State(stage, "cached", key, parts, reasons, _digests(cached))
    return State(stage, "run", key, parts, reasons)


def survey(
    ws: Workspace, stages: Sequence[Stage], settings: Mapping[str, Any]
) -> list[State]:
    """The states of a project's stages, in order, without running anything."""
    states: list[State] = []
    digests: dict[str, str] = {}
    for stage in stages:
        state = inspect(ws, stage, settings, digests)
        digests.update(state.digests)
        states.append(state)
    return states


def recorded_digests(ws: Workspace, stages: Sequence[Stage]) -> dict[str, str]:
    """Canonical digests of all that the stages have written, as recorded."""
    digests: dict[str, str] = {}
    for stage in stages:
        if run := read_run(ws, stage.name):
            digests.update(_digests(run))
    return digests


def _digests(run: Run) -> dict[str, str]:
    return {name: record.digest for name, record in run.files.items()}


def _reasons(ws: Workspace, run: Run | None, key: str, parts: Parts) -> tuple[str, ...]:
    if run is None:
        return ("it has not run yet",)
    if run.key != key:
        return tuple(differences(run.parts, parts))
    return tuple(run.broken(ws))


def _waiting(
    ws: Workspace,
    stage: Stage,
    settings: Mapping[str, Any],
    digests: dict[str, str],
    run: Run | None,
    unknown: list[str],
) -> State:
    """A stage with inputs that an earlier stage is about to make anew."""
    if run is None:
        return State(stage, "run", reasons=("it has not run yet",))
    assumed = {name: run.parts.get(f"input {name}", "") for name in unknown}
    parts = parts_of(stage, settings, {**digests, **assumed}, ws.root)
    if reasons := _reasons(ws, run, key_of(parts), parts):
        return State(stage, "run", reasons=reasons)
    makers = dict.fromkeys(name.split("/")[0] for name in unknown)
    return State(stage, "waits", reasons=(f"it follows {', '.join(makers)}",))
