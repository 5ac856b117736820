"""The time of each operation."""

from report_pages import Draw, artifacts, text


def test_modelled_times_are_called_so(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "One inference takes 1 ms, modelled: by the virtual board's clock" in words
    assert "Milliseconds of each operation, modelled" in words
    assert "k0.1 conv2d_10.7575.0%300" in words


def test_measured_times_are_called_so(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["timings"] = {
        "source": "measured",
        "seconds": {"k0.1": 0.001, "s3": 0.003},
    }
    page = draw(content)
    assert "One inference takes 4 ms, measured." in text(page)
    assert "s3 conv2d: 3 ms" in page
