"""Early stopping that survives a kill; imported where Keras is needed.

Keras' own EarlyStopping keeps the best weights and how long it has waited in memory,
so that a training that was killed and resumed forgets both. Here they lie in the
job's scratch folder.
"""

import json
from pathlib import Path
from typing import Any

import keras

from stages.project.schema import EarlyStopping

WEIGHTS, STATE = "best.weights.h5", "best.json"


class Best(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the best epoch and stops when none is better for long.

    Must come before the callback that records an epoch as done: an epoch that is
    repeated after a kill is then compared with itself at worst.

    Attributes:
        epoch: the best epoch, from 1; 0 before there is one.
    """

    def __init__(self, settings: EarlyStopping, folder: Path) -> None:
        super().__init__()
        assert settings.patience is not None
        self._patience, self._monitor = settings.patience, settings.monitor
        self._sign = -1 if settings.monitor == "val_loss" else 1
        self._folder = folder
        self.epoch, self._score = self._recalled()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep the weights if this epoch, counted from 0, is the best yet."""
        score = self._sign * (logs or {})[self._monitor]
        if self._score is None or score > self._score:
            self.epoch, self._score = epoch + 1, score
            self._keep()
        elif epoch + 1 - self.epoch >= self._patience:
            self.model.stop_training = True

    def restore(self, model: Any) -> None:
        """Give a model the weights of the best epoch."""
        if self.epoch:  # every loss may have been NaN
            model.load_weights(self._folder / WEIGHTS)

    def _keep(self) -> None:
        """Write the weights, then what they are: a kill in between loses neither."""
        partial = self._folder / f"partial.{WEIGHTS}"
        self.model.save_weights(partial, overwrite=True)
        partial.replace(self._folder / WEIGHTS)
        state = self._folder / f"{STATE}.partial"
        state.write_text(json.dumps({"epoch": self.epoch, "score": self._score}))
        state.replace(self._folder / STATE)

    def _recalled(self) -> tuple[int, float | None]:
        try:
            state = json.loads((self._folder / STATE).read_bytes())
        except FileNotFoundError:
            return 0, None
        return state["epoch"], state["score"]
