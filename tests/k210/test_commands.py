"""``python -m k210``: inspect and run."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from k210 import cost, kmodel
from k210.__main__ import main
from k210.kmodel import Kmodel
from k210.manifest import Input, Manifest, Output
from k210.reference import Reference


@pytest.fixture(scope="module")
def model(
    compile_small: Callable[[str], tuple[bytes, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A kmodel that takes 1×3×32×32 and gives 1×10."""
    path = tmp_path_factory.mktemp("command") / "model.kmodel"
    path.write_bytes(compile_small("residual")[0])
    return path


@pytest.fixture(scope="module")
def parsed(model: Path) -> Kmodel:
    return kmodel.parse(model.read_bytes())


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Three samples, N×C×H×W."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that is refused; returns its one sentence."""
    assert main(list(map(str, arguments))) == 2
    printed = capsys.readouterr()
    assert not printed.out
    (sentence,) = printed.err.splitlines()
    assert sentence.startswith(f"error: {arguments[0]}: ")
    return sentence


# inspect


def test_inspect_lists_every_op_by_its_id(
    model: Path, parsed: Kmodel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[:2] for line in lines[lines.index("") + 2 :]]
    assert listed == [[op.id, op.kind] for op in parsed.ops()]


def test_inspect_says_what_a_layer_computes_and_what_it_takes(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", str(model)])
    text = capsys.readouterr().out
    assert "input    u8 1×3×32×32, 3072 bytes" in text
    assert "output   f32 1×10, 40 bytes" in text
    assert "3×3 depthwise 8→8 at 32×32" in text
    assert "ms modelled: KPU" in text
    assert " of 6144 KiB" in text


def test_inspect_prints_all_of_it_as_json(
    model: Path, parsed: Kmodel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(model), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert [op["id"] for op in found["ops"]] == [op.id for op in parsed.ops()]
    assert found["memory"]["total"] == parsed.memory().total
    layers = {op["id"]: op["layer"] for op in found["ops"] if "layer" in op}
    for name, conv in parsed.convs():
        assert layers[name]["registers"]["arg_x"] == conv.registers.arg_x
        assert len(layers[name]["batch_norm"]) == conv.out_channels
        assert len(layers[name]["activation"]) == 16


def test_modelled_times_add_up(
    model: Path, parsed: Kmodel, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", str(model), "--json"])
    found = json.loads(capsys.readouterr().out)
    total = sum(op["modelled_ms"] for op in found["ops"])
    assert found["modelled_ms"]["total"] == pytest.approx(total)
    assert found["modelled_ms"]["kpu"] == pytest.approx(cost.kpu_ms(parsed))


def test_inspect_refuses_what_is_no_kmodel(
    samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, "inspect", samples)
    assert f"{samples}: kmodel, offset 0x0" in sentence


def test_inspect_refuses_a_missing_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, "inspect", tmp_path / "no.kmodel")
    assert "no.kmodel: No such file" in sentence


# run


def test_run_writes_the_outputs_of_all_samples(
    model: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "y.npy"
    arguments = ["run", model, "--input", samples, "--output", target]
    assert main(list(map(str, arguments))) == 0
    written = np.load(target)
    expected = [
        np.frombuffer(Reference(model.read_bytes()).infer(each.tobytes())[0], "<f4")
        for each in np.load(samples)
    ]
    assert np.array_equal(written, expected)
    printed = capsys.readouterr().out
    largest = ", ".join(str(row.argmax()) for row in written)
    assert f"output0: float32 3×10, largest at {largest}" in printed
    assert "ms per inference, modelled" in printed


def test_a_sample_alone_may_lack_the_batch(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    first, target = tmp_path / "first.npy", tmp_path / "y.npy"
    np.save(first, np.load(samples)[0])
    main(["run", str(model), "--input", str(first), "--output", str(target)])
    assert np.load(target).shape == (1, 10)


def test_a_trace_is_keyed_by_op_id(
    model: Path, parsed: Kmodel, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "t.npz"
    assert not main(
        ["run", str(model), "--input", str(samples), "--trace", str(target)]
    )
    with np.load(target) as trace:
        for op in parsed.ops():
            assert trace[op.id].shape == op.shape


def test_the_time_of_each_op_is_written_in_seconds(
    model: Path, parsed: Kmodel, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "t.json"
    arguments = ["run", model, "--input", samples, "--timings", target]
    assert main([*map(str, arguments), "--engine", "reference"]) == 0
    found = json.loads(target.read_bytes())
    assert list(found) == [op.id for op in parsed.ops()]
    total = sum(cost.timings(parsed).values())
    assert sum(found.values()) == pytest.approx(total / 1e3)


def test_outputs_can_be_named_in_an_npz(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "y.npz"
    main(["run", str(model), "--input", str(samples), "--output", str(target)])
    with np.load(target) as outputs:
        assert outputs["output0"].shape == (3, 10)


def manifest(size: int) -> bytes:
    """Of a model that takes pictures of some size."""
    return Manifest(
        kmodel_sha256="0" * 64,
        inputs=(
            Input(
                name="input",
                shape=(1, 3, size, size),
                range=(0, 1),
                mean=(0, 0, 0),
                std=(1, 1, 1),
                color="bgr",
                resize="stretch",
            ),
        ),
        outputs=(Output(name="scores", shape=(1, 10), dtype="f32"),),
    ).to_json()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_picture_is_prepared_as_the_manifest_says(
    model: Path, picture: Path, tmp_path: Path
) -> None:
    described, target = tmp_path / "manifest.json", tmp_path / "y.npy"
    described.write_bytes(manifest(32))
    arguments = ["run", model, "--image", picture, "--manifest", described]
    assert main([*map(str, arguments), "--output", str(target)]) == 0
    with Image.open(picture) as image:
        prepared = Manifest.from_json(manifest(32)).prepare(np.asarray(image))
    (expected,) = Reference(model.read_bytes()).infer(prepared)
    assert np.load(target).tobytes() == expected


def test_the_manifest_of_another_model_is_refused(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(manifest(64))
    sentence = refused(capsys, "run", model, "--image", picture, "--manifest", path)
    assert f"{path}: is not the manifest of {model}" in sentence


def test_a_missing_manifest_is_said_so(
    model: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, "run", model, "--image", picture)
    assert f"{model.with_name('manifest.json')}: No such file" in sentence


def test_what_is_no_picture_is_refused(
    model: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(manifest(32))
    sentence = refused(capsys, "run", model, "--image", samples, "--manifest", path)
    assert f"{samples}: is no picture" in sentence


@pytest.mark.parametrize(
    ("array", "flaw"),
    [
        (np.zeros((3, 32, 31), np.uint8), "holds 2976 bytes and the model takes 3072"),
        (np.zeros((0, 3, 32, 32), np.uint8), "holds 0 bytes"),
        (np.zeros((3, 32, 32), np.float32), "holds no uint8 array"),
    ],
)
def test_samples_that_do_not_suit_are_refused(
    model: Path,
    tmp_path: Path,
    array: Any,
    flaw: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, array)
    assert flaw in refused(capsys, "run", model, "--input", path)


def test_what_is_no_array_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, "run", model, "--input", model)
    assert f"{model}: is no .npy file" in sentence


@pytest.mark.parametrize(
    ("name", "flaw"), [("y.txt", ".npy or .npz"), ("no/y.npy", "No such file")]
)
def test_an_output_that_cannot_be_written_is_refused(
    model: Path,
    samples: Path,
    tmp_path: Path,
    name: str,
    flaw: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / name
    sentence = refused(capsys, "run", model, "--input", samples, "--output", target)
    assert flaw in sentence


def test_the_command_line_needs_neither_tensorflow_nor_nncase(
    model: Path, samples: Path
) -> None:
    code = (
        "import sys; from k210.__main__ import main; status = main(sys.argv[1:]); "
        "print(status, sorted({'tensorflow', 'nncase'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "run", str(model), "--input", str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
