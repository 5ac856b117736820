import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Checkout
from hypothesis import given
from hypothesis import strategies as st

from k210.errors import UserError
from stages.artifacts.keys import (
    CODE,
    INFRASTRUCTURE,
    differences,
    key_of,
    parts_of,
    sources,
    tool_version,
)
from stages.graph import NAMES, STAGES, find_stage
from stages.project.schema import Project

QUANTIZE = find_stage("quantize", Project().model_dump(mode="json"))
DIGESTS = {name: f"digest of {name}" for name in QUANTIZE.inputs}


def settings(**sections: Any) -> dict[str, Any]:
    return Project.model_validate(sections).model_dump(mode="json")


def parts(root: Path = Path(), **sections: Any) -> dict[str, Any]:
    return parts_of(QUANTIZE, settings(**sections), DIGESTS, root)


def changed(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    return {name for name in old | new if old.get(name) != new.get(name)}


# parts


def test_the_same_inputs_give_the_same_key() -> None:
    assert key_of(parts()) == key_of(parts())
    assert len(key_of(parts())) == 64


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"quantize": {"method": "l2"}}, "quantize.method"),
        ({"quantize": {"seed": 5}}, "quantize.seed"),
        ({"data": {"split": {"train": 3000}}}, "data.split.train"),
        ({"data": {"size": [32, 48]}}, "data.size"),
        ({"data": {"classes": list("abcdefghij")}}, "data.classes"),
    ],
)
def test_a_setting_changes_its_own_part(sections: dict[str, Any], part: str) -> None:
    assert changed(parts(), parts(**sections)) == {part}
    assert key_of(parts()) != key_of(parts(**sections))


@pytest.mark.parametrize(
    "sections",
    [
        {"project": {"name": "other"}},
        {"train": {"epochs": 1}},
        {"check": {"samples": 10}},
        {"flash": {"slot": 0x200000}},
        {"board": {"flash_size": 0x800000}},
        {"compile": {"timeout": 1}},
    ],
)
def test_settings_of_other_stages_change_nothing(sections: dict[str, Any]) -> None:
    assert parts() == parts(**sections)


def test_an_input_changes_its_own_part() -> None:
    digests = {**DIGESTS, "normalize/model.tflite": "another"}
    after = parts_of(QUANTIZE, settings(), digests, Path())
    assert changed(parts(), after) == {"input normalize/model.tflite"}


def test_a_users_file_counts_by_its_content(tmp_path: Path) -> None:
    found = []
    for content in (b"pictures", b"other pictures", b"pictures"):
        (tmp_path / "data.npz").write_bytes(content)
        found.append(parts(tmp_path, data={"kind": "npz", "path": "data.npz"}))
    assert changed(found[0], found[1]) == {"file data.path"}
    assert found[0] == found[2]


def test_a_missing_users_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.npz: no such file or folder; data"):
        parts(tmp_path, data={"kind": "npz", "path": "data.npz"})


def test_every_tool_has_its_version_in_the_key() -> None:
    for stage in STAGES:
        for tool in stage.tools:
            assert tool_version(tool)[0].isdigit()


def test_the_version_of_a_tool_is_the_installed_one() -> None:
    import importlib.metadata

    for tool in ("numpy", "tensorflow", "nncase"):
        assert tool_version(tool) == importlib.metadata.version(tool)


def test_a_tool_that_is_not_installed_is_refused() -> None:
    with pytest.raises(UserError, match="unheard-of is not installed here"):
        tool_version("unheard-of")


# differences

PARTS = st.dictionaries(
    st.sampled_from(("data.seed", "tool numpy", "source stages/a.py", "input a/b")),
    st.text(min_size=1, max_size=3),
)


@given(PARTS, PARTS)
def test_there_is_a_phrase_for_each_part_that_differs(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert len(differences(old, new)) == len(changed(old, new))
    assert (key_of(old) == key_of(new)) == (not differences(old, new))


@pytest.mark.parametrize(
    ("part", "old", "new", "phrase"),
    [
        ("tool nncase", "1.8", "1.9", "nncase 1.8 → 1.9"),
        ("source stages/a.py", "0", "1", "stages/a.py was edited"),
        ("input a/b", "0" * 64, "1" * 64, "a/b changed (00000000 → 11111111)"),
        ("file data.path", None, "1" * 64, "data.path changed (none → 11111111)"),
        ("train.epochs", 2, 3, "train.epochs: 2 → 3"),
        ("data.classes", None, ["a"], 'data.classes: null → ["a"]'),
    ],
)
def test_a_difference_is_said_in_words(
    part: str, old: Any, new: Any, phrase: str
) -> None:
    before = {} if old is None else {part: old}
    assert differences(before, {part: new}) == [phrase]


# sources


def names_of(stage: str) -> set[str]:
    return {path.relative_to(CODE).as_posix() for path in sources(f"stages.{stage}")}


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_depends_on_its_own_source(stage: str) -> None:
    assert names_of(stage) & {f"stages/{stage}.py", f"stages/{stage}/__init__.py"}


def test_a_package_is_one_unit() -> None:
    assert names_of("compile") >= {
        "stages/compile/__init__.py",
        "stages/compile/placement.py",
    }
    assert "stages/report/page.html.j2" in names_of("report")


def test_what_the_board_runs_counts() -> None:
    for stage in ("flash", "check"):
        assert names_of(stage) >= {
            "firmware/runtime/kmodel.c",
            "firmware/boot/start.S",
            "k210/virtual/machine.py",
            "k210/virtual/pages.c",
            "k210/kpu/kernel.c",
        }
    assert not [name for name in names_of("quantize") if name.startswith("firmware")]


def test_what_an_import_imports_counts_too() -> None:
    assert names_of("compile") >= {"k210/kmodel/layer.py", "k210/manifest.py"}


def test_c_code_counts_with_the_package_it_lies_in() -> None:
    assert names_of("check") >= {"k210/kpu/kernel.c", "k210/kpu/fast.py"}
    assert "k210/kpu/kernel.c" not in names_of("report")


@pytest.mark.parametrize("stage", NAMES)
def test_what_only_carries_results_about_does_not_count(stage: str) -> None:
    modules = {name.replace("/", ".") for name in names_of(stage)}
    assert not [name for name in modules if name.startswith(INFRASTRUCTURE)]


RUN_ALL = """
import json, sys
from pathlib import Path

imported = {}
for name in sys.argv[1:]:
    from stages import project
    from stages.artifacts import Workspace
    from stages.console import Console
    from stages.lifecycle import run_stage

    settings = project.load(project.select(Path(), None), Path())
    ws = Workspace(Path().resolve(), settings.project.name)
    carriers = set(sys.modules)
    run_stage(ws, name, settings, Console(sys.stderr, name))
    ours = [key for key in sys.modules if key.split(".")[0] in ("stages", "k210")]
    files = {key: sys.modules.pop(key).__file__ for key in ours}
    imported[name] = {k: v for k, v in files.items() if k not in carriers}
print(json.dumps(imported))
"""


@pytest.fixture(scope="module")
def imported_modules(
    imported_once: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, str]]:
    """Per stage the modules it has imported, and their files."""
    root = tmp_path_factory.mktemp("sources") / "checkout"
    shutil.copytree(imported_once, root)
    done = Checkout(root).run(sys.executable, "-c", RUN_ALL, *NAMES)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("stage", NAMES)
def test_all_that_a_stage_imports_counts(
    imported_modules: dict[str, dict[str, str]], stage: str
) -> None:
    listed = {str(path) for path in sources(f"stages.{stage}")}
    missing = {
        module
        for module, file in imported_modules[stage].items()
        if not module.startswith(INFRASTRUCTURE) and file not in listed
    }
    assert missing == set()


def test_finding_the_keys_parts_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import stages.artifacts.keys"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"numpy", "pydantic", "yaml"} & set(done.stderr.split())
