"""Builds the firmware: ``python -m k210.firmware``, or ``make firmware``.

ziglang is all it takes. The same sources build with Debian's gcc-riscv64-unknown-elf,
as a second opinion. The same sources make the same bytes, wherever they lie; their
digest is put into the image behind the first instruction, so a board can tell which
firmware it runs.
"""

import hashlib
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from k210.errors import BoardError

ROOT = Path(__file__).parents[1] / "firmware"
OUTPUT = Path(__file__).parents[1] / "build" / "firmware"
SHARED = ("boot", "drivers", "lib", "link", "runtime")
"""Folders whose sources every program is linked with; what it does not use is left
out of its image."""

FAST = ("elementwise.c", "loop.c", "pad.c", "reduce.c", "window.c")
"""Sources with the loops in which inferences spend their time: optimized for speed, all
others for size."""

MARK = b"K210FWv1"
MARK_OFFSET = 8
DIGEST_SIZE = 32
PT_LOAD = 1

COMMON = (
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-ffp-contract=off",
    "-fno-common",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-mabi=lp64d",
    "-mcmodel=medany",
    "-nostdlib",
    "-static",
)
LINKING = ("-Wl,--gc-sections", "-Wl,--build-id=none")


@dataclass(frozen=True)
class Toolchain:
    """A compiler: the command, the flags that are its own, those for the least size."""

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...]
    small: tuple[str, ...] = ("-Os",)


ZIG = Toolchain(
    "zig",
    (sys.executable, "-m", "ziglang", "cc"),
    (
        "-target",
        "riscv64-freestanding-none",
        "-mcpu=generic_rv64+m+a+f+d+c+zicsr+zifencei",
        "-fno-sanitize=undefined",
    ),
    ("-Os", "-Xclang", "-Oz"),  # zig itself takes -Oz for -Os
)
GCC = Toolchain(
    "gcc",
    ("riscv64-unknown-elf-gcc",),
    (
        "-march=rv64imafdc_zicsr_zifencei",
        "-fno-tree-loop-distribute-patterns",
        "-Wl,--no-warn-rwx-segments",
    ),
)


def sources(program: Sequence[Path]) -> list[Path]:
    """All files that make a program: its own and the shared ones, in a fixed order."""
    shared = [
        path for folder in SHARED for path in sorted((ROOT / folder).glob("*.[cS]"))
    ]
    return [*shared, *program]


def app() -> list[Path]:
    """The sources of the firmware proper."""
    return sorted((ROOT / "app").glob("*.c"))


def build(program: Sequence[Path], output: Path, toolchain: Toolchain = ZIG) -> Path:
    """Build a program to `output` (.elf) and, beside it, its image (.bin).

    Args:
        program: its own sources, the one with ``main`` among them.
        output: where to put the ELF file.
        toolchain: ZIG, or GCC where it is installed.

    Returns:
        The image's path.

    Raises:
        BoardError: a source does not compile, with the compiler's words.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        elf = Path(folder) / output.name
        compiler = [*toolchain.command, *toolchain.flags, *COMMON]
        files = sources(program)
        fast = [path for path in files if path.name in FAST]
        small = [path for path in files if path.name not in FAST]
        parts = [str(elf.with_name(name)) for name in ("small.o", "fast.o")]
        for part, flags in zip(
            parts,
            ([*toolchain.small, *_compiling(small)], ["-O2", *_compiling(fast)]),
            strict=True,
        ):
            _run([*compiler, *flags, "-r", "-o", part])
        _run([*compiler, *_linking(), *parts, "-o", str(elf)])
        image = elf.with_suffix(".bin")
        image.write_bytes(_stamped(_loaded_bytes(elf.read_bytes())))
        for made in (elf, image):
            made.replace(output.parent / made.name)
    return output.with_suffix(".bin")


def _compiling(files: Sequence[Path]) -> list[str]:
    includes = [f"-I{ROOT / name}" for name in ("include", *SHARED, "app")]
    same_everywhere = f"-ffile-prefix-map={ROOT}=firmware"
    return [same_everywhere, *includes, *map(str, files)]


def _linking() -> list[str]:
    return [*LINKING, "-T", str(ROOT / "boot" / "firmware.ld")]


def _run(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise BoardError(f"{command[0]} is not installed, and builds the firmware")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BoardError(f"the firmware does not build: {done.stderr.strip()}")


def _loaded_bytes(elf: bytes) -> bytes:
    """What an ELF file puts into memory, from its lowest address on."""
    (headers,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    parts = {}
    for at in range(headers, headers + size * count, size):
        kind, _, offset, _, address, length = struct.unpack_from("<IIQQQQ", elf, at)
        if kind == PT_LOAD and length:
            parts[address] = elf[offset : offset + length]
    start = min(parts)
    image = bytearray(max(at + len(part) for at, part in parts.items()) - start)
    for address, part in parts.items():
        image[address - start : address - start + len(part)] = part
    return bytes(image)


def _stamped(image: bytes) -> bytes:
    """The image with its digest in place."""
    if image[MARK_OFFSET : MARK_OFFSET + len(MARK)] != MARK:
        raise BoardError("the firmware's start-up code is not where it belongs")
    start = MARK_OFFSET + len(MARK)
    digest = hashlib.sha256(image).digest()
    return image[:start] + digest + image[start + DIGEST_SIZE :]


def image() -> bytes:
    """The firmware of this checkout, built if it is not up to date.

    Raises:
        BoardError: it does not build.
    """
    built, key = OUTPUT / "firmware.bin", OUTPUT / "firmware.key"
    wanted = _key()
    if not key.exists() or key.read_text() != wanted or not built.exists():
        build(app(), OUTPUT / "firmware.elf")
        key.write_text(wanted)
    return built.read_bytes()


def _key() -> str:
    """What the firmware is made of, in one digest."""
    made_of = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(ROOT.rglob("*")):
        if path.is_file():
            made_of.update(path.relative_to(ROOT).as_posix().encode())
            made_of.update(path.read_bytes())
    return made_of.hexdigest()


def digest(image: bytes) -> str:
    """The digest that a built image carries, in hexadecimal."""
    start = MARK_OFFSET + len(MARK)
    return image[start : start + DIGEST_SIZE].hex()


def main() -> int:
    """Build the firmware into build/firmware and say how big it is."""
    image = build(app(), OUTPUT / "firmware.elf")
    print(f"{image}: {image.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
