"""Random graphs of the layers that a K210's networks are made of."""

import numpy as np
from nets import Net

from stages.normalize.graph import Tensor

SIZES = (4, 40)
KERNELS, STRIDES = (1, 3, 5), (1, 2, 3)
LAYERS = (2, 5)
ACTIVATIONS = ("NONE", "RELU", "RELU6")


class Random:
    """One graph, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        height, width = self._rng.integers(*SIZES, 2, endpoint=True).tolist()
        self._net = Net((height, width, self._choose(1, 3)), seed)

    def model(self) -> bytes:
        x = self._net.convolve(self._net.input, 8, activation=self._activation())
        for _ in range(self._rng.integers(*LAYERS, endpoint=True)):
            x = self._layer(x)
        return self._net.bytes(self._end(x))

    def _choose(self, *options: int) -> int:
        return int(self._rng.choice(options))

    def _activation(self) -> str:
        return str(self._rng.choice(ACTIVATIONS))

    def _layer(self, x: Tensor) -> Tensor:
        kinds = (
            *(self._convolution, self._convolution, self._depthwise, self._depthwise),
            *(self._grouped, self._pool, self._residual, self._branches, self._act),
        )
        layer = kinds[self._rng.integers(len(kinds))]
        return layer(x)

    def _geometry(self, x: Tensor) -> tuple[Tensor, int, int, str]:
        """A map, padded perhaps, with a kernel, stride and padding that suit it."""
        kernel, stride = self._choose(*KERNELS), self._choose(*STRIDES)
        padding = str(self._rng.choice(("SAME", "VALID", "PAD")))
        if padding == "PAD":
            sides = self._rng.integers(0, 3, 4).tolist()
            x, padding = self._net.pad(x, *sides), "VALID"
        if padding == "VALID" and min(x.shape[1:3]) < kernel:
            padding = "SAME"
        return x, kernel, stride, padding

    def _convolution(self, x: Tensor) -> Tensor:
        x, kernel, stride, padding = self._geometry(x)
        filters = self._choose(4, 8, 16)
        act = self._activation()
        return self._net.convolve(x, filters, kernel, stride, padding, activation=act)

    def _depthwise(self, x: Tensor) -> Tensor:
        x, kernel, stride, padding = self._geometry(x)
        many = self._choose(1, 1, 1, 2)
        act = self._activation()
        return self._net.depthwise(
            x, kernel, stride, padding, multiplier=many, activation=act
        )

    def _grouped(self, x: Tensor) -> Tensor:
        x, kernel, stride, padding = self._geometry(x)
        return self._net.convolve(x, 8, kernel, stride, padding, groups=2)

    def _pool(self, x: Tensor) -> Tensor:
        size = self._choose(2, 3)
        padding = "SAME" if min(x.shape[1:3]) < size else self._padding()
        kind = str(self._rng.choice(("MAX", "AVERAGE")))
        return self._net.pool(x, kind, size, 2, padding)

    def _padding(self) -> str:
        return str(self._rng.choice(("SAME", "VALID")))

    def _residual(self, x: Tensor) -> Tensor:
        return self._net.add(x, self._net.convolve(x, x.shape[3], self._choose(1, 3)))

    def _branches(self, x: Tensor) -> Tensor:
        stride = self._choose(1, 2)
        one = self._net.convolve(x, 4, 3, stride)
        return self._net.concatenate(one, self._net.convolve(x, 4, 1, stride))

    def _act(self, x: Tensor) -> Tensor:
        kind = str(self._rng.choice(("RELU", "LEAKY_RELU", "LOGISTIC", "HARD_SWISH")))
        options = {"alpha": 0.1} if kind == "LEAKY_RELU" else {}
        x = self._net.convolve(x, x.shape[3], 1, activation="NONE")
        return self._net.activate(x, kind, **options)

    def _end(self, x: Tensor) -> Tensor:
        end = self._rng.integers(3)
        x = self._net.convolve(x, 4, 1, activation="NONE")
        if end == 0:
            return x
        if end == 1:
            return self._net.mean(x)
        return self._net.dense(self._net.flatten(x), 6)
