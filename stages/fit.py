"""Whether the chip can hold and run a kmodel, and whether it computes what it should.

nncase 1.9 checks neither the 6 MiB nor the counter of weight loads, and some of its
activation tables are wrong (`k210.kmodel.tables`); its simulator notices none of it.
"""

from collections.abc import Mapping

from k210 import kmodel, limits
from k210.errors import ModelError
from k210.kmodel import Conv2d, Kmodel

_NO_NAMES: Mapping[str, str] = {}


def require_fit(parsed: Kmodel, names: Mapping[str, str] = _NO_NAMES) -> None:
    """Make sure that the chip can hold and run the kmodel.

    Args:
        parsed: the kmodel.
        names: what to call its layers, by op id.

    Raises:
        ModelError: it cannot; which limit is exceeded, where, and by how much.
    """
    if not any(parsed.convs()):
        raise ModelError(
            "nncase put no layer on the KPU, all of the model would run on the CPU; "
            "it needs 1×1 or 3×3 convolutions of at most 1024 channels on maps of 4×4 "
            "to 256×512"
        )
    memory = parsed.memory()
    if memory.total > limits.SRAM:
        raise ModelError(
            f"the model needs {memory.total / limits.MIB:.2f} MiB (model "
            f"{memory.model / limits.MIB:.2f}, working memory "
            f"{memory.data / limits.MIB:.2f}) and the K210 has "
            f"{limits.SRAM // limits.MIB} MiB; use a smaller alpha or picture"
        )
    for op_id, layer in parsed.convs():
        if layer.weight_loads > limits.WEIGHT_LOADS:
            raise ModelError(_too_many_loads(_called(op_id, names), layer))


def require_sound(parsed: Kmodel, names: Mapping[str, str] = _NO_NAMES) -> None:
    """Make sure that no activation table jumps; for repaired kmodels.

    Raises:
        ModelError: one does; which layer's, and by how much.
    """
    if found := kmodel.jumps(parsed):
        worst = max(found, key=lambda jump: jump.steps)
        where = " and ".join(_called(op, names) for op in worst.ops)
        raise ModelError(
            f"the activation table that nncase made for {where} is broken: segment "
            f"{worst.segment} misses the next one by {worst.steps:.0f} of 255 steps "
            "more than rounding explains; use another activation there, or another "
            "quantize.method"
        )


def _called(op_id: str, names: Mapping[str, str]) -> str:
    name = names.get(op_id, "")
    return f"layer {name!r} ({op_id})" if name else f"layer {op_id}"


def _too_many_loads(where: str, layer: Conv2d) -> str:
    most = layer.registers.channels_per_load * limits.WEIGHT_LOADS
    return (
        f"{where} of {layer.in_channels}→{layer.out_channels} channels loads its "
        f"weights in {layer.weight_loads} pieces and the KPU counts to "
        f"{limits.WEIGHT_LOADS}, so the chip would compute with a part of them; give "
        f"it at most {most} output channels, or use several convolutions side by side"
    )
