"""Faults that users meet, planted between the stages, and where the check sees them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from jobs import job_of
from traced import CALIBRATION, Deployed, exported, network, pictures, trained

from k210 import kmodel
from k210.errors import BoardError
from k210.flash.known_answers import KnownAnswers, known_answers
from k210.kmodel import ActivationTable, Conv2d
from k210.reference import Reference
from k210.virtual.process import BoardProcess
from stages import check, flash
from stages.boards import opened
from stages.check.devices import all_differences, first_difference

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras's
]

SECOND = "k0.3"
"""The second convolution; the first one's map goes to the addition as well."""


@pytest.fixture(scope="module")
def board_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A virtual board that all tests share."""
    folder = tmp_path_factory.mktemp("board")
    image, log = folder / "flash.bin", folder / "log"
    process = BoardProcess(image, 1 << 24, "virtual", log)
    try:
        yield process.url
    finally:
        process.close()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, board_url: str) -> Deployed:
    root = tmp_path_factory.mktemp("traced") / "checkout"
    return Deployed(root, network(), board_url)


@pytest.fixture(scope="module")
def sound(deployed: Deployed) -> bytes:
    """The kmodel without any fault."""
    return deployed.compile()


@pytest.fixture(scope="module")
def checked(deployed: Deployed, sound: bytes) -> Any:
    return plant(deployed, sound)


def answers(data: bytes) -> KnownAnswers:
    samples = [each.tobytes() for each in pictures()[:1].transpose(0, 3, 1, 2)]
    outputs = Reference(data).infer_many(samples)
    return known_answers(zip(samples, outputs, strict=True))


def plant(deployed: Deployed, data: bytes) -> Any:
    """What the check says of that kmodel."""
    deployed.write("compile/model.kmodel", data)
    deployed.write("compile/known.bin", answers(data).pack())
    return deployed.check()


def layer(data: bytes, op_id: str) -> tuple[kmodel.Kmodel, Conv2d]:
    model = kmodel.parse(data)
    return model, dict(model.convs())[op_id]


def test_a_sound_model_has_no_wrong_layer(checked: Any) -> None:
    assert checked["trace"]["first_wrong"] is None
    assert checked["trace"]["losing"] == []


def test_every_layer_is_compared_with_its_tensor(checked: Any) -> None:
    rows = checked["trace"]["layers"]
    assert [row["tensor"].rsplit("_", 1)[0] for row in rows] == [
        *("conv_2d", "conv_2d", "conv_2d", "add", "conv_2d", "mean"),
        "fully_connected",
    ]
    assert all(row["snr_db"] > 30 for row in rows)
    assert {row["where"] for row in rows} == {"kpu", "cpu"}


def test_a_wrapped_slope_is_named(deployed: Deployed, sound: bytes) -> None:
    model, conv = layer(sound, SECOND)
    start = model.file_offset(conv.activation)
    table = model.activation(conv)
    steep = max(
        range(1, 16), key=lambda i: (table.segments[i].mul, table.segments[i].bias)
    )
    raw = bytearray(table.pack())
    raw[8 * steep + 1 : 8 * steep + 3] = (-(2**15)).to_bytes(2, "little", signed=True)
    assert ActivationTable.unpack(bytes(raw)).segments[steep].mul == -(2**15)
    planted = sound[:start] + bytes(raw) + sound[start + len(raw) :]
    found = plant(deployed, planted)["trace"]["first_wrong"]
    assert (found["step"], found["op"]) == ("reference", SECOND)
    assert found["cause"] == "wrapped slope"
    assert f"segment {steep} of its activation table falls" in found["words"]
    assert found["table"][steep]["mul"] == -(2**15)


def test_one_flipped_bit_of_a_weight_is_named(deployed: Deployed, sound: bytes) -> None:
    model, conv = layer(sound, SECOND)
    place = model.file_offset(conv.weights) + 37
    planted = bytearray(sound)
    planted[place] ^= 0x80
    found = plant(deployed, bytes(planted))["trace"]["first_wrong"]
    assert (found["step"], found["op"]) == ("reference", SECOND)
    assert found["tensor"] == "conv_2d_1"
    assert found["cause"] == "weights"
    assert f"byte {place:#x} of the kmodel, weight (3, 1, 0, 0)" in found["words"]


def test_a_flipped_byte_in_flash_is_found_before_anything_runs(
    deployed: Deployed, sound: bytes
) -> None:
    deployed.write("compile/model.kmodel", sound)
    deployed.run(flash, "flash")
    model, conv = layer(sound, SECOND)
    place = model.file_offset(conv.weights) + 37
    with opened(job_of(deployed.checkout, "check")) as board:
        board.flash_write(0x101000 + place, bytes([sound[place] & (sound[place] - 1)]))
    with pytest.raises(BoardError, match="is damaged") as refused:
        deployed.run(check, "check")
    sentence = str(refused.value)
    assert f"1 byte differs, the first at {place:#x} of the kmodel" in sentence
    assert f"the weights of {SECOND}" in sentence


def test_a_board_that_computes_nonsense_is_told_from_a_wrong_model(
    deployed: Deployed, sound: bytes
) -> None:
    known = answers(sound)
    others = replace(known, outputs=(bytes(len(known.outputs[0])),))
    deployed.write("compile/model.kmodel", sound)
    deployed.write("compile/known.bin", others.pack())
    with pytest.raises(BoardError, match="wrong outputs for 1 of the 1 known inputs"):
        deployed.check()


def test_a_board_with_other_weights_in_memory_is_named(
    deployed: Deployed, sound: bytes
) -> None:
    model, conv = layer(sound, SECOND)
    memory = bytearray(sound)
    memory[model.file_offset(conv.weights) + 37] ^= 0x80
    sample = pictures()[0].transpose(2, 0, 1).tobytes()
    expected = Reference(sound).trace(sample)
    with opened(job_of(deployed.checkout, "check")) as board:
        board.load(sound)
        assert first_difference(board, model, expected, sample) is None
        board.load(bytes(memory))
        found = first_difference(board, model, expected, sample)
        differing = all_differences(board, model, expected, sample)
    assert found is not None
    assert (found.op, found.values > 0) == (SECOND, True)
    assert differing[0] == SECOND


def test_swapped_colours_in_the_compiled_model_are_named(deployed: Deployed) -> None:
    deployed.to_compile(network(reverse=True))
    deployed.compile()
    deployed.to_compile(network())
    found = deployed.check()["trace"]["first_wrong"]
    assert (found["step"], found["op"]) == ("reference", "k0.1")
    assert found["cause"] == "channel order"


def test_swapped_colours_in_the_manifest_are_named(deployed: Deployed) -> None:
    deployed.compile()
    manifest = deployed.path("compile/manifest.json")
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"rgb"', '"bgr"'), encoding="utf-8")
    found = deployed.check()["trace"]["first_wrong"]
    assert (found["step"], found["tensor"]) == ("tflite", "input")
    assert found["cause"] == "channel order"
    assert "has color bgr and data says rgb" in found["words"]


def test_calibration_in_the_wrong_range_is_named(deployed: Deployed) -> None:
    deployed.compile(pictures()[:CALIBRATION] // 8)
    found = deployed.check()["trace"]["first_wrong"]
    assert (found["step"], found["op"]) == ("reference", "k0.1")
    assert found["cause"] == "calibration range"
    assert "the calibration pictures do not reach as far as these" in found["words"]
    assert found["range"][1] < found["seen"][1] / 3


@pytest.mark.long
def test_another_padding_is_named_on_the_step_that_brings_it(
    deployed: Deployed,
) -> None:
    deployed.to_compile(network(before=1))
    deployed.compile()
    found = deployed.check()["trace"]["first_wrong"]
    assert (found["step"], found["tensor"]) == ("normalized", "conv_2d_5")
    assert found["cause"] == "padding"
    deployed.to_compile(network())
    found = deployed.check()["trace"]["first_wrong"]
    assert (found["step"], found["tensor"]) == ("reference", "conv_2d_5")
    assert found["cause"] == "padding"
    assert "pads its map by 1 above and 1 on the left, and this one" in found["words"]


# between training and export


@pytest.fixture(scope="module")
def keras_model() -> Any:
    return trained()


@pytest.fixture(scope="module")
def from_keras(
    tmp_path_factory: pytest.TempPathFactory, board_url: str, keras_model: Any
) -> Deployed:
    root = tmp_path_factory.mktemp("keras") / "checkout"
    deployed = Deployed(root, exported(keras_model), board_url, keras_model)
    deployed.compile()
    return deployed


def test_a_sound_export_has_no_wrong_layer(from_keras: Deployed) -> None:
    found = from_keras.check()
    assert found["ladder"][1]["snr_db"] > 90
    assert found["trace"]["first_wrong"] is None


def test_a_padding_swapped_after_training_is_named(
    from_keras: Deployed, keras_model: Any
) -> None:
    from_keras.write("export/model.tflite", exported(keras_model, before=1))
    found = from_keras.check()["trace"]["first_wrong"]
    assert (found["step"], found["tensor"]) == ("tflite", "conv_2d_2")
    assert found["cause"] == "padding"
    assert "pads its map by 0 above and 0 on the left, and this" in found["words"]
    assert "one pads by 1 and 1" in found["words"]


@pytest.mark.long
def test_weights_that_changed_after_training_are_named(
    from_keras: Deployed, keras_model: Any
) -> None:
    from_keras.write("export/model.tflite", exported(keras_model, flipped=True))
    found = from_keras.check()["trace"]["first_wrong"]
    assert (found["step"], found["tensor"]) == ("tflite", "conv_2d_0")
    assert found["cause"] == "other weights"
    assert "1 of its 12 channels differ" in found["words"]
