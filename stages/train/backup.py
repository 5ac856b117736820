"""The training's state after each epoch, so that a killed training goes on from there.

Keras' BackupAndRestore overwrites its file in place: killed while it writes, it
leaves one that it cannot load again. Here a state appears by a rename.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, float]
"""What one epoch measured: "loss", "accuracy" and, if there is, "val_loss" …"""


class Backup:
    """The last finished epoch's state, in ``epoch-N`` below a folder.

    Attributes:
        history: a row for each finished epoch.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.history: list[Row] = []

    def resume(self, model: Any) -> int:
        """Bring a compiled model to the last saved state; returns its epoch, or 0."""
        states = {int(p.name[6:]): p for p in self._folder.glob("epoch-*")}
        if not states:
            return 0
        epoch = max(states)
        model.optimizer.build(model.trainable_variables)
        model.load_weights(states[epoch] / "model.weights.h5")
        self.history = json.loads((states[epoch] / "history.json").read_bytes())
        return epoch

    def save(self, model: Any, logs: Mapping[str, float]) -> None:
        """Keep the state after one more epoch in the place of the former."""
        self.history.append({name: float(logs[name]) for name in sorted(logs)})
        draft = self._folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        model.save_weights(draft / "model.weights.h5")
        (draft / "history.json").write_text(json.dumps(self.history))
        earlier = list(self._folder.glob("epoch-*"))
        os.rename(draft, self._folder / f"epoch-{len(self.history)}")
        for folder in earlier:
            shutil.rmtree(folder)
