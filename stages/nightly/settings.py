"""``nightly.yaml``: how nightly runs are made and what is kept of them."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.project import ProjectError
from stages.project.nodes import Fault, Node, SourceError, parse

FILE = "nightly.yaml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Keep(_Section):
    """What is kept: this many runs, and all that are younger."""

    runs: int = Field(60, ge=1, description="Runs kept in the history in any case.")
    days: float = Field(180, ge=0, description="Younger runs are kept, too.")
    logs: int = Field(14, ge=1, description="Runs whose jobs' logs are kept.")


class Regression(_Section):
    """What counts as worse than the last good run.

    An accuracy or agreement has fallen where the whole 95 % interval of the loss lies
    above the fraction here. A time, size or memory has grown where it is above the
    last good one by more than the fraction here; a measured time must also lie above
    the 95 % prediction interval of the good runs before.
    """

    accuracy: float = Field(0.0, ge=0, le=1, description="Accuracy that may be lost.")
    time: float = Field(0.1, ge=0, description="Growth of the inference time.")
    memory: float = Field(0.05, ge=0, description="Growth of the memory.")
    size: float = Field(0.05, ge=0, description="Growth of the kmodel.")


class Settings(_Section):
    """All settings; each may be left out."""

    boards: Literal["every", "one"] = Field(
        "every",
        description="every: each project runs on every board that it matches; one: on "
        "whichever of them is free.",
    )
    timeout: float = Field(
        1800, gt=0, description="Seconds a board may take for a job, then it is ended."
    )
    prepare_timeout: float = Field(
        21600, gt=0, description="Seconds from the data to a kmodel, at most."
    )
    patience: float = Field(
        1800, gt=0, description="Seconds to wait for a board that somebody else uses."
    )
    retries: int = Field(
        1, ge=0, le=10, description="Further attempts after a failure of a board."
    )
    quarantine_after: int = Field(
        3,
        ge=1,
        description="Failures of a board in a row after which a run uses it no more.",
    )
    parallel: int | None = Field(
        None,
        ge=1,
        description="Processes at once; null: one for each board, and for work on this "
        "machine, virtual boards included, as many as it has cores.",
    )
    notify: tuple[str, ...] = Field(
        (),
        strict=False,
        description="A command, as a list of words, that gets the run's summary as "
        "JSON on its standard input.",
    )
    keep: Keep = Keep()
    regression: Regression = Regression()


def read(root: Path) -> Settings:
    """The settings of a checkout; the defaults where it has no such file.

    Raises:
        ProjectError: what is wrong with the file, a sentence for each mistake.
    """
    path = root / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise ProjectError(f"{FILE}: cannot be read: {error.strerror}") from None
    faults: list[Fault] = []
    try:
        top = parse(path, content, faults)
    except SourceError as error:
        raise ProjectError(_line(error.fault)) from None
    if faults:
        raise ProjectError(*map(_line, faults))
    try:
        return Settings.model_validate(top.plain())
    except ValidationError as error:
        raise ProjectError(*_sentences(top, error)) from None


def _line(fault: Fault) -> str:
    key = f" {fault.key}:" if fault.key else ""
    return f"{FILE}:{fault.place.line}:{fault.place.column}:{key} {fault.message}"


def _sentences(top: Node, error: ValidationError) -> list[str]:
    """pydantic's errors with the places they are about, in the file's order."""
    faults = []
    for each in error.errors(include_url=False):
        node = top.find(each["loc"]) or top
        key = ".".join(map(str, each["loc"]))
        if each["type"] == "extra_forbidden":
            message = f"unknown key; the keys are {', '.join(_keys(each['loc']))}"
        else:
            message = (
                f"{each['msg'][0].lower()}{each['msg'][1:]}, found `{node.written}`"
            )
        faults.append(Fault(node.key, key, message))
    return [_line(fault) for fault in sorted(faults, key=lambda each: each.place)]


def _keys(path: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand where an unknown one does."""
    section: type[BaseModel] = Settings
    for part in path[:-1]:
        kind = section.model_fields[str(part)].annotation
        assert isinstance(kind, type)
        section = kind
    return list(section.model_fields)
