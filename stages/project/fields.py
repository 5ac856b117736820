"""The kinds of values that the sections of a project are made of.

Their names say what they mean; what is wrong with a value is said by `words`, except
where a sentence of its own is raised here with the type ``PLAIN``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

RESERVED = (
    # the stages
    *("train", "export", "normalize", "quantize", "compile"),
    *("flash", "check", "report", "deploy"),
    # the commands of doit
    *("run", "list", "help", "clean", "forget", "ignore", "dumpdb", "strace"),
    *("tabcompletion", "info", "reset-dep", "auto"),
    # our commands, and a task that belongs to no project
    *("why", "new", "compare", "cache", "nightly", "silicon", "firmware"),
)
"""Names no project may have, because the command line gives them a meaning."""

PLAIN = "plain"
"""The pydantic error type of a message that already is a sentence of ours."""


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        text = f"{name!r} is a name of the command line's own; choose another"
        raise PydanticCustomError(PLAIN, "{text}", {"text": text})
    return name


def _whole(value: object) -> object:
    if type(value) is not int:  # a Literal would take true for 1 and 8.0 for 8
        raise PydanticKnownError("int_type")
    return value


def _not_collapsing(method: object) -> object:
    if method in ("kld_m0", "kld_m1"):
        text = (
            "nncase's kld_m0 and kld_m1 collapse accuracy; "
            "use one of auto, no_clip, l2, cdf, kld_m2"
        )
        raise PydanticCustomError(PLAIN, "{text}", {"text": text})
    return method


Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_-]*$",
        max_length=64,
        json_schema_extra={
            "patternErrorMessage": "a name of at most 64 lower-case letters, digits, "
            "_ and -, beginning with a letter"
        },
    ),
    AfterValidator(_not_reserved),
]
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ProperFraction = Annotated[float, Field(ge=0, lt=1)]
Real = Annotated[float, Field(ge=-1e6, le=1e6)]
Rows = Annotated[int, Field(ge=4, le=256)]
Columns = Annotated[int, Field(ge=4, le=512)]


def _amount(value: object) -> int | float:
    if type(value) is int and 1 <= value <= 1_000_000:
        return value
    if type(value) is float and 0 < value < 1:
        return value
    raise PydanticKnownError("int_type")  # `words` says what is expected


def _amount_or_none(value: object) -> int | float:
    return 0 if type(value) is int and value == 0 else _amount(value)


def _per_channel(value: object) -> float | tuple[float, ...]:
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(map(_real, value))
    return _real(value)


def _per_channel_above_zero(value: object) -> float | tuple[float, ...]:
    found = _per_channel(value)
    if min(found if isinstance(found, tuple) else (found,)) < 1e-6:
        raise PydanticKnownError("float_type")
    return found


def _listed(value: float | tuple[float, ...]) -> float | list[float]:
    return list(value) if isinstance(value, tuple) else value


def _real(value: object) -> float:
    if type(value) in (int, float) and abs(value) <= 1e6:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise PydanticKnownError("float_type")


def _amount_schema(least: int) -> dict[str, object]:
    whole = {"type": "integer", "minimum": least, "maximum": 1_000_000}
    part = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {"anyOf": [whole, part, {"type": "null"}]}


def _per_channel_schema(least: float) -> dict[str, object]:
    number = {"type": "number", "minimum": least, "maximum": 1_000_000}
    three: dict[str, object] = {"type": "array", "prefixItems": [number] * 3}
    three |= {"minItems": 3, "maxItems": 3}
    return {"anyOf": [number, three, {"type": "null"}]}


Amount = Annotated[
    int | float, PlainValidator(_amount), WithJsonSchema(_amount_schema(1))
]
AmountOrNone = Annotated[
    int | float, PlainValidator(_amount_or_none), WithJsonSchema(_amount_schema(0))
]
Mean = Annotated[
    float | tuple[float, ...],
    PlainValidator(_per_channel),
    PlainSerializer(_listed),
    WithJsonSchema(_per_channel_schema(-1e6)),
]
Std = Annotated[
    float | tuple[float, ...],
    PlainValidator(_per_channel_above_zero),
    PlainSerializer(_listed),
    WithJsonSchema(_per_channel_schema(1e-6)),
]
Activation = Literal["relu", "relu6", "leaky", "hard_swish", "swish"]
BuilderName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        json_schema_extra={
            "patternErrorMessage": "module:function, such as my_nets:small"
        },
    ),
]
KernelSide = Annotated[Literal[1, 3, 5], BeforeValidator(_whole)]
Channels = Annotated[Literal[1, 3], BeforeValidator(_whole)]
FlashSize = Annotated[Literal[0x800000, 0x1000000], BeforeValidator(_whole)]
Method = Annotated[
    Literal["auto", "no_clip", "l2", "cdf", "kld_m2"],
    BeforeValidator(_not_collapsing),
]


class Section(BaseModel):
    """A mapping in the YAML: no unknown keys, no silent conversion, null = default."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _null_resets(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        known = cls.model_fields
        return {k: v for k, v in data.items() if v is not None or k not in known}
