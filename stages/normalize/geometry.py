"""Padding in pixels: TensorFlow's, and the freedom that a stride leaves.

An output of size ``o`` reads, along one axis, from pixel ``-before`` to pixel
``(o - 1) · stride + reach - 1 - before``. What lies behind that is never read: of the
padding after a map, only the least is given, and up to ``stride - 1`` pixels more
change nothing. A negative padding means that so many pixels are never read.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pixels:
    """Padding in pixels on each side of a feature map."""

    top: int
    bottom: int
    left: int
    right: int

    def sides(self) -> tuple[int, int, int, int]:
        """Top, bottom, left, right."""
        return self.top, self.bottom, self.left, self.right

    def turned(self) -> "Pixels":
        """The padding of the map rotated by 180 degrees."""
        return Pixels(self.bottom, self.top, self.right, self.left)

    def plus(self, other: "Pixels") -> "Pixels":
        """The padding of a map that is padded twice."""
        pairs = zip(self.sides(), other.sides(), strict=True)
        return Pixels(*(one + two for one, two in pairs))


def reach(kernel: int, dilation: int) -> int:
    """Pixels from a kernel's first tap to its last, both counted."""
    return (kernel - 1) * dilation + 1


def same_pixels(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis: pixels before and after."""
    steps = -(-size // stride) - 1
    total = max(steps * stride + reach(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def least_after(
    size: int, output: int, kernel: int, stride: int, dilation: int, before: int
) -> int:
    """The padding after a map that its last output pixel needs; negative if none."""
    return (output - 1) * stride + reach(kernel, dilation) - size - before


def friendliest(least: int, stride: int, kernel: int, before: int, after: int) -> int:
    """Of the paddings after a map that give the same output, the one to write.

    The KPU's own, where the padding before is the KPU's; else the one that was there,
    or as near as can be; nothing is cropped that need not be.
    """
    possible = range(least, least + stride)
    natural = kernel // 2
    if before == natural and natural in possible:
        return natural
    if after in possible and after >= 0:
        return after
    return max(least, min(possible[-1], 0))
