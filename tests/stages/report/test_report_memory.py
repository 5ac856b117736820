"""Memory and flash."""

from report_pages import Draw, artifacts, check, text

from stages.report.history import same_kmodel
from stages.report.memory import kpu_ram


def test_memory_is_shown_beside_what_the_chip_has(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "SRAM 126.5 KiB of 6 MiB, 2.1%" in words
    assert (
        "model 49.5 KiB working memory 75.5 KiB input 1.5 KiB output 40 bytes" in words
    )
    assert "KPU RAM peak 1 MiB of 2 MiB, 50.0%" in words


def test_maps_in_kpu_ram_are_drawn_from_their_writer_to_their_last_reader() -> None:
    found = kpu_ram(check(None))
    assert found is not None
    one, other = found.maps
    assert (one.x + one.width, one.y + one.height) == (645.3, 232.0)
    assert (other.x, other.width) == (354.7, 581.3)
    assert other.y + other.height == one.y
    assert "written by k0.1: 4 KiB from 0x1000" in other.words


def test_a_map_that_is_written_over_ends_there() -> None:
    content = check(None)
    content["modelled"]["ops"] = [
        {"id": "k0.0", "ms": None, "reads": None, "writes": [0, 64]},
        {"id": "k0.1", "ms": 1.0, "reads": [0, 64], "writes": [0, 64]},
        {"id": "k1.0", "ms": None, "reads": [0, 64], "writes": None},
    ]
    found = kpu_ram(content)
    assert found is not None
    assert [each.width for each in found.maps] == [581.3, 290.7]
    assert len(found.ends) == 1


def test_the_flash_is_shown_from_end_to_end(draw: Draw) -> None:
    words = text(draw(artifacts()))
    assert "firmware 256 KiB at 0x000000 free 768 KiB at 0x040000" in words
    assert "model slot 60 KiB at 0x100000 free 14.9 MiB at 0x10f000" in words
    assert "header 4 KiB at 0x100000 kmodel 52 KiB at 0x101000" in words


def test_another_kmodel_than_the_compiled_one_is_pointed_out(draw: Draw) -> None:
    content = artifacts()
    content["check/check.json"]["kmodel_sha256"] = "9" * 64
    assert not same_kmodel(
        content["compile/manifest.json"],
        content["flash/receipt.json"],
        content["check/check.json"],
    )
    assert "is not the one that was compiled" in text(draw(content))
