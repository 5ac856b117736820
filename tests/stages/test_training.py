"""What the train stage's settings do."""

import csv
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Checkout, assert_refused

from k210.errors import UserError
from stages.project.inner import Freeze
from stages.project.schema import Model
from stages.project.training import Train

STOPPING = """\
project: {name: tiny}
data: {split: {train: 200, validation: 40, test: 60}}
model: {architecture: cnn, alpha: 0.25}
train:
  epochs: 200
  learning_rate: 0.05
  schedule: constant
  class_weights: balanced
  early_stopping: {patience: 4}
quantize: {method: no_clip, samples: 16}
check: {samples: 60}
"""

PATIENCE = 4

OFFLINE = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
"""A proxy that nobody serves."""


def summary(checkout: Checkout) -> dict[str, Any]:
    path = checkout.root / "build/tiny/train/summary.json"
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def history(checkout: Checkout) -> list[dict[str, float]]:
    path = checkout.root / "build/tiny/train/history.csv"
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.long
def test_a_killed_training_stops_early_and_keeps_its_best_epoch(
    checkout: Checkout,
) -> None:
    checkout.write("pipeline.yaml", STOPPING)
    process = checkout.start(sys.executable, "-m", "stages", "train")
    states: list[Path] = []
    deadline = time.monotonic() + 200
    while not states and process.poll() is None and time.monotonic() < deadline:
        states = list(checkout.root.glob("build/**/best.json"))
        time.sleep(0.02)
    assert states
    before = json.loads(states[0].read_bytes())["epoch"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = checkout.stage("train")
    assert done.returncode == 0, done.stderr
    rows, found = history(checkout), summary(checkout)
    best = int(np.argmin([row["val_loss"] for row in rows]))
    assert [row["epoch"] for row in rows] == list(range(len(rows)))
    assert found["best_epoch"] == best + 1 >= before
    assert found["epochs"] == len(rows) == best + 1 + PATIENCE
    accuracy = rows[best]["val_accuracy"]
    assert found["validation_accuracy"] == pytest.approx(accuracy, abs=0.026)


def compiled() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # in Keras
def test_a_backup_brings_back_weights_optimizer_and_history(tmp_path: Path) -> None:
    import keras

    from stages.train.backup import Backup

    x, y = np.ones((32, 4), np.float32), np.ones(32, np.float32)
    trained, resumed = compiled(), compiled()
    backup = Backup(tmp_path)
    assert backup.resume(resumed) == 0
    save = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: backup.save(trained, logs)
    )
    trained.fit(x, y, epochs=3, verbose=0, callbacks=[save])
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "model.weights.h5").write_bytes(b"half of it")
    again = Backup(tmp_path)
    assert again.resume(resumed) == 3
    assert again.history == backup.history
    assert int(resumed.optimizer.iterations) == 3
    before = trained.fit(x, y, verbose=0).history["loss"]
    assert resumed.fit(x, y, verbose=0).history["loss"] == pytest.approx(before)
    assert len(list(tmp_path.glob("epoch-*"))) == 1


def test_early_stopping_refuses_to_watch_nothing(checkout: Checkout) -> None:
    text = STOPPING.replace("validation: 40", "validation: 0")
    checkout.write("pipeline.yaml", text)
    assert_refused(checkout.stage("train"), "train.early_stopping.patience")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_every_optimizer_makes_a_loss_smaller(optimizer: str) -> None:
    import keras

    from stages.train.optimizer import make_optimizer

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    described = Train.model_validate({"optimizer": optimizer, "learning_rate": 0.01})
    model.compile(make_optimizer(described, 10), "mse")
    x = np.random.default_rng(0).random((64, 4), np.float32)
    losses = model.fit(x, x.sum(axis=1), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def rates(**train: Any) -> list[float]:
    """The step size of each of 100 batches, 10 an epoch."""
    from stages.train.optimizer import make_schedule

    described = Train.model_validate({"epochs": 10, "learning_rate": 1.0, **train})
    schedule = make_schedule(described, 10)
    return [float(schedule(step)) for step in range(100)]


def test_schedules_fall_as_they_say() -> None:
    assert rates(schedule="constant") == [1.0] * 100
    cosine = rates(schedule="cosine")
    assert cosine[0] == 1
    assert cosine[50] == pytest.approx(0.5)
    assert cosine[99] < 0.001
    exponential = rates(schedule="exponential")
    assert exponential[50] == pytest.approx(0.1, rel=1e-4)
    step = rates(schedule="step")
    assert [step[i] for i in (0, 49, 60, 80)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("schedule", ["cosine", "constant", "exponential", "step"])
def test_a_warm_up_grows_to_the_largest_step(schedule: str) -> None:
    warmed = rates(schedule=schedule, warmup_epochs=2)
    assert warmed[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])
    assert max(warmed) == pytest.approx(1)
    assert warmed[20] == pytest.approx(1)
    assert warmed[99] <= rates(schedule=schedule)[98] + 1e-6


def network() -> Any:
    import keras

    return keras.Sequential(
        [keras.Input((4,))]
        + [keras.layers.Dense(2, name=name) for name in ("one", "two", "three")]
    )


@pytest.mark.parametrize("settings", [{"first": 2}, {"up_to": "two"}])
def test_layers_are_frozen_from_the_first_on(settings: dict[str, Any]) -> None:
    from stages.train.initial import freeze

    model = network()
    assert freeze(model, Freeze.model_validate(settings)) == 2
    assert [layer.trainable for layer in model.layers] == [False, False, True]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"up_to": "tow"}, "no layer 'tow'; did you mean 'two'?"),
        ({"up_to": "x"}, "those with weights are one, two, three"),
        ({"first": 3}, "all 3 layers"),
        ({"up_to": "three"}, "nothing trained"),
    ],
)
def test_what_cannot_be_frozen_is_refused(
    settings: dict[str, Any], sentence: str
) -> None:
    from stages.train.initial import freeze

    with pytest.raises(UserError, match="train.freeze") as caught:
        freeze(network(), Freeze.model_validate(settings))
    assert sentence in str(caught.value)


# ImageNet


def imagenet(checkout: Checkout, keras_home: Path) -> Any:
    text = """\
project: {name: tiny}
data: {split: {train: 200, validation: 0, test: 60}}
model: {alpha: 0.25, weights: imagenet}
train: {epochs: 1, freeze: {first: 1}}
quantize: {method: no_clip, samples: 16}
check: {samples: 60}
"""
    checkout.write("pipeline.yaml", text)
    command = (sys.executable, "-m", "stages", "train")
    return checkout.run(*command, env={**OFFLINE, "KERAS_HOME": str(keras_home)})


@pytest.fixture(scope="session")
def keras_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with weights of Keras' own network, random ones in this case."""
    import keras

    keras.utils.set_random_seed(7)
    shape = (224, 224, 3)
    model = keras.applications.MobileNet(
        shape, alpha=0.25, include_top=False, weights=None
    )
    home = tmp_path_factory.mktemp("keras")
    (home / "models").mkdir()
    path = home / "models" / "mobilenet_2_5_224_tf_no_top.h5"
    model.save(path)
    np.save(home / "first.npy", model.get_layer("conv1").get_weights()[0])
    return home


def test_without_a_network_imagenet_weights_are_refused(
    checkout: Checkout, tmp_path: Path
) -> None:
    done = imagenet(checkout, tmp_path / "empty")
    assert_refused(done, "model.weights: the ImageNet weights cannot be downloaded")
    assert not list((tmp_path / "empty").rglob("*.h5*"))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.long
def test_imagenet_weights_are_where_the_training_starts(
    checkout: Checkout, keras_home: Path
) -> None:
    import keras

    done = imagenet(checkout, keras_home)
    assert done.returncode == 0, done.stderr
    assert "22 layers start with their ImageNet weights" in done.stdout
    assert summary(checkout)["frozen_layers"] == 1
    model = keras.models.load_model(checkout.root / "build/tiny/train/model.keras")
    kernel = model.layers[1].get_weights()[0]
    theirs = np.load(keras_home / "first.npy")
    assert np.allclose(kernel, theirs.sum(axis=2, keepdims=True), atol=1e-6)


def test_a_damaged_file_of_weights_is_refused(
    checkout: Checkout, tmp_path: Path
) -> None:
    path = tmp_path / "models" / "mobilenet_2_5_224_tf_no_top.h5"
    path.parent.mkdir()
    path.write_bytes(b"not HDF5")
    assert_refused(imagenet(checkout, tmp_path), "no weights of mobilenet_v1")


@pytest.mark.parametrize(
    ("architecture", "theirs", "alpha", "layer"),
    [
        ("mobilenet_v1", "MobileNet", 0.25, "conv_pw_2_relu"),
        ("mobilenet_v2", "MobileNetV2", 0.35, "block_5_add"),
    ],
)
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_with_the_weights_of_keras_a_network_computes_the_same(
    architecture: str, theirs: str, alpha: float, layer: str
) -> None:
    import keras

    from stages.train.architectures import build
    from stages.train.initial import copy_weights

    shape = (64, 64, 3)
    keras.utils.set_random_seed(0)
    offered = getattr(keras.applications, theirs)
    peer = offered(shape, alpha=alpha, include_top=False, weights=None)
    described = {"architecture": architecture, "alpha": alpha, "weights": "imagenet"}
    model = build(Model.model_validate(described), shape, 10)
    assert copy_weights(peer, model) > 20
    if architecture == "mobilenet_v1":  # whose layers have no names of their own
        kept = [each for each in model.layers if isinstance(each, keras.layers.ReLU)][4]
    else:
        kept = model.get_layer("block5_add")
    picture = np.random.default_rng(0).random((1, *shape), np.float32)
    ours, same = (
        np.asarray(keras.Model(net.inputs[0], at.output)(picture, training=False))
        for net, at in ((model, kept), (peer, peer.get_layer(layer)))
    )
    assert np.abs(ours - same).max() < 1e-3 * same.std()
