"""What every stage reads, writes and depends on, in the order in which they run.

This one table feeds doit's dependencies and targets, the cache keys, the checks
before and after a stage, and the table in the README. It is data: it imports
nothing heavy, because each ``doit`` call reads it.

Paths are relative to ``build/PROJECT/``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from k210.errors import UserError


@dataclass(frozen=True)
class Stage:
    """One step on the way from a training set to a measured accuracy.

    Attributes:
        name: also the module ``stages.NAME`` and the folder ``build/PROJECT/NAME``.
        doc: one line for ``doit list`` and the README.
        sections: settings it depends on: ``"train"`` is a whole section of the YAML,
            ``"project.name"`` a single key.
        inputs: files of earlier stages that it reads.
        outputs: files that it writes.
        tools: distributions whose version decides what comes out.
        files: settings that name a user's file, whose content it reads.
        modules: settings that name a user's Python function, "module:function".
        headline: fragments of the line that the reporter prints, formatted with
            the stage's metrics; those whose metrics are missing are left out.
        cached: whether an earlier result may be given back without running.
    """

    name: str
    doc: str
    sections: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tools: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    cached: bool = True

    @property
    def summary(self) -> str:
        """The stage's flat file of metrics and digests."""
        return f"{self.name}/summary.json"

    def without(self, absent: Collection[str]) -> "Stage":
        """This stage in a project that does not have some of the files."""
        return replace(
            self,
            inputs=tuple(path for path in self.inputs if path not in absent),
            outputs=tuple(path for path in self.outputs if path not in absent),
        )

    def describe(self, metrics: Mapping[str, Any]) -> str:
        """The headline figures among ``metrics``, in words."""
        shown = []
        for fragment in self.headline:
            try:
                shown.append(fragment.format_map(metrics))
            except (KeyError, TypeError, ValueError):  # not measured here
                continue
        return ", ".join(shown)


FLASH_IMAGE = "board/flash.bin"
"""The virtual board's flash memory, which the flash stage writes."""

TRAINED = ("train/model.keras", "train/history.csv")
"""What exists only where the project trains its model itself."""

SECTIONS = (
    *("project", "data", "model", "train", "export", "normalize", "quantize"),
    *("compile", "flash", "check", "report", "board"),
)
"""All sections of the YAML, which the report shows."""

CONVERTERS = ("onnx", "onnx2tf", "onnxruntime", "tf_keras")
"""Further tools of the export stage where the model is an ONNX file."""

STAGES: tuple[Stage, ...] = (
    Stage(
        name="train",
        doc="split the data and train the float model",
        sections=("data", "model", "train"),
        inputs=(),
        outputs=("train/split.json", *TRAINED),
        tools=("tensorflow", "keras", "mlxtend", "numpy", "pillow"),
        files=("data.path", "model.weights_from"),
        modules=("model.builder",),
        headline=("float {test_accuracy:.1%} on test", "{epochs} epochs"),
    ),
    Stage(
        name="export",
        doc="convert to float TFLite and compare with the float model",
        sections=(
            "data",
            "model.file",
            "model.signature",
            "model.dequantize",
            "export",
        ),
        inputs=("train/split.json", "train/model.keras"),
        outputs=("export/model.tflite",),
        tools=("tensorflow", "keras", "numpy", "pillow"),
        files=("model.file", "data.path"),
        headline=(
            "{operators} operators",
            "differs by {max_difference:.1e}",
            "{dynamic_range_difference:.1e} from the 8-bit original",
        ),
    ),
    Stage(
        name="normalize",
        doc="shape the model for the KPU, and prove that it computes the same",
        sections=("data", "normalize"),
        inputs=("train/split.json", "export/model.tflite"),
        outputs=("normalize/model.tflite", "normalize/layers.json"),
        tools=("tensorflow", "flatbuffers", "nncase", "numpy", "mlxtend", "pillow"),
        files=("data.path",),
        headline=(
            "{plan}",
            "{convolutions} convolutions",
            "{cpu_paddings} padded by the CPU",
            "differs by {difference:.1e}",
        ),
    ),
    Stage(
        name="quantize",
        doc="draw the calibration set and choose the quantization",
        sections=("data", "quantize"),
        inputs=(
            "train/split.json",
            "normalize/model.tflite",
            "normalize/layers.json",
        ),
        outputs=(
            "quantize/model.tflite",
            "quantize/plan.json",
            "quantize/calibration.npz",
        ),
        tools=("ai-edge-litert", "nncase", "numpy", "mlxtend", "tensorflow", "pillow"),
        files=("data.path",),
        headline=("{way}", "{searched:s}"),
    ),
    Stage(
        name="compile",
        doc="compile for the KPU with nncase and check what it made",
        sections=("compile",),
        inputs=(
            "quantize/model.tflite",
            "quantize/plan.json",
            "quantize/calibration.npz",
        ),
        outputs=(
            "compile/model.kmodel",
            "compile/known.bin",
            "compile/manifest.json",
            "compile/placement.json",
        ),
        tools=("nncase", "numpy"),
        headline=(
            "{kpu_layers} KPU layers",
            "{cpu_ops} CPU ops",
            "{total_kib:.0f} KiB of 6 MiB",
            "repaired {repaired:s}",
        ),
    ),
    Stage(
        name="flash",
        doc="write the model into the board's flash and read it back",
        sections=("board", "flash"),
        inputs=("compile/model.kmodel", "compile/manifest.json", "compile/known.bin"),
        outputs=("flash/receipt.json", FLASH_IMAGE),
        tools=("pyserial",),
        headline=("{written} of {sectors} sectors written", "{outcome}"),
    ),
    Stage(
        name="check",
        doc="measure every step from the float model to the board",
        sections=("project.name", "data", "board", "check"),
        inputs=(
            "train/split.json",
            "train/model.keras",
            "export/model.tflite",
            "normalize/model.tflite",
            "quantize/model.tflite",
            "compile/model.kmodel",
            "compile/manifest.json",
            "compile/placement.json",
            "flash/receipt.json",
        ),
        outputs=("check/check.json", "check/pictures.npz"),
        tools=("tensorflow", "keras", "nncase", "numpy", "mlxtend", "pillow"),
        files=("data.path",),
        headline=(
            "device {device_accuracy:.1%}",
            "agreement {device_agreement:.1%}",
            "{samples} samples",
        ),
    ),
    Stage(
        name="report",
        doc="draw one page of all this",
        sections=SECTIONS,
        inputs=(
            "normalize/layers.json",
            "quantize/plan.json",
            "quantize/calibration.npz",
            "compile/manifest.json",
            "compile/placement.json",
            "flash/receipt.json",
            "check/check.json",
            "check/pictures.npz",
            "train/summary.json",
            "train/history.csv",
            "export/summary.json",
            "normalize/summary.json",
            "quantize/summary.json",
            "compile/summary.json",
            "flash/summary.json",
            "check/summary.json",
        ),
        outputs=("report/index.html",),
        tools=("jinja2", "numpy", "pillow", "pyyaml"),
        headline=("{page_kib:.0f} KiB",),
    ),
)

NAMES = tuple(stage.name for stage in STAGES)


def stages_of(settings: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages as they are in a project with these settings."""
    absent: set[str] = set()
    if settings["model"]["file"] is not None:
        absent |= set(TRAINED)
    in_a_file = settings["board"]["port"] == "virtual"
    if not in_a_file:
        absent.add(FLASH_IMAGE)
    stages = (_with_converters(stage.without(absent), settings) for stage in STAGES)
    return tuple(
        replace(stage, cached=stage.cached and in_a_file)
        if "board" in stage.sections
        else stage
        for stage in stages
    )


def _with_converters(stage: Stage, settings: Mapping[str, Any]) -> Stage:
    file = settings["model"]["file"] or ""
    if stage.name != "export" or not file.lower().endswith(".onnx"):
        return stage
    return replace(stage, tools=(*stage.tools, *CONVERTERS))


def find_stage(name: str, settings: Mapping[str, Any]) -> Stage:
    """The stage ``name`` of a project.

    Raises:
        UserError: there is no such stage.
    """
    for stage in stages_of(settings):
        if stage.name == name:
            return stage
    raise UserError(f"no stage is called {name!r}; the stages are {', '.join(NAMES)}")
