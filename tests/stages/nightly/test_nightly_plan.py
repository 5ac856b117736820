"""What a run is to do: projects, the boards of the map, and the settings."""

from pathlib import Path

import pytest
from conftest import make_checkout

from k210.fleet.hardware_map import BoardEntry
from stages import project
from stages.nightly import settings
from stages.nightly.places import Plan, plan
from stages.nightly.settings import Settings
from stages.project import ProjectError

ENTRIES = [
    BoardEntry("one", "/dev/one", tags=("bench",)),
    BoardEntry("two", "rfc2217://bench:2", tags=("bench", "camera")),
    BoardEntry("gone", "/dev/gone", tags=("bench",), connected=False),
]


def planned(root: Path, board: str, every: bool = True) -> Plan:
    """The plan of a tree with one project that has this board section."""
    make_checkout(root, f"project: {{name: p}}\nboard: {board}\n")
    return plan(root, project.find(root), ENTRIES, every)


def measured(found: Plan) -> list[tuple[str, tuple[str, ...]]]:
    """The measurements: the board that each is for, and its candidates."""
    return [(j.board, j.candidates) for j in found.jobs if j.kind == "measure"]


def test_a_tag_means_every_connected_board_that_has_it(tmp_path: Path) -> None:
    found = planned(tmp_path, "{tag: bench}")
    assert measured(found) == [("one", ("one",)), ("two", ("two",))]
    assert [job.kind for job in found.jobs].count("prepare") == 1


def test_or_any_one_of_them(tmp_path: Path) -> None:
    assert measured(planned(tmp_path, "{tag: bench}", every=False)) == [
        ("", ("one", "two"))
    ]


def test_an_id_means_that_board(tmp_path: Path) -> None:
    assert measured(planned(tmp_path, "{id: two}")) == [("two", ("two",))]


def test_a_port_of_the_map_means_its_board(tmp_path: Path) -> None:
    assert measured(planned(tmp_path, "{port: /dev/one}")) == [("one", ("one",))]


def test_any_other_port_is_a_board_of_its_own(tmp_path: Path) -> None:
    found = planned(tmp_path, "{port: /dev/other}")
    assert measured(found) == [("/dev/other", ("/dev/other",))]


def test_each_project_without_a_board_has_a_virtual_one(tmp_path: Path) -> None:
    found = planned(tmp_path, "{}")
    assert measured(found) == [("virtual:p", ("virtual:p",))]
    assert found.places["virtual:p"].here


def test_a_project_that_finds_no_board_is_skipped(tmp_path: Path) -> None:
    (job,) = planned(tmp_path, "{tag: absent}").jobs
    assert job.outcome is not None
    assert job.outcome.verdict == "skipped"
    assert "absent" in job.outcome.message


def test_a_project_with_errors_is_an_error_and_others_go_on(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path)
    checkout.write("projects/bad.yaml", "modle: {}\n")
    found = plan(tmp_path, project.find(tmp_path), ENTRIES)
    (bad,) = (job for job in found.jobs if job.project == "bad")
    assert bad.outcome is not None
    assert (bad.outcome.verdict, bad.outcome.cause) == ("error", "project")
    assert "modle" in bad.outcome.message
    assert ("virtual:tiny", ("virtual:tiny",)) in measured(found)


def read(root: Path, text: str) -> Settings:
    (root / settings.FILE).write_text(text, encoding="utf-8")
    return settings.read(root)


def test_without_a_file_the_settings_are_the_defaults(tmp_path: Path) -> None:
    assert settings.read(tmp_path) == Settings()


def test_settings_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "boards: one\nretries: 3\nnotify: [mail, me]\nkeep: {runs: 5, days: 7}\n",
    )
    assert (found.boards, found.retries, found.keep.runs) == ("one", 3, 5)
    assert found.notify == ("mail", "me")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retires: 1\n", "nightly.yaml:1:1: retires: unknown key; the keys are boards"),
        (
            "keep:\n  rnus: 1\n",
            "nightly.yaml:2:3: keep.rnus: unknown key; the keys are",
        ),
        ("retries: -1\n", "nightly.yaml:1:1: retries: input should be greater"),
        ("timeout: soon\n", "found `soon`"),
        ("notify: mail me\n", "nightly.yaml:1:1: notify:"),
        ("boards: [\n", "nightly.yaml:2:1:"),
    ],
)
def test_what_is_wrong_with_settings_is_said_with_its_place(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, text)
    assert told in str(caught.value)
