"""Where tests find models that are not theirs, and how they run one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("K210_DATA", ROOT.parent / "shared" / "data"))
"""Models and data that are not part of this tree."""

SIGN_DIGITS = DATA / "sign-digits"
"""Photographs of hand signs: train/CLASS and test/CLASS."""


def require_sign_digits() -> None:
    """Skip the test where the photographs are not at hand."""
    if not SIGN_DIGITS.is_dir():
        pytest.skip("no photographs: set K210_DATA to the folder with sign-digits")


def mlperf_tiny(name: str) -> Path:
    """A model of MLPerf Tiny; skips the test where it is not at hand."""
    path = DATA / "mlperf-tiny" / name
    if not path.exists():
        pytest.skip(f"{path} is missing; K210_DATA names the folder above")
    return path


VWW = DATA / "mlperf-tiny" / "vww_96_float.tflite"


def weight_cases(factory: pytest.TempPathFactory) -> Path:
    """The folder that ``weight_cases.py`` fills."""
    return made_by("weight_cases.py", factory, *([VWW] if VWW.exists() else []))


def run_script(name: str, *arguments: str | Path) -> None:
    """Run a script of this folder in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def made_by(script: str, factory: pytest.TempPathFactory, *arguments: Path) -> Path:
    """The folder that a script of this folder fills, once for the whole session."""
    folder = factory.getbasetemp() / Path(script).stem
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        run_script(script, partial, *arguments)
        partial.rename(folder)
    return folder


def run_tflite(path: Path, pictures: Any) -> list[Any]:
    """A TFLite model's outputs, each with a row per picture, without TensorFlow."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    given = interpreter.get_output_details()
    rows = []
    for picture in pictures:
        interpreter.set_tensor(taken["index"], picture[np.newaxis])
        interpreter.invoke()
        rows.append([interpreter.get_tensor(each["index"])[0] for each in given])
    return [np.stack(column) for column in zip(*rows, strict=True)]
