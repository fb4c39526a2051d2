"""The helper `date`: a time of the event as text, in any format and zone, with the digits that it came with.

In the table of `helpers`. Pure: no clock is read and no local zone is asked for; the rules of zones are the IANA
database's.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.template.fault import HelperError, shown
from reconciler.template.helper_compare import decimal_of, is_number

FORMAT_MAX_CHARS: Final = 256
RFC_3339: Final = "%Y-%m-%dT%H:%M:%S%:z"

_TIME: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,40})?")
_DIRECTIVE: Final = re.compile(r"%(:z|.|$)", re.DOTALL)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT: Final = Context(prec=64, rounding=ROUND_FLOOR)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in its zone, the digits below the second apart: `fraction` is them as nine digits, cut, not rounded."""

    time: datetime
    seconds: int
    fraction: str

    def offset(self, separator: str) -> str:
        """The distance from UTC as `+hhmm`, with a separator."""
        minutes = (self.time.utcoffset() or timedelta()) // timedelta(minutes=1)
        return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{separator}{abs(minutes) % 60:02}"


_WRITERS: Final[dict[str, Callable[[Moment], str]]] = {
    "Y": lambda moment: f"{moment.time.year:04}",
    "m": lambda moment: f"{moment.time.month:02}",
    "d": lambda moment: f"{moment.time.day:02}",
    "e": lambda moment: f"{moment.time.day:2}",
    "H": lambda moment: f"{moment.time.hour:02}",
    "I": lambda moment: f"{moment.time.hour % 12 or 12:02}",
    "M": lambda moment: f"{moment.time.minute:02}",
    "S": lambda moment: f"{moment.time.second:02}",
    "L": lambda moment: moment.fraction[:3],
    "f": lambda moment: moment.fraction[:6],
    "N": lambda moment: moment.fraction,
    "s": lambda moment: str(moment.seconds),
    "p": lambda moment: "AM" if moment.time.hour < 12 else "PM",
    "y": lambda moment: f"{moment.time.year % 100:02}",
    "j": lambda moment: f"{moment.time.timetuple().tm_yday:03}",
    "u": lambda moment: str(moment.time.isoweekday()),
    "a": lambda moment: _DAYS[moment.time.weekday()][:3],
    "A": lambda moment: _DAYS[moment.time.weekday()],
    "b": lambda moment: _MONTHS[moment.time.month - 1][:3],
    "B": lambda moment: _MONTHS[moment.time.month - 1],
    "F": lambda moment: f"{moment.time.year:04}-{moment.time.month:02}-{moment.time.day:02}",
    "T": lambda moment: f"{moment.time.hour:02}:{moment.time.minute:02}:{moment.time.second:02}",
    "z": lambda moment: moment.offset(""),
    ":z": lambda moment: moment.offset(":"),
    "Z": lambda moment: moment.time.tzname() or "",
    "%": lambda _: "%",
}


def date(value: JsonValue, format: JsonValue = "", zone: JsonValue = "UTC") -> str | None:
    """`date value [format] [zone]`: a time in seconds since 1970, a number or its digits as text; null and empty text
    give null.

    `format` has strftime's directives, in English: %Y %m %d %e %H %I %M %S %p %y %j %u %a %A %b %B %F %T %z %:z %Z %s
    %%, and of the digits below the second %L three, %f six and %N nine, cut, not rounded. Without one it is RFC 3339
    with `Z` for UTC. `zone` is a name of the IANA database, such as Europe/Berlin.

    Raises HelperError for what is no time between the years 1 and 9999, an unknown directive and an unknown zone.
    """
    if value is None or value == "":
        return None
    pieces, rules = _directives(format or RFC_3339), zone_of(zone)
    moment = _moment(_seconds(value), rules)
    if not format and rules is UTC:
        return f"{_WRITERS['F'](moment)}T{_WRITERS['T'](moment)}Z"
    return "".join(_WRITERS[piece](moment) if is_directive else piece for is_directive, piece in pieces)


def judge_format(text: JsonValue) -> None:
    """Raise HelperError for a format with an unknown directive."""
    _directives(text)


def _directives(text: JsonValue) -> tuple[tuple[bool, str], ...]:
    """A format as literal pieces and directives, the latter marked. Raises HelperError."""
    if not isinstance(text, str) or len(text) > FORMAT_MAX_CHARS:
        raise HelperError(f"`format` must be a text of at most {FORMAT_MAX_CHARS} characters, like %Y-%m-%d")
    return _pieces(text)


@lru_cache(maxsize=256)
def _pieces(text: str) -> tuple[tuple[bool, str], ...]:
    pieces: list[tuple[bool, str]] = []
    end = 0
    for match in _DIRECTIVE.finditer(text):
        if match[1] not in _WRITERS:
            raise HelperError(f"unknown directive in `format`: {shown(match[0])}")
        pieces += [(False, text[end : match.start()]), (True, match[1])]
        end = match.end()
    return (*pieces, (False, text[end:]))


def zone_of(name: JsonValue) -> tzinfo:
    """The zone of a name. Raises HelperError."""
    if not isinstance(name, str):
        raise HelperError("`zone` must be the name of a zone, like Europe/Berlin")
    return _zone(name)


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise HelperError(f"there is no such zone: {shown(name)}") from None


def _seconds(value: JsonValue) -> Decimal:
    text = value.strip() if isinstance(value, str) else jsontext.number_text(value) if is_number(value) else ""
    if isinstance(value, str) and not _TIME.fullmatch(text):
        text = ""
    seconds = decimal_of(text) if text else None
    if seconds is None or not seconds.is_finite() or seconds.adjusted() > 11:
        raise HelperError("the value is no time in seconds since 1970")
    return seconds


def _moment(value: Decimal, rules: tzinfo) -> Moment:
    nanoseconds = _EXACT.to_integral_value(_EXACT.scaleb(value, 9)) if value.adjusted() >= -9 else 0
    seconds, fraction = divmod(int(nanoseconds), 1_000_000_000)
    try:
        time = (_EPOCH + timedelta(seconds=seconds)).astimezone(rules)
    except (OverflowError, ValueError):
        raise HelperError("the time lies outside the years 1 to 9999") from None
    return Moment(time, seconds, f"{fraction:09}")
