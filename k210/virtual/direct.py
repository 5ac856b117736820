"""The firmware's runtime on the virtual chip, without flash, boot and link.

A small program (firmware/direct) runs kmodels that are put into the chip's memory. The
core, the KPU and the time are those of the virtual board, so that this is the quickest
way to run a kmodel with the code that a real chip executes.
"""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210 import kmodel
from k210.errors import ModelError
from k210.kmodel import DType, Kmodel
from k210.kmodel.op_ids import ENTRY, format_op_id
from k210.virtual.runtime import STATUS, Record, Runtime


class DirectEngine:
    """A kmodel that the firmware's runtime executes on the virtual chip.

    A context manager, for symmetry with engines that hold more than memory.

    Raises:
        ModelError: the runtime refuses the kmodel, or it does not fit.
    """

    def __init__(self, model: Kmodel) -> None:
        self.model = model
        self.runtime = Runtime()
        status = self.runtime.load(model.data)
        self._check(status, "does not load the kmodel")
        self._last = bytes(sum(self.runtime.input_sizes))

    def __enter__(self) -> "DirectEngine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held that Python does not give back."""

    def _check(self, status: int, what: str) -> None:
        if status:
            raise ModelError(
                f"the firmware {what}: {STATUS.get(status, f'status {status}')}, at "
                f"byte {self.runtime.mailbox.error_offset} of the file"
            )

    def infer_many(self, samples: Iterable[bytes]) -> Iterator[list[bytes]]:
        """For each sample the outputs, each as the bytes of its tensor.

        Raises:
            ModelError: a sample has the wrong size, or the runtime refuses.
        """
        return map(self.infer, samples)

    def infer(self, data: bytes) -> list[bytes]:
        """The outputs for one sample; raises as `infer_many`."""
        return self._infer(data)

    def _infer(
        self, data: bytes, record: bool = False, copy: bool = False, skip: int = 0
    ) -> list[bytes]:
        sizes = self.runtime.input_sizes
        if len(data) != sum(sizes):
            raise ModelError(
                f"the model takes {sum(sizes)} bytes of input and was given {len(data)}"
            )
        self._last = data
        inputs, start = [], 0
        for size in sizes:
            inputs.append(data[start : start + size])
            start += size
        status, outputs = self.runtime.infer(
            inputs, record=record, copy=copy, skip=skip
        )
        self._check(status, "does not run the kmodel")
        return outputs

    def trace(self, data: bytes) -> dict[str, NDArray[Any]]:
        """What each operation gives for one sample, by op id.

        Maps in KPU RAM are uint8 N×C×H×W. A call's further outputs are `s<i>.1` and
        on. It may take several inferences, as many as the memory for copies asks for.

        Raises:
            ModelError: as `infer_many`.
        """
        buffers = {
            f"{op.id}.{number}" if number else op.id: buffer
            for op in self.model.ops()
            for number, buffer in enumerate(op.outputs)
        }
        return {
            record.op: _array(record.data, buffers[record.op])
            for record in self._records(data)
            if record.data is not None
        }

    def _records(self, data: bytes) -> Iterator[Record]:
        """All records, those that found no room taken up again in a further run."""
        skip = 0
        while True:
            self._infer(data, record=True, copy=True, skip=skip)
            records = self.runtime.records()
            fitting = [record for record in records if record.data is not None]
            # one that fits into no memory at all is left out
            found = records[: max(len(fitting), 1)]
            yield from found
            skip += len(found)
            if skip >= self.runtime.mailbox.records:
                return

    def timings(self) -> dict[str, float]:
        """Modelled seconds of each operation; a call's are what its own leave of it.

        They are those of another inference of the last sample, or of zeros.
        """
        self._infer(self._last, record=True)
        taken = {record.op: record.seconds for record in self.runtime.records()}
        for number, op in enumerate(self.model.program):
            if op.function is not None:
                inner = range(len(self.model.functions[op.function]))
                own = (taken[format_op_id(op.function, i)] for i in inner)
                taken[format_op_id(ENTRY, number)] -= sum(own)
        return {op.id: taken[op.id] for op in self.model.ops()}

    @property
    def seconds(self) -> float:
        """Modelled seconds of the last inference."""
        return self.runtime.seconds


def _array(data: bytes, buffer: kmodel.Buffer) -> NDArray[Any]:
    dtype = {DType.F32: "<f4", DType.U8: "u1", DType.I8: "i1"}[buffer.dtype]
    return np.frombuffer(data, dtype).reshape(buffer.shape)
