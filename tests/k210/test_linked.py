"""A board behind the link: our firmware on the virtual chip, loaded through the ROM."""

import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bad_line import BadLine
from compiled import Compiled

from k210 import firmware
from k210.board import BoardSpec, SelfTest
from k210.boards import TYPES
from k210.chip import SRAM
from k210.errors import BoardError, ModelError
from k210.flash import slot
from k210.flash.known_answers import KnownAnswers, known_answers
from k210.flash.slot import Slot, SlotError
from k210.link.client import Link, Op
from k210.linked import IDENTITY, LinkedBoard
from k210.reference import Reference
from k210.virtual.board import VirtualBoard
from k210.virtual.local import LocalPort
from k210.virtual.machine import MEMORY_BASE
from k210.virtual.nor import SECTOR, NorFlash

SIZE = 1 << 20
SLOT = 0x40000
OVERHEAD_LIMIT = 128 * 1024
STACK_MARGIN = 1.5
PAINT = 0xA5


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[NorFlash]:
    with NorFlash(tmp_path / "flash.bin", SIZE) as flash:
        yield flash


def opened(flash: NorFlash) -> tuple[LinkedBoard, LocalPort]:
    port = LocalPort(VirtualBoard(flash, TYPES["virtual"]))
    spec = BoardSpec("virtual", SIZE, flash.path, flash.path.with_name("log"))
    return LinkedBoard(spec, port, lambda: None, True), port


@pytest.fixture
def board(flash: NorFlash) -> LinkedBoard:
    return opened(flash)[0]


@pytest.fixture
def model(few_kmodels: dict[str, Compiled]) -> Compiled:
    return next(iter(few_kmodels.values()))


def test_the_image_is_small(flash: NorFlash) -> None:
    assert len(firmware.image()) <= 64 * 1024


def test_all_but_128_kib_is_for_models(flash: NorFlash, model: Compiled) -> None:
    """What it takes is its image, its own memory and the runtime's working memory."""
    board, port = opened(flash)
    board.load(model.model)
    link = Link(port)
    assert link.hello(3)
    room = IDENTITY.unpack(link.ask(Op.IDENTITY).payload)[5]
    working, data = struct.unpack_from("<II", link.ask(Op.DESCRIBE).payload, 8)
    taken = SRAM - room + working - data
    assert len(firmware.image()) < taken <= OVERHEAD_LIMIT


def stack() -> range:
    """Where the firmware's stack lies in memory, from the ELF file."""
    firmware.image()
    elf = (firmware.OUTPUT / "firmware.elf").read_bytes()
    (headers,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<3H", elf, 0x3A)
    sections = [
        struct.unpack_from("<I12xQQQ", elf, headers + number * size)
        for number in range(count)
    ]
    strings = sections[names][2]
    name = elf.index(b".stack\0", strings) - strings
    start, length = next(each[1::2] for each in sections if each[0] == name)
    return range(start - MEMORY_BASE, start - MEMORY_BASE + length)


def test_the_stack_has_half_as_much_again_as_is_used(
    flash: NorFlash, few_kmodels: dict[str, Compiled]
) -> None:
    board, port = opened(flash)
    machine, place = port.board.chip.machine, stack()
    unused = machine.core.register("sp") - MEMORY_BASE
    assert unused in place
    machine.memory[place.start : unused] = bytes([PAINT]) * (unused - place.start)
    port.board.line.faults.spoil = BadLine(1, 0.0005).carry
    for each in few_kmodels.values():
        in_slot(flash, Slot(each.model, b"{}", answers(each).pack()))
        board.load(SLOT)
        assert board.self_test(SLOT) is not None
        assert len(list(board.infer_many(each.inputs[:3]))) == len(each.inputs[:3])
        board.trace(list(board.timings()))
    board.flash_write(0, bytes(SECTOR))
    board.flash_sha256(0, SECTOR)
    left = bytes(machine.memory[place.start : place.stop]).lstrip(bytes([PAINT]))
    print(f"{len(left)} of {len(place)} bytes of stack used")
    assert 0 < len(left) * STACK_MARGIN <= len(place)


def test_it_tells_who_it_is(board: LinkedBoard, flash: NorFlash) -> None:
    identity = board.identity()
    assert identity["kind"] == "virtual"
    assert identity["flash_size"] == SIZE == board.flash_size
    assert identity["flash_jedec_id"] == flash.jedec_id.hex()


def test_flash_is_written_read_and_hashed(board: LinkedBoard, flash: NorFlash) -> None:
    content = random.Random(1).randbytes(10_000)
    board.flash_erase(SECTOR, 3 * SECTOR)
    board.flash_write(SECTOR + 7, content)
    assert flash.read(SECTOR + 7, len(content)) == content
    assert board.flash_read(SECTOR + 7, len(content)) == content
    assert board.flash_sha256(3, 9000) == flash.sha256(3, 9000)
    with pytest.raises(BoardError, match="do not lie in the board's flash"):
        board.flash_read(SIZE - 1, 2)
    with pytest.raises(BoardError, match="whole sectors"):
        board.flash_erase(1, SECTOR)


def test_a_model_from_memory_computes_as_the_reference(
    board: LinkedBoard, model: Compiled
) -> None:
    board.load(model.model)
    outputs = list(board.infer_many(model.inputs))
    reference = Reference(model.model)
    assert outputs == [reference.infer(sample) for sample in model.inputs]
    tensors = board.describe().inputs
    assert sum(tensor.size for tensor in tensors) == len(model.inputs[0])


def test_a_model_from_the_slot_computes_as_one_from_memory(
    board: LinkedBoard, flash: NorFlash, model: Compiled
) -> None:
    for offset, data in slot.pack(Slot(model.model, b"{}")):
        flash.write(SLOT + offset, data)
    board.load(SLOT)
    assert board.infer(model.inputs[0]) == Reference(model.model).infer(model.inputs[0])
    flash.program_page(SLOT + SECTOR + 100, bytes(16))
    with pytest.raises(SlotError, match="damaged"):
        board.load(SLOT)
    with pytest.raises(SlotError, match="no model slot"):
        board.load(0)


def in_slot(flash: NorFlash, contents: Slot) -> None:
    for offset in range(0, slot.size(contents), SECTOR):
        flash.erase_sector(SLOT + offset)
    for offset, data in slot.pack(contents):
        flash.write(SLOT + offset, data)


def answers(model: Compiled) -> KnownAnswers:
    reference = Reference(model.model)
    return known_answers((each, reference.infer(each)) for each in model.inputs)


def test_a_board_checks_itself_against_the_known_answers(
    board: LinkedBoard, flash: NorFlash, model: Compiled
) -> None:
    known = answers(model)
    count = len(known.inputs)
    in_slot(flash, Slot(model.model, b"{}", known.pack()))
    board.load(SLOT)
    assert board.self_test(SLOT) == SelfTest(count, 0, None)
    last = bytes(len(known.outputs[-1]))
    others = replace(known, outputs=(*known.outputs[:-1], last), tolerance=0.0)
    in_slot(flash, Slot(model.model, b"{}", others.pack()))
    assert board.self_test(SLOT) == SelfTest(count, 1, count - 1)


def test_a_slot_without_known_answers_has_no_self_test(
    board: LinkedBoard, flash: NorFlash, model: Compiled
) -> None:
    with pytest.raises(ModelError, match="no model is loaded"):
        board.self_test(SLOT)
    in_slot(flash, Slot(model.model, b"{}"))
    board.load(SLOT)
    assert board.self_test(SLOT) is None


def test_damaged_known_answers_are_not_believed(
    board: LinkedBoard, flash: NorFlash, model: Compiled
) -> None:
    block = answers(model).pack()
    for spoilt in (block[:-4], b"K210NONE" + block[8:], block[:16] + bytes(16)):
        in_slot(flash, Slot(model.model, b"{}", spoilt))
        board.load(SLOT)
        with pytest.raises(SlotError, match="damaged"):
            board.self_test(SLOT)


def test_timings_and_tensors_go_by_op_id(board: LinkedBoard, model: Compiled) -> None:
    board.load(model.model)
    board.infer(model.inputs[0])
    timings = board.timings()
    expected = Reference(model.model).trace(model.inputs[0])
    assert set(expected) <= set(timings)
    assert all(0 <= seconds < 1 for seconds in timings.values())
    ids = list(expected)[:2]
    traced = board.trace(ids)
    assert board.timings() == timings
    for op_id in ids:
        assert traced[op_id].tobytes() == expected[op_id].tobytes()
    with pytest.raises(ModelError, match="no op s999"):
        board.trace(["s999"])


def test_what_is_no_model_is_refused(board: LinkedBoard, model: Compiled) -> None:
    with pytest.raises(ModelError, match="no model is loaded"):
        board.infer(b"")
    with pytest.raises(ModelError, match="refuses the model"):
        board.load(bytes(1000))
    board.load(model.model)
    with pytest.raises(ModelError, match="the model takes"):
        board.infer(b"short")
    board.reset()
    with pytest.raises(ModelError, match="no model is loaded"):
        board.describe()


def test_a_running_firmware_is_used_as_it_is(flash: NorFlash) -> None:
    _, port = opened(flash)
    before = port.board.chip.machine.clock.seconds
    spec = BoardSpec("local", SIZE, flash.path, flash.path, kind="virtual")
    LinkedBoard(spec, port, lambda: None, False).identity()
    assert port.board.chip.machine.clock.seconds - before < 0.2


def infer_on_a_bad_line(flash: NorFlash, model: Compiled, count: int) -> None:
    """Each of the results right, though 0.1 % of bytes suffer, each way."""
    board, port = opened(flash)
    board.load(model.model)
    port.board.line.faults.spoil = BadLine(1, 0.00025).carry
    samples = [model.inputs[i % len(model.inputs)] for i in range(count)]
    reference = Reference(model.model)
    right = {sample: reference.infer(sample) for sample in model.inputs}
    for sample, outputs in zip(samples, board.infer_many(samples), strict=True):
        assert outputs == right[sample]


def test_a_bad_line_never_gives_a_wrong_result(
    flash: NorFlash, model: Compiled
) -> None:
    infer_on_a_bad_line(flash, model, 10)


@pytest.mark.long
def test_a_thousand_inferences_over_a_bad_line(
    flash: NorFlash, model: Compiled
) -> None:
    infer_on_a_bad_line(flash, model, 1000)
