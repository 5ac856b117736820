"""Builds the models that tests feed to the stages; run as a child process.

    python tests/models.py FOLDER

Writes one ``NAME.tflite`` for each function below, the variants of the classifier
that the stages refuse, and what TensorFlow itself does with padding, as ``same.npz``.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from convolutions import CASES, Case

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

Shape = tuple[int | None, ...]
Graph = Callable[..., Any]

SIZES, KERNELS, STRIDES, DILATIONS = range(1, 21), (1, 2, 3, 5), (1, 2, 3), (1, 2)
"""Of the one-dimensional convolutions in ``same.npz``."""


PICTURES = ((4, 5), (6, 6), (9, 33), (16, 24), (32, 32), (97, 61), (224, 224))
"""Sizes whose MobileNets' maps are in ``smallest_maps.json``."""


class Layers:
    """Layers with random weights, the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def weights(self, *shape: int) -> Any:
        """Small enough that activations stay about as large as they come in."""
        scale = (2 / np.prod(shape[:-1])) ** 0.5
        return (self._rng.standard_normal(shape) * scale).astype(np.float32)

    def convolve(
        self, x: Any, filters: int, kernel: int = 3, stride: int = 1, **options: Any
    ) -> Any:
        import tensorflow as tf

        groups = options.pop("groups", 1)
        weights = self.weights(kernel, kernel, x.shape[3] // groups, filters)
        options = {"padding": "SAME", **options}
        return tf.nn.relu6(tf.nn.conv2d(x, weights, stride, **options) + 0.05)

    def gate(self, x: Any) -> Any:
        """Squeeze-excite: every channel weighed by what the means of all say of it."""
        import tensorflow as tf

        channels = x.shape[3]
        gate = tf.reduce_mean(x, (1, 2), keepdims=True)
        gate = tf.nn.relu(
            tf.nn.conv2d(gate, self.weights(1, 1, channels, 8), 1, "SAME")
        )
        gate = tf.nn.conv2d(gate, self.weights(1, 1, 8, channels), 1, "SAME")
        return x * (tf.nn.relu6(gate + 3) * (1 / 6))

    def classify(self, x: Any, classes: int = 10) -> Any:
        import tensorflow as tf

        x = tf.reduce_mean(x, (1, 2))
        return tf.nn.softmax(4 * x @ self.weights(x.shape[1], classes))


def plain(x: Any) -> Any:
    layers = Layers()
    x = layers.convolve(x, 16)
    return layers.classify(layers.convolve(x, 24, stride=2))


def grouped(x: Any) -> Any:
    layers = Layers()
    x = layers.convolve(layers.convolve(x, 16), 16, groups=2)
    return layers.classify(x)


def spatial(x: Any) -> Any:
    layers = Layers()
    return layers.convolve(layers.convolve(x, 8), 5, 1)


def coloured(x: Any) -> Any:
    layers = Layers()
    return layers.classify(layers.convolve(x, 8), 4)


def too_big(x: Any) -> Any:
    layers = Layers()
    for stride in (1, 2, 2):
        x = layers.convolve(x, 24, stride=stride)
    return layers.classify(x)


def too_wide(x: Any) -> Any:
    layers = Layers()
    return layers.classify(layers.convolve(layers.convolve(x, 512, 1), 512))


def unfit(x: Any) -> Any:
    layers = Layers()
    return layers.classify(layers.convolve(layers.convolve(x, 24, 1), 24, 1))


def wide(x: Any) -> Any:
    """A MobileNetV1 0.75 as far as its second depthwise layer; the KPU's padding."""
    import tensorflow as tf

    layers, around = Layers(), ((0, 0), (1, 1), (1, 1), (0, 0))
    x = layers.convolve(x, 24, stride=2, padding=around)
    for filters, stride in ((48, 1), (96, 2)):
        kernel = layers.weights(3, 3, x.shape[3], 1)
        strides = (1, stride, stride, 1)
        x = tf.nn.relu6(tf.nn.depthwise_conv2d(x, kernel, strides, around))
        x = layers.convolve(x, filters, 1)
    return layers.classify(x)


def dense(x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.softmax(x @ Layers().weights(64, 10))


def infinite(x: Any) -> Any:
    import tensorflow as tf

    return plain(x) / tf.reduce_min(tf.nn.relu(x - 1))


def read_twice(x: Any) -> Any:
    layers = Layers()
    x = layers.convolve(x, 8, padding="VALID")
    return x + layers.convolve(x, 8, 1)


def kernel_five(x: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(Layers().convolve(x, 8, 5), (1, 2))


def transposed(x: Any) -> Any:
    import tensorflow as tf

    layers = Layers()
    x = layers.convolve(x, 8)
    weights = layers.weights(2, 2, 8, 8)
    return tf.nn.conv2d_transpose(x, weights, (1, 64, 64, 8), 2)


def gated(x: Any) -> Any:
    layers = Layers(2)
    x = layers.gate(layers.convolve(x, 16))
    x = layers.convolve(x, 24, stride=2, padding=((0, 0), (1, 1), (1, 1), (0, 0)))
    return layers.classify(layers.convolve(layers.gate(x), 24))


def smooth(x: Any) -> Any:
    import tensorflow as tf

    layers = Layers()
    x = layers.convolve(x, 8)
    return tf.nn.sigmoid(tf.nn.conv2d(x, layers.weights(3, 3, 8, 8) / 4, 1, "SAME"))


def scaled(x: Any, constant: float, activation: Callable[[Any], Any]) -> Any:
    import tensorflow as tf

    layers = Layers(2)
    for _ in range(3):
        x = tf.nn.conv2d(x, layers.weights(3, 3, x.shape[3], 8), 1, "SAME") + 0.05
        x = activation(x) * constant
    return x


def scaled_relu(x: Any) -> Any:
    import tensorflow as tf

    return scaled(x, 0.7, tf.nn.relu)


def scaled_relu6(x: Any) -> Any:
    import tensorflow as tf

    return scaled(x, 1 / 6, tf.nn.relu6)


def padded_in_front(x: Any) -> Any:
    import tensorflow as tf

    layers = Layers()
    x = layers.convolve(x, 8, 1)
    x = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return layers.classify(layers.convolve(x, 16, 3, 2, padding="VALID"))


def two_inputs(x: Any, y: Any) -> Any:
    return plain(x + y)


GREY: Shape = (1, 32, 32, 1)

MODELS: dict[Graph, Sequence[Shape]] = {
    plain: [GREY],
    grouped: [GREY],
    spatial: [GREY],
    coloured: [(1, 24, 40, 3)],
    too_big: [(1, 224, 224, 3)],
    too_wide: [(1, 8, 8, 1)],
    unfit: [(1, 256, 256, 1)],
    wide: [(1, 240, 320, 3)],
    dense: [(1, 64)],
    infinite: [GREY],
    kernel_five: [GREY],
    read_twice: [GREY],
    transposed: [GREY],
    gated: [GREY],
    smooth: [GREY],
    scaled_relu: [GREY],
    scaled_relu6: [GREY],
    padded_in_front: [GREY],
    two_inputs: [GREY, GREY],
}


def convert(graph: Graph, shapes: Sequence[Shape], **settings: Any) -> bytes:
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    function = tf.function(graph, signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    for name, value in settings.items():
        setattr(converter, name, value)
    data: bytes = converter.convert()
    return data


def variants() -> dict[str, bytes]:
    """The classifier in every form that is not float32 with batch 1."""
    import tensorflow as tf

    pictures = np.random.default_rng(0).random((8, 1, 32, 32, 1), np.float32)
    small = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    integers = {
        "representative_dataset": lambda: ([picture] for picture in pictures),
        "inference_input_type": tf.int8,
        "inference_output_type": tf.int8,
    }
    return {
        "full_integer": convert(plain, [GREY], **small, **integers),
        "dynamic_range": convert(plain, [GREY], **small),
        "float16": convert(
            plain,
            [GREY],
            **small,
            target_spec=tf.lite.TargetSpec(supported_types=[tf.float16]),
        ),
        "open_batch": convert(plain, [(None, 32, 32, 1)]),
    }


def graph_of(case: Case) -> Graph:
    """The convolution and its neighbours."""

    def graph(x: Any) -> Any:
        import tensorflow as tf

        layers = Layers()
        x = layers.convolve(x, 8, 1)
        if case.pad:
            x = tf.pad(x, ((0, 0), case.pad[:2], case.pad[2:], (0, 0)))
        dilations = (case.dilation, case.dilation)
        if case.depthwise:
            weights, stride = layers.weights(*case.kernel, 8, 1), (1, *case.stride, 1)
            x = tf.nn.depthwise_conv2d(
                x, weights, stride, case.padding, dilations=dilations
            )
        else:
            weights = layers.weights(*case.kernel, 8, 8)
            x = tf.nn.conv2d(x, weights, case.stride, case.padding, dilations=dilations)
        x = tf.nn.relu6(x)
        if case.then == "1x1 twice":
            return tf.concat([layers.convolve(x, 8, 1), layers.convolve(x, 8, 1)], 3)
        return layers.convolve(x, 8, 3 if case.then == "3x3" else 1)

    return graph


def same() -> dict[str, Any]:
    """What SAME does to an axis: where each tap of a kernel looks, 0 is outside.

    ``SIZE-KERNEL-STRIDE-DILATION`` → int, outputs × taps: the position, from 1.
    """
    import tensorflow as tf

    found = {}
    for size in SIZES:
        x = tf.reshape(tf.range(1.0, size + 1), (1, size, 1, 1))
        for kernel in KERNELS:
            taps = np.eye(kernel, dtype=np.float32).reshape(kernel, 1, 1, kernel)
            for stride in STRIDES:
                for dilation in DILATIONS:
                    y = tf.nn.conv2d(
                        x, taps, (stride, 1), "SAME", "NHWC", (dilation, 1)
                    )
                    name = f"{size}-{kernel}-{stride}-{dilation}"
                    found[name] = y.numpy()[0, :, 0].round().astype(np.int64)
    return found


def smallest_maps() -> dict[str, list[int]]:
    """The sides of the smallest map that our MobileNet makes of pictures of a size."""
    from stages.project.schema import Model
    from stages.train.architectures import build

    found = {}
    for size in PICTURES:
        model = build(Model(alpha=0.25), (*size, 1), 10)
        shapes = [layer.output.shape for layer in model.layers]
        maps = [shape[1:3] for shape in shapes if len(shape) == 4]
        found[str(size)] = np.min(maps, 0).tolist()
    return found


def write_archives(folder: Path) -> None:
    """One Keras model saved twice, and once more with another weight."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="edges")(image)
    model = keras.Model(image, keras.layers.BatchNormalization(name="norm")(x))
    model.save(folder / "saved.keras")
    model.save(folder / "again.keras")
    weights = model.get_weights()
    weights[0][0, 0, 0, 0] += 0.5
    model.set_weights(weights)
    model.save(folder / "changed.keras")


def main(folder: Path) -> None:
    for graph, shapes in MODELS.items():
        (folder / f"{graph.__name__}.tflite").write_bytes(convert(graph, shapes))
    for name, data in variants().items():
        (folder / f"{name}.tflite").write_bytes(data)
    for number, each in enumerate(CASES):
        data = convert(graph_of(each), [(1, *each.size, 8)])
        (folder / f"case{number}.tflite").write_bytes(data)
    np.savez(folder / "same.npz", **same())
    write_archives(folder)
    (folder / "smallest_maps.json").write_text(json.dumps(smallest_maps()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
