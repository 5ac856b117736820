"""Paddings, placement and repairs."""

import re

from report_pages import FUSED, Draw, artifacts, normalized, operations, text

from stages.report.layers import placement


def test_convolutions_that_cost_the_cpu_are_marked(draw: Draw) -> None:
    page = draw(artifacts())
    words = text(page)
    assert "The CPU has work with 1 of 2 convolutions" in words
    assert (
        "1conv2d_132×48×1 → 16×24×163×3stride 2×2 SAME0102KPU + CPU"
        "because of kpu+cpu" in words
    )
    assert f'title="{FUSED}"' in page
    assert page.count('<tr class="costly">') == 1


def test_what_passes_did_to_a_convolution_is_told(draw: Draw) -> None:
    content = artifacts()
    first = content["normalize/layers.json"]["layers"][0]
    first["given"] = {"top": 1, "bottom": 1, "left": 1, "right": 1}
    first["changes"] = [{"by": "rotation", "what": "rotated with its kernel"}]
    words = text(draw(content))
    assert (
        "because of kpu+cpugiven as 1 1 1 1rotation: rotated with its kernel1.232 KiB"
        in words
    )


def test_plans_and_the_proof_are_shown(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "as it is1.23 ms392100 KiB31.2 dB" in words
    assert "rotated taken1.23 ms192100 KiB31.2 dB" in words
    assert "strides laterit crashed" in words
    assert "(RESIZE_BILINEAR) cannot be rotated." in words
    assert "12 inputs, 31 feature maps: they differ by at most 3.2e-07" in words


def test_a_model_without_convolutions_has_no_padding_table(draw: Draw) -> None:
    content = artifacts()
    content["normalize/layers.json"] = normalized([])
    assert "The model has no convolution." in text(draw(content))


def test_repairs_are_listed_with_all_their_fields(draw: Draw) -> None:
    content = artifacts()
    content["compile/placement.json"]["repairs"] = [
        {"kind": "slope", "ops": ["k0.1", "k0.2"], "segment": 3},
        {"kind": "minimum", "ops": ["k0.1"], "what": {"y": -9, "entry": 0}},
    ]
    words = text(draw(content))
    assert "kindopssegmentwhat slopek0.1, k0.23 minimumk0.1y -9, entry 0" in words
    assert "the compile stage repaired 1 wrapped slope" in words


def test_placement_counts_cpu_operations_and_their_reasons(draw: Draw) -> None:
    page = draw(artifacts())
    words = text(page)
    assert "1 layer runs on the KPU, 75.0% of all multiply-accumulates" in words
    assert "3 operations run on the CPU" in words
    assert "pad22 KiBpadding that the KPU does not have" in words
    assert "All 6 operations" in words
    strip = page[page.index('<ol class="strip"') : page.index("One block per")]
    assert [*re.findall(r'<li class="([\w ]+)"', strip)] == [
        "cpu",
        "dma region",
        "kpu region",
        "dma region",
        "cpu",
        "cpu",
    ]


def test_repairs_of_the_kmodel_are_told_in_one_line(draw: Draw) -> None:
    content = artifacts()
    assert "repaired" not in text(draw(content))
    records = [{"kind": "slope", "ops": ["k0.1"]}, {"kind": "minimum", "ops": ["k0.2"]}]
    content["compile/placement.json"]["repairs"] = records
    told = "1 wrapped slope and 1 value below the minimum in 2 activation tables"
    assert f"the compile stage repaired {told}." in text(draw(content))


def test_a_model_all_on_the_kpu_has_no_cpu_table() -> None:
    placed = placement({"regions": 1, "ops": operations()[1:5]})
    assert placed.kinds == ()
    assert placed.counts == {"dma": 2, "kpu": 1}
