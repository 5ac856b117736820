"""The RV64GC core of the virtual board: the one file that knows unicorn.

Unicorn executes a single hart in machine mode. What it cannot do is done here by
hand: bits of mip are read through hooks on the instructions that read it, and an
interrupt is entered by setting the registers that the hardware would set. An ecall
or an illegal instruction is a fault, for nothing that runs here handles one.
Unicorn is GPLv2 and optional: this module imports without it.
"""

import ctypes
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from k210 import native
from k210.errors import BoardError

WFI = 0x10500073
READ_MIP_MASK, READ_MIP = 0xFFFFF07F, 0x34402073
MSTATUS_MIE, MSTATUS_MPIE, MSTATUS_MPP_MACHINE = 1 << 3, 1 << 7, 3 << 11
EVERYWHERE = 0xFFFF_FFFF_FFFF
CACHE_SLOTS = 8192
MAX_PAGES = 4096


class Fault(BoardError):
    """The program did what the chip does not have; names the address and the pc."""


class Stop(Enum):
    """Why the core came back."""

    LIMIT = "the instruction limit"
    WAITING = "wfi"


@dataclass(frozen=True)
class Window:
    """A range of addresses behind which registers lie.

    `read` is called with (offset, size) and `write` with (offset, size, value); a
    64-bit access arrives as two of 32 bits, the low half first.
    """

    base: int
    size: int
    read: Callable[[int, int], int]
    write: Callable[[int, int, int], None]


class _Counter(ctypes.Structure):
    """`struct block_counter` of blocks.c."""

    _fields_ = [
        ("instructions", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("stop", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("memory_size", ctypes.c_uint64),
        ("memory_base", ctypes.c_uint64),
        ("alias_base", ctypes.c_uint64),
        ("cache", ctypes.c_uint64 * 2 * CACHE_SLOTS),
    ]


class _Pages(ctypes.Structure):
    """`struct pages` of pages.c."""

    _fields_ = [
        ("memory_base", ctypes.c_uint64),
        ("alias_base", ctypes.c_uint64),
        ("memory_size", ctypes.c_uint64),
        ("is_code", ctypes.c_uint8 * 2 * MAX_PAGES),
    ]


def _unicorn() -> ModuleType:
    try:
        import unicorn
    except ImportError:
        raise BoardError(
            "the virtual board needs the package unicorn, which is not installed: "
            "run make setup, or pip install unicorn"
        ) from None
    return unicorn


class Core:
    """One hart over a memory that appears at two addresses.

    Args:
        memory: the memory, shared with whoever else reads and writes it.
        base: its cached address.
        alias: its uncached address.
        windows: where registers lie.
        pending: gives the bits of mip.

    Attributes:
        accesses: how often the program has read or written a register.
    """

    def __init__(
        self,
        memory: mmap.mmap,
        base: int,
        alias: int,
        windows: Sequence[Window],
        pending: Callable[[], int],
    ) -> None:
        self._unicorn = _unicorn()
        from unicorn import riscv_const

        self._registers = riscv_const
        self._memory, self._base, self._pending = memory, base, pending
        self._uc: Any = self._unicorn.Uc(
            self._unicorn.UC_ARCH_RISCV, self._unicorn.UC_MODE_RISCV64
        )
        self.accesses = 0
        self._mip_hooks: list[int] = []
        self._failure: BoardError | None = None
        self._map(alias, windows)
        self._count_blocks(alias)
        self._tell_data_from_code(alias)
        self._catch_faults(alias)

    def _map(self, alias: int, windows: Sequence[Window]) -> None:
        self._anchor = ctypes.c_char.from_buffer(self._memory)
        address = ctypes.addressof(self._anchor)
        for base in (self._base, alias):
            self._uc.mem_map_ptr(
                base, len(self._memory), self._unicorn.UC_PROT_ALL, address
            )
        for window in windows:
            self._map_window(window)

    def _map_window(self, window: Window) -> None:
        def read(_uc: Any, offset: int, size: int, _user: Any) -> int:
            self.accesses += 1
            try:
                return window.read(offset, size)
            except BoardError as error:
                return self._fail(error)

        def write(_uc: Any, offset: int, size: int, value: int, _user: Any) -> None:
            self.accesses += 1
            try:
                window.write(offset, size, value)
            except BoardError as error:
                self._fail(error)

        self._uc.mmio_map(window.base, window.size, read, None, write, None)

    def _fail(self, error: BoardError) -> int:
        """Stop for an error of a register; `run` raises it."""
        if isinstance(error, Fault):
            error = Fault(f"{error} (pc {self.pc:#x})")
        self._failure = error
        self._uc.emu_stop()
        return 0

    def _count_blocks(self, alias: int) -> None:
        """Have blocks.c called for every block, and let it stop the core."""
        from unicorn.unicorn_py3.unicorn import uclib

        counter = self._counter = _Counter()
        counter.stop = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value
        counter.memory = ctypes.addressof(self._anchor)
        counter.memory_size = len(self._memory)
        counter.memory_base, counter.alias_base = self._base, alias
        self._add_hook("blocks.c", "on_block", self._unicorn.UC_HOOK_BLOCK, counter)

    def _tell_data_from_code(self, alias: int) -> None:
        """Have pages.c called for every page, so that stores to data are fast."""
        constants = self._unicorn.unicorn_const
        pages = self._pages = _Pages(self._base, alias, len(self._memory))
        self._uc.ctl_set_tlb_mode(constants.UC_TLB_VIRTUAL)
        self._add_hook("pages.c", "on_page", constants.UC_HOOK_TLB_FILL, pages)

    def _add_hook(
        self, source: str, function: str, kind: int, user: ctypes.Structure
    ) -> None:
        """Have a C function called, with a structure that outlives the core."""
        from unicorn.unicorn_py3.unicorn import uclib

        library = native.load(Path(__file__).with_name(source))
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self._uc._uch,
            ctypes.byref(handle),
            kind,
            ctypes.cast(getattr(library, function), ctypes.c_void_p),
            ctypes.cast(ctypes.pointer(user), ctypes.c_void_p),
            1,
            0,
        )
        if status:
            raise BoardError(
                f"unicorn refuses a hook (error {status}): install the version of "
                "requirements.lock"
            )

    def _catch_faults(self, alias: int) -> None:
        add, constants = self._uc.hook_add, self._unicorn
        add(constants.UC_HOOK_INTR, self._on_exception)
        # A hook on addresses in memory would make every store there slow.
        size, start = len(self._memory), 0
        for base in (alias, self._base, 1 << 64):
            kind = constants.UC_HOOK_MEM_INVALID
            add(kind, self._on_invalid_access, None, start, base - 1)
            start = base + size

    def _on_invalid_access(
        self, _uc: Any, access: int, address: int, size: int, _value: int, _user: Any
    ) -> bool:
        kinds = {
            self._unicorn.UC_MEM_WRITE_UNMAPPED: "wrote",
            self._unicorn.UC_MEM_FETCH_UNMAPPED: "jumped to",
        }
        verb = kinds.get(access, "read")
        self._failure = Fault(
            f"the program {verb} {size} bytes at {address:#x} (pc {self.pc:#x}), "
            "where the K210 has nothing"
        )
        return False

    def _on_exception(self, _uc: Any, cause: int, _user: Any) -> None:
        self._failure = Fault(
            f"the program raised exception {cause} at pc {self.pc:#x} "
            "(illegal instruction, ecall or ebreak)"
        )
        self._uc.emu_stop()

    @property
    def instructions(self) -> int:
        """Instructions executed so far, the running block counted whole."""
        return int(self._counter.instructions)

    @property
    def pc(self) -> int:
        """The program counter."""
        return int(self._uc.reg_read(self._registers.UC_RISCV_REG_PC))

    def register(self, name: str) -> int:
        """A register by its name in the manual: "a0", "sp", "mstatus"."""
        return int(self._uc.reg_read(self._number(name)))

    def _number(self, name: str) -> int:
        return int(getattr(self._registers, f"UC_RISCV_REG_{name.upper()}"))

    def set_register(self, name: str, value: int) -> None:
        """Set a register by its name."""
        self._uc.reg_write(self._number(name), value)

    def start(self, entry: int) -> None:
        """Forget what was translated and go on at `entry`, interrupts off."""
        self.flush()
        for name in ("mie", "mstatus", "mtvec"):
            self.set_register(name, 0)
        self.set_register("pc", entry)

    def flush(self) -> None:
        """Take notice that code in memory has changed."""
        self._uc.ctl_flush_tb()
        ctypes.memset(self._counter.cache, 0, ctypes.sizeof(self._counter.cache))
        for hook in self._mip_hooks:
            self._uc.hook_del(hook)
        self._mip_hooks = [self._hook_mip(self._base + at) for at in self._mip_reads()]

    def _mip_reads(self) -> list[int]:
        """Offsets of all instructions that read mip."""
        tail, found, at = READ_MIP.to_bytes(4, "little")[2:], [], 2
        while (at := self._memory.find(tail, at)) >= 0:
            word = int.from_bytes(self._memory[at - 2 : at + 2], "little")
            if word & READ_MIP_MASK == READ_MIP and at % 2 == 0:
                found.append(at - 2)
            at += 1
        return found

    def _hook_mip(self, address: int) -> int:
        return int(
            self._uc.hook_add(
                self._unicorn.UC_HOOK_CODE, self._read_mip, None, address, address
            )
        )

    def _read_mip(self, _uc: Any, address: int, _size: int, _user: Any) -> None:
        at = address - self._base
        target = int.from_bytes(self._memory[at : at + 4], "little") >> 7 & 0x1F
        if target:
            self.set_register(f"x{target}", self._pending())
        self.set_register("pc", address + 4)

    def interrupt(self, cause: int) -> None:
        """Enter the trap handler as for a machine interrupt of this number."""
        status = self.register("mstatus")
        enabled = MSTATUS_MPIE if status & MSTATUS_MIE else 0
        status &= ~(MSTATUS_MIE | MSTATUS_MPIE)
        self.set_register("mstatus", status | enabled | MSTATUS_MPP_MACHINE)
        self.set_register("mepc", self.pc)
        self.set_register("mcause", 1 << 63 | cause)
        self.set_register("pc", self.register("mtvec") & ~3)

    def run(self, limit: int) -> Stop:
        """Execute until `instructions` reaches the limit, or a wfi.

        Raises:
            Fault: the program left what the chip has, or a register refused.
        """
        self._counter.limit = limit
        while self.instructions < self._counter.limit:
            self._emulate()
            if self.instructions < self._counter.limit and self._at_wfi():
                return Stop.WAITING
        return Stop.LIMIT

    def interrupt_slice(self) -> None:
        """Have `run` come back before the next block, with LIMIT."""
        self._counter.limit = 0

    def _emulate(self) -> None:
        self._failure = None
        try:
            self._uc.emu_start(self.pc, EVERYWHERE)
        except self._unicorn.UcError as error:
            raise self._failure or Fault(
                f"the core cannot go on at pc {self.pc:#x}: {error}"
            ) from None
        if self._failure is not None:
            raise self._failure

    def _at_wfi(self) -> bool:
        at = self.pc - 4 - self._base
        return (
            0 <= at < len(self._memory)
            and int.from_bytes(self._memory[at : at + 4], "little") == WFI
        )
