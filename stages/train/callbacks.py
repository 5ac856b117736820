"""What a training keeps on disk so that a kill loses nothing; imports Keras.

Keras' own BackupAndRestore writes its file in place, so that a kill in the middle
leaves one that cannot be read, and its EarlyStopping keeps the best weights and how
long it has waited in memory only. These write beside the last good file and rename.
"""

import json
from pathlib import Path
from typing import Any

import keras

from stages.project.inner import EarlyStopping

SUFFIX = ".weights.h5"


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps weights and optimizer state of the last finished epoch.

    Must come last of the callbacks that write: what they record of an epoch is
    recorded again when it is repeated.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def resume(self, model: Any) -> int:
        """Bring a compiled model to where it was; returns how many epochs are done."""
        if not (kept := self._kept()):
            return 0
        model.optimizer.build(model.trainable_variables)
        model.load_weights(kept[-1])
        return _epoch(kept[-1])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Replace the checkpoint; ``epoch`` counts from 0."""
        earlier = self._kept()
        _save(self.model, self._folder / f"epoch-{epoch + 1}{SUFFIX}")
        for path in earlier:
            path.unlink()

    def _kept(self) -> list[Path]:
        """Checkpoints, the latest last: a kill may have left two."""
        return sorted(self._folder.glob(f"epoch-*{SUFFIX}"), key=_epoch)


def _epoch(path: Path) -> int:
    return int(path.name.removeprefix("epoch-").removesuffix(SUFFIX))


class Best(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the best epoch and stops when none is better for long.

    Must come before the checkpoint: an epoch that is repeated after a kill is then
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
