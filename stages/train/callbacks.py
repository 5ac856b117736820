"""Early stopping that survives a kill; imports Keras.

Keras' own EarlyStopping keeps the best weights and how long it has waited in memory
only. This one writes beside the last good file and renames.
"""

import json
from pathlib import Path
from typing import Any

import keras

from stages.project.inner import EarlyStopping

SUFFIX = ".weights.h5"


class Best(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the best epoch and stops when none is better for long.

    Must come before the backup: an epoch that is repeated after a kill is then
    compared with itself at worst.

    Attributes:
        epoch: the best epoch, from 1; 0 before there is one.
    """

    def __init__(self, settings: EarlyStopping, folder: Path) -> None:
        super().__init__()
        assert settings.patience is not None
        self._patience, self._monitor = settings.patience, settings.monitor
        self._sign = -1 if settings.monitor == "val_loss" else 1
        self._weights, self._state = folder / f"best{SUFFIX}", folder / "best.json"
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
            model.load_weights(self._weights)

    def _keep(self) -> None:
        _save(self.model, self._weights)
        partial = self._state.with_suffix(".partial")
        partial.write_text(json.dumps({"epoch": self.epoch, "score": self._score}))
        partial.replace(self._state)

    def _recalled(self) -> tuple[int, float | None]:
        try:
            state = json.loads(self._state.read_bytes())
        except FileNotFoundError:
            return 0, None
        return state["epoch"], state["score"]


def _save(model: Any, path: Path) -> None:
    partial = path.with_name(f"partial-{path.name}")
    model.save_weights(partial, overwrite=True)
    partial.replace(path)
