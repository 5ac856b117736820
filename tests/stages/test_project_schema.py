import re
from pathlib import Path
from typing import Any

import pytest

from stages.project import ProjectFile, find, settings
from stages.project.reference import reference
from stages.project.schema import Project, json_schema, schema_text
from stages.project.source import read

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "pipeline.yaml"

DEFAULTS: dict[str, dict[str, Any]] = {
    "project": {"name": "pipeline", "description": ""},
    "data": {
        "kind": "mnist5k",
        "path": None,
        "size": [32, 32],
        "color": None,
        "channels": 1,
        "resize": "pad",
        "classes": None,
        "split": {
            "by": "seed",
            "group": None,
            "train": 3500,
            "validation": 500,
            "test": 1000,
        },
        "seed": 0,
        "root": None,
        "range": [0.0, 1.0],
        "mean": 0.0,
        "std": 1.0,
    },
    "model": {
        "file": None,
        "builder": None,
        "blocks": None,
        "signature": None,
        "dequantize": False,
        "weights_from": None,
        "smallest_map": 4,
        "architecture": "mobilenet_v1",
        "alpha": 0.5,
        "activation": None,
        "kernel": 3,
        "padding": "same",
        "weights": None,
        "dropout": 0.1,
    },
    "train": {
        "epochs": 28,
        "batch_size": 64,
        "learning_rate": 0.004,
        "optimizer": "adam",
        "weight_decay": None,
        "schedule": "cosine",
        "warmup_epochs": 0,
        "class_weights": None,
        "early_stopping": {"patience": None, "monitor": "val_loss"},
        "freeze": {"up_to": None, "first": 0},
        "seed": 0,
        "augment": {"rotation": 10.0, "shift": 0.1, "zoom": 0.1},
    },
    "export": {"samples": 32, "tolerance": 1.0e-4, "timeout": 300},
    "normalize": {},
    "quantize": {
        "method": "auto",
        "budget": 5.0,
        "mse_weights": False,
        "samples": 64,
        "outliers": "drop",
        "seed": 0,
    },
    "compile": {"timeout": 300},
    "flash": {"slot": 0x100000, "mode": "flash", "overwrite": False},
    "check": {
        "samples": 1000,
        "top_k": 5,
        "trace": "auto",
        "min_accuracy": None,
        "max_drop": None,
        "min_agreement": None,
    },
    "report": {"title": None},
    "board": {
        "id": None,
        "tag": None,
        "port": "virtual",
        "type": None,
        "baud": 2_000_000,
        "flash_size": 16777216,
    },
}


KINDS: dict[str, set[type]] = {
    "object": {dict},
    "array": {list},
    "string": {str},
    "boolean": {bool},
    "integer": {int},
    "number": {int, float},
    "null": {type(None)},
}


def fits(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Validate by the few keywords of JSON Schema that the schema uses."""
    if "$ref" in schema:
        return fits(value, defs[schema["$ref"].rsplit("/", 1)[1]], defs)
    if "anyOf" in schema:
        return any(fits(value, part, defs) for part in schema["anyOf"])
    if type(value) not in KINDS[schema["type"]]:
        return False
    if isinstance(value, dict):
        known = schema["properties"]
        return all(k in known and fits(v, known[k], defs) for k, v in value.items())
    if isinstance(value, list):
        items = schema["items"]
        each = items if isinstance(items, list) else [items] * len(value)
        pairs = zip(value, each, strict=False)
        return len(each) == len(value) and all(fits(v, s, defs) for v, s in pairs)
    return fits_scalar(value, schema)


def fits_scalar(value: Any, schema: dict[str, Any]) -> bool:
    if value not in schema.get("enum", [schema.get("const", value)]):
        return False
    if isinstance(value, str):
        return bool(re.search(schema.get("pattern", ""), value))
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    return value is None or bool(low <= value <= high)


def accepted(data: Any) -> bool:
    schema = json_schema()
    return fits(data, schema, schema["$defs"])


def test_the_defaults_are_what_the_readme_promises() -> None:
    assert Project().model_dump(mode="json") == DEFAULTS


def test_the_schema_in_the_tree_is_the_one_of_the_models() -> None:
    committed = (ROOT / "stages" / "pipeline.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run python -m stages.project.schema"


def test_the_schema_accepts_the_default_project() -> None:
    assert accepted(read(DEFAULT).top.plain())
    assert accepted(settings(ProjectFile("digits", DEFAULT, ""), ROOT))


def test_the_schema_accepts_extends_and_null() -> None:
    assert accepted({"extends": "a.yaml", "train": None, "data": {"seed": None}})


@pytest.mark.parametrize(
    "data", [{"trian": {}}, {"train": {"epochs": -1}}, {"data": {"size": [32]}}, []]
)
def test_the_schema_refuses_what_the_loader_refuses(data: Any) -> None:
    assert not accepted(data)


def test_every_key_is_described_and_has_its_default_in_the_schema() -> None:
    definitions = json_schema()["$defs"]
    keys = {
        (name, key): part
        for name, section in definitions.items()
        for key, part in section["properties"].items()
    }
    assert all(part["description"] for part in keys.values())
    bare = {path for path, part in keys.items() if "default" not in part}
    assert bare == {
        ("About", "name"),
        ("Data", "split"),
        ("Train", "augment"),
        ("Train", "early_stopping"),
        ("Train", "freeze"),
    }


def test_the_default_project_is_called_digits_and_names_its_schema() -> None:
    assert find(ROOT)[0].name == "digits"
    first = DEFAULT.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=stages/pipeline.schema.json"
    check = settings(find(ROOT)[0], ROOT)["check"]
    bounds = [check[key] for key in ("min_accuracy", "max_drop", "min_agreement")]
    assert bounds == [0.955, 0.01, 0.98]


def test_the_reference_has_a_row_for_every_key() -> None:
    text = reference()
    for section, keys in DEFAULTS.items():
        part = text.split(f"### `{section}`\n")[1].split("### ")[0]
        for key, value in keys.items():
            inner = [f"{key}.{k}" for k in value] if isinstance(value, dict) else [key]
            assert all(f"\n| `{name}` | " in part for name in inner)


def test_the_reference_gives_legal_values_and_default() -> None:
    row = "| `alpha` | a number above 0 and at most 1 | `0.5` | Width of the"
    assert row in reference()
