"""A chip that runs firmware/direct: the runtime's statuses and bytes, nothing raised.

The program takes its orders through a mailbox in memory, whose layout is here and in
``firmware/direct/main.c``.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from k210 import firmware, native
from k210.chip import SRAM
from k210.errors import ModelError
from k210.kmodel.op_ids import format_op_id
from k210.virtual import kpu
from k210.virtual.core import Fault
from k210.virtual.kpu import Kpu
from k210.virtual.kpu_layers import Run
from k210.virtual.machine import MEMORY_BASE, Machine, State
from k210.virtual.sysctl import Sysctl

PROGRAM = firmware.ROOT / "direct" / "main.c"
SYSCTL_BASE = 0x5044_0000
LOAD, INFER = 1, 2
MTIME_HZ = 8e6
TENSORS, MAX_RECORDS = 32, 4096
ALIGNMENT = 256
LOOK = 50_000_000
"""Instructions between two looks at the budget."""

BUDGET = 20_000_000_000
"""Instructions after which a program is taken to hang."""

STATUS = {
    1: "an address is missing or not aligned",
    2: "it is not a kmodel of version 5",
    3: "it is cut short",
    4: "a module is damaged",
    5: "a function is damaged",
    6: "an input or output is damaged",
    7: "its code is damaged",
    8: "an operation is not supported",
    9: "the operands of an operation contradict each other",
    10: "an operation reaches beyond its memory",
    11: "the registers of a KPU layer contradict its shape",
    12: "a KPU layer needs more than 64 weight loads",
    13: "a KPU layer would overwrite its own input",
    14: "an inference would take too many steps",
    15: "it has more parts than the firmware has room for",
    16: "the working memory is too small",
    17: "the KPU did not finish a layer",
}
"""What the runtime's statuses mean (kmodel.h); 0 is no error."""


@dataclass
class Mailbox:
    """`struct mailbox` of the program, without the records that follow it."""

    command: int = 0
    status: int = 0
    error_offset: int = 0
    image: int = 0
    image_size: int = 0
    working: int = 0
    working_size: int = 0
    start: int = 0
    end: int = 0
    needs_working: int = 0
    kpu_ram: int = 0
    work: int = 0
    inputs: int = 0
    outputs: int = 0
    record: int = 0
    skip: int = 0
    room: int = 0
    room_size: int = 0
    records: int = 0

    FORM: ClassVar = struct.Struct("<19Q")
    TENSORS: ClassVar = struct.Struct("<32Q32Q")

    def pack(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Its bytes, with the addresses of the tensors."""
        words = [getattr(self, each.name) for each in fields(self)]
        tensors = [[*each, *[0] * (TENSORS - len(each))] for each in (inputs, outputs)]
        return self.FORM.pack(*words) + self.TENSORS.pack(*tensors[0], *tensors[1])


MAILBOX_BYTES = Mailbox.FORM.size + Mailbox.TENSORS.size
RECORD = struct.Struct("<4I3Q")


@dataclass(frozen=True)
class Record:
    """One output of one operation: modelled seconds, and its bytes if there was room.

    `op` is the op's id; further outputs of a call are `s<i>.1` and on.
    """

    op: str
    seconds: float
    data: bytes | None


@cache
def program() -> bytes:
    """The image of the program, built once and kept in the user's cache.

    Raises:
        BoardError: it does not build.
    """
    headers = firmware.ROOT.glob("*/*.[hl]*")
    digest = hashlib.sha256(version("ziglang").encode())
    digest.update(Path(firmware.__file__).read_bytes())
    for path in sorted({*firmware.sources([PROGRAM]), *headers}):
        digest.update(path.read_bytes())
    target = native.folder() / f"direct-{digest.hexdigest()[:16]}.elf"
    image = target.with_suffix(".bin")
    if not image.exists():
        firmware.build([PROGRAM], target)
    return image.read_bytes()


class Runtime:
    """A chip that runs the program: everything as statuses and bytes, nothing raised.

    `layers` are those that the KPU ran in the last inference, `instructions` and
    `seconds` (modelled) what it took; `mailbox` the program's last answer;
    `input_sizes` and `output_sizes` the bytes of the loaded model's tensors, `image`
    where in memory it lies.
    """

    def __init__(self) -> None:
        self.layers: list[Run] = []
        self.instructions = 0
        machine = self.machine = Machine()
        self.kpu = Kpu(machine, self.layers.append)
        machine.attach("KPU", kpu.BASE, kpu.SIZE, self.kpu)
        machine.attach("SYSCTL", SYSCTL_BASE, 0x1000, Sysctl(lambda: None))
        image = program()
        machine.memory[: len(image)] = image
        machine.start(MEMORY_BASE)
        self._sleep(BUDGET)
        self._mailbox = machine.core.register("a0") - MEMORY_BASE
        self.mailbox = Mailbox()
        self._size = self._needs = self.image = 0
        self.input_sizes: tuple[int, ...] = ()
        self.output_sizes: tuple[int, ...] = ()

    def _sleep(self, budget: int) -> None:
        """Run until the program sleeps.

        Raises:
            Fault: it takes more instructions than the budget.
        """
        core = self.machine.core
        before = core.instructions
        while (left := before + budget - core.instructions) > 0:
            if self.machine.run(min(left, LOOK)) is State.IDLE:
                self.instructions = core.instructions - before
                return
        raise Fault(f"the program did not come to an end in {budget} instructions")

    def _ask(
        self,
        request: Mailbox,
        inputs: Sequence[int] = (),
        outputs: Sequence[int] = (),
        budget: int = BUDGET,
    ) -> int:
        memory, at = self.machine.memory, self._mailbox
        memory[at : at + MAILBOX_BYTES] = request.pack(inputs, outputs)
        self._sleep(budget)
        answer = Mailbox.FORM.unpack(memory[at : at + Mailbox.FORM.size])
        self.mailbox = Mailbox(*answer)
        return self.mailbox.status

    def _places(self, sizes: Sequence[int]) -> list[int]:
        """Offsets in memory, 256-byte aligned, and that of what is left.

        Raises:
            ModelError: there is not enough memory.
        """
        at = self._mailbox + MAILBOX_BYTES + MAX_RECORDS * RECORD.size
        places = []
        for size in [*sizes, 0]:
            at += -at % ALIGNMENT
            places.append(at)
            at += size
        if at > SRAM:
            raise ModelError(
                f"the model needs {at} bytes of memory with the firmware, and the K210 "
                f"has {SRAM}; make the input or the network smaller"
            )
        return places

    def load(self, data: bytes, budget: int = BUDGET) -> int:
        """Load a kmodel; its status."""
        image, _ = self._places([len(data)])
        self.image = image
        self.machine.memory[image : image + len(data)] = data
        self._size = len(data)
        request = Mailbox(LOAD, image=image + MEMORY_BASE, image_size=len(data))
        status = self._ask(request, budget=budget)
        self._needs = self.mailbox.needs_working
        start = self._mailbox + Mailbox.FORM.size
        end = start + Mailbox.TENSORS.size
        sizes = Mailbox.TENSORS.unpack(self.machine.memory[start:end])
        self.input_sizes = sizes[: self.mailbox.inputs]
        self.output_sizes = sizes[TENSORS : TENSORS + self.mailbox.outputs]
        return status

    def infer(
        self,
        inputs: Sequence[bytes],
        *,
        record: bool = False,
        copy: bool = False,
        skip: int = 0,
        budget: int = BUDGET,
    ) -> tuple[int, list[bytes]]:
        """Run the loaded kmodel: the status, and what was written.

        Args:
            inputs: the bytes of each input.
            record: whether to record operations; then `records` has them.
            copy: whether to record what they write, which takes time of theirs.
            skip: how many records to leave out.
            budget: instructions at most.

        Raises:
            ModelError: the memory is not enough.
            Fault: the program, or the model, did what the chip does not have.
        """
        memory = self.machine.memory
        outputs = self.output_sizes
        sizes = [self._size, self._needs, *map(len, inputs), *outputs]
        _, working, *tensors, rest = self._places(sizes)
        given, taken = tensors[: len(inputs)], tensors[len(inputs) :]
        for place, sample in zip(given, inputs, strict=True):
            memory[place : place + len(sample)] = sample
        self.layers.clear()
        request = Mailbox(
            INFER,
            working=working + MEMORY_BASE,
            working_size=self._needs,
            record=int(record),
            skip=skip,
            room=rest + MEMORY_BASE,
            room_size=SRAM - rest if copy else 0,
        )
        addresses = [[place + MEMORY_BASE for place in each] for each in (given, taken)]
        status = self._ask(request, addresses[0], addresses[1], budget)
        pairs = zip(taken, outputs, strict=True)
        return status, [bytes(memory[at : at + size]) for at, size in pairs]

    @property
    def seconds(self) -> float:
        """Modelled seconds of the last inference."""
        return (self.mailbox.end - self.mailbox.start) / MTIME_HZ

    def records(self) -> list[Record]:
        """What the last inference recorded, in the order in which operations ended."""
        start = self._mailbox + MAILBOX_BYTES
        count = min(self.mailbox.records - self.mailbox.skip, MAX_RECORDS)
        raw = self.machine.memory[start : start + max(count, 0) * RECORD.size]
        return [self._record(*each) for each in RECORD.iter_unpack(raw)]

    def _record(
        self,
        function: int,
        index: int,
        output: int,
        size: int,
        address: int,
        start: int,
        end: int,
    ) -> Record:
        name = format_op_id(function, index)
        at = address - MEMORY_BASE
        data = bytes(self.machine.memory[at : at + size]) if address else None
        name += f".{output}" if output else ""
        return Record(name, (end - start) / MTIME_HZ, data)
