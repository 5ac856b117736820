"""The first layer that is wrong, step by step along the ladder.

The model's input is compared with what the data says, then every map of a few pictures:
Keras's with those of the exported model, these with the normalized one's, these with
the kmodel's on the host, whose weights and tables need no picture, and these with the
device's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from k210.board import Board
from k210.kmodel import Kmodel
from k210.manifest import Input
from k210.reference import Reference
from stages.check.cause import Cause, Sample
from stages.check.causes import (
    cause,
    changed_weights,
    table_causes,
    weights_cause,
)
from stages.check.devices import all_differences, first_difference
from stages.check.maps import Atlas, Layer
from stages.check.misread import misread
from stages.check.network import Network, planar
from stages.check.rows import row, suspected, table, told
from stages.check.shares import losing
from stages.check.unlike import Maps, first_unlike

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
Row = Mapping[str, Any]

PICTURES = 8
"""Of the test split, whose maps are compared."""

FALL_DB, POOR_DB = 8.0, 25.0
"""A layer that loses so much against its inputs, and ends below this, is wrong."""

NOTICED_DB = 3.0
"""Lost by a layer whose bytes are wrong, it makes that the first wrong one."""


@dataclass(frozen=True)
class Models:
    """What is compared: files of the float models, the kmodel and its names.

    ``compiled`` is the float file that nncase was given, ``named`` the tensor that
    each of the kmodel's operations is called after.
    """

    exported: Path
    normalized: Path
    compiled: Path
    kmodel: Kmodel
    named: Mapping[str, str]


@dataclass(frozen=True)
class Pictures:
    """The same pictures as the board takes them and upright, uint8 N×C×H×W.

    ``keras`` gives the maps of the float model for upright ones, by layer;
    ``labelled`` are upright ones on which the exported model does not do well.
    """

    board: Bytes
    upright: Bytes
    keras: "KerasMaps | None"
    labelled: "Labelled | None" = None


class KerasMaps:
    """Every map of a Keras model.

    Args:
        path: the model's file.
        to_float: from prepared bytes N×C×H×W to what it was trained on.
    """

    def __init__(self, path: Path, to_float: Callable[[Bytes], Array]) -> None:
        self._path, self._to_float = path, to_float

    def of(self, prepared: Bytes) -> list[Maps]:
        """By layer, its map for each picture, 1×C×H×W."""
        import keras

        model = keras.models.load_model(self._path)
        outputs = [
            layer.output
            for layer in model.layers
            if hasattr(layer.output, "shape") and len(layer.output.shape) in (2, 4)
        ]
        probe = keras.Model(model.inputs, outputs)
        found = probe.predict_on_batch(self._to_float(prepared))
        return [
            [planar(one[np.newaxis]) for one in np.asarray(values)] for values in found
        ]


@dataclass(frozen=True)
class Labelled:
    """Samples of a brought classifier, float32 1×H×W×C, and their labels."""

    samples: Sequence[Array]
    labels: Sequence[int]


class Trace:
    """The search, for one finished ladder.

    Args:
        models: what is compared.
        spec: the model's input, as the manifest has it.
        wanted: the same as the project's data says.
        ladder: the rows of ``check.json``.
    """

    def __init__(
        self, models: Models, spec: Input, wanted: Input, ladder: Sequence[Row]
    ) -> None:
        self._models, self._spec, self._wanted = models, spec, wanted
        self._losing = losing(ladder)
        self._atlas = Atlas(models.kmodel, Network(models.compiled), models.named)
        self._samples: list[Sample] = []

    def run(
        self, board: Board, pictures: Pictures, different: int | None, always: bool
    ) -> dict[str, Any]:
        """What ``check.json`` holds under ``trace``.

        Args:
            board: with the model loaded.
            pictures: a few of the test split.
            different: which of them the device answers otherwise than the reference.
            always: compare every tensor of the first picture on the device.
        """
        self._compare(pictures.board)
        layers = self._atlas.layers()
        rows = [row(self._atlas, layer, layers) for layer in layers]
        found = next(self._found(board, pictures, different, layers), None)
        trace: dict[str, Any] = {
            "pictures": len(pictures.board),
            "losing": self._losing,
            "layers": rows,
            "first_wrong": found,
        }
        if always:
            first = pictures.board[0].tobytes()
            expected = self._samples[0].traced
            trace["device_differs"] = all_differences(
                board, self._models.kmodel, expected, first
            )
        return trace

    @property
    def _limits(self) -> tuple[float, float]:
        low, high = self._spec.range
        return low, high

    def _compare(self, pictures: Bytes) -> None:
        reference = Reference(self._models.kmodel)
        wanted, network = self._atlas.wanted(), self._atlas.network
        for picture in pictures:
            floats = self._spec.to_float(picture[np.newaxis])
            traced = reference.trace(picture.tobytes())
            network.run(floats)
            self._atlas.add(traced, {each: network.planar(each) for each in wanted})
            self._samples.append(Sample(floats, traced))

    def _found(
        self,
        board: Board,
        pictures: Pictures,
        different: int | None,
        layers: Sequence[Layer],
    ) -> Iterator[dict[str, Any]]:
        """Whatever is wrong, in the order of the ladder."""
        yield from self._input()
        yield from self._misread(pictures.labelled)
        if "tflite" in self._losing and pictures.keras is not None:
            known = pictures.keras.of(pictures.upright)
            yield from self._float_step("tflite", known, pictures.upright, False)
        if "normalized" in self._losing:
            network = Network(self._models.exported)
            upright = self._floats(pictures.upright)
            known = _all_maps(network, upright)
            turned = self._spec.rotation == 180
            yield from self._float_step("normalized", known, pictures.board, turned)
        yield from self._layers(layers)
        if "device" in self._losing or different is not None:
            yield from self._device(board, pictures, different or 0)

    def _floats(self, prepared: Bytes) -> list[Array]:
        return [self._spec.to_float(each[np.newaxis]) for each in prepared]

    def _input(self) -> Iterator[dict[str, Any]]:
        """Whether the deployed model's input is what the data section says."""
        for name in ("color", "range", "mean", "std", "resize", "shape"):
            has, wanted = getattr(self._spec, name), getattr(self._wanted, name)
            if has != wanted:
                kind = "channel order" if name == "color" else f"input {name}"
                words = (
                    f"the manifest's input has {name} {_shown(has)} and data says "
                    f"{_shown(wanted)}: the pictures are prepared in another way than "
                    "the model was trained on; run the quantize stage again"
                )
                yield told("tflite", None, self._spec.name, Cause(kind, words))

    def _misread(self, labelled: Labelled | None) -> Iterator[dict[str, Any]]:
        """Whether the model would do better on pictures prepared otherwise."""
        if labelled is None:
            return
        network = Network(self._models.exported)
        found = misread(network, labelled.samples, labelled.labels, self._limits)
        if found is not None:
            yield told("tflite", None, network.names[network.input], found)

    def _float_step(
        self,
        step: str,
        known: Sequence[Maps],
        pictures: Bytes,
        turned: bool,
    ) -> Iterator[dict[str, Any]]:
        models = self._models
        network = Network(models.exported if step == "tflite" else models.normalized)
        suspect = first_unlike(
            network, self._floats(pictures), known, self._limits, turned
        )
        if suspect is not None:
            yield suspected(step, suspect)

    def _layers(self, layers: Sequence[Layer]) -> Iterator[dict[str, Any]]:
        """The first layer that falls off, or whose bytes cannot be right.

        Bytes that do no harm, such as a wrapped slope that no value meets, are named
        only where nothing falls off after them.
        """
        falls = [row(self._atlas, each, layers)["fall_db"] for each in layers]
        falling = next(
            (i for i, each in enumerate(layers) if self._off(each, falls[i])), None
        )
        for place, layer in enumerate(layers):
            if falling is not None and place >= falling:
                break
            found = next(self._unsound(layer), None)
            if found is not None and (falling is None or falls[place] >= NOTICED_DB):
                yield self._wrong(layer, layers, found)
        if falling is not None:
            layer = layers[falling]
            found = cause(self._atlas, layer, self._samples, self._limits)
            yield self._wrong(layer, layers, found)

    def _off(self, layer: Layer, fall: float) -> bool:
        """Whether a layer is much worse than what it works on."""
        snr = layer.likeness.snr_db
        return snr is not None and fall >= FALL_DB and snr < POOR_DB

    def _unsound(self, layer: Layer) -> Iterator[Cause]:
        """Weights and tables that cannot be what nncase made, samples or not."""
        if layer.op.kind != "kpu_conv2d":
            return
        changed = changed_weights(self._atlas, layer.op.id, layer.tensor)
        if changed is not None and (changed.isolated or changed.reversed_order):
            yield weights_cause(changed)
        yield from table_causes(self._models.kmodel, layer.op.id)

    def _wrong(
        self, layer: Layer, layers: Sequence[Layer], found: Cause
    ) -> dict[str, Any]:
        entry = told("reference", layer.op.id, layer.tensor, found)
        entry.update(row(self._atlas, layer, layers))
        if layer.op.kind == "kpu_conv2d":
            entry["table"] = table(self._models.kmodel, layer.op.id)
        return entry

    def _device(
        self, board: Board, pictures: Pictures, different: int
    ) -> Iterator[dict[str, Any]]:
        """The operation that the device computes otherwise."""
        picture = pictures.board[different].tobytes()
        expected = self._samples[different].traced
        found = first_difference(board, self._models.kmodel, expected, picture)
        if found is not None:
            tensor = self._models.named.get(found.op, "")
            yield told("device", found.op, tensor, found.cause)


def _all_maps(network: Network, samples: Sequence[Array]) -> list[Maps]:
    maps: dict[int, Maps] = {node.output: [] for node in network.nodes}
    for sample in samples:
        network.run(sample)
        for number, found in maps.items():
            found.append(network.planar(number))
    return list(maps.values())


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(f"{each:g}" for each in value)
    return str(value)
