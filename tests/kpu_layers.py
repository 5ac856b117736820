"""Random KPU layers and maps, for tests."""

import numpy as np
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from k210.kmodel import ActivationTable, BatchNorm, Segment
from k210.kpu import Layer

Bytes = NDArray[np.uint8]


def random_layer(
    rng: Generator, inputs: int, outputs: int, kernel: int, depthwise: bool, pool: int
) -> Layer:
    """A layer whose sums spread over the segments of its activation."""
    seen = 1 if depthwise else inputs
    zero, shift = int(rng.integers(0, 256)), int(rng.integers(0, 16))
    spread = np.log2(2**14 * seen * kernel**2) / 2 + 26 - shift
    norms = [
        BatchNorm(
            int(rng.integers(-(2**23), 2**23)),
            int(rng.uniform(-1, 1) * min(2**31, 2**spread)),
            shift,
        )
        for _ in range(outputs)
    ]
    return Layer(
        kernel=kernel,
        depthwise=depthwise,
        pool=pool,
        pad_value=int(rng.integers(0, 256)),
        arg_x=-128,
        shr_x=int(rng.integers(0, 3)),
        arg_w=-zero,
        shr_w=int(rng.integers(0, 3)),
        arg_add=kernel**2 * 128 * zero,
        weights=rng.integers(0, 256, outputs * seen * kernel**2, np.uint8),
        batch_norm=with_garbage(rng, b"".join(norm.pack() for norm in norms)),
        activation=random_activation(rng, spread),
    )


def random_activation(rng: Generator, spread: float) -> Bytes:
    """Sixteen segments within ±2^spread, in any direction, ties among them."""
    widest = min(2**spread, 2**35 - 1)
    starts = np.sort(rng.uniform(-widest, widest, 15).astype(np.int64))
    starts[rng.integers(0, 14)] = starts[rng.integers(0, 14)]
    segments = [Segment(-(2**35), 0, 0, int(rng.integers(0, 256)))]
    for start in starts:
        mul = int(rng.integers(-(2**15), 2**15))
        shift = int(np.clip(spread + rng.integers(0, 16) - 8, 0, 43))
        segments.append(Segment(int(start), mul, shift, int(rng.integers(0, 256))))
    table = ActivationTable(tuple(segments)).pack()
    return np.concatenate(
        [with_garbage(rng, table[:128]), np.frombuffer(table[128:], np.uint8)]
    )


def with_garbage(rng: Generator, words: bytes) -> Bytes:
    """The same words with something in the four top bits, where nncase leaves any."""
    raw = np.frombuffer(words, np.uint8).copy()
    raw[7::8] |= rng.integers(0, 16, raw[7::8].size, np.uint8) * np.uint8(16)
    return raw


@st.composite
def layers_with_maps(draw: st.DrawFn) -> tuple[Layer, Bytes]:
    """A layer and a map that it takes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depthwise, pool = draw(st.booleans()), draw(st.integers(0, 9))
    inputs = draw(st.integers(1, 9))
    outputs = inputs if depthwise else draw(st.integers(1, 9))
    layer = random_layer(
        rng, inputs, outputs, draw(st.sampled_from((1, 3))), depthwise, pool
    )
    sides = st.one_of(st.integers(4, 20), st.sampled_from((31, 32, 33, 64, 65)))
    shape = inputs, draw(st.integers(4, 20)), draw(sides)
    return layer, rng.integers(0, 256, shape, np.uint8)
