"""C code of ours on this machine: built at first use, kept in the user's cache.

The compiler is `ziglang`, a wheel, so that nothing needs to be installed. A library's
name holds a digest of its source, of the compiler's version and of this machine's kind
of processor, for which it is optimized; so a stale one is never loaded.
"""

import ctypes
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from k210.errors import UserError

FLAGS = ("-shared", "-O3", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra")
LIMIT_S = 300.0
"""Time for a build: zig builds its own C library first, where it needs one."""


class NativeError(UserError):
    """The C code cannot be built or loaded here."""


def load(sources: Path | Sequence[Path], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """The shared library of these C files, built if this machine does not have it yet.

    Args:
        sources: a C file, or several; a header they include must be among them.
        flags: for the compiler, beside ``FLAGS``.

    Raises:
        NativeError: there is no compiler, it fails, or the cache cannot be written.
    """
    files = (sources,) if isinstance(sources, Path) else tuple(sources)
    return _load(files, tuple(flags))


@cache
def _load(sources: tuple[Path, ...], flags: tuple[str, ...]) -> ctypes.CDLL:
    name = sources[0].stem
    try:
        target = folder() / f"{name}-{_digest(sources, flags)}{_suffix()}"
        if not target.exists():
            _build(sources, flags, target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(
            f"{name} cannot be built for this machine ({error}); make "
            f"{folder()} writable, or set XDG_CACHE_HOME to a folder that is"
        ) from None


def folder() -> Path:
    """Where the libraries are kept."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache_home) / "k210" / "native"


def _digest(sources: Sequence[Path], flags: Sequence[str]) -> str:
    try:
        compiler = version("ziglang")
    except PackageNotFoundError:
        raise NativeError(
            f"{sources[0].name} cannot be built: the ziglang package is missing; "
            "run make setup"
        ) from None
    facts = (
        compiler,
        sys.platform,
        platform.machine(),
        _processor(),
        *_flags(),
        *flags,
    )
    digest = hashlib.sha256("\0".join(facts).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """What tells this processor's abilities from those of others."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _flags() -> Sequence[str]:
    # Our code needs no more of a C library than what the process has loaded already;
    # without one, zig need not build its own.
    return (*FLAGS, "-fPIC", "-nostdlib") if sys.platform == "linux" else FLAGS


def _suffix() -> str:
    return {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


def _build(sources: Sequence[Path], flags: Sequence[str], target: Path) -> None:
    """Compile into a temporary file, then rename; one process at a time."""
    from filelock import FileLock  # it takes longer to import than a library to load

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_suffix(".lock"), timeout=LIMIT_S)
    with lock, tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        if target.exists():
            return
        made = Path(temporary) / target.name
        files = [str(source) for source in sources if source.suffix == ".c"]
        command = [sys.executable, "-m", "ziglang", "cc", *_flags(), *flags]
        done = subprocess.run(
            [*command, "-o", str(made), *files],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["no message"]
            raise NativeError(
                "the compiler of the ziglang package does not build "
                f"{sources[0].name}: {words[0]}; run make setup again"
            )
        made.replace(target)
