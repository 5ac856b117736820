"""Which runs a command line names, and in what they differ.

``NAME`` is the run whose results stand in ``build/NAME``, ``NAME~1`` the one before it
in the history, and so on; any other run goes by its id, as ``doit compare --history``
lists it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from k210.errors import UserError
from stages import history, project
from stages.artifacts import Workspace
from stages.history import Entry, Value

FIGURES = {
    "check.device_accuracy": "device accuracy",
    "check.float_accuracy": "float accuracy",
    "check.device_drop": "accuracy lost",
    "check.device_agreement": "agreement",
    "check.device_snr_db": "SNR, dB",
    "check.modelled_kpu_ms": "KPU, ms (modelled)",
    "compile.total_kib": "SRAM, KiB",
    "compile.kpu_ram_kib": "KPU RAM, KiB",
    "compile.kpu_layers": "KPU layers",
    "compile.cpu_ops": "CPU operations",
    "train.seconds": "training, s",
}
"""The figures by which runs are compared, and what they are called."""

FRACTIONS = ("accuracy", "agreement", "drop")
"""How the names of figures end that are written as percentages."""


@dataclass(frozen=True)
class Row:
    """A parameter or a figure: its name and its value in each run, in words."""

    name: str
    cells: tuple[str, ...]


def find(root: Path, name: str) -> Entry:
    """The run that a name on the command line means.

    Raises:
        UserError: there is none.
    """
    earlier = re.fullmatch(r"(.+)~(\d+)", name)
    if earlier:
        return _earlier(root, earlier[1], int(earlier[2]))
    if name in [file.name for file in project.find(root)]:
        settings = project.settings(project.select(root, name), root)
        return history.present(Workspace(root, name), settings)
    for entry in reversed(history.read(root)):
        if entry.id == name:
            return entry
    raise UserError(
        f"{name!r} is neither a project nor a run; `doit list` shows the projects, "
        "`doit compare --history` the runs"
    )


def _earlier(root: Path, name: str, back: int) -> Entry:
    runs = [entry for entry in history.read(root) if entry.project == name]
    if back >= len(runs):
        raise UserError(
            f"{name}~{back}: the history has {len(runs)} runs of {name!r}; "
            "`doit compare --history` lists them"
        )
    return runs[-1 - back]


def differing(runs: Sequence[Entry]) -> list[Row]:
    """The settings that are not the same in all runs."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    rows = []
    for name in names:
        values = [run.settings.get(name) for run in runs]
        if any(value != values[0] for value in values) and name != "project.name":
            rows.append(Row(name, tuple(_setting(value) for value in values)))
    return rows


def figures(runs: Sequence[Entry]) -> list[Row]:
    """The figures that at least one run has."""
    rows = []
    for name, words in FIGURES.items():
        values = [run.figures.get(name) for run in runs]
        if any(value is not None for value in values):
            rows.append(Row(words, tuple(written(name, value) for value in values)))
    return rows


def other_figures(runs: Sequence[Entry]) -> list[Row]:
    """All the others, by their own names."""
    names = dict.fromkeys(name for run in runs for name in run.figures)
    return [
        Row(name, tuple(written(name, run.figures.get(name)) for run in runs))
        for name in names
        if name not in FIGURES
    ]


def heads(runs: Sequence[Entry]) -> list[Row]:
    """What the runs are."""
    return [
        Row("project", tuple(run.project for run in runs)),
        Row("run", tuple(run.id for run in runs)),
        Row("started", tuple(run.started[:19].replace("T", " ") for run in runs)),
        Row("verdict", tuple(run.verdict for run in runs)),
        Row("engine", tuple(run.engine for run in runs)),
        Row("samples", tuple(str(run.samples) for run in runs)),
    ]


def written(name: str, value: Value) -> str:
    """A figure in words, fractions as percentages."""
    if value is None:
        return "–"
    if isinstance(value, float):
        percent = name.endswith(FRACTIONS)
        plain = f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
        text = f"{value:.2%}" if percent else plain
        return text.replace("-", "−")
    return str(value)


def _setting(value: Value) -> str:
    if value is None:
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)
