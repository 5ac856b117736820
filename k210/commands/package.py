"""Make a .kfpkg for the vendor's flashers, or list what one holds.

A board that has been flashed with the firmware and a model runs without this program.
"""

import argparse
from pathlib import Path

from k210 import firmware
from k210.commands.files import read_bytes, read_kmodel
from k210.errors import UserError
from k210.flash import slot
from k210.flash.images import PackageFile, read_package, write_package
from k210.flash.slot import Slot

HELP = "make a .kfpkg for the vendor's flashers"
SLOT = 0x100000
"""Where a project's model lies if its YAML does not say."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("package", type=Path, help="the .kfpkg; listed if nothing is to go into it")
    program = parser.add_mutually_exclusive_group()
    program.add_argument(
        "--firmware", action="store_true", help="put in this checkout's firmware"
    )
    program.add_argument(
        "--program", type=Path, metavar="BIN", help="put in another program to boot"
    )
    add("--model", type=Path, metavar="KMODEL", help="put in a model slot")
    add("--manifest", type=Path, metavar="JSON", help="its manifest")
    add("--slot", type=_address, default=SLOT, help="where the model slot lies")
    add(
        "--file",
        type=_placed,
        action="append",
        default=[],
        metavar="ADDRESS=FILE",
        help="put in bytes; can be given several times",
    )


def main(options: argparse.Namespace) -> None:
    """Write the package, or read it; print what is in it.

    Raises:
        UserError: a file cannot be read or written, or files overlap.
    """
    wanted = [*_programs(options), *_models(options), *_others(options)]
    if wanted:
        write_package(options.package, wanted)
    for file in read_package(options.package):
        kind = "  a program, with its SHA-256" if file.program else ""
        print(f"{file.address:#08x}  {len(file.data):9,}  {file.name}{kind}")


def _programs(options: argparse.Namespace) -> list[PackageFile]:
    if options.firmware:
        return [PackageFile(0, "firmware.bin", firmware.image(), True)]
    if options.program:
        return [PackageFile(0, options.program.name, read_bytes(options.program), True)]
    return []


def _models(options: argparse.Namespace) -> list[PackageFile]:
    if bool(options.model) != bool(options.manifest):
        raise UserError(
            "a model slot holds a kmodel and its manifest: give --model and --manifest"
        )
    if not options.model:
        return []
    if options.slot % slot.ALIGNMENT:
        raise UserError(
            f"a model slot lies at a multiple of {slot.ALIGNMENT}: correct --slot"
        )
    model = read_kmodel(options.model)
    image = slot.image(Slot(model.data, read_bytes(options.manifest)))
    return [PackageFile(options.slot, "model.slot", image, False)]


def _others(options: argparse.Namespace) -> list[PackageFile]:
    return [
        PackageFile(address, path.name, read_bytes(path), False)
        for address, path in options.file
    ]


def _address(text: str) -> int:
    return int(text, 0)


def _placed(text: str) -> tuple[int, Path]:
    address, _, path = text.partition("=")
    return _address(address), Path(path)
