"""The optimizer and how its step size changes; imported where Keras is needed."""

from typing import Any

import keras

from stages.project.training import Train

FINAL = 0.01
"""What an exponential schedule leaves of the step size."""

DROPS = (0.5, 0.75)
"""Fractions of the training after which a step schedule divides by ten."""

ADAMW_DECAY = 0.004
MOMENTUM = 0.9


class Warmup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Grows linearly to the start of another schedule, then follows that one."""

    def __init__(self, schedule: Any, steps: int) -> None:
        super().__init__()
        self._schedule, self._steps = schedule, steps

    def __call__(self, step: Any) -> Any:
        """The step size at a step from 0."""
        ops = keras.ops
        done = ops.cast(step, "float32")
        grown = self._schedule(0) * (done + 1) / self._steps
        later = self._schedule(ops.maximum(done - self._steps, 0))
        return ops.where(done < self._steps, grown, later)

    def get_config(self) -> dict[str, Any]:
        """What makes an equal one."""
        return {"schedule": self._schedule, "steps": self._steps}


def make_optimizer(settings: Train, steps: int) -> Any:
    """The optimizer that the ``train`` section describes.

    Args:
        settings: the section.
        steps: batches in an epoch.
    """
    rate, decay = make_schedule(settings, steps), settings.weight_decay
    optimizers = keras.optimizers
    if settings.optimizer == "adamw":
        decay = ADAMW_DECAY if decay is None else decay
        return optimizers.AdamW(rate, weight_decay=decay)
    if settings.optimizer == "sgd":
        return optimizers.SGD(rate, MOMENTUM, nesterov=True, weight_decay=decay)
    kind = {"adam": optimizers.Adam, "rmsprop": optimizers.RMSprop}
    return kind[settings.optimizer](rate, weight_decay=decay)


def make_schedule(settings: Train, steps: int) -> Any:
    """The step size as a function of the number of batches done."""
    warmup = settings.warmup_epochs * steps
    left = settings.epochs * steps - warmup
    schedule = _schedule(settings, left)
    return Warmup(schedule, warmup) if warmup else schedule


def _schedule(settings: Train, steps: int) -> Any:
    schedules, largest = keras.optimizers.schedules, settings.learning_rate
    if settings.schedule == "cosine":
        return schedules.CosineDecay(largest, steps)
    if settings.schedule == "exponential":
        return schedules.ExponentialDecay(largest, steps, FINAL)
    if settings.schedule == "step":
        ends = [max(1, round(steps * fraction)) for fraction in DROPS]
        values = [largest / 10**drops for drops in range(len(DROPS) + 1)]
        return schedules.PiecewiseConstantDecay(ends, values)
    return schedules.PiecewiseConstantDecay([steps], [largest, largest])
