import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import made_by, mlperf_tiny, run_tflite

from k210.child import Child, ChildTimeout
from k210.errors import UserError
from stages import tflite
from stages.artifacts.keys import parts_of
from stages.graph import find_stage
from stages.imports import Outcome, Request, import_model
from stages.imports.worker import prepare
from stages.project.schema import Model, Project

SHAPE = (16, 16, 3)
EXACT = 1e-6


@dataclass
class Importer:
    """Imports one model after the other; ONNX in a child of its own, as it needs."""

    models: Path
    folder: Path
    children: dict[bool, Child] = field(default_factory=dict)

    @property
    def target(self) -> Path:
        return self.folder / "target.tflite"

    def __call__(
        self, name: str | Path, shape: tuple[int, int, int] = SHAPE, **options: Any
    ) -> Outcome:
        source = self.models / name
        apart = source.suffix == ".onnx"
        if apart not in self.children:
            log = self.folder / "log"
            self.children[apart] = Child(prepare, (), log, "importing models")
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        self.target.unlink(missing_ok=True)
        request = Request(
            source=source,
            target=self.target,
            folder=work,
            shape=shape,
            samples=pictures(shape),
            **options,
        )
        outcome: Outcome = self.children[apart].ask(request, 120)
        return outcome

    def refused(self, name: str, **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            self(name, **options)
        sentence = str(caught.value)
        assert sentence.startswith(f"{self.models / name}: ")
        assert "\n" not in sentence
        return sentence.removeprefix(f"{self.models}/")


def pictures(shape: tuple[int, int, int] = SHAPE) -> Any:
    return np.random.default_rng(4).random((6, *shape), np.float32)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by("imported_models.py", tmp_path_factory)


@pytest.fixture(scope="module")
def importer(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Importer]:
    made = Importer(models, tmp_path_factory.mktemp("importer"))
    yield made
    for child in made.children.values():
        child.close()


def shapes_of(path: Path) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    graph = tflite.read(path).subgraphs[0]
    ends = (graph.inputs, graph.outputs)
    found = [[tflite.shape(graph.tensors[i]) for i in end] for end in ends]
    return found[0], found[1]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("float32.tflite", {}),
        ("float16.tflite", {}),
        ("open.tflite", {}),
        ("good.keras", {}),
        ("open.keras", {}),
        ("good.h5", {}),
        ("keras2.h5", {}),
        ("good_saved", {}),
        ("good.onnx", {}),
        ("open.onnx", {}),
    ],
)
def test_a_classifier_of_each_format_becomes_float_tflite(
    importer: Importer, name: str, options: dict[str, Any]
) -> None:
    outcome = importer(name, **options)
    assert outcome.difference < EXACT
    assert 0.1 < outcome.scale <= 1  # a softmax that decides something
    assert shapes_of(importer.target) == ([(1, *SHAPE)], [(1, 5)])


@pytest.mark.parametrize(
    ("name", "options", "outputs"),
    [
        ("spatial.keras", {}, [(1, 16, 16, 4), (1, 8, 8, 4)]),
        ("spatial.onnx", {}, [(1, 8, 8, 6), (1, 6)]),
        ("channels_last.onnx", {}, [(1, 16, 16, 6)]),
        ("several_saved", {"signature": "features"}, [(1, 6), (1, 8, 8, 6)]),
    ],
)
def test_maps_and_several_outputs_are_kept_in_their_order(
    importer: Importer,
    name: str,
    options: dict[str, Any],
    outputs: list[tuple[int, ...]],
) -> None:
    assert importer(name, **options).difference < 1e-5
    assert shapes_of(importer.target) == ([(1, *SHAPE)], outputs)


@pytest.mark.parametrize(
    "name", ["open.tflite", "open.keras", "good_saved", "open.onnx"]
)
def test_open_heights_and_widths_are_those_of_the_data(
    importer: Importer, name: str
) -> None:
    shape = (20, 12, 3)
    assert importer(name, shape).difference < EXACT
    assert shapes_of(importer.target)[0] == [(1, *shape)]


def test_half_precision_weights_are_taken_over_exactly(importer: Importer) -> None:
    importer("float16.tflite")
    path = importer.models / "float16.tflite"
    found, expected = (
        run_tflite(importer.target, pictures()),
        run_tflite(path, pictures()),
    )
    np.testing.assert_array_equal(found[0], expected[0])
    graph = tflite.read(importer.target).subgraphs[0]
    assert {tflite.type_name(tensor) for tensor in graph.tensors} <= {
        "FLOAT32",
        "INT32",
    }


@pytest.mark.parametrize("name", ["dynamic_range", "dynamic_range_per_tensor"])
def test_eight_bit_weights_are_taken_for_float_ones_on_demand(
    importer: Importer, name: str
) -> None:
    outcome = importer(f"{name}.tflite", dequantize=True)
    # TFLite's own DEQUANTIZE gives the same weights; its kernels differ a little
    assert outcome.difference < EXACT
    assert 0 < outcome.others["dynamic_range_difference"] < 1e-2


def test_an_onnx_model_equals_onnxruntime(importer: Importer) -> None:
    import onnxruntime

    importer("good.onnx")
    session = onnxruntime.InferenceSession(str(importer.models / "good.onnx"))
    planes = np.ascontiguousarray(np.moveaxis(pictures(), 3, 1))
    expected = [session.run(None, {"pictures": x[np.newaxis]})[0][0] for x in planes]
    (found,) = run_tflite(importer.target, pictures())
    assert np.abs(found - np.array(expected)).max() < EXACT


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("vww_96_float.tflite", (96, 96, 3), {}),
        ("pretrainedResnet.tflite", (32, 32, 3), {}),
        ("kws_ref_model_float32.tflite", (49, 10, 1), {"dequantize": True}),
    ],
)
def test_the_models_of_mlperf_tiny_equal_themselves(
    importer: Importer, name: str, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    path = mlperf_tiny(name)
    assert importer(path, shape, **options).difference <= EXACT
    if not options:
        (found,), (expected,) = (
            run_tflite(each, pictures(shape)) for each in (importer.target, path)
        )
        assert np.abs(found - expected).max() <= EXACT


def test_the_keyword_spotter_of_mlperf_tiny_is_not_float_as_its_name_says(
    importer: Importer,
) -> None:
    path = mlperf_tiny("kws_ref_model_float32.tflite")
    with pytest.raises(UserError, match=r"dynamic-range.*model\.dequantize: true"):
        importer(path, (49, 10, 1))


REFUSED = """
empty.tflite: the file is empty; export the model again
noise.tflite: not a TFLite file (no TFL3 at byte 4)
cut.tflite: a damaged or truncated TFLite file of
full_integer.tflite: is a full-integer quantized model (INT8 tensor
dynamic_range.tflite: is a dynamic-range quantized model (INT8 tensor
two_inputs.tflite: has 2 inputs; models with exactly one are supported
empty.keras: not a .keras archive, or a damaged one
noise.keras: not a .keras archive, or a damaged one
cut.keras: not a .keras archive, or a damaged one
other.keras: an archive without config.json is no Keras model
hollow.keras: Keras 3.
flat.keras: its input is [?, 8]; it must be [1, height, width, channels]
two_inputs.keras: has 2 inputs; models with exactly one are supported
nan.keras: the weights
lambda.keras: layer 'doubled' is a Lambda, Python code that is not run from a file
own.keras: layer 'halved' is of the class 'Halved', which is not Keras' own
empty.h5: not an HDF5 file, or a damaged one
noise.h5: not an HDF5 file, or a damaged one
cut.h5: not an HDF5 file, or a damaged one
lambda.h5: layer 'doubled' is a Lambda
only.weights.h5: holds weights only, not the layers they belong to
keras2_operation.h5: layer 'tf.math.multiply' is a TensorFlow operation used as a layer
several_saved: has no signature 'serving_default'; name one in model.signature, there \
are: determinant, features, of_bytes
cut_saved: TensorFlow cannot load it as a SavedModel
empty_saved: a folder without saved_model.pb is no SavedModel
empty.onnx: holds no ONNX graph
noise.onnx: not an ONNX file, or a damaged one
cut.onnx: not an ONNX file, or a damaged one
loose.onnx: onnxruntime 1.
batch4.onnx: its input is [4, 16, 16, 3]; it must be [1, height, width, channels]
bytes.onnx: its input is uint8; export it as float32
external.onnx: keeps the weights 'constant0' in another file; save it as one file
quantized.onnx: is a quantized model (operator QuantizeLinear)
two_inputs.onnx: has 2 inputs; models with exactly one are supported
determinant.onnx: onnx2tf 1.28.8 cannot convert it at its node 'Det_1'
lp_pool.onnx: onnx2tf 1.28.8 does not convert the operators LpPool
model.pt: is PyTorch; export it with torch.onnx.export
model.bin: not a known format of models; .tflite, .keras, .h5, .hdf5, .onnx and
missing.onnx: cannot be read: No such file or directory
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_what_cannot_be_imported_is_refused_in_one_sentence(
    importer: Importer, line: str
) -> None:
    name, _, _ = line.partition(":")
    assert importer.refused(name).startswith(line)


@pytest.mark.parametrize(
    ("name", "options", "fragment"),
    [
        ("several_saved", {"signature": "of_bytes"}, "its input is uint8"),
        ("several_saved", {"signature": "nothing"}, "model.signature names 'nothing'"),
        ("several_saved", {"signature": "determinant"}, "cannot convert it to TFLite"),
        ("float32.tflite", {"dequantize": True}, "has no 8-bit weights"),
        ("good.onnx", {"shape": (20, 16, 3)}, "set data.size: [16, 16] and data.chan"),
        ("open.keras", {"shape": (20, 16, 1)}, "set data.size: [20, 16] and data.chan"),
        ("good.h5", {"shape": (16, 16, 1)}, "makes 16×16×1; set data.size: [16, 16]"),
        ("good_saved", {"shape": (8, 8, 1)}, "takes 8×8×3 pictures"),
        ("open.tflite", {"shape": (8, 8, 1)}, "and data.channels: 3"),
    ],
)
def test_what_does_not_suit_the_model_is_refused_in_one_sentence(
    importer: Importer, name: str, options: dict[str, Any], fragment: str
) -> None:
    assert fragment in importer.refused(name, **options)


@pytest.fixture
def request_of_nothing(models: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "target": tmp_path / "target.tflite",
        "folder": tmp_path,
        "shape": SHAPE,
        "samples": pictures(),
    }


@pytest.mark.parametrize(
    ("name", "option"), [("good.onnx", "dequantize"), ("good.h5", "signature")]
)
def test_options_of_other_formats_are_refused(
    models: Path, tmp_path: Path, request_of_nothing: Any, name: str, option: str
) -> None:
    asked = {**request_of_nothing, option: "x"}
    request = Request(source=models / name, **asked)
    with pytest.raises(UserError, match=f"take model.{option} out"):
        import_model(request, tmp_path / "log", 60)


def test_an_import_that_takes_too_long_is_given_up(
    models: Path, tmp_path: Path, request_of_nothing: Any
) -> None:
    request = Request(source=models / "good.onnx", **request_of_nothing)
    with pytest.raises(ChildTimeout, match="did not end within 0.1 s"):
        import_model(request, tmp_path / "log", 0.1)


def test_each_file_of_a_saved_model_counts(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "good_saved", tmp_path / "good_saved")
    settings = Project(model=Model(file="good_saved")).model_dump(mode="json")
    stage = find_stage("export", settings)
    digests = dict.fromkeys(stage.inputs, "")
    before = parts_of(stage, settings, digests, tmp_path)
    (path,) = (tmp_path / "good_saved" / "variables").glob("*.index")
    path.write_bytes(path.read_bytes() + b"x")
    after = parts_of(stage, settings, digests, tmp_path)
    assert [name for name in before if before[name] != after[name]] == [
        "file model.file"
    ]


def test_only_an_onnx_model_needs_its_converters() -> None:
    tools = {
        name: find_stage("export", Project(model=Model(file=name)).model_dump()).tools
        for name in ("a.onnx", "a.keras")
    }
    assert {*tools["a.onnx"]} - {*tools["a.keras"]} == {
        "onnx",
        "onnx2tf",
        "onnxruntime",
        "tf_keras",
    }
