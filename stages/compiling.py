"""A TFLite model compiled by nncase, and what nncase got wrong in it mended.

The normalize stage tries its plans in just the form in which the compile stage will
deploy one of them. nncase runs in a child process with a time limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from k210 import kmodel
from k210.child import Child
from k210.errors import ModelError
from k210.kmodel import KmodelError, Repair
from stages import tflite
from stages.memory import no_room, require_room
from stages.nncase_child import NoRoom, OpNames, Request, Result, prepare
from stages.outputs import output_order


@dataclass(frozen=True)
class Compiled:
    """A repaired kmodel, what was repaired, and nncase's names of its operations."""

    kmodel: bytes
    repairs: tuple[Repair, ...]
    op_names: OpNames


def compiled(request: Request, log: Path, what: str, timeout: float) -> Compiled:
    """Compile a model that may fit the chip, and repair what comes out.

    Args:
        request: the model, and how to quantize it.
        log: the file for nncase's chatter.
        what: what errors call the work.
        timeout: seconds.

    Raises:
        ModelError: its maps cannot fit the chip, or nncase refuses it, crashes, takes
            too long or makes a kmodel that is none.
    """
    model = tflite.unpack(request.model)
    require_room(model)
    with Child(prepare, (), log, what) as child:
        try:
            result: Result = child.ask(request, timeout)
        except NoRoom:
            raise ModelError(no_room(model)) from None
    return Compiled(*repaired(result.kmodel, request), result.op_names)


def repaired(data: bytes, request: Request) -> tuple[bytes, tuple[Repair, ...]]:
    """The kmodel as nncase should have written it, and what was repaired.

    Args:
        data: what nncase wrote.
        request: what it was asked for.

    Raises:
        ModelError: it is not whole, or has other outputs than the model.
    """
    try:
        mended, repairs = kmodel.repair(data)
    except KmodelError as error:
        raise ModelError(
            f"nncase made a kmodel that its own runtime would refuse ({error}); it "
            "does so for an unpadded convolution whose map a KPU layer and the CPU "
            "both read: pad that convolution, or use its map once"
        ) from None
    order = output_order(kmodel.parse(mended), request)
    if order == sorted(order):
        return mended, repairs
    what = f"outputs that nncase listed as {_numbers(order)} are in the model's order"
    return kmodel.with_outputs(mended, order), (*repairs, Repair("outputs", (), what))


def _numbers(order: Sequence[int]) -> str:
    """The model's numbers of the outputs, as the kmodel has them."""
    return ", ".join(str(order.index(number)) for number in range(len(order)))
