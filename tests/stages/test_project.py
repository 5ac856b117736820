import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.project import ProjectError, ProjectFile, find, load, select, settings
from stages.project.nodes import SourceError
from stages.project.schema import RESERVED, Project
from stages.project.source import read

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "pipeline.yaml"

DEFAULTS = Project().model_dump(mode="json")


def write(root: Path, text: str | bytes, name: str = "pipeline.yaml") -> ProjectFile:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    prefix = f"{path.stem}:" if name.startswith("projects/") else ""
    return ProjectFile(path.stem, path, prefix)


def loaded(root: Path, text: str, name: str = "pipeline.yaml") -> dict[str, Any]:
    return settings(write(root, text, name), root)


def errors(root: Path, text: str | bytes, name: str = "pipeline.yaml") -> list[str]:
    file = write(root, text, name)
    with pytest.raises(ProjectError) as caught:
        settings(file, root)
    lines = str(caught.value).splitlines()
    assert not re.search(r"pydantic|Input should|\[type=|https?:", "\n".join(lines))
    return lines


def error(root: Path, text: str | bytes, name: str = "pipeline.yaml") -> str:
    (line,) = errors(root, text, name)
    return line


# defaults and values


def test_a_project_that_says_nothing_has_every_default(tmp_path: Path) -> None:
    assert loaded(tmp_path, "project:\n") == DEFAULTS


def test_null_resets_keys_and_sections_to_their_defaults(tmp_path: Path) -> None:
    text = "train: {epochs: ~, augment: }\nnormalize: {}\nmodel:\nboard: {port: null}"
    assert loaded(tmp_path, text) == DEFAULTS


def test_whole_numbers_serve_as_numbers(tmp_path: Path) -> None:
    alpha = loaded(tmp_path, "model: {alpha: 1}")["model"]["alpha"]
    assert type(alpha) is float


@pytest.mark.parametrize("written", ["1e-4", "1.0e-4", "0.0001", "1E-04"])
def test_numbers_with_exponents_are_numbers(tmp_path: Path, written: str) -> None:
    text = f"export: {{tolerance: {written}}}"
    assert loaded(tmp_path, text)["export"]["tolerance"] == 1e-4


def test_hexadecimal_addresses_are_numbers(tmp_path: Path) -> None:
    assert loaded(tmp_path, "flash: {slot: 0x200000}")["flash"]["slot"] == 2 << 20


@pytest.mark.parametrize("key", ["id", "tag"])
def test_a_board_by_id_or_tag_has_no_default_port(tmp_path: Path, key: str) -> None:
    board = loaded(tmp_path, f"board: {{{key}: desk}}")["board"]
    assert (board[key], board["port"]) == ("desk", None)


def test_a_model_file_leaves_no_architecture(tmp_path: Path) -> None:
    model = loaded(tmp_path, "model: {file: a.tflite}")["model"]
    assert (model["file"], model["architecture"]) == ("a.tflite", None)


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    write(tmp_path, "data: {kind: npz, path: x.npz}", "shared/base.yaml")
    text = "extends: ../shared/base.yaml\nmodel: {file: ../m/a.tflite}"
    found = loaded(tmp_path, text, "projects/a.yaml")
    assert found["data"]["path"] == "shared/x.npz"
    assert found["model"]["file"] == "m/a.tflite"


def test_paths_are_relative_to_the_root_of_the_data_where_there_is_one(
    tmp_path: Path,
) -> None:
    text = "data: {root: ../pool, kind: npz, path: x.npz}\nmodel: {file: a.tflite}"
    found = loaded(tmp_path, text, "projects/a.yaml")
    assert found["data"]["path"] == "pool/x.npz"
    assert found["model"]["file"] == "pool/a.tflite"
    assert found["data"]["root"] is None


def test_the_root_of_the_data_may_be_a_variable(tmp_path: Path) -> None:
    text = "data: {root: $POOL, kind: npz, path: x.npz}\nmodel: {file: /m/a.tflite}"
    found = loaded(tmp_path, text, "projects/a.yaml")
    assert found["data"]["path"] == "$POOL/x.npz"
    assert found["model"]["file"] == "/m/a.tflite"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    found = loaded(tmp_path, "model: {file: /models/a.tflite}")
    assert found["model"]["file"] == "/models/a.tflite"


def test_load_gives_the_settings_as_an_object(tmp_path: Path) -> None:
    file = write(tmp_path, "data: {size: [64, 96]}")
    project = load(file, tmp_path)
    assert project.data.size == (64, 96)
    assert project.model_dump(mode="json") == settings(file, tmp_path)
    assert Project.model_validate(settings(file, tmp_path)) == project


# errors of one key

CASES = Path(__file__).with_name("project_errors.txt").read_text(encoding="utf-8")


def cases() -> Iterator[tuple[str, list[str]]]:
    """Yield YAML and the lines of its error from the catalogue of errors."""
    for block in CASES.split("\n\n"):
        if not block.startswith("#"):
            text, *lines = re.split(r"\n=> ", block.strip())
            yield text, lines


@pytest.mark.parametrize(("text", "lines"), list(cases()))
def test_an_error_says_where_it_is_and_what_was_expected(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    assert errors(tmp_path, text) == [f"pipeline.yaml:{line}" for line in lines]


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_are_refused(tmp_path: Path, name: str) -> None:
    line = error(tmp_path, f"project: {{name: {name}}}")
    assert line.startswith(f"pipeline.yaml:1:17: project.name: '{name}' is a name of")


def test_synthetic_pictures_serve_a_model_of_ones_own(tmp_path: Path) -> None:
    text = "data: {kind: synthetic}\nmodel: {file: a.tflite}"
    assert loaded(tmp_path, text)["data"]["kind"] == "synthetic"


@pytest.mark.parametrize("path", ["$PICTURES", "${PICTURES}/train"])
def test_a_path_that_begins_with_a_variable_stays_as_it_is(
    tmp_path: Path, path: str
) -> None:
    text = f"data: {{kind: folder, path: '{path}'}}\nmodel: {{file: $MODELS/a.tflite}}"
    found = loaded(tmp_path, text, "projects/a.yaml")
    assert found["data"]["path"] == path
    assert found["model"]["file"] == "$MODELS/a.tflite"


@pytest.mark.parametrize(
    ("text", "channels"), [("color: bgr", 3), ("color: grey", 1), ("color: ~", 1)]
)
def test_the_color_says_how_many_channels_there_are(
    tmp_path: Path, text: str, channels: int
) -> None:
    assert loaded(tmp_path, f"data: {{{text}}}")["data"]["channels"] == channels


def test_what_a_split_by_folder_holds_is_left_to_the_folder(tmp_path: Path) -> None:
    text = "data: {kind: folder, path: x, split: {by: folder, validation: 0.2}}"
    split = loaded(tmp_path, text)["data"]["split"]
    assert split == {
        "by": "folder",
        "group": None,
        "train": None,
        "validation": 0.2,
        "test": None,
    }


def test_mean_and_std_are_numbers_or_one_for_each_channel(tmp_path: Path) -> None:
    text = "data: {color: rgb, mean: [0.4, 1, 0], std: 2, range: [-1, 1]}"
    data = loaded(tmp_path, text)["data"]
    assert (data["mean"], data["std"]) == ([0.4, 1.0, 0.0], 2.0)


# YAML

NOT_YAML: list[tuple[str | bytes, str]] = [
    ("", "1:1: the file is empty"),
    ("# only a remark\n", "1:1: the file is empty"),
    ("train:\n\tepochs: 3", "2:1: a tab; YAML is indented with spaces"),
    (f"train: {{seed: {'9' * 5000}}}", "1:15: train.seed: `9"),
    ("report: {title: '\x01'}", "1:18: the character '\\x01' may not stand in YAML"),
    ("report: {}\n# ä".encode("latin-1"), "2:3: the file is not UTF-8 text"),
    ("data: {}".encode("utf-16"), "1:1: the file is not UTF-8 text"),
    ("[" * 5000, "1:1: the YAML is nested too deeply"),
]


@pytest.mark.parametrize(("text", "line"), NOT_YAML)
def test_what_is_not_our_yaml_ends_in_one_sentence(
    tmp_path: Path, text: str | bytes, line: str
) -> None:
    assert error(tmp_path, text).startswith(f"pipeline.yaml:{line}")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    line = error(tmp_path, b"\xef\xbb\xbftrain:\r\n  epochs: -1\r\n")
    assert line.startswith("pipeline.yaml:2:11: train.epochs:")


def test_columns_count_characters(tmp_path: Path) -> None:
    line = error(tmp_path, "report: {title: 'äöü', titel: 1}")
    assert line.startswith("pipeline.yaml:1:24: report.titel:")


def test_dates_are_text(tmp_path: Path) -> None:
    text = "report: {title: 2020-13-45}"
    assert loaded(tmp_path, text)["report"]["title"] == "2020-13-45"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = ProjectFile("a", tmp_path / "projects" / "a.yaml", "a:")
    with pytest.raises(ProjectError, match=r"^projects/a.yaml:1:1: the file does not"):
        settings(missing, tmp_path)


def test_a_directory_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").mkdir()
    (file,) = find(tmp_path)
    with pytest.raises(ProjectError, match=r"^pipeline.yaml:1:1: .* is a directory"):
        settings(file, tmp_path)


@hypothesis.settings(deadline=None)
@given(data=st.data())
def test_a_mutated_project_loads_or_is_refused_in_sentences(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = start + data.draw(st.integers(0, 6))
        odd = st.text(
            "\t\n -:{}[]\"'#&*!|>%@?,~<=.0x1e_naouk\0\ud7ff\u2028", max_size=6
        )
        text = text[:start] + data.draw(odd | st.text(max_size=3)) + text[stop:]
    root = tmp_path_factory.getbasetemp()
    file = write(root, text.encode("utf-8", "replace"), "mutated.yaml")
    try:
        assert settings(file, root)["project"]["name"]
    except ProjectError as refused:
        for line in str(refused).splitlines():
            assert re.match(r"mutated\.yaml:\d+:\d+: \S", line)


# extends


def test_a_child_adds_to_and_overrides_what_it_extends(tmp_path: Path) -> None:
    write(tmp_path, "data: {classes: [a, b]}\ntrain: {epochs: 5, seed: 1}", "old.yaml")
    write(tmp_path, "extends: old.yaml\ntrain: {augment: {zoom: 0}}", "base.yaml")
    text = "extends: base.yaml\ndata: {classes: [c]}\ntrain: {seed: 3}"
    found = loaded(tmp_path, text)
    assert found["data"]["classes"] == ["c"]
    assert (found["train"]["epochs"], found["train"]["seed"]) == (5, 3)
    assert found["train"]["augment"] == {"rotation": 10.0, "shift": 0.1, "zoom": 0.0}


def test_null_in_a_child_resets_what_it_extends(tmp_path: Path) -> None:
    write(tmp_path, "board: {port: COM5}\ntrain: {epochs: 5}", "base.yaml")
    text = "extends: base.yaml\nboard: {port: null, tag: desk}\ntrain:"
    found = loaded(tmp_path, text)
    assert (found["board"]["port"], found["board"]["tag"]) == (None, "desk")
    assert found["train"] == DEFAULTS["train"]


def test_an_error_is_reported_in_the_file_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, "# base\nboard: {baud: 1}", "base.yaml")
    found = errors(tmp_path, "train: {epochs: -1}\nextends: base.yaml")
    assert [line.split(" ")[0] for line in found] == [
        "pipeline.yaml:1:17:",
        "base.yaml:2:15:",
    ]


def test_a_name_is_not_inherited(tmp_path: Path) -> None:
    write(tmp_path, "project: {name: digits, description: mine}")
    found = loaded(tmp_path, "extends: ../pipeline.yaml", "projects/a.yaml")
    assert found["project"] == {"name": "a", "description": "mine"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("base.yaml", "'base.yaml' (relative to this file) does not exist"),
        ("projects", "'projects' (relative to this file) is a directory"),
        ('"\\0"', "'\\x00' (relative to this file) is no legal path"),
        ("pipeline.yaml", "the files extend each other in a circle"),
    ],
)
def test_what_cannot_be_extended_is_refused_at_the_key(
    tmp_path: Path, value: str, message: str
) -> None:
    (tmp_path / "projects").mkdir()
    line = error(tmp_path, f"train: {{}}\nextends: {value}")
    assert line.startswith(f"pipeline.yaml:2:1: extends: {message}")


def test_extends_must_be_a_path(tmp_path: Path) -> None:
    line = error(tmp_path, "extends: [a]")
    assert line == (
        "pipeline.yaml:1:10: extends: expected the path of a YAML file, found `[a]`"
    )


def test_a_circle_is_refused_where_it_closes(tmp_path: Path) -> None:
    write(tmp_path, "train: {}\nextends: pipeline.yaml", "b.yaml")
    line = error(tmp_path, "extends: b.yaml")
    assert line.startswith("b.yaml:2:1: extends: the files extend each other")
    assert line.endswith("pipeline.yaml → b.yaml → pipeline.yaml")


def dict_merge(base: Any, child: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(child, dict)):
        return child
    both = {key: dict_merge(base[key], child[key]) for key in base.keys() & child}
    return {**base, **child, **both}


KEYS = st.sampled_from("abcde")
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        st.none() | st.integers() | st.booleans() | st.text("xyz ", max_size=3),
        lambda inner: (
            st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3)
        ),
        max_leaves=12,
    ),
    max_size=4,
)


@hypothesis.settings(deadline=None)
@given(st.lists(TREES, min_size=1, max_size=4))
def test_extends_merges_as_plain_dicts_do(
    tmp_path_factory: pytest.TempPathFactory, chain: list[dict[str, Any]]
) -> None:
    root = tmp_path_factory.getbasetemp()
    expected: dict[str, Any] = {}
    for i, tree in enumerate(chain):
        extends = {"extends": f"{i - 1}.yaml"} if i else {}
        write(root, json.dumps({**tree, **extends}), f"{i}.yaml")  # JSON is YAML
        expected = dict_merge(expected, tree)
    assert read(root / f"{len(chain) - 1}.yaml").top.plain() == expected


def test_reading_alone_reports_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path / "none.yaml")
    assert caught.value.fault.place.line == 1


# finding projects


def test_the_default_project_comes_first_and_the_others_sorted(tmp_path: Path) -> None:
    write(tmp_path, "project: {name: digits}")
    for name in ("b", "a"):
        write(tmp_path, "train: {}", f"projects/{name}.yaml")
    write(tmp_path, "train: {}", "projects/.#a.yaml")
    assert find(tmp_path) == [
        ProjectFile("digits", tmp_path / "pipeline.yaml", ""),
        ProjectFile("a", tmp_path / "projects" / "a.yaml", "a:"),
        ProjectFile("b", tmp_path / "projects" / "b.yaml", "b:"),
    ]


def test_a_tree_without_projects_has_none(tmp_path: Path) -> None:
    assert find(tmp_path) == []


def test_errors_in_the_default_project_do_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, "trian: {}\nproject: {name: digits}")
    write(tmp_path, "train: {}", "projects/a.yaml")
    assert [file.name for file in find(tmp_path)] == ["pipeline", "a"]


def test_a_project_is_selected_by_name_or_the_default_one_without(
    tmp_path: Path,
) -> None:
    write(tmp_path, "project: {name: digits}")
    write(tmp_path, "train: {}", "projects/a.yaml")
    assert select(tmp_path).name == "digits"
    assert select(tmp_path, "digits").prefix == ""
    assert select(tmp_path, "a").prefix == "a:"
    with pytest.raises(ProjectError, match="no project 'b'; .* are: digits, a$"):
        select(tmp_path, "b")


def test_without_a_default_project_one_must_be_named(tmp_path: Path) -> None:
    write(tmp_path, "train: {}", "projects/a.yaml")
    assert select(tmp_path, "a").name == "a"
    with pytest.raises(ProjectError, match="^pipeline.yaml does not exist"):
        select(tmp_path)


def test_selecting_a_project_with_errors_tells_them(tmp_path: Path) -> None:
    write(tmp_path, "trian: {}\nproject: {name: digits}")
    with pytest.raises(ProjectError, match="^pipeline.yaml:1:1: trian: unknown key"):
        select(tmp_path, "digits")


def test_two_projects_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "project: {name: digits}")
    write(tmp_path, "train: {}", "projects/digits.yaml")
    with pytest.raises(ProjectError, match=r"pipeline.yaml and projects/digits.yaml"):
        find(tmp_path)


def test_a_name_other_than_the_files_is_refused(tmp_path: Path) -> None:
    line = error(tmp_path, "project: {name: b}", "projects/a.yaml")
    assert line.startswith("projects/a.yaml:1:11: project.name: ")
    assert "'a', found `b`" in line


@pytest.mark.parametrize("name", ["Big", "train", "2nd"])
def test_a_file_whose_name_is_no_project_name_is_refused(
    tmp_path: Path, name: str
) -> None:
    line = error(tmp_path, "train: {}", f"projects/{name}.yaml")
    assert line.startswith(f"projects/{name}.yaml:1:1: project.name: ")


# the cache


def test_a_change_in_any_file_read_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, "train: {epochs: 5}", "base.yaml")
    file = write(tmp_path, "extends: base.yaml")
    assert settings(file, tmp_path)["train"]["epochs"] == 5
    write(tmp_path, "train: {epochs: 6}", "base.yaml")
    assert settings(file, tmp_path)["train"]["epochs"] == 6
    (tmp_path / "base.yaml").unlink()
    with pytest.raises(ProjectError, match="does not exist"):
        settings(file, tmp_path)


def test_the_cache_holds_the_settings_as_json(tmp_path: Path) -> None:
    found = loaded(tmp_path, "train: {}")
    cached = tmp_path / "build" / ".projects" / "pipeline.json"
    assert json.loads(cached.read_text())["settings"] == found
    assert list(cached.parent.iterdir()) == [cached]


@pytest.mark.parametrize("left", ["", "{", "[]", "{}", '{"settings": 5}', "\0"])
def test_a_spoilt_cache_is_made_anew(tmp_path: Path, left: str) -> None:
    file = write(tmp_path, "train: {}")
    settings(file, tmp_path)
    cached = tmp_path / "build" / ".projects" / "pipeline.json"
    cached.write_text(left)
    assert settings(file, tmp_path) == DEFAULTS
    assert json.loads(cached.read_text())["settings"] == DEFAULTS


def test_a_cache_of_another_schema_is_not_believed(tmp_path: Path) -> None:
    file = write(tmp_path, "train: {}")
    settings(file, tmp_path)
    cached = tmp_path / "build" / ".projects" / "pipeline.json"
    record = json.loads(cached.read_text())
    cached.write_text(json.dumps({**record, "sources": "other", "settings": {}}))
    assert settings(file, tmp_path) == DEFAULTS


def test_two_files_of_one_stem_do_not_share_a_cache_entry(tmp_path: Path) -> None:
    default = write(tmp_path, "train: {}")
    other = write(tmp_path, "train: {}", "projects/pipeline.yaml")
    settings(default, tmp_path)
    write(tmp_path, "train: {epochs: 2}")
    settings(default, tmp_path)
    assert settings(other, tmp_path)["train"]["epochs"] == 28


def test_a_tree_that_cannot_be_written_needs_no_cache(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("in the way")
    assert loaded(tmp_path, "train: {}") == DEFAULTS


def test_a_warm_cache_needs_neither_pydantic_nor_yaml_nor_numpy(tmp_path: Path) -> None:
    write(tmp_path, "project: {name: digits}")
    write(tmp_path, "train: {}", "projects/a.yaml")
    for file in find(tmp_path):
        settings(file, tmp_path)
    script = (
        "import sys, pathlib, stages.project as p\n"
        f"root = pathlib.Path({str(tmp_path)!r})\n"
        "print([p.settings(f, root)['project']['name'] for f in p.find(root)])\n"
        "print([m for m in ('pydantic', 'yaml', 'numpy') if m in sys.modules])\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout.splitlines() == ["['digits', 'a']", "[]"]
