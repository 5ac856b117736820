"""200 jobs over 8 virtual boards, three of which have faults; and killed half-way."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nights
import numpy as np
import pytest
from bench_boards import BenchBoard, bench
from conftest import Checkout, make_checkout

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

SOUND = ("unit-1", "unit-2", "unit-3", "unit-4", "unit-5")
FLAKY, HUNG, WRONG = "flaky", "hung", "wrong"
FAULTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(SOUND, ()),
    # after a power cycle the rest is written; the link sends again what is lost
    FLAKY: ("--fault", "cut-power=40", "--fault", "drop-bytes=20000"),
    HUNG: ("--fault", "hang-after=30000"),  # within the firmware, each time
    # its ROM refuses until the retry; then its flash is not what the map says
    WRONG: ("--fault", "rom-e2=5", "--size", str(1 << 23)),
}
PASSING, FAILING = 16, 8
SAMPLES = 24

DATA = """\
data:
  kind: npz
  path: ../pictures.npz
  split: {train: 24, validation: 0, test: 24}
model: {file: ../plain.tflite}
quantize: {method: no_clip, samples: 16}
export: {samples: 4}
board: {tag: bench}
"""
# all pictures are the same and their labels are not: no model gets most of them right
STRICT = "check: {samples: 24, min_accuracy: 0.9}\n"
LENIENT = "check: {samples: 24}\n"
REFUSED = DATA.replace("plain.tflite", "full_integer.tflite") + LENIENT
SETTINGS = "{parallel: %d, timeout: 120, retries: 1, quarantine_after: 3}\n"


@dataclass(frozen=True)
class Night:
    """A checkout with 25 projects, and the boards that they are measured on."""

    checkout: Checkout
    boards: dict[str, BenchBoard]
    machines: int


@pytest.fixture(scope="module")
def night(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    checkout = make_checkout(folder / "checkout")
    (checkout.root / "pipeline.yaml").unlink()
    for name in ("plain", "full_integer"):
        model = (models / f"{name}.tflite").read_bytes()
        (checkout.root / f"{name}.tflite").write_bytes(model)
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1), np.uint8)
    np.savez(
        checkout.root / "pictures.npz",
        images=np.repeat(picture, 2 * SAMPLES, axis=0),
        labels=np.arange(2 * SAMPLES) % 10,
    )
    for number in range(PASSING):
        checkout.write(f"projects/lenient-{number}.yaml", DATA + LENIENT)
    for number in range(FAILING):
        checkout.write(f"projects/strict-{number}.yaml", DATA + STRICT)
    checkout.write("projects/refused.yaml", REFUSED)
    machines = min(len(FAULTS), os.cpu_count() or 1)
    checkout.write("nightly.yaml", SETTINGS % machines)
    with bench(folder / "bench", FAULTS) as boards:
        nights.write_map(checkout, boards.values(), hooked=(FLAKY, HUNG))
        yield Night(checkout, boards, machines)


def expected() -> dict[nights.Job, str]:
    """The verdicts, by construction."""
    models = {
        **{f"lenient-{n}": "pass" for n in range(PASSING)},
        **{f"strict-{n}": "fail/threshold" for n in range(FAILING)},
        "refused": "fail/model",
    }
    return {
        (project, board): "error/board"
        if board in (HUNG, WRONG) and project != "refused"
        else verdict
        for project, verdict in models.items()
        for board in FAULTS
    }


def test_verdicts_are_as_expected_and_no_time_is_wasted(night: Night) -> None:
    status, output = nights.ended(nights.start(night.checkout))
    assert status == 0, output
    root, told = night.checkout.root, nights.summary(night.checkout)
    assert len(told["jobs"]) == 200
    assert nights.verdicts(told) == expected()
    assert sorted(told["given_up"]) == [HUNG, WRONG]
    assert night.boards[FLAKY].cycles
    found = nights.attempts(root, told["run"])
    nights.assert_once(found)
    began, ended = map(datetime.fromisoformat, (told["started"], told["finished"]))
    took = (ended - began).total_seconds()
    ideal = nights.list_schedule([a.seconds or 0 for a in found], night.machines)
    print(f"{took:.0f} s, list schedule on {night.machines}: {ideal:.0f} s")
    assert took <= 1.3 * ideal


def test_killed_half_way_and_resumed_the_result_is_the_same(night: Night) -> None:
    checkout = night.checkout
    root, before = checkout.root, nights.finished(checkout.root)
    process = nights.start(checkout)
    nights.killed_after(process, root, before + 100)
    ((run,),) = nights.rows(root, "SELECT max(id) FROM run")
    done = [a for a in nights.attempts(root, run) if a.verdict is not None]
    status, output = nights.ended(nights.start(checkout))
    assert status == 0, output
    assert f"going on with run {run}" in output
    told = nights.summary(checkout)
    assert told["run"] == run
    assert nights.verdicts(told) == expected()
    found = nights.attempts(root, run)
    assert [attempt for attempt in found if attempt in done] == done
    nights.assert_once(found)
