"""firmware/examples/minimal.c on the virtual board, booted from its flash."""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compiled import Compiled

from k210 import firmware
from k210.boards import TYPES
from k210.flash import slot
from k210.flash.known_answers import known_answers
from k210.virtual.board import VirtualBoard
from k210.virtual.nor import NorFlash

SLOT_ADDRESS = 0x100000
NAME = "on_the_cpu"  # ends in a softmax over classes


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("minimal") / "minimal.elf"
    return firmware.build(
        [firmware.ROOT / "examples" / "minimal.c"], output
    ).read_bytes()


def flash_image(program: bytes) -> bytes:
    """What the mask ROM boots: no cipher, the length, the program, its SHA-256."""
    plain = b"\0" + struct.pack("<I", len(program)) + program
    return plain + hashlib.sha256(plain).digest()


def printed(path: Path, image: bytes, contents: slot.Slot | None) -> str:
    """What the board prints after power-on."""
    with NorFlash(path) as flash:
        flash.write(0, flash_image(image))
        for offset, piece in slot.pack(contents) if contents else ():
            flash.write(SLOT_ADDRESS + offset, piece)
        board = VirtualBoard(flash, TYPES["dan"])
        board.line.host_baud = 115200
        said = b""
        for _ in range(300):
            board.step()
            said += board.line.take()
            if said.endswith(b"done\n") or (b"error" in said and said[-1:] == b"\n"):
                break
    return said.decode()


def outputs(each: Compiled) -> list[list[bytes]]:
    return [[output.tobytes()] for output in each.outputs[0]]


def test_it_prints_the_classes_of_the_known_inputs(
    few_kmodels: dict[str, Compiled], image: bytes, tmp_path: Path
) -> None:
    each = few_kmodels[NAME]
    known = known_answers(zip(each.inputs, outputs(each), strict=True))
    contents = slot.Slot(each.model, b"{}", known.pack())
    classes = [int(np.argmax(o.view("<f4"))) for o in each.outputs[0]]
    expected = [f"class {number}, right" for number in classes[: len(known.inputs)]]
    said = printed(tmp_path / "flash.bin", image, contents)
    assert said.splitlines() == [*expected, "done"]


def test_it_says_which_answer_is_wrong(
    few_kmodels: dict[str, Compiled], image: bytes, tmp_path: Path
) -> None:
    each = few_kmodels[NAME]
    known = known_answers(zip(each.inputs, outputs(each), strict=True))
    others = replace(known, outputs=(known.outputs[0], bytes(len(known.outputs[0]))))
    short = replace(others, inputs=known.inputs[:2])
    contents = slot.Slot(each.model, b"{}", short.pack())
    first, second, end = printed(tmp_path / "flash.bin", image, contents).splitlines()
    assert first.endswith(", right")
    assert second.endswith(", wrong")
    assert end == "done"


def test_it_says_that_there_is_no_model(image: bytes, tmp_path: Path) -> None:
    said = printed(tmp_path / "flash.bin", image, None)
    assert said == "error: there is no model in the slot\n"


def test_it_says_that_a_model_is_damaged(
    few_kmodels: dict[str, Compiled], image: bytes, tmp_path: Path
) -> None:
    each = few_kmodels[NAME]
    contents = slot.Slot(each.model[:-8], b"{}", each.inputs[0])
    said = printed(tmp_path / "flash.bin", image, contents)
    assert said.startswith("error: ")
    assert "slot" not in said
