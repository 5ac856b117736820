"""The tiny project on the virtual board: ROM, firmware, flash and link, end to end."""

import json

import pytest
from conftest import Checkout


@pytest.mark.long
def test_accuracy_is_measured_by_the_firmware(deployed: Checkout) -> None:
    pipeline = deployed.root / "pipeline.yaml"
    pipeline.write_text(pipeline.read_text() + "board: {port: virtual}\n")
    done = deployed.doit("deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    check = json.loads((deployed.root / "build/tiny/check/check.json").read_text())
    assert check["engine"] == "firmware"
    assert check["board"]["kind"] == "virtual"
    steps = {step["step"]: step for step in check["ladder"]}
    assert steps["device"]["accuracy"] == steps["reference"]["accuracy"]
    receipt = json.loads((deployed.root / "build/tiny/flash/receipt.json").read_text())
    assert receipt["board"]["flash_id"] == check["board"]["flash_id"]
