"""Networks of which tests compile kmodels: all that nncase makes of a model for a K210.

Each is a function from a float tensor 1×H×W×C, as TensorFlow traces it, to a tensor or
a list of them. Weights are random, the same every time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from convolutions import CASES
from models import Layers, graph_of

Shape = tuple[int, int, int]
Function = Callable[[Any], Any]

TINY: Shape = (16, 16, 3)
WIDTHS = (4, 7, 16, 17, 32, 33, 64, 65, 128, 200, 320, 512)
ACTIVATIONS = (
    *("linear", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu"),
    *("hard_silu", "exponential", "softplus"),
)
POOLS = {
    "max_2": ("MAX", 2, 2, "VALID"),
    "mean_2": ("AVG", 2, 2, "VALID"),
    "max_4": ("MAX", 4, 4, "VALID"),
    "mean_4": ("AVG", 4, 4, "VALID"),
    "max_2_by_1": ("MAX", 2, 1, "SAME"),
    "mean_2_by_1": ("AVG", 2, 1, "SAME"),
    "max_3_by_2": ("MAX", 3, 2, "SAME"),
    "mean_3_by_1": ("AVG", 3, 1, "SAME"),
    "mean_8": ("AVG", 8, 8, "VALID"),
}
"""Kind, window, stride and padding; the KPU has the first six."""


@dataclass(frozen=True)
class Graph:
    """A network: its name, its input's height, width and channels, its function."""

    name: str
    shape: Shape
    build: Any

    def function(self) -> Function:
        """What is to be traced."""
        function: Function = self.build
        return function


class Net(Layers):
    """Layers with random weights and biases."""

    def conv(
        self, x: Any, filters: int, kernel: int = 3, stride: int = 1, pad: str = "SAME"
    ) -> Any:
        """A convolution and its bias, without activation."""
        import tensorflow as tf

        weights = self.weights(kernel, kernel, x.shape[3], filters)
        return tf.nn.conv2d(x, weights, stride, pad) + self.bias(filters)

    def depthwise(self, x: Any, kernel: int = 3, stride: int = 1) -> Any:
        """A depthwise convolution and its bias, without activation."""
        import tensorflow as tf

        weights = self.weights(kernel, kernel, 1, x.shape[3]).swapaxes(2, 3)
        step = (1, stride, stride, 1)
        x = tf.nn.depthwise_conv2d(x, weights, step, "SAME")
        return x + self.bias(x.shape[3])

    def bias(self, size: int) -> Any:
        """About as large as what it is added to."""
        return self._rng.normal(0.1, 0.3, size).astype("float32")

    def dense(self, x: Any, size: int) -> Any:
        """A fully connected layer."""
        return x @ self.weights(x.shape[1], size) + self.bias(size)


def activated(name: str, x: Any) -> Any:
    """An activation that goes into a KPU layer's table."""
    import keras

    net = Net()
    return net.conv(keras.activations.get(name)(net.conv(x, 12)), 8, 1)


def pooled(name: str, x: Any) -> Any:
    import tensorflow as tf

    kind, side, stride, padding = POOLS[name]
    net = Net()
    x = tf.nn.relu(net.conv(x, 12))
    return net.conv(tf.nn.pool(x, [side] * 2, kind, [stride] * 2, padding), 8, 1)


def wide(x: Any) -> Any:
    """3×3, depthwise and 1×1 on one width."""
    import tensorflow as tf

    net = Net()
    x = tf.nn.relu6(net.conv(x, 6))
    x = tf.nn.relu6(net.depthwise(x))
    return net.conv(x, 5, 1)


def deep(x: Any) -> Any:
    """Hundreds of channels, whose weights the KPU loads in pieces."""
    import tensorflow as tf

    net = Net()
    x = tf.nn.relu(net.conv(x, 1024, 1))
    x = tf.nn.relu(net.conv(x, 200, 1))
    return net.conv(tf.nn.relu(net.conv(x, 160)), 7, 1)


def residual(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    x = tf.nn.relu(net.conv(x, 8))
    x = tf.nn.relu(x + net.conv(tf.nn.relu(net.conv(x, 8)), 8))
    return net.conv(tf.nn.relu(x + net.conv(x, 8)), 4, 1)


def concatenated(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    x = tf.nn.relu(net.conv(x, 8))
    branches = [net.conv(x, 5), net.conv(x, 7, 1), tf.nn.relu(net.depthwise(x))]
    return net.conv(tf.concat(branches, 3), 6, 1)


def squeezed(x: Any) -> Any:
    """Squeeze and excite: a mean, two dense layers and a product."""
    import tensorflow as tf

    net = Net()
    x = tf.nn.relu(net.conv(x, 16))
    gate = tf.nn.relu(net.conv(tf.reduce_mean(x, (1, 2), keepdims=True), 8, 1))
    gate = tf.nn.relu6(net.conv(gate, 16, 1) + 3) / 6
    return net.conv(x * gate, 8, 1)


def on_the_cpu(x: Any) -> Any:
    """Convolutions, arithmetic and a reduction that the KPU does not have."""
    import tensorflow as tf

    net = Net()
    x = tf.nn.relu(net.conv(x, 8))
    x = tf.nn.relu(net.conv(x, 8, 5))
    x = tf.nn.silu(net.depthwise(x, 5, 2))
    x = tf.nn.relu(net.conv(x, 12, 7, 2))
    x = tf.maximum(x, 0.25) - tf.minimum(x, net.bias(12))
    x = net.conv(x, 8, 2, 1, "VALID")
    return tf.concat([tf.reduce_max(x, (1, 2)), tf.reduce_mean(x, (1, 2))], 1)


def resized(method: str, x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    x = tf.nn.leaky_relu(net.conv(x, 8), 0.1)
    x = tf.image.resize(x, (x.shape[1] * 2, x.shape[2] * 2), method)
    return net.conv(x, 4)


def upsampled(x: Any) -> Any:
    """Keras' nearest upsampling, which becomes copies of rank 5."""
    import keras
    import tensorflow as tf

    net = Net()
    x = tf.nn.leaky_relu(net.conv(x, 8), 0.1)
    return net.conv(keras.layers.UpSampling2D()(x), 4)


def lenet(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    for filters in (6, 16):
        x = tf.nn.tanh(net.conv(x, filters, 5, 1, "VALID"))
        x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
    x = tf.reshape(x, (1, -1))
    for size in (120, 84):
        x = tf.nn.tanh(net.dense(x, size))
    return tf.nn.softmax(net.dense(x, 10))


def lenet_of_threes(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    for filters in (8, 16):
        x = tf.nn.relu(net.conv(x, filters, 3, 1, "VALID"))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return tf.nn.softmax(net.dense(tf.reshape(x, (1, -1)), 10))


def tiny_yolo(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    for filters in (8, 16, 24, 32):
        x = tf.nn.leaky_relu(net.conv(x, filters), 0.1)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return net.conv(tf.nn.leaky_relu(net.conv(x, 48), 0.1), 30, 1)


def two_headed(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    x = tf.nn.relu(net.conv(x, 8))
    small = tf.nn.relu(net.conv(tf.nn.max_pool2d(x, 2, 2, "VALID"), 16))
    return [net.conv(x, 6, 1), tf.nn.softmax(net.conv(small, 5, 1))]


def u_net(x: Any) -> Any:
    import keras
    import tensorflow as tf

    net = Net()
    skips = []
    for filters in (8, 16):
        x = tf.nn.relu(net.conv(x, filters))
        skips.append(x)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    x = tf.nn.relu(net.conv(x, 24))
    for skip in reversed(skips):
        x = tf.concat([keras.layers.UpSampling2D()(x), skip], 3)
        x = tf.nn.relu(net.conv(x, skip.shape[3]))
    return net.conv(x, 2, 1)


def u_net_bilinear(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    skip = tf.nn.relu(net.conv(x, 8))
    x = tf.nn.relu(net.conv(tf.nn.max_pool2d(skip, 2, 2, "VALID"), 16))
    x = tf.image.resize(x, skip.shape[1:3], "bilinear")
    return net.conv(tf.concat([x, skip], 3), 3)


def autoencoder(x: Any) -> Any:
    import tensorflow as tf

    net = Net()
    x = tf.reshape(x, (1, -1))
    for size in (128, 128, 8, 128):
        x = tf.nn.relu(net.dense(x, size))
    return net.dense(x, 640)


@dataclass(frozen=True)
class Trainable(Graph):
    """One of the networks that can be trained; `padding` as in the YAML."""

    padding: str

    def function(self) -> Function:
        model = random_model(self.build, self.padding, self.shape)
        return partial(model, training=False)


def random_model(name: str, padding: str, shape: Shape) -> Any:
    """An architecture with random weights and batch norms."""
    import keras
    import numpy as np

    from stages.project.schema import Model
    from stages.train.architectures import build

    keras.utils.set_random_seed(0)
    alpha = 0.35 if name == "mobilenet_v2" else 0.25
    settings = {"architecture": name, "alpha": alpha, "padding": padding}
    model = build(Model.model_validate(settings), shape, 10)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shapes = [weights.shape for weights in layer.get_weights()]
            layer.set_weights([rng.uniform(0.3, 1.2, shape) for shape in shapes])
    return model


def _trainable() -> list[Graph]:
    from stages.train.architectures import ARCHITECTURES

    sizes = {"mobilenet_v1": (64, 64, 3), "ds_cnn": (49, 10, 1)}
    return [
        Trainable(f"{name}-{padding}", sizes.get(name, (48, 48, 3)), name, padding)
        for name in ARCHITECTURES
        for padding in ("kpu", "same")
    ]


NETWORKS = [
    Graph("residual", TINY, residual),
    Graph("concatenated", TINY, concatenated),
    Graph("squeezed", TINY, squeezed),
    Graph("on_the_cpu", (24, 20, 3), on_the_cpu),
    Graph("resized-nearest", TINY, partial(resized, "nearest")),
    Graph("resized-bilinear", TINY, partial(resized, "bilinear")),
    Graph("upsampled", (32, 32, 3), upsampled),
    Graph("lenet", (28, 28, 1), lenet),
    Graph("lenet_of_threes", (28, 28, 1), lenet_of_threes),
    Graph("tiny_yolo", (96, 128, 3), tiny_yolo),
    Graph("two_headed", TINY, two_headed),
    Graph("u_net", (64, 64, 3), u_net),
    Graph("u_net_bilinear", (32, 32, 3), u_net_bilinear),
    Graph("autoencoder", (5, 128, 1), autoencoder),
    Graph("deep", (8, 8, 3), deep),
]


def graphs() -> list[Graph]:
    """All of them; the simplest first."""
    words = [each.name.replace(",", "").replace(" ", "_") for each in CASES]
    return [
        *(Graph(f"width-{w}", (8, w, 3), wide) for w in WIDTHS),
        *(Graph(f"act-{n}", TINY, partial(activated, n)) for n in ACTIVATIONS),
        *(Graph(f"pool-{n}", TINY, partial(pooled, n)) for n in POOLS),
        *(
            Graph(f"case-{name}", (*case.size, 8), graph_of(case))
            for name, case in zip(words, CASES, strict=True)
        ),
        *NETWORKS,
        *_trainable(),
    ]
