"""The time model of ``k210.cost`` against every layer that others timed on silicon.

(A) one 3×3 layer of 128 → 128 channels with 16-bit weights at 300 MHz (Sipeed forum
topic 691), (B) the layers of the vendor's face detector at 400 MHz (kendryte/nncase
issue 77; shapes from the demo's kmodel), where the SDK's own program runs them. One
constant is fitted here, because no kmodel that we run has 16-bit weights.

The last row of (B) is printed and not counted. It is no layer of the KPU but a loop of
the SDK's program, 9,000 values at 18 cycles each: compiled for size, it seems to wait
for each value to be loaded, converted, multiplied and stored before it takes the next.
The same work takes 3 cycles a value in nncase's runtime and 7.5 in our firmware
(`k210.cost`, which says what kmodels take), so no constant fits them all, and one
fitted to this row alone would prove nothing.
"""

import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from k210 import cost

MEDIAN_LIMIT, LIMIT = 0.10, 0.25
COUNTS_ABOVE_MS = 0.1

WIDE_WEIGHT_BYTE_MS = 0.7e-6
"""Loading 16-bit weights, fitted to all of (A)."""

DMA_BYTE_MS = cost.DMA_BYTE_NS / 1e6
"""A byte between KPU and memory: as DMA brings maps in."""

DMA_MS = cost.DEPTHWISE_LAYER_MS
"""Setting a DMA channel up and taking its interrupt: as long as the shortest layer
takes for as much."""

DEQUANTIZE = cost.CPU["dequantize"]

SQUARES = """\
4x4 0.339
16x4 0.339
16x16 0.417
32x16 0.692
32x32 1.138
64x32 2.125
64x64 3.891
128x64 7.709
128x128 14.778
256x256 57.756
"""
"""(A): width × height, milliseconds."""

DETECTOR = """\
0 conv 320x240 3 16 432 0.206
1 depthwise 160x120 16 16 144 0.039
2 conv 160x120 16 32 512 0.514
3 depthwise 80x60 32 32 288 0.029
4 conv 80x60 32 64 2048 0.680
5 depthwise 80x60 64 64 576 0.053
6 conv 80x60 64 64 4096 1.328
7 depthwise 40x30 64 64 576 0.020
8 conv 40x30 64 128 8192 0.704
9 depthwise 40x30 128 128 1152 0.034
10 conv 40x30 128 128 16384 1.385
11 depthwise 20x15 128 128 1152 0.016
12 conv 20x15 128 256 32768 0.781
13 depthwise 20x15 256 256 2304 0.025
14 conv 20x15 256 256 65536 1.522
15 depthwise 20x15 256 256 2304 0.026
16 conv 20x15 256 256 65536 1.521
17 depthwise 20x15 256 256 2304 0.026
18 conv 20x15 256 256 65536 1.521
19 depthwise 20x15 256 256 2304 0.026
20 conv 20x15 256 256 65536 1.521
21 depthwise 20x15 256 256 2304 0.025
22 sent 20x15 256 30 7680 0.326
23 dequantize 20x15 30 30 0 0.404
"""
"""(B): number, kind, width × height, channels in and out, weight bytes, milliseconds.
The 22nd has its result sent to main memory by DMA; the 23rd is work of the CPU."""


@dataclass(frozen=True)
class Row:
    """A measured layer and what the model says; not `counted` if no layer."""

    name: str
    measured: float
    modelled: float
    counted: bool

    @property
    def error(self) -> float:
        """Relative, positive where the model is too slow."""
        return self.modelled / self.measured - 1


def squares() -> Iterator[Row]:
    """The layer (A) in its sizes."""
    weights = 2 * 9 * 128 * 128
    for line in SQUARES.splitlines():
        size, ms = line.split()
        width, height = map(int, size.split("x"))
        modelled = cost.conv_ms(
            height, width, 128, 128, weights, 300e6, WIDE_WEIGHT_BYTE_MS
        )
        yield Row(f"A 3×3 128→128, {width}×{height}", float(ms), modelled, True)


def detector() -> Iterator[Row]:
    """The layers of (B)."""
    for line in DETECTOR.splitlines():
        number, kind, size, *numbers, ms = line.split()
        width, height = map(int, size.split("x"))
        inputs, outputs, weights = map(int, numbers)
        name = f"B {number} {kind} {inputs}→{outputs}, {width}×{height}"
        values = width * height * outputs
        if kind == "depthwise":
            modelled = cost.depthwise_ms(height, width, outputs, weights)
        elif kind == "dequantize":
            modelled = (DEQUANTIZE.once + DEQUANTIZE.value * values) / 1e6
        else:
            modelled = cost.conv_ms(height, width, inputs, outputs, weights)
            modelled += DMA_MS + DMA_BYTE_MS * values if kind == "sent" else 0
        yield Row(name, float(ms), modelled, kind != "dequantize")


def main() -> int:
    """Print the table; status 1 where the model is too far off."""
    rows = [*squares(), *detector()]
    print(f"{'layer':<36}{'measured ms':>12}{'modelled ms':>12}{'error':>9}")
    for row in rows:
        mark = "" if row.counted else "  a loop of the SDK's CPU"
        columns = f"{row.measured:>12.3f}{row.modelled:>12.3f}{row.error:>+9.1%}"
        print(f"{row.name:<36}{columns}{mark}")
    counted = [row for row in rows if row.counted]
    median = statistics.median(abs(row.error) for row in counted)
    large = [row for row in counted if row.measured > COUNTS_ABOVE_MS]
    worst = max(large, key=lambda row: abs(row.error))
    print(f"median error {median:.1%} of {len(counted)}, at most {MEDIAN_LIMIT:.0%}")
    print(
        f"worst of {len(large)} above {COUNTS_ABOVE_MS} ms: {worst.error:+.1%} "
        f"({worst.name}), at most {LIMIT:.0%}"
    )
    result = {
        "layers": len(counted),
        "median_error": median,
        "worst_error": abs(worst.error),
        "median_limit": MEDIAN_LIMIT,
        "limit": LIMIT,
    }
    print(f"RESULT {json.dumps(result)}")
    return int(median > MEDIAN_LIMIT or abs(worst.error) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
