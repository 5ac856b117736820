"""What ran when and with which versions, and whether it all was the same model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KNOWN = ("started", "seconds", "tools", "inputs", "outputs")
"""What a ``summary.json`` holds beside the stage's own metrics."""


@dataclass(frozen=True)
class StageRun:
    """One stage's run, as its ``summary.json`` records it; metrics without a value
    are left out."""

    name: str
    metrics: Mapping[str, Any]
    seconds: float
    started: str | None
    tools: Mapping[str, str]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def stage_run(name: str, summary: Mapping[str, Any]) -> StageRun:
    """The run that a stage's summary records."""
    return StageRun(
        name,
        {
            key: value
            for key, value in summary.items()
            if key not in KNOWN and value is not None
        },
        summary["seconds"],
        summary.get("started"),
        summary.get("tools", {}),
        summary["inputs"],
        summary["outputs"],
    )


def versions(
    runs: Sequence[StageRun], manifest: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Each tool's versions by its name; more than one where stages differ."""
    found: dict[str, set[str]] = {}
    for tools in (manifest["tools"], *(run.tools for run in runs)):
        for tool, version in tools.items():
            found.setdefault(tool, set()).add(version)
    return {tool: sorted(found[tool]) for tool in sorted(found)}


def same_kmodel(
    manifest: Mapping[str, Any], receipt: Mapping[str, Any], check: Mapping[str, Any]
) -> bool:
    """Whether what was compiled, flashed and measured is one and the same file."""
    digests = {
        manifest["kmodel_sha256"],
        receipt["parts"]["kmodel"]["sha256"],
        check["kmodel_sha256"],
    }
    return len(digests) == 1
