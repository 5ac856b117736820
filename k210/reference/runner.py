"""A kmodel made ready: each operation bound to memory once, then run in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue

import numpy as np

from k210 import cost, kmodel
from k210.errors import ModelError
from k210.kmodel import Kmodel, Op, TensorOp
from k210.reference import elementwise, region, windows
from k210.reference.arrays import Array, Step
from k210.reference.memory import Memory

_OPS: Mapping[str, Callable[[TensorOp, list[Array], Array], Step]] = {
    "binary": elementwise.binary,
    "conv2d": windows.conv2d,
    "copy": elementwise.copy,
    "dequantize": elementwise.dequantize,
    "lut1d": elementwise.lut1d,
    "pad": elementwise.pad,
    "quantize": elementwise.quantize,
    "reduce": elementwise.reduce,
    "reduce_window2d": windows.reduce_window2d,
    "resize_image": windows.resize_image,
    "slice": elementwise.slice_,
    "softmax": elementwise.softmax,
    "transpose": elementwise.transpose,
}


@dataclass(frozen=True)
class Bound:
    """An operation that can be run, and what gives its output tensors afterwards."""

    id: str
    run: Step
    outputs: Callable[[], list[Array]]


class Reference:
    """A kmodel that runs on this machine.

    Args:
        model: the file, or what `k210.kmodel.parse` made of it.

    Raises:
        KmodelError: it is not a kmodel.
        ModelError: it asks for what no kmodel of nncase asks for.
        NativeError: the KPU's kernel cannot be built here.
    """

    def __init__(self, model: bytes | Kmodel) -> None:
        self.model = kmodel.parse(model) if isinstance(model, bytes) else model
        self._idle: SimpleQueue[_Session] = SimpleQueue()
        self._idle.put(_Session(self.model))
        self._size = sum(tensor.range.size for tensor in self.model.entry.inputs)

    def infer(self, data: bytes) -> list[bytes]:
        """The outputs for one input, each as the bytes of its tensor.

        Args:
            data: all inputs, one after the other.

        Raises:
            ModelError: it has not the inputs' size.
        """
        session = self._session()
        try:
            return session.infer(self._checked(data))
        finally:
            self._idle.put(session)

    def infer_many(
        self, samples: Iterable[bytes], threads: int | None = None
    ) -> Iterator[list[bytes]]:
        """`infer` for each sample, in order, several at a time.

        Args:
            samples: read only a little further than answers are taken.
            threads: how many; one for each processor by default.
        """
        count = threads or os.cpu_count() or 1
        running: deque[Future[list[bytes]]] = deque()
        with ThreadPoolExecutor(count) as pool:
            for sample in samples:
                running.append(pool.submit(self.infer, sample))
                if len(running) > 2 * count:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()

    def trace(self, data: bytes) -> dict[str, Array]:
        """Run one input and return what each operation gave, keyed by its op id.

        Maps in KPU RAM are uint8 N×C×H×W. A call's further outputs are `s<i>.1` and
        on. Raises ModelError as `infer`.
        """
        session = self._session()
        try:
            return session.trace(self._checked(data))
        finally:
            self._idle.put(session)

    def timings(self) -> dict[str, float]:
        """Modelled seconds of each operation on the chip, keyed by its op id."""
        return {name: ms / 1e3 for name, ms in cost.timings(self.model).items()}

    def _session(self) -> "_Session":
        """One that nobody uses."""
        return _Session(self.model) if self._idle.empty() else self._idle.get()

    def _checked(self, data: bytes) -> bytes:
        if len(data) != self._size:
            raise ModelError(
                f"the model takes {self._size} bytes of input and was given {len(data)}"
            )
        return data


class _Session:
    """Memory of its own, with all operations bound to it; for one thread at a time."""

    def __init__(self, model: Kmodel) -> None:
        self._memory = Memory(model)
        self._inputs = [self._bytes(each.range) for each in model.entry.inputs]
        self._outputs = [self._bytes(each.range) for each in model.entry.outputs]
        self._ops: list[Bound] = []
        with np.errstate(all="ignore"):
            self._bind(model)

    def _bytes(self, bounds: kmodel.MemoryRange) -> Array:
        return self._memory.pool("stackvm", bounds.location)[bounds.start : bounds.end]

    def infer(self, data: bytes) -> list[bytes]:
        for _ in self._run(data):
            pass
        return [output.tobytes() for output in self._outputs]

    def trace(self, data: bytes) -> dict[str, Array]:
        found = {}
        for op in self._run(data):
            for number, tensor in enumerate(op.outputs()):
                found[f"{op.id}.{number}" if number else op.id] = tensor
        return found

    def _run(self, data: bytes) -> Iterator[Bound]:
        """Run all ops; each is handed out when it has been run."""
        self._memory.clear()
        start = 0
        for pool in self._inputs:
            pool[:] = np.frombuffer(data, np.uint8, pool.size, start)
            start += pool.size
        with np.errstate(all="ignore"):
            for op in self._ops:
                op.run()
                yield op

    def _bind(self, model: Kmodel) -> None:
        ids = iter(model.ops())
        for instruction in model.program:
            op = next(ids)
            try:
                if instruction.function is None:
                    self._bind_tensor_op(op, instruction)
                else:
                    length = len(model.functions[instruction.function])
                    self._bind_call(model, op, instruction, list(islice(ids, length)))
            except ModelError as error:
                raise ModelError(
                    f"op {op.id} ({op.kind}) cannot be run: {error}; compile the "
                    "model again with nncase 1.9"
                ) from None

    def _bind_tensor_op(self, op: Op, instruction: TensorOp) -> None:
        inputs, outputs = self._views(op)
        step = _OPS[op.kind](instruction, inputs, outputs[0])
        self._ops.append(Bound(op.id, step, _copies(outputs)))

    def _bind_call(
        self, model: Kmodel, op: Op, instruction: TensorOp, body: list[Op]
    ) -> None:
        """Arguments go into the callee's own memory, and results out of it."""
        number = instruction.function
        assert number is not None
        assert model.k210 is not None
        callee = model.k210.functions[number]
        given, wanted = self._views(op)
        inputs = [self._argument(number, each) for each in callee.inputs]
        results = [self._argument(number, each) for each in callee.outputs]
        self._ops.append(Bound(op.id, _copy_all(given, inputs), list))
        for each in body:
            step = region.bind(model, self._memory, number, each)
            outputs = region.results(self._memory, number, each)
            self._ops.append(Bound(each.id, step, outputs))
        self._ops.append(Bound(op.id, _copy_all(results, wanted), _copies(wanted)))

    def _views(self, op: Op) -> tuple[list[Array], list[Array]]:
        view = self._memory.view
        return [view(each) for each in op.inputs], [view(each) for each in op.outputs]

    def _argument(self, function: int, tensor: kmodel.Tensor) -> Array:
        bounds, shape = tensor.range, tensor.shape
        steps = kmodel.dense_strides(shape)
        place = bounds.location, bounds.start, bounds.dtype
        buffer = kmodel.Buffer("k210", *place, shape, steps, bounds.size)
        return self._memory.view(buffer, function)


def _copy_all(sources: list[Array], targets: list[Array]) -> Step:
    pairs = list(zip(targets, sources, strict=True))

    def run() -> None:
        for target, source in pairs:
            np.copyto(target, source)

    return run


def _copies(tensors: list[Array]) -> Callable[[], list[Array]]:
    return lambda: [tensor.copy() for tensor in tensors]
