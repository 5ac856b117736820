"""The vendor's flasher, unmodified, with its own stub running on the virtual chip."""

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k210.flash.images import PackageFile, write_package
from k210.virtual.nor import SIZE

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3000),  # a minute's work, on a machine that does nothing else
    pytest.mark.skipif(sys.platform != "linux", reason="preloads a library"),
]

SHIM = Path(__file__).parents[2] / "modem_shim.c"
START_S = 20.0
OPTIONS = ("-B", "dan", "-S", "-b", "2000000")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that gives a pty the modem lines that it lacks."""
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-O2"]
    subprocess.run([*command, "-o", library, SHIM, "-ldl"], check=True)
    return library


@pytest.fixture
def tty(tmp_path: Path) -> Iterator[Path]:
    """The tty of a board that is wired as a dan dock; its flash is beside it."""
    link = tmp_path / "tty"
    flash = tmp_path / "flash.bin"
    command = [sys.executable, "-m", "k210", "virtual", str(flash), "--type", "dan"]
    with subprocess.Popen([*command, "--link", str(link)]) as process:
        end = time.monotonic() + START_S
        while not link.exists() and time.monotonic() < end:
            time.sleep(0.05)
        yield link
        process.terminate()


def kflash(tty: Path, shim: Path, *arguments: str | Path) -> None:
    environment = os.environ | {
        "LD_PRELOAD": str(shim),
        "MODEM_SOCKET": f"{tty}.ctl",
    }
    command = [sys.executable, "-m", "kflash", "-p", str(tty), *OPTIONS]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_it_flashes_a_program(tty: Path, shim: Path, tmp_path: Path) -> None:
    payload = random.Random(1).randbytes(100_000)
    (tmp_path / "payload.bin").write_bytes(payload)
    kflash(tty, shim, tmp_path / "payload.bin")
    written = (tmp_path / "flash.bin").read_bytes()
    end = 5 + len(payload)
    assert written[5:end] == payload
    assert written[end : end + 32] == hashlib.sha256(written[:end]).digest()
    assert len(written) == SIZE


def test_it_flashes_a_package_that_we_wrote(
    tty: Path, shim: Path, tmp_path: Path
) -> None:
    program, data = random.Random(2).randbytes(5000), random.Random(3).randbytes(9000)
    package = tmp_path / "two.kfpkg"
    files = [
        PackageFile(0, "program.bin", program, True),
        PackageFile(0x200000, "data.bin", data, False),
    ]
    write_package(package, files)
    kflash(tty, shim, package)
    written = (tmp_path / "flash.bin").read_bytes()
    assert written[5 : 5 + len(program)] == program
    assert written[0x200000 : 0x200000 + len(data)] == data
