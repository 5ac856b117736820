"""95 % confidence intervals of fractions, and of the difference of paired ones.

``wilson``: Wilson's score interval. ``paired_drop``: Newcombe's square-and-add
interval, "Improved confidence intervals for the difference between binomial
proportions based on paired data", Statistics in Medicine 17 (1998), method 10, one of
those that Fagerland, Lydersen and Laake recommend (Statistics in Medicine 33 (2014)).
It joins the Wilson intervals of both fractions, as far as these move independently: on
the same samples two models mostly err together, which is why this interval is much
narrower than one of two separate measurements.
"""

from math import sqrt

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of the fraction ``right`` / ``count``."""
    p, z2 = right / count, Z95 * Z95
    centre = p + z2 / (2 * count)
    spread = Z95 * sqrt(p * (1 - p) / count + z2 / (4 * count * count))
    scale = 1 + z2 / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def paired_drop(both: int, lost: int, gained: int, neither: int) -> tuple[float, float]:
    """The 95 % confidence interval of (``lost`` - ``gained``) / count.

    Args:
        both: samples that both models get right.
        lost: those that only the first gets right.
        gained: those that only the second gets right.
        neither: those that neither gets right; all four add up to at least one.
    """
    count = both + lost + gained + neither
    first, second = (both + lost) / count, (both + gained) / count
    low1, high1 = wilson(both + lost, count)
    low2, high2 = wilson(both + gained, count)
    phi = _correlation(both, lost, gained, neither)
    drop = (lost - gained) / count
    below = _joined(first - low1, high2 - second, phi)
    above = _joined(high1 - first, second - low2, phi)
    return max(-1.0, drop - below), min(1.0, drop + above)


def _joined(one: float, other: float, phi: float) -> float:
    """The length of the sum of two errors that correlate by ``phi``."""
    return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _correlation(both: int, lost: int, gained: int, neither: int) -> float:
    """The phi coefficient, a positive one corrected for continuity; 0 if undefined."""
    product = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    if product == 0:
        return 0.0
    excess = float(both * neither - lost * gained)
    if excess > 0:
        excess = max(0.0, excess - (both + lost + gained + neither) / 2)
    return excess / sqrt(product)
