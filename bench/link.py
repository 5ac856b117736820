"""The link and the way to it: what of the wire is payload, how long a board takes.

A virtual board in this process: times are modelled, so every run gives the same.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

from k210 import firmware
from k210.boards import TYPES
from k210.link.client import Link, Op
from k210.linked import load_firmware
from k210.virtual.board import VirtualBoard
from k210.virtual.local import LocalPort
from k210.virtual.nor import NorFlash

BAUD = 2_000_000
PAYLOAD = 500_000
WANTED_RATIO, WANTED_SECONDS = 0.95, 3.0


def main() -> int:
    """Measure and print; status 1 where a figure is worse than wanted."""
    with (
        tempfile.TemporaryDirectory() as folder,
        NorFlash(Path(folder) / "flash.bin") as flash,
    ):
        result = measured(VirtualBoard(flash, TYPES["virtual"]))
    hello_s, ratio, rate = result["hello_s"], result["ratio"], result["rate"]
    print(f"from reset to hello:   {hello_s:.2f} s modelled, {WANTED_SECONDS} allowed")
    print(f"payload of wire bytes: {ratio:.1%}, {WANTED_RATIO:.0%} wanted")
    print(f"payload a second:      {rate / 1000:.0f} kB of 200 kB at 2 Mbaud")
    print(f"RESULT {json.dumps(result)}")
    return int(ratio < WANTED_RATIO or hello_s > WANTED_SECONDS)


def measured(board: VirtualBoard) -> dict[str, float]:
    """Seconds from reset to hello, payload per wire byte, payload bytes a second."""
    clock = board.chip.machine.clock
    port = LocalPort(board)
    link = Link(port)
    start = clock.seconds
    load_firmware(port, TYPES["virtual"], firmware.image())
    link.hello(10)
    hello_s = clock.seconds - start
    link.ask(Op.SET_BAUD, BAUD.to_bytes(4, "little"))
    link.settle()
    port.baudrate = BAUD
    link.hello(10)
    payload, wire, start = link.payload_bytes, link.wire_bytes, clock.seconds
    link.ask(Op.LOAD_BYTES, random.Random(1).randbytes(PAYLOAD))
    sent = link.payload_bytes - payload
    return {
        "hello_s": hello_s,
        "ratio": sent / (link.wire_bytes - wire),
        "rate": sent / (clock.seconds - start),
    }


if __name__ == "__main__":
    sys.exit(main())
