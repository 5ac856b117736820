"""The virtual board's KPU, driven through its registers as a program would."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from kpu_layers import random_layer
from numpy.typing import NDArray

from k210.cost import conv_ms
from k210.kmodel import LayerRegisters, kpu_row_layout
from k210.kpu import Layer, download, plain, upload
from k210.virtual.clock import HZ
from k210.virtual.core import Fault
from k210.virtual.kpu import (
    BASE,
    CLEAR,
    EIGHT_BIT_MODE,
    FIFO,
    INTERRUPT,
    MASK,
    RAW,
    SIZE,
    STATUS,
    Kpu,
)
from k210.virtual.machine import KPU_RAM_OFFSET, Machine

WEIGHTS, BATCH_NORM, ACTIVATION = 0x4000_1000, 0x4000_3000, 0x4000_4000
SOURCE_ROW, TARGET_ROW = 0, 512
CHANNELS, HEIGHT, WIDTH, OUTPUTS = 3, 8, 20, 5


@pytest.fixture
def layer() -> Layer:
    return random_layer(np.random.default_rng(0), CHANNELS, OUTPUTS, 3, False, 0)


def registers(layer: Layer) -> LayerRegisters:
    """What the KPU is sent for the layer on a map of the size above."""
    words = LayerRegisters.unpack(bytes(96))
    group, rows = kpu_row_layout(WIDTH)
    return replace(
        words,
        int_en=1,
        image_src_addr=SOURCE_ROW,
        image_dst_addr=TARGET_ROW,
        i_ch_num=CHANNELS - 1,
        o_ch_num=OUTPUTS - 1,
        o_ch_num_coef=OUTPUTS - 1,
        i_row_wid=WIDTH - 1,
        i_col_high=HEIGHT - 1,
        o_row_wid=WIDTH - 1,
        o_col_high=HEIGHT - 1,
        kernel_type=1,
        load_para=1,
        load_coor=1,
        dma_burst_size=15,
        pad_value=layer.pad_value,
        bwsx_base_addr=BATCH_NORM,
        para_size=OUTPUTS * CHANNELS * 9,
        para_start_addr=WEIGHTS,
        channel_switch_addr=rows * HEIGHT,
        row_switch_addr=rows,
        coef_group=group,
        load_act=1,
        active_addr=ACTIVATION,
        wb_channel_switch_addr=rows * HEIGHT,
        wb_row_switch_addr=rows,
        wb_group=group,
        shr_w=layer.shr_w,
        shr_x=layer.shr_x,
        arg_w=layer.arg_w,
        arg_x=layer.arg_x,
        arg_add=layer.arg_add,
        channel_byte_num=WIDTH * HEIGHT - 1,
        dma_total_byte=WIDTH * HEIGHT * OUTPUTS - 1,
    )


class Board:
    """A machine with nothing but a KPU, the layer's tables and a map in place."""

    def __init__(self, layer: Layer) -> None:
        self.machine = Machine()
        self.kpu = Kpu(self.machine)
        self.machine.attach("KPU", BASE, SIZE, self.kpu)
        self.image = np.random.default_rng(1).integers(
            0, 256, (CHANNELS, HEIGHT, WIDTH), np.uint8
        )
        upload(self.image, self.ram, SOURCE_ROW * 64)
        self.put(WEIGHTS, layer.weights)
        self.put(BATCH_NORM, layer.batch_norm)
        self.put(ACTIVATION, layer.activation)
        self.set(EIGHT_BIT_MODE, 1)
        self.set(MASK, 0b110)

    @property
    def ram(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.machine.memory, np.uint8)[KPU_RAM_OFFSET:]

    def put(self, address: int, table: NDArray[np.uint8]) -> None:
        self.machine.view(address, table.size, "a test")[:] = table.tobytes()

    def set(self, register: int, value: int) -> None:
        """Write 64 bits, as the core does."""
        for half in range(2):
            self.kpu.write(register + 4 * half, 4, value >> 32 * half & 0xFFFF_FFFF)

    def push(self, words: LayerRegisters) -> None:
        self.push_raw(struct.unpack("<12Q", words.pack()))

    def push_raw(self, words: Sequence[int]) -> None:
        for word in words:
            self.set(FIFO, word)

    def output(self) -> NDArray[np.uint8]:
        return download(self.ram, TARGET_ROW * 64, (OUTPUTS, HEIGHT, WIDTH))


def test_a_layer_gives_what_the_plain_arithmetic_gives(layer: Layer) -> None:
    board = Board(layer)
    board.push(registers(layer))
    assert board.kpu.read(STATUS, 4) == 1
    assert np.array_equal(board.output(), plain.run(layer, board.image))


def test_tables_are_read_from_memory_every_time(layer: Layer) -> None:
    board, other = Board(layer), np.random.default_rng(2)
    for _ in range(2):
        changed = replace(layer, weights=other.integers(0, 256, 135, np.uint8))
        board.put(WEIGHTS, changed.weights)
        board.push(registers(layer))
        board.kpu.read(STATUS, 4)
        board.set(CLEAR, 7)
        assert np.array_equal(board.output(), plain.run(changed, board.image))


def test_a_layer_takes_the_time_that_is_modelled(layer: Layer) -> None:
    board = Board(layer)
    before = board.machine.clock.now
    board.push(registers(layer))
    assert board.kpu.read(RAW, 4) == 1
    taken = (board.machine.clock.now - before) / HZ * 1e3
    expected = conv_ms(HEIGHT, WIDTH, CHANNELS, OUTPUTS, layer.weights.size)
    assert taken == pytest.approx(expected, rel=1e-4)


def test_the_end_of_a_layer_interrupts_until_it_is_cleared(layer: Layer) -> None:
    board = Board(layer)
    lines: list[tuple[int, bool]] = []
    board.machine.interrupts.set = (  # type: ignore[method-assign]
        lambda source, level: lines.append((source, level))
    )
    board.push(registers(layer))
    board.kpu.read(STATUS, 4)
    assert lines[-1] == (INTERRUPT, True)
    board.set(CLEAR, 7)
    assert lines[-1] == (INTERRUPT, False)


def test_a_masked_interrupt_shows_in_the_raw_status_only(layer: Layer) -> None:
    board = Board(layer)
    board.set(MASK, 7)
    board.push(registers(layer))
    assert board.kpu.read(STATUS, 4) == 0
    assert board.kpu.read(RAW, 4) == 1


Change = Callable[[LayerRegisters], LayerRegisters]

WRONG: dict[str, Change] = {
    "image_dst_addr": lambda r: replace(r, image_dst_addr=SOURCE_ROW + 15),
    "image_src_addr": lambda r: replace(r, image_src_addr=32767),
    "bwsx_base_addr": lambda r: replace(r, bwsx_base_addr=BATCH_NORM + 4),
    "para_start_addr: .* cached": lambda r: replace(r, para_start_addr=0x8000_1000),
    "para_start_addr: .* outside": lambda r: replace(r, para_start_addr=0x405F_FFF8),
    "active_addr: .* not 256": lambda r: replace(r, active_addr=ACTIVATION + 8),
    "active_addr: .* cached": lambda r: replace(r, active_addr=0x8000_4000),
    "int_en": lambda r: replace(r, int_en=0),
    "row_switch_addr": lambda r: replace(r, row_switch_addr=2),
    "channel_switch_addr": lambda r: replace(r, channel_switch_addr=7),
    "coef_group": lambda r: replace(r, coef_group=1),
    "wb_group": lambda r: replace(r, wb_group=4),
    "wb_row_switch_addr": lambda r: replace(r, wb_row_switch_addr=2),
    "para_size": lambda r: replace(r, para_size=1),
    "load_time": lambda r: replace(r, load_time=3),
    "load_time: 86 weight": lambda r: replace(r, i_ch_num=511, o_ch_num=511),
    "o_row_wid": lambda r: replace(r, o_row_wid=9),
    "pool_type": lambda r: replace(r, pool_type=12),
    "send_data_out": lambda r: replace(r, send_data_out=1),
}
"""What the Fault names → a change that silicon would not forgive."""


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_is_a_fault_that_names_it(layer: Layer, field: str) -> None:
    board = Board(layer)
    with pytest.raises(Fault, match=f"KPU {field}"):
        board.push(WRONG[field](registers(layer)))


def test_reserved_bits_are_a_fault(layer: Layer) -> None:
    board = Board(layer)
    words = list(struct.unpack("<12Q", registers(layer).pack()))
    words[0] |= 1 << 40
    with pytest.raises(Fault, match="reserved"):
        board.push_raw(words)


def test_a_second_layer_while_one_runs_is_a_fault(layer: Layer) -> None:
    board = Board(layer)
    board.push(registers(layer))
    with pytest.raises(Fault, match="while one runs"):
        board.push(registers(layer))


def test_without_eight_bit_mode_a_layer_is_a_fault(layer: Layer) -> None:
    board = Board(layer)
    board.set(EIGHT_BIT_MODE, 0)
    with pytest.raises(Fault, match="eight_bit_mode"):
        board.push(registers(layer))


def test_an_impossible_shift_in_the_table_is_a_fault(layer: Layer) -> None:
    board = Board(layer)
    table = layer.activation.copy()
    table[8] = 50
    board.put(ACTIVATION, table)
    with pytest.raises(Fault, match="active_addr: .* shifts by 50"):
        board.push(registers(layer))


def test_half_a_word_is_a_fault(layer: Layer) -> None:
    board = Board(layer)
    board.kpu.write(FIFO, 4, 1)
    with pytest.raises(Fault, match="64 bits"):
        board.kpu.write(FIFO, 4, 1)
