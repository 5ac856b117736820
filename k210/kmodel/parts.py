"""What the bytes of a kmodel are, for whoever finds one that is not as it should be."""

from k210.kmodel.model import Kmodel


def part_at(model: Kmodel, offset: int) -> str:
    """What a byte of the file belongs to, such as ``the weights of k0.1``."""
    for op_id, conv in model.convs():
        for what in ("weights", "batch_norm", "activation"):
            buffer = getattr(conv, what)
            start = model.file_offset(buffer)
            if start <= offset < start + buffer.size:
                return f"the {_TABLES[what]} of {op_id}"
    for module in model.modules:
        for section in (module.text, module.rdata):
            if section.offset <= offset < section.offset + section.size:
                what = "code" if section is module.text else "constants"
                return f"the {what} of the {module.type} module"
    return "the headers"


_TABLES = {
    "weights": "weights",
    "batch_norm": "batch norm",
    "activation": "activation table",
}
