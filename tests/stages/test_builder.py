"""Networks that a user's own function makes."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Checkout, assert_refused

from k210.errors import UserError
from stages.artifacts.modules import module_files

GOOD = """\
import keras

WIDTH = 8


def net(shape, classes):
    x = inputs = keras.Input(shape)
    x = keras.layers.Conv2D(WIDTH, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def sequential(shape, classes):
    return keras.Sequential(net(shape, classes).layers)


def no_softmax(shape, classes):
    model = net(shape, classes)
    return keras.Model(model.inputs, model.layers[-2].output[:, :classes])


def fixed(shape, classes):
    return net((8, 8, 3), classes)


def few(shape, classes):
    return net(shape, classes - 1)


def number(shape, classes):
    return 3


def scaled(shape, classes):
    model = net(shape, classes)
    x = keras.layers.Lambda(lambda x: x)(model.outputs[0])
    return keras.Model(model.inputs, x)


def failing(shape, classes):
    return {}["kernel"]


class Subclassed(keras.Model):
    pass


def subclassed(shape, classes):
    return Subclassed()


def helper(x):
    return x


name = "not a function"
"""

BUILDER = """\
project: {name: tiny}
data: {split: {train: 200, validation: 0, test: 60}}
model: {builder: my_nets:net}
train: {epochs: 1}
quantize: {method: no_clip, samples: 16}
check: {samples: 60}
"""


def build(root: Path, function: str, text: str = GOOD) -> Any:
    from stages.train.builder import build_with

    name = f"nets_{root.name}"
    (root / f"{name}.py").write_text(text, encoding="utf-8")
    return build_with(f"{name}:{function}", root, (8, 8, 1), 5)


@pytest.mark.parametrize("function", ["net", "sequential"])
def test_a_function_makes_the_network(tmp_path: Path, function: str) -> None:
    model = build(tmp_path, function)
    assert model.input_shape == (None, 8, 8, 1)
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("nett", "has no function 'nett'; it has"),
        ("name", "has no function 'name'"),
        ("no_softmax", "are no probabilities; end the model with a softmax"),
        ("fixed", "takes (8, 8, 3), and the data section makes it (8, 8, 1)"),
        ("few", "gives (4,), and the data section makes it (5,)"),
        ("number", "returns int, not a keras.Model"),
        ("scaled", "is a Lambda, which later stages cannot load"),
        ("failing", ".py:41: KeyError: 'kernel'"),
        ("helper", "fails"),
        ("subclassed", "without a graph"),
    ],
)
def test_what_is_no_classifier_is_refused(
    tmp_path: Path, function: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=r"^model.builder: ") as caught:
        build(tmp_path, function)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fails at nets_\w+.py:2: SyntaxError"):
        build(tmp_path, "net", "x = 1\ndef net(:\n")


def test_a_module_belongs_to_the_files_it_imports(tmp_path: Path) -> None:
    files = {
        "top.py": "import numpy\nfrom package import deep\nimport missing",
        "package/__init__.py": "from . import other",
        "package/other.py": "",
        "package/deep.py": "from .further import x",
        "package/further.py": "x = 1",
        "alone.py": "",
    }
    (tmp_path / "package").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = module_files(tmp_path, "top", "model.builder")
    assert {path.relative_to(tmp_path).as_posix() for path in found} == {*files} - {
        "alone.py"
    }


def test_a_network_of_ones_own_is_trained_and_its_source_is_a_dependency(
    checkout: Checkout,
) -> None:
    checkout.write("pipeline.yaml", BUILDER)
    checkout.write("my_nets.py", GOOD)
    done = checkout.stage("train")
    assert done.returncode == 0, done.stderr
    assert "up to date" in checkout.doit("why").stdout.splitlines()[1]
    checkout.replace("WIDTH = 8", "WIDTH = 16", "my_nets.py")
    assert "my_nets.py changed" in checkout.doit("why").stdout


def test_a_missing_module_is_refused(checkout: Checkout) -> None:
    checkout.write("pipeline.yaml", BUILDER)
    assert_refused(checkout.stage("train"), "no module 'my_nets'", "my_nets.py")
