"""A run as the history keeps it."""

from stages.history import Entry

ENTRY = Entry(
    id="00000000",
    project="digits",
    started="2026-11-21T09:25:01+00:00",
    verdict="pass",
    engine="nncase-simulator",
    samples=60,
    kmodel_sha256="8" * 64,
    settings={"data.size": "[32, 32]", "quantize.method": "no_clip"},
    figures={"check.device_accuracy": 0.975},
)
