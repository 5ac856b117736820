"""What is read off a plan, and what is said of one that cannot run."""

from pathlib import Path

import numpy as np
import pytest
from nets import Net

from stages.normalize.graph import Graph
from stages.normalize.plans import Compiler, Figures, Plan

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter")


def measured(graph: Graph, log: Path) -> Figures:
    _, height, width, channels = graph.inputs[0].shape
    noise = np.random.default_rng(0).integers(
        0, 256, (1, channels, height, width), np.uint8
    )
    compiler = Compiler(noise, noise, [], (0.0, 1.0), 120, log)
    return compiler.measure(Plan("as it is", graph, graph, []))


def test_a_plan_whose_maps_cannot_fit_is_refused_before_nncase_runs(
    tmp_path: Path,
) -> None:
    net = Net((256, 256, 3))
    x = net.convolve(net.convolve(net.input, 24), 24)
    found = measured(net.graph(x), tmp_path / "log")
    assert found.refused is not None
    assert "needs 3.00 MiB of KPU RAM" in found.refused
    assert found.ms is None
    assert not (tmp_path / "log").exists()


def test_a_plan_for_which_nncase_finds_no_room_is_refused_by_name(
    tmp_path: Path,
) -> None:
    net = Net((128, 128, 3))
    x = net.pad(net.convolve(net.input, 42, 1), 3, 3, 3, 3)
    x = net.mean(net.convolve(x, 42, 3, 1, "VALID"))
    found = measured(net.graph(x), tmp_path / "log")
    assert found.refused is not None
    assert "nncase found no room in KPU RAM: layer " in found.refused
