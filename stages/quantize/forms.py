"""The forms in which a model may be compiled: as it is, equalized, biases corrected."""

from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from k210.manifest import Input
from stages.quantize.bias import corrected
from stages.quantize.candidates import Candidate
from stages.quantize.equalize import Equalized, equalized


class Forms:
    """What candidates are compiled from, made when first asked for.

    Args:
        model: the normalized TFLite file's bytes.
        spec: how bytes become its input.
        samples: the calibration set, uint8 N×C×H×W.
    """

    def __init__(self, model: bytes, spec: Input, samples: NDArray[np.uint8]) -> None:
        self._model, self._spec, self._samples = model, spec, samples
        self._lock = Lock()
        self._corrected: dict[tuple[bool, bool], bytes] = {}

    @cached_property
    def equalized(self) -> Equalized | None:
        """The model with equalized channels; None where none can be."""
        return equalized(self._model, self._spec, self._samples)

    def equalizable(self) -> bool:
        """Whether there is an equalized form, and it computes the same."""
        return self.equalized is not None and self.equalized.exact

    def model(self, way: Candidate) -> bytes:
        """The TFLite file that a candidate is compiled from."""
        with self._lock:
            return self._corrected_form(way) if way.corrected else self._form(way)

    def _form(self, way: Candidate) -> bytes:
        if way.equalized and self.equalized is not None:
            return self.equalized.model
        return self._model

    def _corrected_form(self, way: Candidate) -> bytes:
        key = way.equalized, way.mse_weights
        if key not in self._corrected:
            model = self._form(way)
            made = corrected(model, self._spec, self._samples, way.mse_weights)
            self._corrected[key] = made
        return self._corrected[key]
