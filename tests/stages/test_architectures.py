from collections.abc import Iterator
from itertools import chain
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.project.blocks import Shape, problems, shapes
from stages.project.inner import Block
from stages.project.schema import Model

NAMES = [
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "resnet8",
    "ds_cnn",
    "cnn",
    "kpunet",
]

QUICK = [name for name in NAMES if name not in ("mobilenet_v2", "mobilenet_v3_large")]
"""Those that are built in less than a second."""


def build(shape: Shape, classes: int = 10, **model: Any) -> Any:
    import keras

    from stages.train import architectures

    keras.utils.set_random_seed(0)
    height, width, channels = shape
    described = Model.model_validate(model)
    return architectures.build(described, (height, width, channels), classes)


def maps(model: Any) -> Iterator[tuple[int, ...]]:
    """Sizes of the maps that convolutions and pools make of other maps."""
    for layer in model.layers:
        kind = type(layer).__name__
        if "Conv2D" in kind or kind.endswith("Pooling2D"):
            size = layer.input.shape[1:3]
            if len(layer.output.shape) == 4 and "Global" not in kind and size != (1, 1):
                yield layer.output.shape[1:3]


def test_the_schema_offers_every_architecture() -> None:
    from stages.train.architectures import ARCHITECTURES

    annotation = Model.model_fields["architecture"].annotation
    offered = set(chain.from_iterable(get_args(part) for part in get_args(annotation)))
    assert offered == set(ARCHITECTURES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4, 4, 1), (10, 49, 3)])
def test_no_map_of_any_network_is_under_4x4(name: str, shape: Shape) -> None:
    model = build(shape, 3, architecture=name, alpha=0.25)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 3)
    assert all(min(size) >= 4 for size in maps(model))


@pytest.mark.parametrize("name", QUICK)
def test_padding_of_the_kpu_makes_maps_of_the_same_size(name: str) -> None:
    same, kpu = (
        build((45, 64, 1), architecture=name, alpha=0.25, padding=padding)
        for padding in ("same", "kpu")
    )
    assert list(maps(same)) == list(maps(kpu))
    padded = {
        (layer.kernel_size[0], layer.strides[0])
        for layer in kpu.layers
        if getattr(layer, "kernel_size", (1, 1)) != (1, 1) and layer.padding == "valid"
    }
    assert padded <= {(3, 2)}
    strided = [layer for layer in kpu.layers if getattr(layer, "strides", 0) == (2, 2)]
    assert all(
        layer.padding == "valid"
        for layer in strided
        if getattr(layer, "kernel_size", 0) == (3, 3)
    )


@pytest.mark.parametrize("name", QUICK)
def test_the_seed_decides_the_weights(name: str) -> None:
    one, other = (build((16, 16, 1), architecture=name) for _ in range(2))
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    assert all((a == b).all() for a, b in pairs)


@pytest.mark.parametrize("name", QUICK)
def test_alpha_makes_a_network_narrower(name: str) -> None:
    wide, narrow = (
        build((16, 16, 1), architecture=name, alpha=alpha).count_params()
        for alpha in (1.0, 0.25)
    )
    assert narrow < wide


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "resnet8"])
def test_residuals_only_add_maps_of_one_shape(name: str) -> None:
    model = build((64, 64, 3), architecture=name)
    added = [layer for layer in model.layers if type(layer).__name__ == "Add"]
    assert added
    for layer in added:
        one, other = (tensor.shape for tensor in layer.input)
        assert one == other


@pytest.mark.parametrize(
    ("activation", "at_two"),
    [("relu", 2), ("relu6", 2), ("leaky", 2), ("hard_swish", 5 / 3), ("swish", 1.7616)],
)
def test_activations_are_what_they_are_called(activation: str, at_two: float) -> None:
    from stages.train.architectures.parts import activate

    assert float(activate(np.array([2], np.float32), activation)[0]) == pytest.approx(
        at_two, abs=1e-4
    )


def test_an_activation_is_used_throughout() -> None:
    model = build((32, 32, 1), architecture="mobilenet_v1", activation="leaky")
    kinds = [type(layer).__name__ for layer in model.layers]
    assert "LeakyReLU" in kinds
    assert "ReLU" not in kinds


def test_the_kernel_is_that_of_depthwise_layers() -> None:
    model = build((32, 32, 1), architecture="ds_cnn", kernel=5)
    depthwise = [each for each in model.layers if "Depthwise" in type(each).__name__]
    assert {layer.kernel_size for layer in depthwise} == {(5, 5)}


def test_mobilenet_v1_has_the_layers_it_always_had() -> None:
    import keras

    keras.backend.clear_session()
    model = build((32, 32, 1))
    names = [layer.name for layer in model.layers]
    assert names[:5] == [
        "input",
        "conv2d",
        "batch_normalization",
        "re_lu",
        "depthwise_conv2d",
    ]
    assert names[-1] == "scores"
    assert model.count_params() == 38346


# networks written as blocks

DENSE_AFTER_ALL = {"filters": 12, "kind": "dense"}


def block(draw: st.DrawFn) -> dict[str, Any]:
    pools, kernels = ("max_pool", "average_pool"), (1, 3, 5)
    kind = draw(
        st.sampled_from(
            ["conv", "depthwise", "separable", "inverted_residual", "residual", *pools]
        )
    )
    stride = draw(st.sampled_from([None, 1, 2, 3]))
    if kind in pools:
        return {"kind": kind, "stride": stride}
    made: dict[str, Any] = {
        "kind": kind,
        "stride": stride,
        "kernel": draw(st.sampled_from(kernels)),
        "squeeze_excite": draw(st.booleans()),
        "residual": draw(st.booleans()),
    }
    if kind != "depthwise":
        made["filters"] = draw(st.sampled_from([3, 8]))
    if kind == "inverted_residual":
        made["expand"] = draw(st.sampled_from([1, 2]))
    return made


@st.composite
def networks(draw: st.DrawFn) -> list[dict[str, Any]]:
    blocks = [block(draw) for _ in range(draw(st.integers(1, 4)))]
    return blocks + ([DENSE_AFTER_ALL] if draw(st.booleans()) else [])


@given(networks(), st.sampled_from(["same", "kpu"]))
@settings(max_examples=25)
def test_blocks_make_the_shapes_that_were_foretold(
    described: list[dict[str, Any]], padding: str
) -> None:
    shape = (21, 32, 3)
    blocks = [Block.model_validate(each) for each in described]
    if list(problems(blocks, shape)):
        return
    model = build(shape, blocks=described, padding=padding)
    made: dict[str, Shape] = {}
    for layer in model.layers:
        number, _, _ = layer.name.partition("_")
        made[number] = tuple(layer.output.shape[1:])
    foretold = shapes(blocks, shape)
    assert [made[f"block{i}"] for i in range(1, len(blocks) + 1)] == foretold


@given(networks())
@settings(max_examples=200)
def test_a_residual_passes_only_where_the_shapes_match(
    described: list[dict[str, Any]],
) -> None:
    shape: Shape = (64, 64, 3)
    blocks = [Block.model_validate(each) for each in described]
    if list(problems(blocks, shape)):
        return
    for each, made in zip(blocks, shapes(blocks, shape), strict=True):
        assert not (each.residual or each.kind == "residual") or made == shape
        shape = made
