"""Put the probes to a board, and say and keep what it answers."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from k210.board import Board
from k210.errors import BoardError
from k210.silicon.kmodels import one_layer
from k210.silicon.probes import Probe, probes

OTHER = "something else"


@dataclass(frozen=True)
class Answer:
    """What a chip says to a probe, beside what the simulator says.

    ``differing`` counts the pixels of ``of`` in which the two maps differ;
    ``example`` tells the first one.
    """

    probe: str
    question: str
    simulator: str
    chip: str
    differing: int
    of: int
    example: str
    matters: str

    @property
    def agrees(self) -> bool:
        """Whether the chip does as the simulator."""
        return self.differing == 0


def ask(board: Board) -> list[Answer]:
    """All probes' answers; the board has no model loaded afterwards.

    Raises:
        BoardError: the board fails.
        ModelError: it refuses a probe's kmodel.
    """
    answers = [_asked(board, probe) for probe in probes()]
    board.reset()
    return answers


def _asked(board: Board, probe: Probe) -> Answer:
    channels, height, width = probe.image.shape
    board.load(one_layer(probe.layer, (channels, height, width)))
    (raw,) = board.infer(probe.image.tobytes())
    simulated = next(iter(probe.answers.values()))
    found = np.frombuffer(raw, np.uint8).reshape(simulated.shape)
    return judged(probe, found)


def judged(probe: Probe, found: Any) -> Answer:
    """Which answer a map is, u8 C×H×W as the probe's layer gives it."""
    simulator, simulated = next(iter(probe.answers.items()))
    named = [w for w, each in probe.answers.items() if np.array_equal(each, found)]
    places = np.argwhere(found != simulated)
    return Answer(
        probe=probe.name,
        question=probe.question,
        simulator=simulator,
        chip=named[0] if named else OTHER,
        differing=len(places),
        of=int(found.size),
        example=_example(found, simulated, places) if len(places) else "",
        matters=probe.matters,
    )


def _example(found: Any, simulated: Any, places: Any) -> str:
    place = tuple(int(each) for each in places[0])
    return f"at {place} it gives {found[place]} instead of {simulated[place]}"


def table(answers: Sequence[Answer], modelled: bool) -> str:
    """The answers for a terminal; what differs is explained below."""
    chip = "this chip says" + (" (modelled)" if modelled else "")
    rows = [("question", "simulator says", chip)]
    rows += [(a.question, a.simulator, a.chip) for a in answers]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = [f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]}" for r in rows]
    lines += _verdict(answers, modelled)
    return "\n".join(lines)


def _verdict(answers: Sequence[Answer], modelled: bool) -> list[str]:
    others = [answer for answer in answers if not answer.agrees]
    if not others:
        what = "the virtual board follows" if modelled else "this chip computes as"
        return [f"{what} the simulator: accuracies measured there hold here"]
    lines = [f"{len(others)} of {len(answers)} answers are not the simulator's:"]
    return lines + [
        f"  {a.question}: {a.differing} of {a.of} pixels, {a.example}; {a.matters}"
        for a in others
    ]


def state_folder() -> Path:
    """Where what is known of boards is kept: ``$XDG_STATE_HOME/k210/boards``."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "k210" / "boards"


def save(
    answers: Sequence[Answer],
    identity: Mapping[str, str | int],
    engine: str,
    modelled: bool,
) -> Path:
    """Keep the answers under the board's flash id; returns the file.

    Raises:
        BoardError: it cannot be written.
    """
    path = state_folder() / str(identity["flash_id"]) / "silicon.json"
    document = {
        "board": dict(identity),
        "engine": engine,
        "modelled": modelled,
        "answers": [asdict(answer) for answer in answers],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BoardError(f"{path}: cannot be written: {error.strerror}") from None
    return path
