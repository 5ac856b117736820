"""Loads weights of TFLite files into Keras networks and says what came of it.

    python tests/weight_cases.py FOLDER [VWW]

Run as a child process. Writes ``FOLDER/cases.json``: for each case the largest
difference between the file's outputs and the network's, computed here with the TFLite
interpreter and Keras, or the sentence with which it was refused. ``VWW`` is the
MLPerf Tiny model of that name. ``FOLDER/mobilenet.tflite`` is one that a project can
start from.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from imported_models import tflite_converter

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

SHAPE, CLASSES = (16, 16, 3), 5
Build = Callable[[], Any]
Case = dict[str, Any]


def seeded(seed: int, build: Build) -> Any:
    """A network whose weights, batch norms too, are random but for the seed."""
    import keras

    keras.utils.set_random_seed(seed)
    model, rng = build(), np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for values in layer.weights:
                values.assign(rng.uniform(0.5, 2, values.shape))
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(rng.normal(size=layer.bias.shape))
    return model


def converted(build: Build, path: Path, half: bool = False) -> Path:
    """The file of a network, as TensorFlow converts it."""
    import tensorflow as tf

    converter = tflite_converter(seeded(1, build))
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())
    return path


def noise(count: int, shape: tuple[int, ...] = SHAPE) -> Any:
    return np.random.default_rng(8).random((count, *shape), np.float32)


def loaded(path: Path, network: Any, images: Any = None) -> Case:
    """What comes of loading a file into a network."""
    from k210.errors import UserError
    from stages.train.weights import load_weights

    try:
        lines = load_weights(network, path, images)
    except UserError as error:
        return {"error": str(error)}
    pictures = noise(8, tuple(network.inputs[0].shape)[1:])
    found = network.predict(pictures, verbose=0)
    return {
        "difference": float(np.abs(found - run(path, pictures)).max()),
        "lines": lines,
    }


def run(path: Path, pictures: Any) -> Any:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for picture in pictures:
        interpreter.set_tensor(taken[0]["index"], picture[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given[0]["index"])[0])
    return np.array(outputs)


def network(
    *bodies: Callable[[Any], Any], heads: tuple[int, ...] = (CLASSES,)
) -> Build:
    """Builds a classifier with these parts between its first and its last layers."""

    def build() -> Any:
        import keras

        inputs = keras.Input(SHAPE)
        x = convolved(8)(inputs)
        for body in bodies:
            x = body(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        for outputs in heads:
            x = keras.layers.Dense(outputs)(x)
        return keras.Model(inputs, x)

    return build


def convolved(filters: int, kernel: int = 3, top: float | None = 6.0) -> Any:
    def body(x: Any) -> Any:
        import keras

        layers = keras.layers
        x = layers.Conv2D(filters, kernel, padding="same", use_bias=False)(x)
        return layers.ReLU(top)(layers.BatchNormalization()(x))

    return body


def residual(x: Any) -> Any:
    """Branches of equal and of different shapes, of which converters change order."""
    import keras

    layers = keras.layers
    y = convolved(12)(x)
    y = layers.BatchNormalization()(layers.Conv2D(12, 3, padding="same")(y))
    x = layers.Add()([layers.Conv2D(12, 1)(x), y])
    return layers.Concatenate()([convolved(6, 1)(x), convolved(4, 1)(x), x])


def varied(x: Any) -> Any:
    """Every kind of layer, and batch norms that lack a part."""
    import keras

    layers = keras.layers
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.Conv2D(10, 3, strides=2)(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.Conv2DTranspose(7, 2, strides=2)(x)
    return layers.Dense(9, activation="relu")(x)


def normed_first(x: Any) -> Any:
    """A batch norm that cannot be folded into anything before it."""
    import keras

    return convolved(6)(keras.layers.BatchNormalization()(keras.layers.ReLU()(x)))


def separable(x: Any) -> Any:
    import keras

    return keras.layers.SeparableConv2D(8, 3)(x)


def shared(x: Any) -> Any:
    import keras

    layer = keras.layers.Conv2D(8, 3, padding="same")
    return layer(layer(x))


def nested(x: Any) -> Any:
    import keras

    return keras.Sequential([keras.layers.Conv2D(8, 3)], name="inner")(x)


def valid(x: Any) -> Any:
    import keras

    return keras.layers.ReLU(6.0)(keras.layers.Conv2D(8, 3, use_bias=False)(x))


def same(x: Any) -> Any:
    import keras

    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    return keras.layers.ReLU(6.0)(x)


def biased(x: Any) -> Any:
    import keras

    return keras.layers.ReLU(6.0)(keras.layers.Conv2D(8, 3, padding="same")(x))


def equal_cases(folder: Path) -> dict[str, Case]:
    """Files and the networks they were made from, with other first weights."""
    cases = {}
    for name, build in {
        "plain": network(convolved(8), convolved(12, 1)),
        "residual": network(residual),
        "varied": network(varied),
    }.items():
        path = converted(build, folder / f"{name}.tflite")
        cases[name] = loaded(path, seeded(2, build))
    half = converted(network(convolved(8)), folder / "half.tflite", half=True)
    cases["plain, float16"] = loaded(half, seeded(2, network(convolved(8))))
    cases["settled"] = settled(folder / "plain.tflite")
    return cases


def settled(path: Path) -> Case:
    """Batch norms with the statistics of pictures: what the training begins with."""
    import keras

    images = noise(64)
    model = seeded(2, network(convolved(8), convolved(12, 1)))
    case = loaded(path, model, images)
    training = np.asarray(model(images, training=True))
    case["in_training"] = float(np.abs(training - run(path, images)).max())
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    case["variance"] = [float(norm.moving_variance.numpy().mean()) for norm in norms]
    return case


def refused_cases(folder: Path) -> dict[str, Case]:
    """Files and networks that do not belong together."""
    plain, half = folder / "plain.tflite", folder / "half.tflite"
    same_file = converted(network(same), folder / "same.tflite")
    biased_file = converted(network(biased), folder / "biased.tflite")
    first = converted(network(normed_first), folder / "first.tflite")
    garbage = folder / "garbage.tflite"
    garbage.write_bytes(b"not a model")
    return {
        name: loaded(path, seeded(2, build))
        for name, (path, build) in {
            "width": (plain, network(convolved(16), convolved(12, 1))),
            "classes": (plain, network(convolved(8), convolved(12, 1), heads=(7,))),
            "shallow": (plain, network(convolved(8))),
            "deep": (plain, network(*[convolved(8)] * 2, convolved(12, 1))),
            "too few": (half, network(convolved(8), heads=(5, 3))),
            "too many": (half, network(heads=())),
            "activation": (plain, network(convolved(8, top=None), convolved(12, 1))),
            "padding": (same_file, network(valid)),
            "no bias": (biased_file, network(same)),
            "not folded": (first, network(normed_first)),
            "separable": (plain, network(separable)),
            "shared": (plain, network(shared)),
            "nested": (plain, network(nested)),
            "garbage": (garbage, network(same)),
        }.items()
    }


def vww_cases(path: Path) -> dict[str, Case]:
    from stages.project.schema import Model
    from stages.train.architectures import build

    def built(**changed: Any) -> Any:
        settings = {"alpha": 0.25, "activation": "relu", "smallest_map": 3, **changed}
        return build(Model(**settings), (96, 96, 3), 2)

    return {
        "vww": loaded(path, built()),
        "vww, relu6": loaded(path, built(activation="relu6")),
        "vww, alpha": loaded(path, built(alpha=0.5)),
    }


def mobilenet() -> Any:
    from stages.project.schema import Model
    from stages.train.architectures import build

    return build(Model(alpha=0.25, activation="relu"), (32, 32, 1), 10)


def main(folder: Path, vww: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    converted(mobilenet, folder / "mobilenet.tflite")
    cases = {**equal_cases(folder), **refused_cases(folder)}
    if vww is not None:
        cases.update(vww_cases(Path(vww)))
    (folder / "cases.json").write_text(json.dumps(cases, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
