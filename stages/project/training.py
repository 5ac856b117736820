"""The section `train` of a project's YAML."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stages.project.fields import ProperFraction, Section, Seed
from stages.project.inner import EarlyStopping, Freeze


class Augment(Section):
    """Random changes to each picture while training, up to these amounts."""

    rotation: float = Field(
        10.0, ge=0, le=180, description="Rotation to either side, in degrees."
    )
    shift: ProperFraction = Field(
        0.1, description="Shift along each axis, as a fraction of its length."
    )
    zoom: ProperFraction = Field(
        0.1, description="Growth and shrinkage, as a fraction of the size."
    )


class Train(Section):
    """The training, which a `model.file` replaces."""

    epochs: int = Field(
        28,
        ge=0,
        le=100_000,
        description="Passes over the training pictures; 0, with `model.weights_from` "
        "only: take those weights as they are.",
    )
    batch_size: int = Field(
        64, ge=1, le=10_000, description="Pictures per step of the optimizer."
    )
    learning_rate: float = Field(
        0.004, gt=0, le=10, description="Largest step size of the optimizer."
    )
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = Field(
        "adam", description="sgd has Nesterov's momentum, 0.9."
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Decay of the weights per step, times the step size; null: 0.004 "
        "for adamw, none for the others.",
    )
    schedule: Literal["cosine", "constant", "exponential", "step"] = Field(
        "cosine",
        description="How the step size falls: cosine: to 0; exponential: to a "
        "hundredth; step: to a tenth after half of the epochs, to a hundredth after "
        "three quarters.",
    )
    warmup_epochs: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Epochs in which the step size grows to its largest, before all "
        "that.",
    )
    class_weights: Literal["balanced"] | None = Field(
        None,
        description="balanced: pictures of rare classes count more, so that all "
        "classes count alike; null: all pictures count alike.",
    )
    early_stopping: EarlyStopping = Field(
        default_factory=EarlyStopping, description="When to stop before the last epoch."
    )
    freeze: Freeze = Field(
        default_factory=Freeze, description="Layers that are not trained."
    )
    seed: Seed = Field(
        0, description="Sets first weights, order of pictures and augmentation."
    )
    augment: Augment = Field(
        default_factory=Augment, description="Random changes to the pictures."
    )
