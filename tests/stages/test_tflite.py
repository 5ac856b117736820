from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k210.errors import ModelError
from stages import tflite
from stages.artifacts import digest


@pytest.fixture(scope="module")
def plain(models: Path) -> bytes:
    return (models / "plain.tflite").read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tflite") / "model.tflite"


def look_through(path: Path) -> None:
    """All that is done with a model of unknown origin before TFLite has vetted it."""
    model = tflite.read(path)
    tflite.require_float(model, path)
    tflite.fix_batch(model)
    for piece in tflite.meaning(model):
        assert isinstance(piece, bytes)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_model_is_read_or_refused(
    plain: bytes, scratch: Path, data: st.DataObject
) -> None:
    damaged = bytearray(plain)
    structures = st.integers(0, 600) | st.integers(len(plain) - 4000, len(plain) - 1)
    for position in data.draw(st.sets(structures, min_size=1, max_size=4)):
        damaged[position] = data.draw(st.integers(0, 255))
    scratch.write_bytes(damaged)
    try:
        look_through(scratch)
    except ModelError:
        return


@given(st.data())
def test_a_truncated_model_is_refused(
    plain: bytes, scratch: Path, data: st.DataObject
) -> None:
    scratch.write_bytes(plain[: data.draw(st.integers(0, len(plain) - 1))])
    with pytest.raises(ModelError, match=r"model\.tflite: "):
        look_through(scratch)


@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_refused(scratch: Path, garbage: bytes, identified: bool) -> None:
    if identified:
        garbage = garbage[:4].ljust(4, b"\0") + tflite.IDENTIFIER + garbage[4:]
    scratch.write_bytes(garbage)
    with pytest.raises(ModelError):
        look_through(scratch)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        tflite.read(tmp_path)


def test_tensors_are_read_as_they_were_made(models: Path) -> None:
    model = tflite.read(models / "plain.tflite")
    graph = model.subgraphs[0]
    (source,) = tflite.indices(graph.inputs)
    assert tflite.shape(graph.tensors[source]) == (1, 32, 32, 1)
    assert tflite.type_name(graph.tensors[source]) == "FLOAT32"
    assert tflite.constant(model, graph.tensors[source]) is None
    kinds = [tflite.operator_name(model, each) for each in graph.operators]
    assert kinds.count("CONV_2D") == 2
    assert kinds[-1] == "SOFTMAX"


def test_only_the_batch_may_be_open(models: Path) -> None:
    model = tflite.read(models / "open_batch.tflite")
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    assert tflite.shape(tensor) == (-1, 32, 32, 1)
    assert tflite.static_shape(tensor) == (1, 32, 32, 1)
    tensor.shapeSignature = np.array([1, -1, 32, 1], np.int32)
    assert tflite.static_shape(tensor) == (1, -1, 32, 1)
    assert tflite.fix_batch(model)
    assert tflite.shape(tensor) == (1, -1, 32, 1)


# the canonical digest

Edit = Callable[[Any], None]


def digest_after(models: Path, target: Path, edit: Edit, name: str = "plain") -> str:
    model = tflite.read(models / f"{name}.tflite")
    edit(model)
    tflite.write(model, target)
    return digest(target)


def convolution(model: Any) -> Any:
    return next(
        operator
        for operator in model.subgraphs[0].operators
        if tflite.operator_name(model, operator) == "CONV_2D"
    )


def weights(model: Any) -> Any:
    tensor = model.subgraphs[0].tensors[convolution(model).inputs[1]]
    return model.buffers[tensor.buffer]


def rename(model: Any) -> None:
    model.description = b"another program"
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"tensor {number}".encode()


def reorder_buffers(model: Any) -> None:
    """Put the constants into the file the other way round; the first stays empty."""
    count = len(model.buffers)
    model.buffers[1:] = model.buffers[:0:-1]
    for tensor in model.subgraphs[0].tensors:
        if tensor.buffer:
            tensor.buffer = count - tensor.buffer
    for entry in model.metadata or []:
        entry.buffer = count - entry.buffer


def change_a_weight(model: Any) -> None:
    changed = weights(model).data.copy()
    changed[9] ^= 0x40
    weights(model).data = changed


def change_the_stride(model: Any) -> None:
    convolution(model).builtinOptions.strideH = 2


def change_the_activation(model: Any) -> None:
    convolution(model).builtinOptions.fusedActivationFunction = 0


def change_the_padding(model: Any) -> None:
    convolution(model).builtinOptions.padding = tflite.schema().Padding.VALID


def drop_the_last_operator(model: Any) -> None:
    model.subgraphs[0].operators.pop()


def feed_it_another_tensor(model: Any) -> None:
    operators = model.subgraphs[0].operators
    operators[1].inputs = operators[0].inputs


@pytest.mark.parametrize("edit", [lambda model: None, rename, reorder_buffers])
def test_the_digest_ignores_what_means_nothing(
    models: Path, tmp_path: Path, edit: Edit
) -> None:
    found = digest_after(models, tmp_path / "model.tflite", edit)
    assert found == digest(models / "plain.tflite")


@pytest.mark.parametrize(
    "edit",
    [
        change_a_weight,
        change_the_stride,
        change_the_activation,
        change_the_padding,
        drop_the_last_operator,
        feed_it_another_tensor,
    ],
)
def test_the_digest_sees_what_means_something(
    models: Path, tmp_path: Path, edit: Edit
) -> None:
    found = digest_after(models, tmp_path / "model.tflite", edit)
    assert found != digest(models / "plain.tflite")


def test_the_digest_sees_which_operator_it_is(models: Path, tmp_path: Path) -> None:
    def to_average(model: Any) -> None:
        operator = model.subgraphs[0].operators[-1]
        code = model.operatorCodes[operator.opcodeIndex]
        number = tflite.schema().BuiltinOperator.LOG_SOFTMAX
        code.builtinCode = code.deprecatedBuiltinCode = number

    found = digest_after(models, tmp_path / "model.tflite", to_average)
    assert found != digest(models / "plain.tflite")
