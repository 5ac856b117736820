"""How the model was trained and calibrated."""

from report_pages import Draw, artifacts, text


def test_the_curves_end_where_the_training_ended(draw: Draw) -> None:
    page = draw(artifacts())
    words = text(page)
    assert "3 epochs; on validation the best was epoch 2 with 98.40%." in words
    assert "train 99.14% validation 97.80%" in words
    assert "Loss, logarithmic train 0.028 validation 0.054" in words


def test_an_empty_history_draws_no_chart(draw: Draw) -> None:
    content = artifacts()
    content["train/history.csv"] = "epoch,accuracy,loss\n"
    words = text(draw(content))
    assert "0 epochs." in words
    assert "logarithmic" not in words


def test_quantization_and_flash_show_what_was_recorded(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert (
        "64 samples of the train split, 6 to 7 per class; pixels from 3 to 251" in words
    )
    assert "no_clip, each feature map's whole range" in words
    assert "kmodel0x10100050,6488bd2eee62a95…" in words
    assert "slot0x100000, 60 KiB" in words


def test_the_calibration_is_drawn_over_the_range_of_the_training(draw: Draw) -> None:
    content = artifacts()
    page = draw(content)
    words = text(page)
    assert "trained on 0 to 1; the calibration set reaches from 0.2 to 0.796" in words
    assert "60% of that" in words
    assert 'class="trained"' not in page
    content["quantize/plan.json"]["training_bytes"] = [[1] * 256]
    assert 'polygon class="trained"' in draw(content)


def test_a_calibration_in_the_wrong_range_is_pointed_out(draw: Draw) -> None:
    content = artifacts()
    content["quantize/calibration.npz"]["samples"] //= 2
    assert "Less than half: is data.range" in text(draw(content))
