"""Canonical digests: what a file means, not which bytes it happens to have.

Training, TFLite conversion and nncase are not byte-reproducible: archives carry
dates, graphs carry generated names, kmodels carry uninitialised bits. What is
compared between two runs is therefore

* ``.keras``: the configuration and the named weight arrays,
* ``.tflite``: operators, tensors and buffers without names and padding,
* ``.kmodel``: the bytes with the uninitialised bits cleared,
* anything else: the bytes.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from stages.artifacts.records import sha256


def digest(path: Path) -> str:
    """The canonical digest of a file, 64 hex digits.

    Raises:
        UserError: a ``.tflite`` or ``.kmodel`` file is not one.
        OSError: the file cannot be read.
    """
    special = {".keras": _keras, ".tflite": _tflite, ".kmodel": _kmodel}
    return special.get(path.suffix, sha256)(path)


def _keras(path: Path) -> str:
    import h5py
    import numpy as np

    value = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        weights = io.BytesIO(archive.read("model.weights.h5"))
    value.update(json.dumps(config, sort_keys=True).encode())

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            array = np.ascontiguousarray(node[()])
            value.update(f"{name} {array.dtype} {array.shape}".encode())
            value.update(array.tobytes())

    with h5py.File(weights, "r") as file:
        file.visititems(visit)
    return value.hexdigest()


def _tflite(path: Path) -> str:
    from stages.tflite import meaning, read

    value = hashlib.sha256()
    for piece in meaning(read(path)):
        value.update(piece)
    return value.hexdigest()


def _kmodel(path: Path) -> str:
    from k210 import kmodel

    return kmodel.digest(path.read_bytes())
