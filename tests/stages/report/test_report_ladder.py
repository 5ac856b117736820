"""The ladder on the page."""

from report_pages import Draw, Reader, artifacts, row, text

from stages.report.ladder import weakest_link


def test_the_ladder_shows_every_figure_of_every_step(draw: Draw) -> None:
    words = text(draw(artifacts()))
    for line in (
        "floatthe trained Keras model97.51%96.3%–98.3%–––––",
        "tfliteas exported to TFLite97.52%96.3%–98.3%100.00%134.1 dB144.2 dB1.2×10⁻⁸",
        "normalizedas rewritten for the KPU97.53%96.3%–98.3%100.00%134.1 dB144.2 dB",
        "referencethe kmodel on the host96.44%95.2%–97.2%99.87%36.8 dB46.9 dB0.00052",
        "devicethe kmodel in the board's flash96.55%95.3%–97.3%99.87%36.8 dB46.9 dB",
    ):
        assert line in words


def test_both_pictures_have_a_mark_for_each_step(draw: Draw) -> None:
    elements = Reader(draw(artifacts())).elements
    assert [tag for tag, _ in elements].count("circle") == 5
    levels = [each for _, each in elements if each.get("class") == "level"]
    assert len(levels) == 4


def test_the_neighbours_that_differ_most_are_named(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert (
        "change most from normalized to reference, where the signal-to-noise ratio "
        "falls from 134.1 dB to 36.8 dB" in words
    )


def test_steps_without_any_difference_are_no_weak_link(draw: Draw) -> None:
    same = {"agreement": 1.0, "l1": 0.0}
    rungs = [
        row("tflite", 0.9),
        row("reference", 0.9, **same),
        row("device", 0.9, **same),
    ]
    assert weakest_link(rungs) is None
    content = artifacts()
    content["check/check.json"]["ladder"] = rungs
    words = text(draw(content))
    assert "No step changes the outputs." in words
    assert "no difference" in words


def test_more_noise_than_signal_is_drawn_below_zero(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["ladder"][-1]["snr_db"] = -3.21
    page = draw(content)
    assert "−3.2 dB" in text(page)
    widths = [float(e["width"] or 0) for t, e in Reader(page).elements if t == "rect"]
    assert min(widths) >= 0
