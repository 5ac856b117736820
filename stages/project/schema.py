"""What may stand in a project's YAML: every section, key, limit and default.

The limits of ``flash`` and ``board`` are the layout of the SPI flash: the firmware
image owns the first 256 KiB, and 4096 bytes are the smallest unit that erases. What
one key demands of another is in ``rules``.

``python -m stages.project.schema > stages/pipeline.schema.json`` writes the schema
for editors anew.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from stages.project import rules
from stages.project.data import Data
from stages.project.fields import (
    RESERVED,
    Activation,
    BuilderName,
    Count,
    FlashSize,
    Fraction,
    KernelSide,
    Method,
    Name,
    ProperFraction,
    Section,
    Seed,
    Text,
)
from stages.project.inner import Block
from stages.project.training import Train

__all__ = ["RESERVED", "Data", "Project", "json_schema", "schema_text"]

EXTENDS = (
    "Another YAML file, relative to this one, that this one adds to and overrides: "
    "mappings key by key, anything else as a whole."
)
"""What the key `extends` means, which `source` takes away before validation."""


class About(Section):
    """What the project is called; the name is not inherited through `extends`."""

    name: Name = Field(
        default_factory=lambda: "pipeline",
        description="What the project is called on the command line and under "
        "build/. By default, and always in projects/, the file's name.",
    )
    description: str = Field("", description="A sentence for people.")


class Model(Section):
    """Where the model comes from: trained here, or a file of yours."""

    file: Text | None = Field(
        None,
        description="A trained model, which takes the place of the training: .tflite "
        "(float32 or float16), .keras, .h5, .onnx, or the folder of a SavedModel. "
        "Relative to the YAML file that says so.",
    )
    signature: Text | None = Field(
        None,
        description="The function to take from a SavedModel; null: serving_default, or "
        "the only one.",
    )
    dequantize: bool = Field(
        False,
        description="Take the 8-bit weights of a dynamic-range .tflite file for float "
        "ones. TFLite quantizes the feature maps of such a model while it runs, so "
        "the two differ by what that costs; the export stage reports how much.",
    )
    weights_from: Text | None = Field(
        None,
        description="A float .tflite file of the same network as the architecture's, "
        "whose weights the training starts from. Relative to the YAML file that says "
        "so.",
    )
    smallest_map: int = Field(
        4,
        ge=1,
        le=4,
        description="Rows or columns of the smallest feature map an architecture may "
        "make; below 4 the CPU pads it for the KPU.",
    )
    builder: BuilderName | None = Field(
        None,
        description="A Python function of yours that makes the network to train: "
        "called with (height, width, channels) and the number of classes, returns a "
        "Keras model that ends in a softmax. Imported from where `pipeline.yaml` is.",
    )
    blocks: tuple[Block, ...] | None = Field(
        None,
        strict=False,
        min_length=1,
        max_length=200,
        description="The network to train, block by block; the mean over the map, "
        "dropout and the scores follow by themselves.",
    )
    architecture: (
        Literal[
            "mobilenet_v1",
            "mobilenet_v2",
            "mobilenet_v3_small",
            "mobilenet_v3_large",
            "resnet8",
            "ds_cnn",
            "cnn",
            "kpunet",
        ]
        | None
    ) = Field(
        default_factory=lambda data: (
            None
            if any(data.get(key) for key in ("file", "builder", "blocks"))
            else "mobilenet_v1"
        ),
        json_schema_extra={"default": "mobilenet_v1"},
        description="The network to train; null if `file`, `builder` or `blocks` is "
        "given.",
    )
    alpha: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Width of the architecture, as a fraction of the full.",
    )
    activation: Activation | None = Field(
        None, description="Of all layers; null: the architecture's own."
    )
    kernel: KernelSide = Field(
        3,
        description="Side of the depthwise kernels; the KPU computes no other than 3.",
    )
    padding: Literal["same", "kpu"] = Field(
        "same",
        description="same: TensorFlow's; kpu: at stride 2 one pixel on every side, "
        "which the KPU does by itself.",
    )
    weights: Literal["imagenet"] | None = Field(
        None,
        description="imagenet: start from the weights that Keras offers for "
        "mobilenet_v1 and mobilenet_v2, downloaded once; null: from the seed.",
    )
    dropout: ProperFraction = Field(
        0.1, description="Fraction of the last features dropped while training."
    )


class Export(Section):
    """The conversion to TFLite, compared with the float model."""

    samples: Count = Field(
        32, description="Pictures on which the two models are compared."
    )
    tolerance: float = Field(
        1.0e-4,
        gt=0,
        le=1,
        description="Largest absolute difference allowed between their outputs.",
    )
    timeout: int = Field(
        300,
        ge=1,
        le=86_400,
        description="Seconds after which the import of a `model.file` is given up.",
    )


class Normalize(Section):
    """The rewriting of the model into what the KPU runs; nothing to set."""


class Quantize(Section):
    """The calibration of the 8-bit model."""

    method: Method = Field(
        "no_clip",
        description="How nncase chooses the range of each feature map: no_clip: the "
        "whole range seen; l2, cdf, kld_m2: clip it so that squared error, "
        "distribution or divergence stays small.",
    )
    mse_weights: bool = Field(
        False,
        description="Choose the range of the weights by their mean squared error.",
    )
    samples: int = Field(
        64,
        ge=16,
        le=1_000_000,
        description="Training pictures to calibrate with; fewer than 16 would cost "
        "several dB of signal-to-noise ratio.",
    )
    seed: Seed = Field(0, description="Chooses the pictures to calibrate with.")


class Compile(Section):
    """The compilation to a kmodel by nncase."""

    timeout: int = Field(
        300, ge=1, le=86_400, description="Seconds after which nncase is given up."
    )


class Flash(Section):
    """Where the model lies in the board's flash."""

    slot: int = Field(
        0x100000,
        ge=0x40000,
        lt=0x1000000,
        multiple_of=4096,
        description="Byte address of the model in flash; the firmware image owns "
        "everything below 0x40000.",
    )
    mode: Literal["flash", "ram", "standalone"] = Field(
        "flash",
        description="flash: the model goes into flash; ram: it is only loaded into "
        "memory, which wears nothing; standalone: model and firmware go into flash, so "
        "that the board starts with them on its own.",
    )
    overwrite: bool = Field(
        False,
        description="Overwrite what lies there though this computer has not written "
        "it, and accept another board than the last time.",
    )


class Check(Section):
    """The measurement on the board, and what it must reach."""

    samples: Count = Field(1000, description="Test pictures to run on the board.")
    top_k: int = Field(
        5,
        ge=2,
        le=1000,
        description="Besides the best score, count how often the right class is among "
        "this many best ones, where there are more classes.",
    )
    min_accuracy: Fraction | None = Field(
        None,
        description="Least fraction of pictures the board must get right; null: any.",
    )
    max_drop: Fraction | None = Field(
        None,
        description="How much accuracy the board may lose against the float model, as "
        "a difference of fractions; null: any. It is missed where the whole 95 % "
        "interval of the loss, measured on the same pictures, lies above it; where "
        "only the loss itself does, a note says that more pictures would tell.",
    )
    min_agreement: Fraction | None = Field(
        None,
        description="Least fraction of pictures on which board and float model must "
        "choose the same class; null: any.",
    )


class Report(Section):
    """The page that shows it all."""

    title: Text | None = Field(
        None, description="Heading of the page; null: the project's name."
    )


class Board(Section):
    """The board: one of port, id and tag says which."""

    id: Text | None = Field(
        None,
        description="The id of a board of boards.yaml, or that of its flash chip.",
    )
    tag: Text | None = Field(
        None, description="Any connected board of boards.yaml that carries this tag."
    )
    port: Text | None = Field(
        default_factory=lambda data: (
            None if data.get("id") or data.get("tag") else "virtual"
        ),
        json_schema_extra={"default": "virtual"},
        description="A serial port (/dev/ttyUSB0, COM5) or its address "
        "(rfc2217://host:port); virtual: a K210 in software. null "
        "if id or tag is given.",
    )
    type: Text | None = Field(
        None,
        description="Type of the board, which says how its reset is wired; null: dan, "
        "or virtual.",
    )
    baud: int = Field(
        2_000_000,
        ge=1_200,
        le=2_000_000,
        description="Speed of the serial line, bit/s.",
    )
    flash_size: FlashSize = Field(
        0x1000000, description="Bytes of flash on the board: 8 or 16 MiB."
    )


class Project(Section):
    """A project of the K210 pipeline; every key may be left out or null."""

    project: About = Field(default_factory=About, description=About.__doc__)
    data: Data = Field(default_factory=Data, description=Data.__doc__)
    model: Model = Field(default_factory=Model, description=Model.__doc__)
    train: Train = Field(default_factory=Train, description=Train.__doc__)
    export: Export = Field(default_factory=Export, description=Export.__doc__)
    normalize: Normalize = Field(
        default_factory=Normalize, description=Normalize.__doc__
    )
    quantize: Quantize = Field(default_factory=Quantize, description=Quantize.__doc__)
    compile: Compile = Field(default_factory=Compile, description=Compile.__doc__)
    flash: Flash = Field(default_factory=Flash, description=Flash.__doc__)
    check: Check = Field(default_factory=Check, description=Check.__doc__)
    report: Report = Field(default_factory=Report, description=Report.__doc__)
    board: Board = Field(default_factory=Board, description=Board.__doc__)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        conflicts = list(rules.conflicts(self))
        if conflicts:
            text = "; ".join(c.message for c in conflicts)
            details = {"text": text, "conflicts": conflicts}
            raise PydanticCustomError("conflicts", "{text}", details)
        return self


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of a project's YAML, for editors."""
    schema = Project.model_json_schema()
    extends = {"type": "string", "minLength": 1, "description": EXTENDS}
    schema["properties"] = {"extends": extends, **schema["properties"]}
    for model in (schema, *schema["$defs"].values()):
        model["properties"] = {
            key: _for_editors(value) for key, value in model["properties"].items()
        }
        del model["title"]
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


def _for_editors(value: dict[str, Any]) -> dict[str, Any]:
    """Write one property in draft 7, with null for "the default"."""
    kept = ("description", "default")
    outer = {k: v for k, v in value.items() if k in kept}
    inner = {k: v for k, v in value.items() if k not in ("title", *kept)}
    if "prefixItems" in inner:
        inner["items"] = inner.pop("prefixItems")
    if "anyOf" in inner:
        return {**outer, **inner}
    return {**outer, "anyOf": [inner, {"type": "null"}]}


def schema_text() -> str:
    """Return ``json_schema()`` as the text of ``stages/pipeline.schema.json``."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
