"""What the padding benchmark prints of the MobileNets that would not fit the chip."""

from typing import Any

import pytest
from benchmarks import result

MB = 10**6
SRAM = 6 << 20

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def rows(alpha: str, size: str) -> dict[str, dict[str, Any]]:
    """The rows of MobileNetV1 with this alpha and size, by name."""
    found = result("padding.py", "--nets", "v1", "--alphas", alpha, "--sizes", size)
    return {row["network"]: row for row in found}


def require_no_worse(row: dict[str, Any]) -> None:
    before, after = row["before"], row["after"]
    for figure in ("regions", "cpu_pads", "total"):
        assert after[figure] <= before[figure]
    assert after["snr_db"] >= before["snr_db"] - 3
    assert row["proof"]["difference"] <= 1e-5
    assert row["proof"]["dynamic"] <= 1e-5


def test_a_mobilenet_of_full_width_fits() -> None:
    found = rows("1.0", "224x224")
    name = "MobileNetV1 1.0 224×224"
    for each, limit in ((name, 3.9 * MB), (f"{name}/1000", 4.9 * MB)):
        row = found[each]
        require_no_worse(row)
        assert row["before"]["regions"] == 7
        assert row["before"]["total"] > SRAM
        assert row["after"]["regions"] <= 2
        assert row["after"]["total"] <= limit


def test_a_mobilenet_fits_at_240_by_320_or_is_refused_by_name() -> None:
    (half,) = rows("0.5", "240x320").values()
    require_no_worse(half)
    assert half["after"]["total"] <= 2.1 * MB
    (wide,) = rows("0.75", "240x320").values()
    assert "layer 'mobilenet" in wide["after"]["refused"]
    assert "120×160×48" in wide["after"]["refused"]
    assert "what would fit: inputs (height×width) of" in wide["after"]["refused"]
