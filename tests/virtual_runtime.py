"""The firmware's kmodel runtime on the virtual core, driven through a mailbox.

The program is tests/firmware/run_kmodel.c. No boot, no link: a kmodel is put into the
machine's memory, and outputs, traces and times are read from it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import device_programs
import numpy as np
from numpy.typing import NDArray

from k210 import kmodel
from k210.limits import SRAM
from k210.virtual.kpu import BASE, SIZE, Kpu, Run
from k210.virtual.machine import MEMORY_BASE, Machine, State
from k210.virtual.storage import Storage

LOAD, INFER = 1, 2
ENTRY = 0xFFFF
HEADER = struct.Struct("<8I5I4xQ2I32I32I4I")
OP = struct.Struct("<4I2Q")
MAX_TRACED = 4096
BUDGET = 4_000_000_000
MTIME_HZ = 8e6


class Hang(AssertionError):
    """The program used up its instructions."""


@dataclass(frozen=True)
class Traced:
    """One operation: its id, modelled seconds, and the bytes it wrote (or None)."""

    id: str
    seconds: float
    data: bytes | None


class VirtualRuntime:
    """A machine with a KPU that runs the program; `layers` records what the KPU ran."""

    def __init__(self) -> None:
        self.layers: list[Run] = []
        machine = self.machine = Machine()
        machine.attach("KPU", BASE, SIZE, Kpu(machine, self.layers.append))
        machine.attach("SYSCTL", 0x5044_0000, 0x1000, Storage())
        image = device_programs.image("run_kmodel")
        machine.memory[: len(image)] = image
        machine.start(MEMORY_BASE)
        self._wait(1_000_000)
        self._mailbox = machine.core.register("a0") - MEMORY_BASE

    def _wait(self, budget: int) -> int:
        """Run until the program sleeps; returns the instructions it took."""
        before = self.machine.core.instructions
        while (taken := self.machine.core.instructions - before) < budget:
            if self.machine.run(min(20_000_000, budget - taken)) is State.IDLE:
                return self.machine.core.instructions - before
        raise Hang(f"not done after {budget} instructions")

    def _place(self, sizes: Sequence[int]) -> list[int]:
        """Offsets, one after the other, 256-byte aligned, behind the mailbox."""
        at = self._mailbox + HEADER.size + MAX_TRACED * OP.size
        places = []
        for size in sizes:
            at += -at % 256
            places.append(at)
            at += size
        assert at <= SRAM, f"{at} bytes do not fit"
        return [*places, at + -at % 256]

    def load(self, data: bytes, budget: int = BUDGET) -> int:
        """The status of loading a kmodel."""
        self._size = len(data)
        self._image, self._free = self._place([len(data)])
        self.machine.memory[self._image : self._image + len(data)] = data
        return self._command(
            LOAD, [self._image + MEMORY_BASE, len(data), 0, 0], budget=budget
        )

    def _command(
        self,
        command: int,
        words: Sequence[int],
        inputs: Sequence[int] = (),
        outputs: Sequence[int] = (),
        trace: tuple[int, int] = (0, 0),
        budget: int = BUDGET,
    ) -> int:
        addresses = [
            [place + MEMORY_BASE for place in places] + [0] * (32 - len(places))
            for places in (inputs, outputs)
        ]
        packed = HEADER.pack(
            *(command, 0, *words, 0, 0),
            *(0, 0, 0, 0, 0, 0, 0, 0),
            *addresses[0],
            *addresses[1],
            *(trace[0] + MEMORY_BASE, trace[1], 0, 0),
        )
        memory, at = self.machine.memory, self._mailbox
        memory[at : at + HEADER.size] = packed
        self.instructions = self._wait(budget)
        found = HEADER.unpack(memory[at : at + HEADER.size])
        self.error_offset = found[6]
        if command == LOAD:
            self.memory, self.work = found[8:13], found[13]
        self.traced = found[80 + 2]
        return int(found[1])

    def infer(
        self, inputs: Sequence[bytes], trace: bool = False, budget: int = BUDGET
    ) -> tuple[int, list[bytes]]:
        """The status and the outputs of one inference of the loaded kmodel."""
        memory = self.machine.memory
        entry = self._entry()
        sizes = [tensor.range.size for tensor in (*entry.inputs, *entry.outputs)]
        working = self.memory[0]
        *places, end = self._place([self._size, working, *sizes])
        given = places[2 : 2 + len(inputs)]
        taken = places[2 + len(inputs) :]
        for place, sample in zip(given, inputs, strict=True):
            memory[place : place + len(sample)] = sample
        self._trace = (end, SRAM - end) if trace else (0, 0)
        self.layers.clear()
        status = self._command(
            INFER,
            [0, 0, places[1] + MEMORY_BASE, working],
            given,
            taken,
            self._trace,
            budget,
        )
        lengths = sizes[len(inputs) :]
        return status, [
            bytes(memory[place : place + length])
            for place, length in zip(taken, lengths, strict=True)
        ]

    def _entry(self) -> kmodel.Function:
        image = bytes(self.machine.memory[self._image : self._image + self._size])
        return kmodel.parse(image).entry

    def trace(self) -> list[Traced]:
        """What the hook saw in the last inference, in the order in which ops ended."""
        memory = self.machine.memory
        start = self._mailbox + HEADER.size
        found = []
        for number in range(self.traced):
            raw = memory[start + number * OP.size : start + (number + 1) * OP.size]
            function, index, address, size, begin, end = OP.unpack(raw)
            name = f"s{index}" if function == ENTRY else f"k{function}.{index}"
            at = address - MEMORY_BASE
            data = bytes(memory[at : at + size]) if address else None
            found.append(Traced(name, (end - begin) / MTIME_HZ, data))
        return found


def as_floats(data: bytes) -> NDArray[np.float32]:
    """An output's bytes as the float32 that they are."""
    return np.frombuffer(data, np.float32)
