"""Networks are built, converted and compiled by the benchmark, which says what came."""

from typing import Any

import pytest
from benchmarks import result


def zoo(*arguments: str) -> dict[tuple[str, tuple[int, ...]], dict[str, Any]]:
    rows = result("zoo.py", *arguments)["rows"]
    return {(row["network"], tuple(row["shape"])): row for row in rows}


def test_small_networks_compile_for_the_kpu() -> None:
    rows = zoo("--networks", "kpunet,resnet8,ds_cnn", "--sizes", "32x32x1")
    assert len(rows) == 4
    for row in rows.values():
        assert row["refused"] is None
        assert row["kpu_ms"] > 0
        assert row["layers"] > 4
        assert row["macs"] > row["parameters"]


@pytest.mark.long
def test_a_network_padded_as_the_kpu_pads_needs_no_cpu_in_between() -> None:
    rows = zoo("--networks", "kpunet,mobilenet_v1", "--sizes", "64x64x3")
    kpunet, mobilenet = rows.values()
    assert kpunet["regions"] == mobilenet["regions"] == 2  # the second: the scores
    assert kpunet["layers"] == 8  # seven convolutions with their pools, and the scores


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("padding", ["same", "kpu"])
def test_every_network_compiles_at_every_size_or_says_why_not(padding: str) -> None:
    rows = zoo("--padding", padding)
    assert len(rows) == 8 * 3 + 1
    for row in rows.values():
        if row["refused"]:
            assert len(row["refused"]) > 20
        else:
            assert row["kpu_ms"] > 0
            assert row["total_kib"] < 6 * 1024
