"""What runs again after which change, and that `doit why` has said so before."""

import json
import subprocess
import sys
from typing import Any

from conftest import Checkout, foretold, outcomes

from k210.flash import slot
from stages.graph import NAMES

STAGES = list(NAMES)
HEAVY = {"tensorflow", "keras", "nncase", "numpy", "pydantic", "yaml"}
MAY_FOLLOW = {
    "up to date": {"up to date"},
    "would be restored": {"restored"},
    "would run": {"ran"},
    "would run if its input changes": {"ran", "up to date"},
}


def deploy(checkout: Checkout) -> dict[str, str]:
    done = checkout.doit("deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    return outcomes(done.stdout)


def why(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    done = checkout.doit("why")
    assert done.returncode == 0, done.stderr
    return done


def deploy_as_foretold(checkout: Checkout) -> dict[str, str]:
    said = foretold(why(checkout).stdout)
    happened = deploy(checkout)
    assert list(said) == STAGES
    for stage, words in said.items():
        assert happened[stage] in MAY_FOLLOW[words], (stage, words, happened)
    return happened


def with_outcome(happened: dict[str, str], outcome: str) -> list[str]:
    return [stage for stage in STAGES if happened[stage] == outcome]


def summary(checkout: Checkout, stage: str) -> dict[str, Any]:
    path = checkout.root / "build/tiny" / stage / "summary.json"
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def assert_linked(checkout: Checkout) -> None:
    """Every digest that a stage says it has read is what its maker says it wrote."""
    written: dict[str, str] = {}
    for stage in STAGES[: STAGES.index("report")]:
        recorded = summary(checkout, stage)
        for name, digest in recorded["inputs"].items():
            assert written[name] == digest, f"{stage} has read another {name}"
        written.update(recorded["outputs"])


def kmodel_in_slot(checkout: Checkout) -> bytes:
    flash = (checkout.root / "build/tiny/board/flash.bin").read_bytes()

    def read(address: int, length: int) -> bytes:
        return flash[address : address + length]

    return slot.read(read, 0x100000, len(flash)).kmodel


def test_a_second_deploy_runs_nothing(deployed: Checkout) -> None:
    deploy(deployed)
    assert deploy_as_foretold(deployed) == dict.fromkeys(STAGES, "up to date")


def test_an_idle_doit_imports_nothing_heavy(deployed: Checkout) -> None:
    deploy(deployed)
    done = deployed.run(sys.executable, "-X", "importtime", "-m", "doit", "deploy")
    assert set(outcomes(done.stdout).values()) == {"up to date"}
    lines = [line for line in done.stderr.splitlines() if line.startswith("import")]
    modules = {line.rpartition("|")[2].strip().split(".")[0] for line in lines}
    assert "stages" in modules
    assert not modules & HEAVY


def test_another_sample_count_of_the_check_reruns_check_and_report(
    deployed: Checkout,
) -> None:
    deployed.replace("check: {samples: 60}", "check: {samples: 30}")
    assert "check.samples: 60 → 30" in why(deployed).stdout
    happened = deploy_as_foretold(deployed)
    assert with_outcome(happened, "ran") == ["check", "report"]
    assert with_outcome(happened, "up to date") == STAGES[:-2]
    assert summary(deployed, "check")["samples"] == 30


def test_calibration_reruns_from_quantize_on_and_comes_back_from_the_cache(
    deployed: Checkout,
) -> None:
    build = deployed.root / "build/tiny"
    kmodel = (build / "compile/model.kmodel").read_bytes()
    flash = (build / "board/flash.bin").read_bytes()

    deployed.replace("samples: 16}", "samples: 24}")
    assert "quantize.samples: 16 → 24" in why(deployed).stdout
    happened = deploy_as_foretold(deployed)
    assert with_outcome(happened, "ran") == STAGES[3:]
    assert with_outcome(happened, "up to date") == STAGES[:3]
    assert_linked(deployed)
    assert (build / "compile/model.kmodel").read_bytes() != kmodel
    assert kmodel_in_slot(deployed) == (build / "compile/model.kmodel").read_bytes()

    deployed.replace("samples: 24}", "samples: 16}")
    assert "quantize.samples: 24 → 16" in why(deployed).stdout
    happened = deploy_as_foretold(deployed)
    assert with_outcome(happened, "restored") == STAGES[3:]
    assert with_outcome(happened, "up to date") == STAGES[:3]
    assert_linked(deployed)
    assert (build / "board/flash.bin").read_bytes() == flash
    assert kmodel_in_slot(deployed) == kmodel
    assert set(deploy(deployed).values()) == {"up to date"}


def test_new_weights_under_the_same_yaml_never_get_the_kmodel_of_the_old(
    deployed: Checkout,
) -> None:
    weights, kmodel = (
        summary(deployed, stage)["outputs"][name]
        for stage, name in (
            ("train", "train/model.keras"),
            ("compile", "compile/model.kmodel"),
        )
    )
    # another machine's arithmetic: TensorFlow rounds differently without oneDNN
    other_machine = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    command = (sys.executable, "-m", "doit", "train", "--fresh")
    done = deployed.run(*command, env=other_machine)
    assert outcomes(done.stdout) == {"train": "ran"}, done.stdout + done.stderr
    assert summary(deployed, "train")["outputs"]["train/model.keras"] != weights

    said = why(deployed).stdout
    assert foretold(said)["train"] == "up to date"
    assert "train/model.keras changed" in said
    happened = deploy_as_foretold(deployed)
    # the split of the data and with it the calibration set are what they were
    assert with_outcome(happened, "restored") == []
    assert with_outcome(happened, "ran") == [
        *("export", "normalize", "quantize", "compile", "flash", "check", "report")
    ]
    assert_linked(deployed)
    read = summary(deployed, "compile")["inputs"]["quantize/model.tflite"]
    assert read == summary(deployed, "quantize")["outputs"]["quantize/model.tflite"]
    assert summary(deployed, "compile")["outputs"]["compile/model.kmodel"] != kmodel


def test_a_changed_title_reruns_the_report_alone(deployed: Checkout) -> None:
    deployed.replace("check: {", "report: {title: Another}\ncheck: {")
    assert 'report.title: null → "Another"' in why(deployed).stdout
    assert with_outcome(deploy_as_foretold(deployed), "ran") == ["report"]


def test_a_fresh_run_is_one_of_the_named_stage_alone(deployed: Checkout) -> None:
    done = deployed.doit("normalize", "--fresh")
    assert done.returncode == 0, done.stderr
    assert outcomes(done.stdout) == {
        "train": "up to date",
        "export": "up to date",
        "normalize": "ran",
    }
    # it has made the same as before, but the report tells how long it took
    assert with_outcome(deploy_as_foretold(deployed), "ran") == ["report"]


def test_clean_removes_what_the_stages_have_made(deployed: Checkout) -> None:
    done = deployed.doit("clean", "report")
    assert done.returncode == 0, done.stderr
    assert not (deployed.root / "build/tiny/report").exists()
    assert with_outcome(deploy(deployed), "restored") == ["report"]

    done = deployed.doit("clean")
    assert done.returncode == 0, done.stderr
    assert all(len(line) < 200 for line in done.stdout.splitlines())
    left = {path.name for path in (deployed.root / "build/tiny").iterdir()}
    assert not left & set(STAGES)
    assert with_outcome(deploy(deployed), "restored") == STAGES
