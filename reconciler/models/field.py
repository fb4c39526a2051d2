"""What fields of manifests are made of: the base model, names, lines, lists, durations. Pure.

Used by the models of what people write; those of what vendors send are tolerant and have a base of their own.
"""

import re
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

DURATION_MAX: Final = timedelta(days=366)  # longer than any retry makes sense; keeps sums far from overflow
NAME_PATTERN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # no hyphen at the ends: a name is also an argument
DURATION_PATTERN: Final = r"[0-9]{1,9}(\.[0-9]{1,6})?(s|m|h)"

_NAME: Final = re.compile(NAME_PATTERN)
_DURATION: Final = re.compile(DURATION_PATTERN)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_MICROSECOND: Final = timedelta(microseconds=1)

Item = TypeVar("Item")


class Model(BaseModel):
    """What people write: frozen, and an unknown key is an error."""

    # built when first used: a plan of webhooks that nobody looks into needs few of them
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_enum_values=False, defer_build=True)


def parse_duration(value: object) -> timedelta:
    """A number and s, m or h, as a timedelta of at most DURATION_MAX. Raises ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not (match := _DURATION.fullmatch(value)):
        raise ValueError("must be a number and s, m or h, like 30s")
    microseconds = Decimal(value[:-1]) * _UNIT_SECONDS[match[2]] * 1_000_000
    duration = timedelta(microseconds=int(microseconds))
    if duration > DURATION_MAX:
        raise ValueError(f"must be at most {format_duration(DURATION_MAX)}")
    return duration


@lru_cache(maxsize=1024)  # ten for each webhook, nearly all of them the defaults
def format_duration(value: timedelta) -> str:
    """The shortest spelling that reads back the same: 5m, not 300s."""
    microseconds = value // _MICROSECOND
    for unit in ("h", "m"):
        length = _UNIT_SECONDS[unit] * 1_000_000
        if microseconds and microseconds % length == 0:
            return f"{microseconds // length}{unit}"
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{seconds}.{rest:06}".rstrip("0") + "s" if rest else f"{seconds}s"


def _read_duration(value: object) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as exc:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(exc)}) from None


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise PydanticCustomError("duration", "{reason}", {"reason": "must be longer than 0s"})
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise PydanticCustomError("name", "must be 1 to 63 of a-z, 0-9 and inner hyphens")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    AfterValidator(_positive),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": f"^{DURATION_PATTERN}$", "examples": ["30s", "5m", "96h"]}),
]
Named = Annotated[
    Item, AfterValidator(_name), Field(json_schema_extra={"pattern": f"^{NAME_PATTERN}$", "maxLength": 63})
]
Line = Annotated[str, Field(min_length=1)]
Many = Annotated[tuple[Item, ...], Field(strict=False)]  # YAML and JSON have lists, strict pydantic wants tuples
