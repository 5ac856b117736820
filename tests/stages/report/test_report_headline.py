"""The verdict, and the figures that come first."""

from report_pages import Draw, Reader, artifacts, text, unlabelled

from stages.verdict import failures


def test_the_headline_is_the_devices_accuracy_and_where_it_was_measured(
    draw: Draw,
) -> None:
    words = text(draw(artifacts()))
    head = words[: words.index("The ladder")]
    assert "✓ pass The device meets every threshold" in head
    assert "device accuracy96.55%95% interval 95.3%–97.3%" in head
    assert "agreement99.87%of decisions are those of float" in head
    assert "−0.96 points" in head
    assert "−1.36 to −0.66, float to device" in head
    assert "40 test samples" in head
    assert "firmware" in head
    assert "virtual, flash ID ef4018, flash size 16 MiB" in head
    assert "at least 95.50%: ✓ met with 96.55%" in head


def test_the_title_is_the_reports_or_else_the_projects_name(draw: Draw) -> None:
    assert "<title>digits: pass</title>" in draw(artifacts())
    page = draw(artifacts(), report={"title": "Números & Co"})
    assert "<title>Números &amp; Co: pass</title>" in page
    assert "K210 pipeline · digits" in text(page)


def test_a_failed_verdict_says_each_failure_in_a_sentence(draw: Draw) -> None:
    content = artifacts()
    measured = content["check/check.json"]
    measured["thresholds"] = {
        "min_accuracy": 0.97,
        "max_drop": 0.005,
        "min_agreement": 0.98,
    }
    measured["failures"] = failures(measured["ladder"], 0.97, 0.005, 0.98)
    measured["verdict"] = "fail"
    words = text(draw(content))
    assert "✗ fail" in words
    assert "device accuracy 96.55% is below check.min_accuracy 97.00%" in words
    assert "accuracy drops by 0.96% from float to device" in words
    assert "at least 97.00%: ✗ missed with 96.55%" in words
    assert "at most 0.50%: ✗ missed with −0.96 points" in words
    assert "at least 98.00%: ✓ met with 99.87%" in words


def test_a_project_without_thresholds_is_not_said_to_meet_them(draw: Draw) -> None:
    content = artifacts()
    none = {"min_accuracy": None, "max_drop": None, "min_agreement": None}
    content["check/check.json"]["thresholds"] = none
    words = text(draw(content))
    assert "The project sets no threshold" in words
    assert "meets every" not in words


def test_without_labels_agreement_leads_and_accuracy_is_not_measured(
    draw: Draw,
) -> None:
    page = draw(unlabelled())
    words = text(page)
    figures = ["agreement99.87%", "signal to noise36.8 dB", "accuracynot measured"]
    assert sorted(figures, key=words.index) == figures
    assert "floatthe trained Keras modelnot measured" in words
    assert 'id="confusion"' not in page
    assert 'href="#confusion"' not in page
    assert "circle" not in Reader(page).tags


def test_without_decisions_the_noise_leads(draw: Draw) -> None:
    content = unlabelled()
    content["check/check.json"]["thresholds"]["min_agreement"] = None
    for rung in content["check/check.json"]["ladder"]:
        rung["agreement"] = None
    words = text(draw(content))
    figures = [
        "signal to noise36.8 dB",
        "agreementnot measured",
        "accuracynot measured",
    ]
    assert sorted(figures, key=words.index) == figures


def test_a_project_that_brings_its_model_has_no_training_curves(draw: Draw) -> None:
    content = artifacts()
    del content["check/check.json"]["ladder"][0]
    page = draw(content, model={"file": "mine.tflite"})
    assert 'id="training"' not in page
    assert 'href="#training"' not in page
    assert "each is compared with tflite" in text(page)
