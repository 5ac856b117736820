"""Compiled networks of ``graphs.py``, with what others compute of them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from k210 import kmodel

FEW = (
    "width-17",
    "pool-max_3_by_2",
    "case-3x3_dilated",
    "case-3x3_by_2_same",
    "concatenated",
    "squeezed",
    "on_the_cpu",
    "resized-bilinear",
    "upsampled",
    "two_headed",
)
"""Every kind of operation is in one of them."""

Family = tuple[str, ...]
FAMILIES: tuple[Family, ...] = (
    ("width-", "act-"),
    ("pool-", "case-1"),
    ("case-3x3_by", "case-d", "case-5"),
    ("case-3x3_d", "case-3x3_o", "case-3x3_p"),
    ("case-3x3_s", "case-3x3_t", "case-3x3_v", "case-a", "case-t"),
    ("residual", "concatenated", "squeezed", "on_the_cpu", "resized", "upsampled"),
    ("lenet", "tiny_yolo", "two_headed", "u_net", "autoencoder", "deep"),
    ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small"),
    ("mobilenet_v3_large", "resnet8", "ds_cnn", "cnn", "kpunet"),
)
"""All networks by how their names begin, in parts that take a minute or so."""

CRASHING = {"upsampled", "u_net"}
"""Networks whose kmodels crash nncase's simulator."""

LEAST_SNR_DB = 30
"""Between a kmodel and the float model that it was made from."""


@dataclass(frozen=True)
class Compiled:
    """A network of ``graphs.py``; `outputs` is empty where the simulator crashed."""

    name: str
    model: bytes
    inputs: list[bytes]
    outputs: list[NDArray[np.uint8]]
    tflite: list[NDArray[np.float32]]


def compiled(folder: Path) -> Iterator[Compiled]:
    """What ``zoo_kmodels.py`` has written."""
    for name in json.loads((folder / "index.json").read_bytes()):
        with np.load(folder / f"{name}.npz") as archive:
            yield Compiled(
                name,
                (folder / f"{name}.kmodel").read_bytes(),
                [sample.tobytes() for sample in archive["inputs"]],
                [archive[key] for key in archive.files if key.startswith("output")],
                [archive[key] for key in archive.files if key.startswith("tflite")],
            )


def require_right(each: Compiled, answers: Iterable[list[bytes]]) -> None:
    """The outputs for all inputs are those of nncase's simulator, bit for bit.

    But an exponential's last bit is the C library's. Where the simulator crashes, they
    are as near to TFLite's as 8 bits are.
    """
    assert bool(each.outputs) == (each.name not in CRASHING)
    columns = [
        np.stack([np.frombuffer(raw, np.float32) for raw in column])
        for column in zip(*answers, strict=True)
    ]
    if not each.outputs:
        _require_close(each, columns)
        return
    exponential = any(op.kind == "softmax" for op in kmodel.parse(each.model).program)
    for found, expected in zip(columns, each.outputs, strict=True):
        wanted = expected.view(np.float32)
        if exponential:
            assert np.allclose(found, wanted, rtol=1e-6, atol=1e-7), each.name
        else:
            assert np.array_equal(found.view(np.uint8), expected), each.name


def _require_close(each: Compiled, columns: list[NDArray[np.float32]]) -> None:
    for values, expected in zip(columns, each.tflite, strict=True):
        noise = values - expected.reshape(values.shape)
        snr = 10 * np.log10(np.square(expected).sum() / np.square(noise).sum())
        assert snr > LEAST_SNR_DB, each.name
