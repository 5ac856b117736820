"""What the networks are made of: layers in the forms that the KPU has.

A convolution has no bias: its batch norm, which nncase folds, brings one. Batch norms
have a short memory, because training sets are small here.
"""

from dataclasses import dataclass
from typing import Any, Literal

from stages.project.blocks import SMALLEST_MAP
from stages.project.schema import Model

DIVISOR = 8
LEAK = 0.1
"""Slope of the leaky ReLU below 0."""


def widths(alpha: float, filters: int) -> int:
    """``filters`` scaled by ``alpha``, a multiple of 8 and at least 8."""
    return max(DIVISOR, round(filters * alpha / DIVISOR) * DIVISOR)


def divisible(filters: float) -> int:
    """The nearest multiple of 8, never more than a tenth below (as in MobileNetV2)."""
    rounded = max(DIVISOR, int(filters + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * filters else rounded


def channels(x: Any) -> int:
    """The number of channels of a map."""
    return int(x.shape[-1])


def within(x: Any, stride: int, least: int = SMALLEST_MAP) -> int:
    """``stride``, or 1 where the map would get smaller than ``least``."""
    smallest = min(-(-side // stride) for side in x.shape[1:3])
    return stride if smallest >= least else 1


def activate(x: Any, kind: str, name: str | None = None) -> Any:
    """Apply an activation by its name in the YAML; "linear" is none."""
    import keras

    layers = keras.layers
    if kind == "linear":
        return x
    if kind == "relu6":
        return layers.ReLU(6.0, name=name)(x)
    if kind == "relu":
        return layers.ReLU(name=name)(x)
    if kind == "leaky":
        return layers.LeakyReLU(LEAK, name=name)(x)
    # silu is Keras' name: hard_silu(x) = x * relu6(x + 3) / 6
    kept = {"swish": "silu", "hard_swish": "hard_silu"}
    return layers.Activation(kept[kind], name=name)(x)


@dataclass(frozen=True)
class Parts:
    """Makes the layers of one network.

    Attributes:
        activation: what follows a batch norm unless a layer says otherwise.
        kernel: side of the depthwise kernels.
        padding: "same" as TensorFlow means it, or "kpu": at stride 2 one pixel on
            every side, which is what the KPU does.
    """

    activation: str
    kernel: int = 3
    padding: Literal["same", "kpu"] = "same"

    @classmethod
    def of(cls, settings: Model, activation: str) -> "Parts":
        """As the ``model`` section says, ``activation`` where it says none."""
        chosen = settings.activation or activation
        return cls(chosen, settings.kernel, settings.padding)

    def conv(
        self,
        x: Any,
        filters: int,
        kernel: int = 3,
        stride: int = 1,
        activation: str | None = None,
        name: str | None = None,
    ) -> Any:
        """A convolution with batch norm and activation."""
        import keras

        x, padding = self._padded(x, kernel, stride, name)
        x = keras.layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding=padding,
            use_bias=False,
            name=name,
        )(x)
        return self._finished(x, activation, name)

    def depthwise(
        self,
        x: Any,
        stride: int = 1,
        kernel: int | None = None,
        activation: str | None = None,
        name: str | None = None,
    ) -> Any:
        """A depthwise convolution with batch norm and activation."""
        import keras

        kernel = kernel or self.kernel
        x, padding = self._padded(x, kernel, stride, name)
        x = keras.layers.DepthwiseConv2D(
            kernel, strides=stride, padding=padding, use_bias=False, name=name
        )(x)
        return self._finished(x, activation, name)

    def squeeze_excite(
        self, x: Any, reduced: int, activation: str = "relu", name: str | None = None
    ) -> Any:
        """Weigh every channel by a gate, the hard sigmoid of what all means give."""
        import keras

        layers = keras.layers
        part = (lambda word: f"{name}_{word}") if name else (lambda word: None)
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=part("squeeze"))(x)
        gate = layers.Conv2D(reduced, 1, name=part("reduce"))(gate)
        gate = activate(gate, activation, part("reduce_act"))
        gate = layers.Conv2D(channels(x), 1, name=part("expand"))(gate)
        gate = layers.Activation("hard_sigmoid", name=part("gate"))(gate)
        return layers.Multiply(name=part("excite"))([x, gate])

    def inverted_residual(
        self,
        x: Any,
        filters: int,
        stride: int,
        expanded: int,
        residual: bool,
        squeezed: int | None = None,
        kernel: int | None = None,
        name: str | None = None,
    ) -> Any:
        """MobileNetV2's block: 1×1 out to ``expanded``, depthwise, 1×1 back, linear.

        Args:
            x: the map.
            filters: channels that come out.
            stride: of the depthwise convolution.
            expanded: channels in between; the first 1×1 is left out where they are
                those of ``x``.
            residual: whether ``x`` is added; needs stride 1 and as many channels.
            squeezed: channels inside a squeeze-excite; None: there is none.
            kernel: side of the depthwise kernel; None: the network's.
            name: what the names of its layers begin with.
        """
        import keras

        part = (lambda word: f"{name}_{word}") if name else (lambda word: None)
        y = x
        if expanded != channels(x):
            y = self.conv(y, expanded, 1, name=part("expand"))
        y = self.depthwise(y, stride, kernel, name=part("depthwise"))
        if squeezed is not None:
            y = self.squeeze_excite(y, squeezed, name=part("se"))
        y = self.conv(y, filters, 1, activation="linear", name=part("project"))
        return keras.layers.Add(name=part("add"))([x, y]) if residual else y

    def _padded(
        self, x: Any, kernel: int, stride: int, name: str | None
    ) -> tuple[Any, str]:
        """The map as the convolution wants it, and that convolution's padding."""
        import keras

        if self.padding == "same" or stride == 1 or kernel == 1:
            return x, "same"
        pad = f"{name}_pad" if name else None
        return keras.layers.ZeroPadding2D(kernel // 2, name=pad)(x), "valid"

    def _finished(self, x: Any, activation: str | None, name: str | None) -> Any:
        import keras

        norm, act = (f"{name}_bn", f"{name}_act") if name else (None, None)
        x = keras.layers.BatchNormalization(momentum=0.9, name=norm)(x)
        return activate(x, activation or self.activation, act)


def classify(x: Any, classes: int, dropout: float) -> Any:
    """Mean over the map (unless ``x`` is flat already), dropout, scores by softmax."""
    import keras

    layers = keras.layers
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    return layers.Dense(classes, activation="softmax", name="scores")(x)
