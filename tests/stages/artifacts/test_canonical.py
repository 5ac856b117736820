import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from k210.errors import ModelError
from stages.artifacts import digest
from stages.artifacts.records import sha256

Members = dict[str, bytes]


def repack(source: Path, target: Path, edit: Callable[[Members], None]) -> Path:
    """Copy an archive: other dates, no compression, the members the other way round."""
    with zipfile.ZipFile(source) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    edit(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name in reversed(members):
            archive.writestr(
                zipfile.ZipInfo(name, (1999, 1, 2, 3, 4, 6)), members[name]
            )
    return target


def keep(members: Members) -> None:
    pass


def saved_elsewhere(members: Members) -> None:
    about = {"keras_version": "0", "date_saved": "1999-01-02"}
    members["metadata.json"] = json.dumps(about).encode()


def reformat(members: Members) -> None:
    config = json.loads(members["config.json"])
    members["config.json"] = json.dumps(config, indent=3).encode()


def rename_a_layer(members: Members) -> None:
    text = members["config.json"]
    assert b'"edges"' in text
    members["config.json"] = text.replace(b'"edges"', b'"borders"')


def test_two_saves_of_one_model_mean_the_same(models: Path) -> None:
    assert digest(models / "saved.keras") == digest(models / "again.keras")


@pytest.mark.parametrize("edit", [keep, saved_elsewhere, reformat])
def test_what_the_archive_says_about_itself_means_nothing(
    models: Path, tmp_path: Path, edit: Callable[[Members], None]
) -> None:
    copy = repack(models / "saved.keras", tmp_path / "copy.keras", edit)
    assert sha256(copy) != sha256(models / "saved.keras")
    assert digest(copy) == digest(models / "saved.keras")


def test_a_changed_weight_means_something(models: Path) -> None:
    assert digest(models / "changed.keras") != digest(models / "saved.keras")


def test_a_changed_layer_means_something(models: Path, tmp_path: Path) -> None:
    copy = repack(models / "saved.keras", tmp_path / "copy.keras", rename_a_layer)
    assert digest(copy) != digest(models / "saved.keras")


def test_uninitialised_bits_of_a_kmodel_mean_nothing(
    imported_once: Path, tmp_path: Path
) -> None:
    from k210 import kmodel

    source = imported_once / "build/imported/compile/model.kmodel"
    parsed = kmodel.parse(source.read_bytes())
    _, layer = next(parsed.convs())
    data = bytearray(source.read_bytes())
    data[parsed.file_offset(layer.batch_norm) + 7] |= 0xF0
    (tmp_path / "model.kmodel").write_bytes(data)
    assert digest(tmp_path / "model.kmodel") == digest(source)
    data[parsed.file_offset(layer.batch_norm)] ^= 1
    (tmp_path / "model.kmodel").write_bytes(data)
    assert digest(tmp_path / "model.kmodel") != digest(source)


def test_any_other_file_means_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(b"{}")
    assert digest(tmp_path / "plan.json") == sha256(tmp_path / "plan.json")


@pytest.mark.parametrize("name", ["model.tflite", "model.kmodel"])
def test_a_file_that_is_not_what_it_is_called_is_refused(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"something else altogether, long enough")
    with pytest.raises(ModelError):
        digest(tmp_path / name)
