"""How values look on the page: text from outside made harmless, times, URLs with their secrets, timing bars.

Used by the templates only; pure. Escaping is Jinja's (everything, always); this makes visible what HTML would pass on.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2

from reconciler import VERSION, jsontext
from reconciler.models.delivery import iso_time
from reconciler.models.webhook import SECRET_REFERENCE

BODY_MAX_CHARACTERS: Final = 64 * 1024  # of one body on a page; the API has all of it
UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
PHASES: Final = (
    ("DNS", "dns_ms"),
    ("connect", "connect_ms"),
    ("TLS", "tls_ms"),
    ("first byte", "first_byte_ms"),
    ("rest", "total_ms"),
)

# C0 and C1 controls but tab and line feed, soft hyphen, bidi and zero-width characters, line and paragraph separators,
# variation and tag characters that hide text, lone surrogates
_HARMFUL: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of an attempt's time: where it starts and how long it is, in percent and in milliseconds."""

    name: str
    start: float
    width: float
    ms: float


def environment(templates: Path) -> jinja2.Environment:
    """Templates that escape every expression and show every hidden character."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters.update(when=when, ago=ago, body=body, url_parts=url_parts, phases=phases, trigger=trigger)
    env.globals.update(version=VERSION)
    return env


def visible(value: Any) -> Any:
    """Text with control, bidi and other hidden characters spelt out, as in ⟨U+202E⟩; None as nothing."""
    if value is None:
        return ""
    if type(value) is str:  # not Markup: that is ours
        return _HARMFUL.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", value)
    return value


def when(at: int | None) -> str:
    """A time in UTC, for people: 2026-11-24 08:20:11."""
    text = iso_time(at)
    return "" if text is None else f"{text[:10]} {text[11:19]}"


def ago(at: int | None, now: int) -> str:
    """How long ago, or in how long, in one unit."""
    if at is None:
        return ""
    seconds = abs(now - at) // 1000
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (1, "s"))
    amount = f"{seconds // size} {unit}"
    return f"in {amount}" if at > now else f"{amount} ago"


def body(text: str | None) -> str:
    """A body for reading: JSON indented with its digits kept, anything else as it is; cut where it is very long."""
    if not text:
        return ""
    with contextlib.suppress(ValueError):
        text = jsontext.pretty(jsontext.loads(text))
    if len(text) <= BODY_MAX_CHARACTERS:
        return text
    return f"{text[:BODY_MAX_CHARACTERS]}\n… {len(text) - BODY_MAX_CHARACTERS} more characters"


def url_parts(url: str) -> Iterator[tuple[str, str]]:
    """A URL as (kind, text): `host`, `path`, and each `secret` reference by itself."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = (rest if separator else scheme).partition("/")
    yield "host", host
    at, text = 0, slash + path
    for match in SECRET_REFERENCE.finditer(text):
        if match[1]:
            yield "path", text[at : match.start()]
            yield "secret", match[0]
            at = match.end()
    yield "path", text[at:]


def phases(timings: Mapping[str, Any] | None) -> list[Phase]:
    """The parts of an attempt's time, in order; marks count from its start and are missing where not reached."""
    marks = [(name, float(mark)) for name, key in PHASES if (mark := (timings or {}).get(key)) is not None]
    total = max((mark for _, mark in marks), default=0.0)
    if total <= 0:
        return []
    parts, before = [], 0.0
    for name, mark in marks:
        if mark > before:
            parts.append(Phase(name, 100 * before / total, 100 * (mark - before) / total, mark - before))
            before = mark
    return parts


def trigger(name: str) -> str:
    """A trigger's name without what all of them share."""
    return name.removeprefix("Request")
