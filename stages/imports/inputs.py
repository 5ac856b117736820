"""Whether a model takes the pictures that the data section makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from k210.errors import ModelError
from stages import tflite


def require_one_input(count: int, path: Path) -> None:
    """Make sure that a model has exactly one input.

    Raises:
        ModelError: it has none or several.
    """
    if count != 1:
        raise ModelError(
            f"{path}: has {count} inputs; models with exactly one are supported"
        )


def require_size(
    found: Sequence[int | None], path: Path, shape: tuple[int, int, int]
) -> None:
    """Make sure that a model takes pictures of the data section's shape.

    Args:
        found: its input as batch, height, width, channels; None or -1 where a size
            is open and will be fixed.
        path: the model's file, for the error.
        shape: height, width and channels of the pictures.

    Raises:
        ModelError: it takes others.
    """
    sizes = [None if size in (None, -1) else size for size in found]
    wanted = (1, *shape)
    if len(sizes) != 4 or sizes[0] not in (None, 1):
        raise ModelError(
            f"{path}: its input is {_brackets(sizes)}; it must be "
            "[1, height, width, channels]; export it with batch 1"
        )
    pairs = zip(sizes, wanted, strict=True)
    if all(size in (None, want) for size, want in pairs):
        return
    height, width, channels = (
        str(have or want) for have, want in zip(sizes[1:], shape, strict=True)
    )
    raise ModelError(
        f"{path}: takes {height}×{width}×{channels} pictures and the data section "
        f"makes {'×'.join(map(str, shape))}; set data.size: [{height}, {width}] and "
        f"data.channels: {channels}"
    )


def _brackets(sizes: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in sizes)}]"


def deployable(path: Path, shape: tuple[int, int, int], named: Path) -> Any:
    """The ``ModelT`` of a TFLite file that can be deployed.

    Args:
        path: the file.
        shape: height, width and channels of the pictures.
        named: the file that the errors speak of.

    Raises:
        ModelError: it is not float32 throughout, or takes other pictures.
    """
    model = tflite.read(path)
    tflite.require_float(model, named)
    graph = model.subgraphs[0]
    require_one_input(len(tflite.indices(graph.inputs)), named)
    found = tflite.static_shape(graph.tensors[graph.inputs[0]])
    if -1 in found:
        raise ModelError(
            f"{named}: its input is {list(found)}; it must be static, "
            "[1, height, width, channels]; export it with batch 1"
        )
    require_size(found, named, shape)
    return model
