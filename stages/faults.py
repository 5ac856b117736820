"""What to tell a person when the disk is to blame."""

import errno
import shutil
from pathlib import Path

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "it is on a read-only file system",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}
FULL_BYTES = 256 * 1024
"""With less than this left, whatever failed has failed for lack of space."""


def disk_sentence(build: Path, error: BaseException) -> str:
    """What is wrong with the disk, or "" where it is not to blame.

    TensorFlow and HDF5 report a full disk as errors of many kinds, so the free
    space itself is asked.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number in DISK_ERRORS:
        where = getattr(error, "filename", None) or build
        return f"cannot write {where}: {DISK_ERRORS[number]}; mend that and run again"
    try:
        free = shutil.disk_usage(build).free
    except OSError:
        return ""
    if free < FULL_BYTES:
        return f"cannot write below {build}: the disk is full; free some and run again"
    return ""
