"""A request's body as items: one event, a JSON array or NDJSON, each item with the bytes it came as.

Called by `dispatch.judge` and `dispatch.replay` and, line by line, by `source.jsonl`. Pure; judges syntax only, never
what an event says, and never raises for bad input: what cannot be read becomes an item with a problem, to be
quarantined.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from reconciler import jsontext
from reconciler.errors import ReconcilerError
from reconciler.jsontext import JsonValue

EVENT_MAX_BYTES: Final = 256 * 1024
REQUEST_MAX_BYTES: Final = 8 * 1024 * 1024
REQUEST_MAX_EVENTS: Final = 1000
NDJSON_TYPES: Final = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
    }
)

_BOM: Final = b"\xef\xbb\xbf"  # RFC 8259, section 8.1: a parser may ignore it
_LINE: Final = re.compile(rb"[^ \t\r\n][^\n]*")  # from the first visible byte of a line to its end
_SPACE: Final = re.compile(r"[ \t\r\n]*")
# Finds where a value ends that is JSON in form but not to our taste: duplicate keys, NaN, raw control characters.
_LENIENT: Final = json.JSONDecoder(parse_float=str, parse_int=str, strict=False)


class Item(NamedTuple):
    """One item as received. `raw` are its bytes without the white space around them; with `problem` set, `value` is
    None and the item cannot be an event. `canonical` is `jsontext.canonical` of the value."""

    raw: bytes
    value: JsonValue
    problem: str | None = None
    canonical: bytes | None = None


class PayloadTooLargeError(ReconcilerError):
    """A request or one of its events is over the limit; nothing of it is stored. `index` counts from 0."""

    def __init__(self, message: str, *, index: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.index = index


def parse_items(body: bytes, *, content_type: str | None = None) -> list[Item]:
    """The items of a body, in order, each with its bytes exactly as received.

    An NDJSON line or an array item that cannot be read has a problem of its own; a body that cannot be read at all is
    one item with a problem. NDJSON is known by its content type, or by several lines that each start with `{` and of
    which the first is a JSON value by itself. Raises PayloadTooLargeError.
    """
    if len(body) > REQUEST_MAX_BYTES:
        raise PayloadTooLargeError(
            f"the request has {len(body)} bytes, the limit is {REQUEST_MAX_BYTES}", hint="send fewer events at a time"
        )
    text = body.removeprefix(_BOM).strip(b" \t\r\n")
    # Four cases: said to be lines; an array; lines that nobody said to be lines; one value.
    if content_type is not None and _media_type(content_type) in NDJSON_TYPES and text:
        return list(_limited(_lines(text)))
    if text.startswith(b"["):
        return list(_limited(_array(text)))
    if b"\n" in text and looks_like_lines(text):
        return list(_limited(_lines(text)))
    item = parse_item(text)
    return [item] if len(text) <= EVENT_MAX_BYTES else list(_limited(iter((item,))))


def looks_like_lines(text: bytes) -> bool:
    """Whether bytes that nobody said to be NDJSON are: several lines, each starting with `{`, the first one JSON."""
    first = _LINE.search(text)
    if first is None or not text[first.end() :].strip():
        return False
    lines = islice(_LINE.finditer(text), REQUEST_MAX_EVENTS + 1)
    return all(line.group().startswith(b"{") for line in lines) and parse_item(first.group().rstrip()).problem is None


def parse_item(raw: bytes) -> Item:
    """One item, for instance an NDJSON line."""
    if not raw:
        return Item(raw, None, "empty: 0 bytes")
    try:
        value, canonical = jsontext.read(raw)
        return Item(raw, value, None, canonical)
    except ValueError as exc:
        return Item(raw, None, syntax_problem(exc))


def syntax_problem(exc: ValueError) -> str:
    """What is wrong with bytes that are no JSON we take, in words."""
    match exc:
        case UnicodeDecodeError():
            return f"not UTF-8: byte 0x{exc.object[exc.start]:02x} at offset {exc.start}"
        case json.JSONDecodeError():
            where = f"line {exc.lineno} column {exc.colno}"
            return f"not JSON: {exc.msg[:1].lower()}{exc.msg[1:]}, {where}"
        case _:
            return f"not JSON that can be taken: {exc}"


@lru_cache(maxsize=64)  # nearly always the same
def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _lines(text: bytes) -> Iterator[Item]:
    return (parse_item(line.group().rstrip()) for line in _LINE.finditer(text))


def _array(text: bytes) -> Iterator[Item]:
    """The items of a JSON array, or the whole text as one item with a problem if it is no array."""
    try:
        decoded = text.decode("utf-8", "surrogateescape")  # so that one item's bad bytes cost the others nothing
        spans = list(_spans(decoded))
    except PayloadTooLargeError:
        raise
    except (ValueError, RecursionError) as exc:
        yield Item(text, None, syntax_problem(exc) if isinstance(exc, ValueError) else "nested too deeply to be read")
        return
    for span in spans:
        raw = decoded[span.start : span.end].encode("utf-8", "surrogateescape")
        bad_bytes = _utf8_problem(raw) if span.canonical is None else None
        yield Item(raw, None, bad_bytes) if bad_bytes else Item(raw, span.value, span.problem, span.canonical)


def _utf8_problem(raw: bytes) -> str | None:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        return syntax_problem(exc)
    return None


class _Span(NamedTuple):
    """Where an item of an array stands, and what an `Item` holds of it."""

    start: int
    end: int
    value: JsonValue
    problem: str | None
    canonical: bytes | None


def _spans(text: str) -> Iterator[_Span]:
    """Each item of the array that is the whole of `text`. Raises ValueError."""
    at = _skip(text, 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        for index in range(REQUEST_MAX_EVENTS + 1):
            if index == REQUEST_MAX_EVENTS:
                raise _too_many()
            span = _scan(text, at)
            yield span
            at = _skip(text, span.end)
            closed = text[at : at + 1] == "]"
            if not closed and text[at : at + 1] != ",":
                raise json.JSONDecodeError("expecting ',' or ']'", text, at)
            at = _skip(text, at + 1)
            if closed:
                break
    if at != len(text):
        raise json.JSONDecodeError("extra data after the array", text, at)


def _scan(text: str, start: int) -> _Span:
    try:
        value, end, canonical = jsontext.scan(text, start)
    except ValueError as exc:
        _, end = _LENIENT.raw_decode(text, start)
        return _Span(start, end, None, syntax_problem(exc), None)
    return _Span(start, end, value, None, canonical)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _limited(items: Iterator[Item]) -> Iterator[Item]:
    for index, item in enumerate(items):
        if index == REQUEST_MAX_EVENTS:
            raise _too_many()
        if len(item.raw) > EVENT_MAX_BYTES:
            because = f" and cannot be read as more than one: {item.problem}" if item.problem else ""
            raise PayloadTooLargeError(
                f"event {index} has {len(item.raw)} bytes, the limit is {EVENT_MAX_BYTES}{because}", index=index
            )
        yield item


def _too_many() -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"event {REQUEST_MAX_EVENTS} is one too many: the limit is {REQUEST_MAX_EVENTS} events a request",
        index=REQUEST_MAX_EVENTS,
        hint="send fewer events at a time",
    )
