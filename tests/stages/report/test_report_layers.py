"""The noise of each layer, and the first that is wrong."""

from typing import Any

from report_pages import Draw, artifacts, text


def traced(op_id: str, tensor: str, snr: float | None, fall: float) -> dict[str, Any]:
    return {
        "op": op_id,
        "tensor": tensor,
        "gives": f"{tensor}/Relu",
        "kind": "kpu_conv2d",
        "where": "kpu" if op_id.startswith("k") else "cpu",
        "snr_db": snr,
        "fall_db": fall,
        "range": [0.0, 6.0] if op_id.startswith("k") else None,
        "seen": [0.0, 5.5],
        "steps": 230 if op_id.startswith("k") else None,
        "saturated": 0.0125,
    }


def trace(**more: Any) -> dict[str, Any]:
    layers = [
        traced("s0", "a", None, 0.0),
        traced("k0.1", "net/b/Conv2D", 34.0, 1.0),
        traced("s3", "c", 31.5, 2.5),
    ]
    return {"pictures": 8, "layers": layers, "first_wrong": None, **more}


def test_the_noise_is_drawn_along_the_network(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["trace"] = trace()
    page = draw(content)
    assert "k0.1 b: 34.0 dB" in page
    drawn = page[page.index('id="trace"') :]
    assert drawn.index('<rect class="kpu"') < drawn.index('<rect class="cpu"')
    assert "All 3 layers, on 8 pictures" in text(page)
    assert "k0.1bKPU34.0 dB1.0 dB0 to 60 to 5.52301.25%" in text(page)


def test_the_layer_that_loses_most_is_named_where_none_is_wrong(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["trace"] = trace()
    words = text(draw(content))
    assert "No layer is wrong." in words
    assert "what it works on is s3 c: 2.5 dB, to 31.5 dB." in words


def test_the_first_wrong_layer_is_named_with_its_cause_and_table(draw: Draw) -> None:
    content = artifacts()
    segment = {"x_start": 12, "mul": -32768, "shift": 30, "bias": 7}
    wrong = {
        **traced("k0.1", "net/b/Conv2D", 3.5, 31.5),
        "step": "reference",
        "cause": "wrapped slope",
        "words": "segment 3 falls where it should rise",
        "table": [segment] * 16,
    }
    content["check/check.json"]["trace"] = trace(first_wrong=wrong)
    words = text(draw(content))
    assert "The first layer that is wrong is k0.1 b, on the step to reference" in words
    assert "segment 3 falls where it should rise." in words
    assert "1512−32,768307" in words


def test_without_a_trace_there_is_no_such_section(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["trace"] = None
    assert "Layer by layer" not in text(draw(content))
