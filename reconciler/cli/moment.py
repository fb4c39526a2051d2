"""Times on a command line: when something was, how long ago, or how long."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from reconciler.models.field import parse_duration

_DAYS: Final = re.compile(r"(\d{1,5})d")
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def read_moment(text: str) -> int:
    """ISO 8601 (UTC where it names no zone) as milliseconds since the epoch; a duration ago such as 90m, 12h and 7d as
    a negative number of them. A `type` for click's options; `moment_at` makes one of both. Raises click.BadParameter.
    """
    ago = read_duration(text)
    if ago is not None:
        return -max(ago, 1)  # a sign tells it from a time, and 0 has none
    try:
        at = datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00"))
    except ValueError:
        fact = f"{text} is neither a time like 2026-11-24T10:00:00Z nor a duration ago like 90m, 12h or 7d"
        raise click.BadParameter(fact) from None
    return max(0, (at.replace(tzinfo=at.tzinfo or UTC) - _EPOCH) // _MILLISECOND)


def moment_at(value: int | None, *, now: int) -> int | None:
    """What `read_moment` has read, as milliseconds since the epoch."""
    return now + value if value is not None and value < 0 else value


def read_duration(text: str) -> int | None:
    """A duration like 90m, 12h or 30d in milliseconds; None for what is none."""
    if days := _DAYS.fullmatch(text):
        return int(days[1]) * 86_400_000
    try:
        return parse_duration(text) // _MILLISECOND
    except ValueError:
        return None
