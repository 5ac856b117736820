"""Makes one model of each format that can be imported, and many that cannot.

    python tests/imported_models.py FOLDER

Run as a child process. The networks have random weights; their pictures are 16×16×3.
"""

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

HEIGHT, WIDTH, CHANNELS, CLASSES = 16, 16, 3, 5
Size = int | str | None


def keras_network(height: Size = HEIGHT, width: Size = WIDTH, inputs: int = 1) -> Any:
    """A classifier with batch norms that are not trivial."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    taken = [keras.Input((height, width, CHANNELS)) for _ in range(inputs)]
    x = taken[0] if inputs == 1 else layers.Add()(taken)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(
        moving_mean_initializer=keras.initializers.RandomNormal(),
        gamma_initializer=keras.initializers.RandomUniform(0.5, 2),
    )(x)
    x = layers.ReLU(6.0)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Conv2D(12, 1, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(taken, layers.Dense(CLASSES, activation="softmax")(x))


def make_keras(folder: Path) -> None:
    import keras

    model = keras_network()
    model.save(folder / "good.keras")
    model.save(folder / "good.h5")
    model.save_weights(folder / "only.weights.h5")
    keras_network(None, None).save(folder / "open.keras")
    keras_network(inputs=2).save(folder / "two_inputs.keras")
    inputs = keras.Input((HEIGHT, WIDTH, CHANNELS))
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    spatial = keras.Model(inputs, [x, keras.layers.MaxPooling2D()(x)])
    spatial.save(folder / "spatial.keras")
    doubled = keras.layers.Lambda(lambda y: y * 2, name="doubled")(x)
    keras.Model(inputs, doubled).save(folder / "lambda.keras")
    keras.Model(inputs, doubled).save(folder / "lambda.h5")
    keras.Model(inputs, own_layer()(x)).save(folder / "own.keras")
    flat = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    flat.save(folder / "flat.keras")
    model.layers[1].set_weights([np.full((3, 3, CHANNELS, 8), np.nan, np.float32)])
    model.save(folder / "nan.keras")


def own_layer() -> Any:
    import keras

    @keras.saving.register_keras_serializable("mine")
    class Halved(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x / 2

    return Halved(name="halved")


def make_keras2(folder: Path) -> None:
    """A whole model in .h5 as Keras 2 saved it."""
    import tf_keras

    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Conv2D(6, 3, input_shape=(HEIGHT, WIDTH, CHANNELS)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(folder / "keras2.h5")
    inputs = layers.Input((HEIGHT, WIDTH, CHANNELS))
    x = layers.Conv2D(6, 3)(inputs)
    tf_keras.Model(inputs, x * 2.0).save(folder / "keras2_operation.h5")


def make_saved_models(folder: Path) -> None:
    import tensorflow as tf

    keras_network(None, None).export(folder / "good_saved", verbose=False)
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(3, 3, CHANNELS, 6)).astype(np.float32)

    class Several(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(weights)

        @tf.function  # type: ignore[untyped-decorator]
        def features(self, picture: Any) -> Any:
            x = tf.nn.conv2d(picture, self.weights, 2, "SAME")
            return {"b": tf.nn.relu(x), "a": tf.reduce_mean(x, (1, 2))}

        @tf.function  # type: ignore[untyped-decorator]
        def of_bytes(self, picture: Any) -> Any:
            return self.features(tf.cast(picture, tf.float32))

        @tf.function  # type: ignore[untyped-decorator]
        def determinant(self, picture: Any) -> Any:
            return tf.linalg.det(picture[..., 0])

    module = Several()
    shape = (None, None, None, CHANNELS)
    signatures = {
        "features": module.features.get_concrete_function(
            tf.TensorSpec(shape, tf.float32)
        ),
        "determinant": module.determinant.get_concrete_function(
            tf.TensorSpec(shape, tf.float32)
        ),
        "of_bytes": module.of_bytes.get_concrete_function(
            tf.TensorSpec(shape, tf.uint8)
        ),
    }
    tf.saved_model.save(module, folder / "several_saved", signatures)
    cut = folder / "cut_saved"
    tf.saved_model.save(module, cut, signatures)
    (cut / "saved_model.pb").write_bytes((cut / "saved_model.pb").read_bytes()[:-4000])
    (folder / "empty_saved").mkdir()


def tflite_converter(model: Any) -> Any:
    """What ``from_keras_model`` gives, without a SavedModel on the way."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    function = tf.function(lambda x: model(x, training=False), autograph=False)
    spec = tf.TensorSpec(model.inputs[0].shape, tf.float32)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(spec))
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def make_tflite(folder: Path) -> None:
    import tensorflow as tf

    def write(name: str, made: Any) -> None:
        (folder / f"{name}.tflite").write_bytes(made.convert())

    write("float32", tflite_converter(keras_network()))
    write("open", tflite_converter(keras_network(None, None)))
    half = tflite_converter(keras_network())
    half.optimizations = [tf.lite.Optimize.DEFAULT]
    half.target_spec.supported_types = [tf.float16]
    write("float16", half)
    wide = wide_network()
    dynamic = tflite_converter(wide)
    dynamic.optimizations = [tf.lite.Optimize.DEFAULT]
    write("dynamic_range", dynamic)
    dynamic._experimental_disable_per_channel = True
    write("dynamic_range_per_tensor", dynamic)
    whole = tflite_converter(keras_network())
    whole.optimizations = [tf.lite.Optimize.DEFAULT]
    whole.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    whole.representative_dataset = pictures
    write("full_integer", whole)
    write(
        "two_inputs", tf.lite.TFLiteConverter.from_keras_model(keras_network(inputs=2))
    )


def pictures() -> Any:
    rng = np.random.default_rng(5)
    for _ in range(8):
        yield [rng.random((1, HEIGHT, WIDTH, CHANNELS), np.float32)]


def wide_network() -> Any:
    """Wide enough for the converter to find that 8-bit weights are worth it."""
    import keras

    keras.utils.set_random_seed(2)
    layers = keras.layers
    inputs = keras.Input((HEIGHT, WIDTH, CHANNELS))
    x = layers.Conv2D(48, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(48, 1, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


class Onnx:
    """An ONNX graph as it grows, N×C×H×W."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def weights(self, *shape: int) -> str:
        scale = (2 / np.prod(shape[1:])) ** 0.5
        return self.constant((self.rng.normal(size=shape) * scale).astype(np.float32))

    def constant(self, values: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x: str, before: int, after: int, **attributes: Any) -> str:
        bias = self.constant(self.rng.normal(size=after).astype(np.float32) / 10)
        weights = self.weights(after, before // attributes.get("group", 1), 3, 3)
        return self.add("Conv", x, weights, bias, pads=[1] * 4, **attributes)

    def model(
        self, inputs: dict[str, list[Size]], outputs: list[str], kind: int = 1
    ) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(n, kind, s) for n, s in inputs.items()],
            [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, None)
                for n in outputs
            ],
            self.constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        made.ir_version = 8
        return made


def onnx_network(planes: list[Size], flatten: str = "Flatten") -> Any:
    """A classifier as PyTorch would export it: N×C×H×W, Flatten, Gemm."""
    net = Onnx()
    x = net.add("Relu", net.conv("pictures", CHANNELS, 8))
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Relu", net.conv(x, 8, 8, group=8))
    x = net.add("Clip", net.conv(x, 8, 12, strides=[2, 2]), *_bounds(net))
    if flatten == "Flatten":
        x, features = net.add("Flatten", x), 12 * HEIGHT // 4 * WIDTH // 4
    else:
        x, features = _viewed(net, net.add("GlobalAveragePool", x)), 12
    bias = net.constant(np.linspace(-1, 1, CLASSES, dtype=np.float32))
    x = net.add("Gemm", x, net.weights(CLASSES, features), bias, transB=1)
    return net.model({"pictures": planes}, [net.add("Softmax", x, axis=1)])


def _bounds(net: Onnx) -> tuple[str, str]:
    return net.constant(np.float32(0)), net.constant(np.float32(6))


def _viewed(net: Onnx, x: str) -> str:
    """``x.view(x.size(0), -1)``, as PyTorch writes it for an open batch."""
    batch = net.add("Gather", net.add("Shape", x), net.constant(np.int64(0)), axis=0)
    batch = net.add("Unsqueeze", batch, net.constant(np.array([0])))
    shape = net.add("Concat", batch, net.constant(np.array([-1])), axis=0)
    return net.add("Reshape", x, shape)


def make_onnx(folder: Path) -> None:
    planes: list[Size] = [1, CHANNELS, HEIGHT, WIDTH]
    opened: list[Size] = ["batch", CHANNELS, "height", "width"]
    good = onnx_network(planes)
    onnx.save(good, folder / "good.onnx")
    onnx.save(onnx_network(opened, "view"), folder / "open.onnx")
    onnx.save(onnx_network([4, *planes[1:]]), folder / "batch4.onnx")
    onnx.save(
        good,
        folder / "external.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="external.data",
    )
    net = Onnx()
    x = net.add("Sigmoid", net.conv("pictures", CHANNELS, 6, strides=[2, 2]))
    both = [x, net.add("ReduceMean", x, axes=[2, 3], keepdims=0)]
    onnx.save(net.model({"pictures": opened}, both), folder / "spatial.onnx")
    net = Onnx()
    x = net.add("Transpose", "pictures", perm=[0, 3, 1, 2])
    x = net.add("Transpose", net.conv(x, CHANNELS, 6), perm=[0, 2, 3, 1])
    last: list[Size] = [1, HEIGHT, WIDTH, CHANNELS]
    onnx.save(net.model({"pictures": last}, [x]), folder / "channels_last.onnx")
    net = Onnx()
    x = net.conv(net.add("Add", "one", "two"), CHANNELS, 4)
    onnx.save(
        net.model({"one": planes, "two": planes}, [x]), folder / "two_inputs.onnx"
    )
    net = Onnx()
    x = net.conv(net.add("Cast", "pictures", to=TensorProto.FLOAT), CHANNELS, 4)
    made = net.model({"pictures": planes}, [x], TensorProto.UINT8)
    onnx.save(made, folder / "bytes.onnx")
    net = Onnx()
    x = net.add("Det", net.conv("pictures", CHANNELS, 4))
    onnx.save(net.model({"pictures": planes}, [x]), folder / "determinant.onnx")
    net = Onnx()
    x = net.add("LpPool", net.conv("pictures", CHANNELS, 4), kernel_shape=[2, 2])
    onnx.save(net.model({"pictures": planes}, [x]), folder / "lp_pool.onnx")
    net = Onnx()
    scale, zero = net.constant(np.float32(0.1)), net.constant(np.uint8(3))
    x = net.add("QuantizeLinear", net.conv("pictures", CHANNELS, 4), scale, zero)
    x = net.add("DequantizeLinear", x, scale, zero)
    onnx.save(net.model({"pictures": planes}, [x]), folder / "quantized.onnx")
    net = Onnx()
    x = net.conv("nowhere", CHANNELS, 4)
    onnx.save(net.model({"pictures": planes}, [x]), folder / "loose.onnx")


def damage(folder: Path) -> None:
    """Empty files, noise and cut-off files of each format."""
    noise = np.random.default_rng(11).bytes(5000)
    for name in ("good.keras", "good.h5", "float32.tflite", "good.onnx"):
        data, suffix = (folder / name).read_bytes(), Path(name).suffix
        (folder / f"empty{suffix}").write_bytes(b"")
        (folder / f"noise{suffix}").write_bytes(noise)
        (folder / f"cut{suffix}").write_bytes(data[: len(data) * 2 // 3])
    # a length that reaches beyond the file
    length, text = b"\x13\0\0\0", b"CONVERSION_METADATA"
    data = (folder / "float32.tflite").read_bytes()
    assert length + text in data
    data = data.replace(length + text, b"\x13\x8e\xf1\xef" + text)
    (folder / "lying.tflite").write_bytes(data)
    with zipfile.ZipFile(folder / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "not a model")
    with zipfile.ZipFile(folder / "hollow.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional"}))
    (folder / "model.pt").write_bytes(noise)
    (folder / "model.bin").write_bytes(noise)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for make in (make_keras, make_keras2, make_saved_models, make_tflite, make_onnx):
        make(folder)
    damage(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
