import shutil
from pathlib import Path

import pytest

from k210 import firmware
from k210.errors import BoardError

HELLO = Path(__file__).parents[1] / "firmware" / "hello.c"


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    first = firmware.build([HELLO], tmp_path / "a.elf").read_bytes()
    second = firmware.build([HELLO], tmp_path / "elsewhere" / "b.elf").read_bytes()
    assert first == second


def test_an_image_carries_a_digest(tmp_path: Path) -> None:
    image = firmware.build([HELLO], tmp_path / "a.elf").read_bytes()
    assert bytes.fromhex(firmware.digest(image)) in image
    assert firmware.digest(image) != "0" * 64


def test_a_source_that_does_not_compile_says_why(tmp_path: Path) -> None:
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return missing; }\n")
    with pytest.raises(BoardError, match="missing"):
        firmware.build([source], tmp_path / "a.elf")


@pytest.mark.skipif(
    shutil.which(firmware.GCC.command[0]) is None, reason="Debian's gcc is missing"
)
def test_it_builds_with_gcc_too(tmp_path: Path) -> None:
    image = firmware.build(firmware.app(), tmp_path / "a.elf", firmware.GCC)
    assert image.stat().st_size > 0
