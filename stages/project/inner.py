"""The sections within the sections `model` and `train` of a project's YAML."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stages.project.fields import Activation, KernelSide, Section, Text


class Block(Section):
    """One block of a network written in the YAML."""

    kind: Literal[
        "conv",
        "depthwise",
        "separable",
        "inverted_residual",
        "residual",
        "max_pool",
        "average_pool",
        "dense",
    ] = Field(
        "conv",
        description="conv: a convolution; depthwise: one per channel; separable: a "
        "depthwise and a 1×1; inverted_residual: a 1×1 out, a depthwise, a 1×1 back; "
        "residual: two convolutions, whose input is added; max_pool, average_pool: of "
        "stride × stride pixels; dense: after the mean over the map.",
    )
    filters: int | None = Field(
        None, ge=1, le=1024, description="Channels that come out."
    )
    kernel: KernelSide | None = Field(
        None, description="Side of the kernel; null: as `model.kernel`."
    )
    stride: int | None = Field(
        None, ge=1, le=8, description="Stride; null: 1, for pools 2."
    )
    expand: int | None = Field(
        None,
        ge=1,
        le=16,
        description="How many times wider an inverted_residual is inside; null: 6.",
    )
    activation: Activation | None = Field(
        None, description="As `model.activation`; null: that one."
    )
    squeeze_excite: bool = Field(
        False, description="Weigh each channel by a gate that sees the whole map."
    )
    residual: bool = Field(
        False,
        description="Add the input; needs stride 1 and as many filters as channels "
        "come in.",
    )


class EarlyStopping(Section):
    """Ending the training when it gets no better; the best epoch's weights stay."""

    patience: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Epochs without a better one after which to stop; null: never.",
    )
    monitor: Literal["val_loss", "val_accuracy"] = Field(
        "val_loss", description="What is to get better, on the validation pictures."
    )


class Freeze(Section):
    """Layers that keep their first weights, for transfer learning."""

    up_to: Text | None = Field(
        None, description="Name of the last layer to freeze, with all before it."
    )
    first: int = Field(
        0,
        ge=0,
        le=10_000,
        description="How many layers to freeze, of those that have weights.",
    )
