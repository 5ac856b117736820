"""C helpers of the host, built once by ziglang and kept in the user's cache.

A library's name holds the digest of its sources and of the compiler, so a changed
source is built anew and two versions never meet.
"""

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from k210.errors import BoardError

FLAGS = ("-O3", "-std=c11", "-shared", "-Wall", "-Wextra", "-Werror")


def load(sources: Sequence[Path], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """The shared library made of these C files.

    Args:
        sources: files to compile; a header they include must be among them.
        flags: for the compiler, beside ``FLAGS``.

    Raises:
        BoardError: there is no compiler, or it refuses a source.
    """
    path = cache_folder() / f"{sources[0].stem}-{_digest(sources, flags)[:16]}.so"
    if not path.exists():
        _build(sources, flags, path)
    return ctypes.CDLL(str(path))


def cache_folder() -> Path:
    """Where built libraries are kept: below ``XDG_CACHE_HOME``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "k210" / "native"


def _digest(sources: Sequence[Path], flags: Sequence[str]) -> str:
    try:
        compiler = version("ziglang")
    except PackageNotFoundError:
        raise BoardError(
            "ziglang is not installed, and the host's C kernels need it: run make setup"
        ) from None
    digest = hashlib.sha256(repr((compiler, sys.platform, FLAGS, flags)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _build(sources: Sequence[Path], flags: Sequence[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [str(source) for source in sources if source.suffix == ".c"]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *flags]
        done = subprocess.run(
            [*command, "-o", str(made), *files], capture_output=True, text=True
        )
        if done.returncode:
            raise BoardError(
                f"{sources[0]} does not compile: {done.stderr.strip() or done.stdout}"
            )
        made.replace(path)
