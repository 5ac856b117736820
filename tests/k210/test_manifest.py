import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from k210.errors import ModelError, UserError
from k210.manifest import CHANNELS, Input, Manifest, ManifestError, Output

# the machine may be busy with other things
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GREY = Input(
    name="digit", shape=(1, 1, 4, 6), range=(0, 1), mean=(0,), std=(1,), color="grey"
)
COLOUR = Input(
    name="photo",
    shape=(1, 3, 5, 4),
    range=(-1, 1),
    mean=(0.5, 0.25, 0),
    std=(0.5, 2, 1),
    color="rgb",
    resize="pad",
    rotation=180,
)
CLASSES = Output(name="classes", shape=(1, 3), dtype="f32", labels=("a", "b", "ç"))
MANIFEST = Manifest(
    kmodel_sha256="0123456789abcdef" * 4,
    inputs=(COLOUR, GREY),
    outputs=(CLASSES,),
    memory={"kpu_ram": 1024, "model": 7},
    tools={"nncase": "1.9.0"},
)


def document() -> Any:
    return json.loads(MANIFEST.to_json())


def changed(path: list[str | int], value: object) -> bytes:
    whole = place = document()
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(whole).encode()


def pixels(*shape: int) -> NDArray[np.uint8]:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


NUMBERS = st.floats(-1e6, 1e6, width=32)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    color: Any = draw(st.sampled_from(["grey", "rgb", "bgr"]))
    channels = CHANNELS[color]
    low = draw(NUMBERS)
    scales = st.floats(2**-10, 2**10, width=32)
    return Input(
        name=draw(st.text(min_size=1)),
        shape=(1, channels, draw(st.integers(1, 8)), draw(st.integers(1, 8))),
        range=(low, low + draw(st.floats(1, 1000))),
        mean=tuple(draw(st.lists(NUMBERS, min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(scales, min_size=channels, max_size=channels))),
        color=color,
        resize=draw(st.sampled_from(["none", "pad"])),
        rotation=draw(st.sampled_from([0, 180])),
    )


@st.composite
def outputs(draw: st.DrawFn) -> Output:
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    layout: Any = draw(st.sampled_from(["NCHW", "NHWC"]))
    return Output(
        name=draw(st.text(min_size=1)),
        shape=tuple(shape),
        dtype=draw(st.sampled_from(["u8", "f32"])),
        layout=layout if len(shape) == 4 else "none",
        rotation=draw(st.sampled_from([0, 180])),
        labels=tuple(draw(st.lists(st.text(), max_size=3))),
    )


MANIFESTS = st.builds(
    Manifest,
    kmodel_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    inputs=st.lists(inputs(), min_size=1, max_size=2).map(tuple),
    outputs=st.lists(outputs(), min_size=1, max_size=3).map(tuple),
    memory=st.dictionaries(st.text(), st.integers(min_value=0)),
    tools=st.dictionaries(st.text(), st.text()),
)


@unhurried
@given(manifest=MANIFESTS)
def test_json_reads_back_and_is_always_the_same(manifest: Manifest) -> None:
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text).to_json() == text


def test_json_is_sorted_indented_and_ends_its_line() -> None:
    text = MANIFEST.to_json()
    assert text == json.dumps(document(), sort_keys=True, indent=2).encode() + b"\n"
    assert text.startswith(b'{\n  "inputs": [\n')


def test_equal_manifests_made_with_integers_and_floats_give_equal_bytes() -> None:
    floats = dataclasses.replace(GREY, range=(0.0, 1.0), mean=(0.0,), std=(1.0,))
    same = dataclasses.replace(MANIFEST, inputs=(COLOUR, floats))
    assert same.to_json() == MANIFEST.to_json()


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MANIFEST.schema = 1  # type: ignore[misc]


MALFORMED: list[tuple[list[str | int], object, str]] = [
    (["schema"], 2, "schema must be 1, not 2"),
    (["schema"], True, "schema must be 1, not True"),
    (["extra"], 1, "'extra' is not a known key"),
    (["kmodel_sha256"], "0" * 63, "kmodel_sha256 must be 64 hexadecimal digits"),
    (["kmodel_sha256"], "0" * 64 + "\n", "must be 64 hexadecimal digits"),
    (["inputs"], [], "inputs must not be empty"),
    (["inputs"], {}, "inputs must be a list"),
    (["outputs"], [], "outputs must not be empty"),
    (["inputs", 1], 3, r"inputs\[1\] must be an object, not 3"),
    (["inputs", 1], {}, r"inputs\[1\]\.color is missing"),
    (["inputs", 0, "extra"], 1, r"inputs\[0\]\.'extra' is not a known key"),
    (["inputs", 0, "name"], "", r"inputs\[0\]\.name must not be empty"),
    (["inputs", 0, "name"], 7, r"name must be a text, not 7"),
    (["inputs", 0, "shape"], [1, 3, 5], "shape must be a list of 4"),
    (["inputs", 0, "shape", 2], 5.0, r"shape\[2\] must be a whole number, not 5\.0"),
    (["inputs", 0, "shape", 2], True, r"shape\[2\] must be a whole number, not True"),
    (["inputs", 0, "shape", 2], 0, "shape must be positive"),
    (["inputs", 0, "shape", 2], 10**300, "within 8388608 bytes of memory"),
    (["inputs", 0, "shape", 0], 2, "shape must begin with 1, 3 as color is rgb"),
    (["inputs", 0, "shape", 1], 1, "shape must begin with 1, 3"),
    (["inputs", 0, "dtype"], "f32", "dtype must be u8, not 'f32'"),
    (["inputs", 0, "layout"], "NHWC", "layout must be NCHW"),
    (["inputs", 0, "range"], [1, 1], "range must rise"),
    (["inputs", 0, "range"], [0, 1, 2], "range must be a list of 2"),
    (["inputs", 0, "range", 0], "0", r"range\[0\] must be a finite float32 number"),
    (["inputs", 0, "range", 1], 10**400, "must be a finite float32 number"),
    (["inputs", 0, "mean"], 0, "mean must be a list, not 0"),
    (["inputs", 0, "mean"], [0], r"mean must have one number per channel \(3\), not 1"),
    (["inputs", 0, "mean", 0], float("nan"), r"mean\[0\] must be a finite float32"),
    (["inputs", 0, "std", 2], 0, "std must be above zero"),
    (["inputs", 0, "std", 2], 1e-60, "std must be above zero"),
    (["inputs", 0, "std", 2], float("inf"), r"std\[2\] must be a finite float32"),
    (["inputs", 0, "color"], "red", "color must be grey or rgb or bgr, not 'red'"),
    (["inputs", 0, "resize"], "fit", "resize must be none or pad"),
    (["inputs", 0, "rotation"], 90, "rotation must be 0 or 180, not 90"),
    (["inputs", 0, "rotation"], False, "rotation must be 0 or 180, not False"),
    (["outputs", 0, "shape"], [], r"outputs\[0\]\.shape must not be empty"),
    (["outputs", 0, "shape"], [1, 2**21 + 1], "within 8388608 bytes"),
    (["outputs", 0, "dtype"], "i8", "dtype must be u8 or f32"),
    (["outputs", 0, "layout"], "NCHW", "layout must be NCHW or NHWC for rank 4"),
    (["outputs", 0, "shape"], [1, 2, 3, 4], "layout must be .* not none"),
    (["outputs", 0, "labels"], None, "labels must be a list, not None"),
    (["outputs", 0, "labels", 1], 1, r"labels\[1\] must be a text, not 1"),
    (["memory"], [], "memory must be an object"),
    (["memory", "model"], -1, r"memory\['model'\] must not be negative"),
    (["memory", "model"], 1.5, r"memory\['model'\] must be a whole number"),
    (["tools", "nncase"], 1, r"tools\['nncase'\] must be a text"),
]


@pytest.mark.parametrize(("path", "value", "complaint"), MALFORMED)
def test_a_malformed_manifest_is_refused_where_it_is_wrong(
    path: list[str | int], value: object, complaint: str
) -> None:
    with pytest.raises(ManifestError, match=complaint):
        Manifest.from_json(changed(path, value))


@pytest.mark.parametrize("place", [[], ["inputs", 0], ["outputs", 0]])
def test_every_key_must_be_there(place: list[str | int]) -> None:
    whole = document()
    record = whole
    for step in place:
        record = record[step]
    for key in list(record):
        value = record.pop(key)
        with pytest.raises(ManifestError, match=f"{key} is missing"):
            Manifest.from_json(json.dumps(whole).encode())
        record[key] = value
    assert Manifest.from_json(json.dumps(whole).encode()) == MANIFEST


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\xfe", b'{"a": 1, "a": 1}', b"[" * 100_000, b"9" * 10_000],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError, match="cannot be used: it "):
        Manifest.from_json(text)


def test_an_error_is_one_sentence_on_one_line() -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(changed(["inputs", 0, "name"], ["a\nb"] * 1000))
    assert str(caught.value) == (
        "the manifest cannot be used: inputs[0].name must be a text, not "
        "['a\\nb', 'a\\nb', 'a\\nb', 'a\\nb', 'a\\nb', 'a\\nb', ...]; "
        "correct it or run compile again"
    )


def test_an_error_survives_the_way_between_processes() -> None:
    error = ManifestError(".inputs[0]", "must be better")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@unhurried
@given(data=st.binary())
def test_random_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@unhurried
@given(data=st.data(), value=JSON)
def test_any_value_in_any_place_is_taken_or_refused(
    data: st.DataObject, value: Any
) -> None:
    path: list[str | int] = []
    place: Any = document()
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        step: Any = data.draw(st.sampled_from(keys))
        path.append(step)
        place = place[step]
        if data.draw(st.booleans()):
            break
    try:
        manifest = Manifest.from_json(changed(path, value))
    except ManifestError:
        return
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_illegal_values_are_refused_in_python_too() -> None:
    with pytest.raises(ManifestError, match="^the manifest cannot be used: std must"):
        dataclasses.replace(GREY, std=(0.0,))
    width: Any = np.int64(6)
    with pytest.raises(ManifestError, match="shape.3. must be a whole number"):
        dataclasses.replace(GREY, shape=(1, 1, 4, width))


def slow_prepare(taker: Input, image: NDArray[np.uint8]) -> bytes:
    """Pixel by pixel: where does each byte of the kmodel's input come from?"""
    _, channels, height, width = taker.shape
    picture = image.reshape(*image.shape[:2], -1)
    top, left = (height - len(picture)) // 2, (width - picture.shape[1]) // 2
    prepared = bytearray()
    for channel in range(channels):
        source = channels - 1 - channel if taker.color == "bgr" else channel
        for y in range(height):
            for x in range(width):
                row, column = (
                    (height - 1 - y, width - 1 - x) if taker.rotation else (y, x)
                )
                inside = (
                    0 <= row - top < picture.shape[0]
                    and 0 <= column - left < picture.shape[1]
                )
                prepared.append(
                    int(picture[row - top, column - left, source]) if inside else 0
                )
    return bytes(prepared)


@st.composite
def inputs_with_pictures(draw: st.DrawFn) -> tuple[Input, NDArray[np.uint8]]:
    taker = draw(inputs())
    _, channels, height, width = taker.shape
    if taker.resize == "pad":
        height, width = draw(st.integers(1, height)), draw(st.integers(1, width))
    shape: tuple[int, ...] = (draw(st.integers(1, 3)), height, width, channels)
    if channels == 1 and draw(st.booleans()):
        shape = shape[:3]
    return taker, draw(arrays.arrays(np.uint8, shape))


@unhurried
@given(example=inputs_with_pictures())
def test_a_picture_is_prepared_as_pixel_by_pixel(
    example: tuple[Input, NDArray[np.uint8]],
) -> None:
    taker, pictures = example
    assert taker.prepare(pictures[0]) == slow_prepare(taker, pictures[0])


@unhurried
@given(example=inputs_with_pictures())
def test_a_batch_is_prepared_as_its_pictures_are(
    example: tuple[Input, NDArray[np.uint8]],
) -> None:
    taker, pictures = example
    batch = taker.prepare_batch(pictures)
    assert batch.dtype == np.uint8
    assert batch.shape == (len(pictures), *taker.shape[1:])
    assert batch.flags.c_contiguous
    assert [one.tobytes() for one in batch] == [taker.prepare(p) for p in pictures]


def test_an_odd_row_and_column_of_padding_go_to_the_bottom_and_right() -> None:
    padded = dataclasses.replace(GREY, resize="pad")
    prepared = padded.prepare_batch(np.full((1, 1, 3), 9, np.uint8))
    assert prepared[0, 0].tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 9, 9, 9, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_a_manifest_prepares_its_first_input() -> None:
    pictures = pixels(2, 5, 4, 3)
    assert MANIFEST.prepare(pictures[0]) == COLOUR.prepare(pictures[0])
    assert np.array_equal(
        MANIFEST.prepare_batch(pictures), COLOUR.prepare_batch(pictures)
    )


def test_preparing_leaves_the_picture_alone() -> None:
    picture = pixels(5, 4, 3)
    before = picture.copy()
    COLOUR.prepare(picture)
    assert np.array_equal(picture, before)


def test_an_empty_batch_stays_empty() -> None:
    assert GREY.prepare_batch(pixels(0, 4, 6)).shape == (0, 1, 4, 6)


@pytest.mark.parametrize(
    ("taker", "shape", "complaint"),
    [
        (GREY, (3, 6), "6 wide and 3 high but input 'digit' takes 6 by 4"),
        (GREY, (4, 7), "7 wide and 4 high but input 'digit' takes 6 by 4"),
        (COLOUR, (5, 5, 3), r"5 wide and 5 high .* takes 4 by 5 \(resize: pad\)"),
        (GREY, (4, 6, 3), r"has 3 channels but input 'digit' takes 1 \(grey\)"),
        (COLOUR, (5, 4), r"has 1 channels but input 'photo' takes 3 \(rgb\)"),
        (COLOUR, (5, 0, 3), "holds no pictures"),
        (GREY, (6,), "holds no pictures"),
        (GREY, (), "holds no pictures"),
        (GREY, (1, 4, 6, 1), "holds no pictures"),
    ],
)
def test_a_picture_that_does_not_fit_is_refused(
    taker: Input, shape: tuple[int, ...], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        taker.prepare(np.zeros(shape, np.uint8))


def test_pixels_that_are_not_bytes_are_refused() -> None:
    floats: Any = np.zeros((4, 6))
    with pytest.raises(UserError, match="an array of float64 .* give uint8"):
        GREY.prepare(floats)


@unhurried
@given(example=inputs_with_pictures())
def test_the_float_model_sees_the_documented_value(
    example: tuple[Input, NDArray[np.uint8]],
) -> None:
    taker, pictures = example
    prepared = taker.prepare_batch(pictures)
    seen = taker.to_float(prepared)
    low, high = taker.range
    exact = low + prepared.transpose(0, 2, 3, 1) / 255 * (high - low)
    exact = (exact - np.array(taker.mean)) / np.array(taker.std)
    largest = max(map(abs, (low, high, *taker.mean))) / min(taker.std)
    assert seen.dtype == np.float32
    assert seen.flags.c_contiguous
    np.testing.assert_allclose(seen, exact, rtol=1e-6, atol=1e-6 * largest)


def test_plain_pixels_become_exact_fractions() -> None:
    seen = GREY.to_float(pixels(1, 1, 4, 6))
    expected = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1) / np.float32(255)
    assert np.array_equal(seen, expected)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 4, 6, 1), np.uint8), np.zeros((1, 1, 4, 6)), pixels(1, 1)],
)
def test_only_prepared_pixels_become_floats(wrong: Any) -> None:
    with pytest.raises(UserError, match="uint8 N×1×4×6: prepare the pictures first"):
        GREY.to_float(wrong)


@pytest.mark.parametrize(("layout", "axes"), [("NCHW", (2, 3)), ("NHWC", (1, 2))])
def test_a_spatial_output_is_turned_back(layout: Any, axes: tuple[int, int]) -> None:
    output = Output(
        name="boxes", shape=(1, 2, 3, 4), dtype="u8", layout=layout, rotation=180
    )
    upright = pixels(5, 2, 3, 4)
    assert np.array_equal(output.restore(np.rot90(upright, 2, axes)), upright)


@pytest.mark.parametrize(
    "output",
    [
        CLASSES,
        dataclasses.replace(CLASSES, rotation=180),
        Output(name="map", shape=(1, 2, 2, 3), dtype="f32", layout="NHWC"),
    ],
)
def test_other_outputs_pass_as_they_are(output: Output) -> None:
    array = pixels(*output.shape).astype(np.float32)
    assert output.restore(array) is array


def test_an_output_of_another_shape_is_not_turned() -> None:
    output = Output(
        name="map", shape=(1, 2, 3, 4), dtype="u8", layout="NCHW", rotation=180
    )
    with pytest.raises(ModelError, match="1×2×4×3 is not output 'map' .* 1×2×3×4"):
        output.restore(pixels(1, 2, 4, 3))
