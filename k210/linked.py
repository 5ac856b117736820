"""A board that runs our firmware, real or virtual: the Board behind a port.

Opening it takes one path: a running firmware of the same digest is used as it is;
otherwise the board is reset into its ROM, which loads ours into memory.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from k210 import firmware
from k210.board import (
    BoardSpec,
    Description,
    Done,
    FlashStep,
    Program,
    SelfTest,
    Tensor,
)
from k210.boards import BoardType, board_type, wired
from k210.errors import BoardError, ModelError, UserError
from k210.flash.slot import SlotError
from k210.isp import MEMORY_BASE, ROM_BAUD, Isp
from k210.kmodel.op_ids import format_op_id, parse_op_id
from k210.link.client import Link, Op, Reply, Status
from k210.link.flash_steps import FlashSteps
from k210.link.speed import HELLO_S, Speed
from k210.ports import Port, open_port

SECTOR = 4096
ERASE_AT_ONCE = 1 << 16
TRANSFER = 1 << 15
AHEAD = 1 << 15
"""Bytes of samples that wait for the line while the board computes."""

MAX_AHEAD = 8
RUNNING_S = 0.4
IDENTITY = struct.Struct("<32s3s8sBIII")
TYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
"""numpy's names of nncase's element types, by their numbers."""


class LinkedBoard:
    """See ``k210.board.Board``.

    Args:
        spec: the board.
        port: its open port.
        release: called when the board is closed.
        fresh: it was just powered on, so nothing of ours runs on it.
    """

    engine = "firmware"

    def __init__(
        self, spec: BoardSpec, port: Port, release: Callable[[], None], fresh: bool
    ) -> None:
        self._spec, self._port, self._release = spec, port, release
        kind = board_type(spec.kind or usual_kind(spec.port))
        self._kind = wired(kind, spec.reset)
        self._link = Link(port)
        self._speed = Speed(port, self._link)
        self._open = True
        self._flash_size = 0
        self._ticks_per_second = 1
        self._description: Description | None = None
        try:
            self._connect(fresh)
        except BaseException:
            self.close()
            raise

    def _connect(self, fresh: bool) -> None:
        image = firmware.image()
        if fresh or not self._runs(image):
            load_firmware(self._port, self._kind, image)
            if not self._link.hello(HELLO_S):
                raise BoardError(
                    f"the firmware loaded on {self._spec.port} does not answer: "
                    "reset the board and try again"
                )
            self._speed.up(self._spec.baud)
        (
            _,
            self._jedec_id,
            self._unique_id,
            _,
            self._flash_size,
            _,
            self._ticks_per_second,
        ) = IDENTITY.unpack(self._ask(Op.IDENTITY))
        if not self._flash_size:
            raise BoardError(
                f"the board on {self._spec.port} has no flash that answers: "
                "check its wiring"
            )

    def _runs(self, image: bytes) -> bool:
        """Whether this firmware runs on the board already."""
        for baud in dict.fromkeys((self._spec.baud, ROM_BAUD)):
            self._port.baudrate = baud
            if self._link.hello(RUNNING_S):
                digest = IDENTITY.unpack(self._ask(Op.IDENTITY))[0]
                if baud != self._spec.baud:
                    self._speed.up(self._spec.baud)
                return bool(digest.hex() == firmware.digest(image))
        return False

    def _ask(self, op: Op, payload: bytes = b"") -> bytes:
        if not self._open:
            raise BoardError("the board is closed; open it again")
        return _checked(self._link.ask(op, payload))

    @property
    def flash_size(self) -> int:
        """Size of the flash in bytes."""
        return self._flash_size

    def identity(self) -> dict[str, str | int]:
        """Kind, flash id and size."""
        return {
            "kind": self._kind.name,
            "flash_id": self._unique_id.hex(),
            "flash_jedec_id": self._jedec_id.hex(),
            "flash_size": self.flash_size,
        }

    def flash_read(self, address: int, length: int) -> bytes:
        """Bytes of the flash."""
        self._check_range(address, length)
        pieces = [
            self._ask(Op.FLASH_READ, struct.pack("<II", at, count))
            for at, count in _pieces(address, length, TRANSFER)
        ]
        return b"".join(pieces)

    def flash_erase(self, address: int, length: int) -> None:
        """Erase whole sectors.

        Raises:
            BoardError: the range does not consist of whole sectors.
        """
        if address % SECTOR or length % SECTOR:
            raise BoardError(
                f"cannot erase {length} bytes at {address:#x}: "
                f"flash erases in whole sectors of {SECTOR} bytes"
            )
        self._check_range(address, length)
        for at, count in _pieces(address, length, ERASE_AT_ONCE):
            self._ask(Op.FLASH_ERASE, struct.pack("<II", at, count))

    def flash_write(self, address: int, data: bytes) -> None:
        """Program erased bytes."""
        self._check_range(address, len(data))
        for at, count in _pieces(address, len(data), TRANSFER):
            piece = data[at - address : at - address + count]
            self._ask(Op.FLASH_WRITE, struct.pack("<I", at) + piece)
        self._description = None

    def flash_sha256(self, address: int, length: int) -> str:
        """Hex SHA-256 of a range."""
        self._check_range(address, length)
        return self._ask(Op.FLASH_SHA256, struct.pack("<II", address, length)).hex()

    def flash_run(self, steps: Iterable[FlashStep]) -> Iterator[Done]:
        """Do steps in order, the next ones on their way; see ``Flash.flash_run``."""
        self._description = None
        run = FlashSteps(self._link, self._speed, _checked).run
        return run(self._in_range(step) for step in steps)

    def _in_range(self, step: FlashStep) -> FlashStep:
        length = len(step.data) if isinstance(step, Program) else step.length
        self._check_range(step.address, length)
        return step

    def _check_range(self, address: int, length: int) -> None:
        if min(address, length) < 0 or address + length > self.flash_size:
            raise BoardError(
                f"{length} bytes at {address:#x} do not lie in the board's flash of "
                f"{self.flash_size:#x} bytes: correct the address or length"
            )

    def load(self, model: int | bytes) -> None:
        """Load the kmodel in the slot at an address, or these bytes of one."""
        self._description = None
        if isinstance(model, int):
            self._ask(Op.LOAD_SLOT, model.to_bytes(4, "little"))
        else:
            self._ask(Op.LOAD_BYTES, model)
        self._description = _description(self._ask(Op.DESCRIBE))

    def describe(self) -> Description:
        """The loaded model's inputs and outputs."""
        if self._description is None:
            raise ModelError("no model is loaded on the board; load one first")
        return self._description

    def infer(self, data: bytes) -> list[bytes]:
        """The outputs for one input."""
        return next(self.infer_many([data]))

    def infer_many(self, samples: Iterable[bytes]) -> Iterator[list[bytes]]:
        """The outputs for each sample, in order; the next ones are on their way."""
        outputs = self.describe().outputs
        asked = 0
        for sample in samples:
            self._check_input(sample)
            self._link.submit(Op.INFER, sample)
            asked += 1
            while asked >= MAX_AHEAD or self._link.backlog > AHEAD:
                asked -= 1
                yield _split(_checked(self._link.result()), outputs)
        for _ in range(asked):
            yield _split(_checked(self._link.result()), outputs)

    def _check_input(self, sample: bytes) -> None:
        size = sum(tensor.size for tensor in self.describe().inputs)
        if len(sample) != size:
            raise ModelError(
                f"the model takes {size} bytes, not {len(sample)}: prepare the input "
                "as its manifest says"
            )

    def trace(self, ids: Sequence[str]) -> dict[str, Any]:
        """The output tensors of these ops; the model runs again for each."""
        return {op_id: self._trace(op_id) for op_id in ids}

    def _trace(self, op_id: str) -> Any:
        function, index = parse_op_id(op_id)
        request = struct.pack("<III", function, index, 0)
        reply = self._link.ask(Op.TRACE, request)
        if reply.status == Status.NO_SUCH_OP:
            raise ModelError(
                f"the model has no op {op_id} that writes a tensor: "
                "`python -m k210 inspect` lists them"
            )
        payload = _checked(reply)
        kind, rank = struct.unpack_from("<HH", payload)
        shape = struct.unpack_from(f"<{rank}I", payload, 4)
        data = payload[4 + 4 * rank :]
        return np.frombuffer(data, np.dtype("<" + TYPES[kind])).reshape(shape).copy()

    def timings(self) -> dict[str, float]:
        """Seconds each op took in the last inference."""
        payload = self._ask(Op.TIMINGS)
        return {
            format_op_id(function, index): ticks / self._ticks_per_second
            for function, index, ticks in struct.iter_unpack("<IIQ", payload)
        }

    def self_test(self, address: int) -> SelfTest | None:
        """Run the known answers in the slot at an address; None where it has none."""
        reply = self._link.ask(Op.SELF_TEST, address.to_bytes(4, "little"))
        if reply.status == Status.NO_ANSWERS:
            return None
        answers, wrong, first = struct.unpack("<III", _checked(reply))
        return SelfTest(answers, wrong, first if wrong else None)

    def reset(self) -> None:
        """Forget the loaded model."""
        self._description = None
        self._ask(Op.FORGET)

    def close(self) -> None:
        """Let go of the port."""
        if self._open:
            self._open = False
            self._port.close()
            self._release()


def open_linked(spec: BoardSpec) -> LinkedBoard:
    """The board on a port, or for the port "virtual" one in a process of its own.

    Raises:
        BoardError: it cannot be opened.
    """
    if spec.port != "virtual":
        return LinkedBoard(spec, open_port(spec.port, spec.baud), lambda: None, False)
    from k210.virtual.process import BoardProcess

    kind = spec.kind or usual_kind(spec.port)
    process = BoardProcess(spec.flash_image, spec.flash_size, kind, spec.log)
    try:
        port = open_port(process.url, ROM_BAUD)
    except BaseException:
        process.close()
        raise
    return LinkedBoard(spec, port, process.close, True)


def usual_kind(port: str) -> str:
    """The type of board to expect on a port when the project names none."""
    return "virtual" if port == "virtual" else "dan"


def load_firmware(port: Port, kind: BoardType, image: bytes) -> None:
    """Reset a board into its ROM and start a program from memory.

    Raises:
        BoardError: the ROM does not answer, or refuses.
    """
    isp = Isp(port, kind)
    isp.enter()
    isp.speed_up()
    isp.write_memory(MEMORY_BASE, image, lambda _done, _all: None)
    isp.boot(MEMORY_BASE)
    port.baudrate = ROM_BAUD


def _pieces(address: int, length: int, size: int) -> list[tuple[int, int]]:
    """The range cut where addresses are multiples of a size: (address, length)."""
    pieces = []
    end = address + length
    while address < end:
        count = min(size - address % size, end - address)
        pieces.append((address, count))
        address += count
    return pieces


def _checked(reply: Reply) -> bytes:
    """What an answer holds.

    Raises:
        ModelError: the model is at fault.
        BoardError: anything else is.
    """
    if reply.status == Status.OK:
        return reply.payload
    if reply.status == Status.MODEL_REFUSED:
        _, offset = struct.unpack_from("<II", reply.payload)
        message = reply.payload[8:].decode("ascii", "replace")
        raise ModelError(
            f"the board refuses the model: {message} (kmodel offset {offset:#x}): "
            "compile it again"
        )
    raise REFUSALS.get(reply.status, BoardError("the board refuses the request"))


REFUSALS: dict[int, UserError] = {
    Status.FLASH_FAILED: BoardError(
        "the board's flash does not erase or program: it may be worn out or protected"
    ),
    Status.NO_MODEL: ModelError("no model is loaded on the board; load one first"),
    Status.NO_ROOM: ModelError(
        "the model does not fit the board's 6 MiB with all it needs: make it smaller"
    ),
    Status.NO_SLOT: SlotError(
        "there is no model slot at that address: run flash again"
    ),
    Status.SLOT_DAMAGED: SlotError(
        "the kmodel in the model slot is damaged (its SHA-256 is not the header's): "
        "run flash again"
    ),
    Status.BAD_REQUEST: BoardError("the board does not understand the request"),
}


def _description(payload: bytes) -> Description:
    inputs, outputs = struct.unpack_from("<II", payload)
    at, tensors = 28, []
    for _ in range(inputs + outputs):
        kind, rank = struct.unpack_from("<HH", payload, at)
        shape = struct.unpack_from(f"<{rank}I", payload, at + 4)
        dtype = np.dtype(TYPES[kind])
        tensors.append(Tensor(shape, f"{dtype.kind}{8 * dtype.itemsize}"))
        at += 4 + 4 * rank
    return Description(tuple(tensors[:inputs]), tuple(tensors[inputs:]))


def _split(data: bytes, tensors: Sequence[Tensor]) -> list[bytes]:
    pieces, at = [], 0
    for tensor in tensors:
        pieces.append(data[at : at + tensor.size])
        at += tensor.size
    return pieces
