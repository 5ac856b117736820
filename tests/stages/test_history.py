import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Checkout
from entries import ENTRY
from hypothesis import given
from hypothesis import strategies as st

from stages.history import append, flat, history_path, read

WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from stages.history import Entry, append
root, first, last, entry = sys.argv[1:]
for number in range(int(first), int(last)):
    append(Path(root), replace(Entry.from_json(entry), id=f"{number:08}"))
    print(number, flush=True)
"""


def writer(root: Path, first: int, last: int) -> subprocess.Popen[str]:
    """A process that appends runs with these numbers for ids."""
    entry = json.dumps(ENTRY.__dict__)
    command = [sys.executable, "-c", WRITER, str(root), str(first), str(last), entry]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ids(root: Path) -> list[str]:
    return [entry.id for entry in read(root)]


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    append(tmp_path, ENTRY)
    append(tmp_path, replace(ENTRY, id="1"))
    assert read(tmp_path) == [ENTRY, replace(ENTRY, id="1")]


def test_a_run_is_written_once(tmp_path: Path) -> None:
    append(tmp_path, ENTRY)
    append(tmp_path, ENTRY)
    assert read(tmp_path) == [ENTRY]


def test_two_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    with writer(tmp_path, 0, 20) as one, writer(tmp_path, 100, 120) as other:
        one.communicate()
        other.communicate()
    assert (one.returncode, other.returncode) == (0, 0)
    assert sorted(ids(tmp_path)) == [
        f"{number:08}" for number in (*range(20), *range(100, 120))
    ]


def test_a_killed_process_costs_no_finished_run(tmp_path: Path) -> None:
    with writer(tmp_path, 0, 10_000) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.kill()
        written = 5 + len(process.stdout.read().splitlines())
    append(tmp_path, replace(ENTRY, id="after"))
    assert ids(tmp_path)[:written] == [f"{number:08}" for number in range(written)]
    assert ids(tmp_path)[-1] == "after"


@given(cut=st.integers(1, 400))
def test_half_a_line_is_passed_over_and_not_continued(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    root = tmp_path_factory.mktemp("history")
    append(root, ENTRY)
    append(root, replace(ENTRY, id="1"))
    path = history_path(root)
    lines = path.read_bytes()
    second = lines.index(b"\n") + 1
    path.write_bytes(lines[: max(second, len(lines) - cut)])
    append(root, replace(ENTRY, id="2"))
    found = ids(root)
    assert (found[0], found[-1]) == (ENTRY.id, "2")
    assert found[1:-1] in ([], ["1"])  # whole where only the end of line was lost


def test_lines_of_another_format_are_left_out(tmp_path: Path) -> None:
    append(tmp_path, ENTRY)
    with history_path(tmp_path).open("a") as file:
        file.write('{"format": 2}\n[]\n{"id": "x", "new": 1}\n')
        file.write(json.dumps({**ENTRY.__dict__, "format": 2}) + "\n")
    assert read(tmp_path) == [ENTRY]


def test_settings_are_named_by_their_path() -> None:
    nested = {"data": {"size": [32, 32], "split": {"by": "seed"}}, "name": None}
    assert flat(nested) == {
        "data.size": "[32, 32]",
        "data.split.by": "seed",
        "name": None,
    }


def test_every_finished_check_is_in_the_history_once(imported: Checkout) -> None:
    (entry,) = read(imported.root)
    assert (entry.project, entry.verdict, entry.samples) == ("imported", "pass", 20)
    assert entry.settings["quantize.samples"] == 16
    assert entry.figures["check.device_agreement"] is not None
    assert "compile.total_kib" in entry.figures
    assert imported.stage("check", "--if-stale").returncode == 0
    assert read(imported.root) == [entry]
    assert imported.stage("check").returncode == 0
    again = read(imported.root)
    assert [run.kmodel_sha256 for run in again] == [entry.kmodel_sha256] * 2
    assert len({run.id for run in again}) == 2
