from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.report import axes, figures
from stages.report.layers import short_name
from stages.report.training import training

FUSED = (
    "net/re_lu_1/Relu6;net/bn_1/batchnorm/add_1;net/conv2d_1/convolution;net/bn/sub1"
)

# names


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        (FUSED, "conv2d_1"),
        ("net/block/Conv2D", "block"),
        ("model/dw/depthwise;model/bn/add", "dw"),
        ("StatefulPartitionedCall:0", "StatefulPartitionedCall:0"),
        ("x" * 30, "xxxxxxxxxxxx…xxxxxxxxxxxxx"),
        ("", "(no name)"),
        ("/;/", "(no name)"),
    ],
)
def test_a_tensors_name_is_shortened_to_its_layers(tensor: str, name: str) -> None:
    assert short_name(tensor) == name


@given(st.text())
def test_short_names_are_short_and_never_empty(tensor: str) -> None:
    assert 0 < len(short_name(tensor)) <= 26


# what the pictures are made of


def test_what_was_not_computed_interrupts_a_curve(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,accuracy,loss\n0,0.5,1\n1,0.6,nan\n2,0.7,0.5\n3,NA,0.4\n")
    drawn = training(path)
    accuracy, loss = drawn.charts
    assert [len(curve.pieces) for curve in (*accuracy.curves, *loss.curves)] == [1, 2]
    assert accuracy.curves[0].last == "–"
    assert drawn.best_epoch is None


# figures and scales


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figures.percent(None), "not measured"),
        (figures.size(940), "940 bytes"),
        (figures.size(6 << 20), "6 MiB"),
        (figures.duration(0.094), "0.09 s"),
        (figures.duration(3725), "1 h 02 min"),
        (figures.number(9999), "9999"),
        (figures.number(-38346), "−38,346"),
        (figures.number(25.664), "25.66"),
        (figures.scientific(1.23e-8), "1.2×10⁻⁸"),
        (figures.moment("2026-11-21T11:25:01+02:00"), "2026-11-21 09:25:01 UTC"),
        (figures.moment("yesterday"), "yesterday"),
        (figures.words("device_snr_db"), "device SNR"),
        (figures.words("bytes"), "bytes"),
        (figures.metric(126.5, "total_kib"), "126.5 KiB"),
        (figures.metric("COM5", "port"), "COM5"),
    ],
)
def test_figures_are_written_as_people_write_them(written: str, expected: str) -> None:
    assert written == expected


finite = st.floats(-1e9, 1e9)
positive = st.floats(1e-12, 1e9)


@pytest.mark.parametrize(
    ("scaled", "values"),
    [
        (axes.linear, st.lists(finite, min_size=1)),
        (axes.decades, st.lists(positive, min_size=1)),
        (axes.fractions, st.lists(st.floats(0, 1), min_size=1)),
    ],
)
@given(data=st.data())
def test_every_value_and_tick_has_its_place_on_the_scale(
    scaled: Callable[..., axes.Scale],
    values: st.SearchStrategy[list[float]],
    data: st.DataObject,
) -> None:
    drawn = data.draw(values)
    scale = scaled(drawn, 200.0, 10.0)
    places = [scale.at(value) for value in sorted(drawn)]
    assert places == sorted(places, reverse=True)
    assert all(10 <= place <= 200 for place in places)
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert 2 <= len(scale.ticks) <= 25
    slack = 1e-6 * (scale.high - scale.low)
    assert scale.low - slack <= min(drawn)
    assert max(drawn) <= scale.high + slack
