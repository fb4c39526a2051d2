"""JSON with the digits kept: what an event said as 1795424400.851898000 is sent as 1795424400.851898000.

Called by everything that reads an event or writes one into a body. Not for documents of our own making,
for which orjson is faster; orjson rounds floats, refuses lone surrogates and integers over 64 bits. It is asked first
where what it writes is the same (`canonical`).
"""

import json
import re
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring  # the C scanner where there is one
from typing import Any, Final

import orjson

JsonValue = Any  # None | bool | int | Number | str | list[JsonValue] | dict[str, JsonValue]

INT_MAX_DIGITS: Final = 4_000  # CPython refuses int() of more than 4,300 digits; beyond this a number is kept as text
DEPTH_MAX: Final = 200  # the deepest document we accept; CPython's recursion limit is far above

_FRAGILE: Final = re.compile("[\u2028\u2029\ud800-\udfff]")
_LINE_ENDS: Final = ("\u2028".encode(), "\u2029".encode())  # orjson writes them as they are
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_ESCAPED_BYTES: Final = re.compile(rb"\\.", re.DOTALL)


_new_float: Final = float.__new__  # asked for each number with a fraction: `super()` takes a third more


class Number(float):
    """A float that remembers the text it was parsed from; computes as the nearest double."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "Number":
        self = _new_float(cls, text)
        self.text = text
        return self

    def __reduce__(self) -> tuple[type["Number"], tuple[str]]:
        return (Number, (self.text,))


def _parse_int(text: str) -> int | Number:
    if len(text) > INT_MAX_DIGITS or text == "-0":
        return Number(text)
    return int(text)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


class DuplicateKeyError(ValueError):
    """An object has the same key twice; which of the two a receiver takes is anybody's guess (RFC 8259, section 4)."""


class TooDeepError(ValueError):
    """A document is nested deeper than DEPTH_MAX levels."""

    def __init__(self) -> None:
        super().__init__(f"nested deeper than {DEPTH_MAX} levels")


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKeyError(f"duplicate key: {key!r:.80}")
            seen.add(key)
    return result


_DECODER: Final = json.JSONDecoder(
    parse_float=Number, parse_int=_parse_int, parse_constant=_refuse_constant, object_pairs_hook=_unique
)


# Does not see that a key stands twice: for what `loads` has taken before, and for what is looked at otherwise.
_QUICK_DECODER: Final = json.JSONDecoder(parse_float=Number, parse_int=_parse_int, parse_constant=_refuse_constant)
_QUICK_SCAN: Final[Callable[[str, int], tuple[JsonValue, int]]] = _QUICK_DECODER.scan_once  # type: ignore[attr-defined]


def loads_again(text: bytes) -> JsonValue:
    """`loads` for a document that it has taken before, in half the time. Raises ValueError for what is not JSON."""
    return _read_quickly(text.decode("utf-8"))


def loads(text: str | bytes) -> JsonValue:
    """Parse one JSON document (RFC 8259), numbers keeping their digits.

    Raises ValueError (json.JSONDecodeError, UnicodeDecodeError, DuplicateKeyError) for what is not JSON in UTF-8, and
    TooDeepError.
    """
    return read(text)[0]


def read(text: str | bytes) -> tuple[JsonValue, bytes | None]:
    """`loads`, and of what it gives the `canonical` form, which it makes anyway."""
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        value = _read_quickly(decoded)
        written = canonical(value)
        if written is None or _quotation_marks(decoded) != _quotation_marks(written):
            value = _DECODER.decode(decoded)
    except RecursionError:
        raise TooDeepError from None
    if decoded.count("{") + decoded.count("[") > DEPTH_MAX:  # fewer cannot be deeper, and most documents have fewer
        check_depth(value)
    return value, written


def _read_quickly(text: str) -> JsonValue:
    """Parse a document, of equal keys the last taken. The decoder's own way looks for white space around it first."""
    try:
        value, end = _QUICK_SCAN(text, 0)
    except StopIteration:
        return _QUICK_DECODER.decode(text)
    return value if end == len(text) else _QUICK_DECODER.decode(text)


def _quotation_marks(text: str | bytes) -> int:
    """How many stand around the strings of a document, not counting those inside. Written again it has as many, but for
    the keys that stood in one object twice."""
    if isinstance(text, bytes):
        return (_ESCAPED_BYTES.sub(b"", text) if b"\\" in text else text).count(b'"')
    return (_ESCAPED.sub("", text) if "\\" in text else text).count('"')


def scan(text: str, start: int) -> tuple[JsonValue, int, bytes | None]:
    """Parse the JSON value that begins at `start`; returns it with the index after it and its `canonical` form. Raises
    ValueError."""
    try:
        try:
            value, end = _QUICK_SCAN(text, start)
        except StopIteration:
            raise json.JSONDecodeError("Expecting value", text, start) from None
        written = canonical(value)
        if written is None or _quotation_marks(text[start:end]) != _quotation_marks(written):
            value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise TooDeepError from None
    if text.count("{", start, end) + text.count("[", start, end) > DEPTH_MAX:
        check_depth(value)
    return value, end, written


def check_depth(value: JsonValue) -> None:
    """Raise TooDeepError for a document nested deeper than DEPTH_MAX levels."""
    level: list[JsonValue] = [value]
    for _ in range(DEPTH_MAX + 1):
        deeper: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(child for child in item.values() if isinstance(child, dict | list))
            elif isinstance(item, list):
                deeper.extend(child for child in item if isinstance(child, dict | list))
        if not deeper:
            return
        level = deeper
    raise TooDeepError


def quote(text: str) -> str:
    """A string as a JSON string, quotes included: UTF-8 stays as it is, except what UTF-8 cannot carry.

    Lone surrogates become `\\udXXX`; U+2028 and U+2029 are escaped too, since JavaScript before 2019 takes them for
    line ends inside a string.
    """
    quoted: str = encode_basestring(text)
    return quoted if quoted.isascii() else _FRAGILE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def escape(text: str) -> str:
    """A string as it stands between the quotes of a JSON string."""
    return quote(text)[1:-1]


def dumps(value: JsonValue, *, sort_keys: bool = False) -> str:
    """A value as compact JSON text; a Number with the digits it came with. Raises TypeError for what is not JSON."""
    parts: list[str] = []
    _write(value, parts.append, sort_keys)
    return "".join(parts)


def canonical(value: JsonValue) -> bytes | None:
    """`dumps(value, sort_keys=True)` in UTF-8, of a value that `loads` gave, in a tenth of the time; None where that
    takes `dumps`: for what UTF-8 cannot carry, U+2028 and U+2029, and integers of more than 64 bits."""
    try:
        written = orjson.dumps(value, default=_fragment, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    is_same = written.isascii() or not (_LINE_ENDS[0] in written or _LINE_ENDS[1] in written)
    return written if is_same else None


def _fragment(value: object) -> orjson.Fragment:
    """A number as orjson is to write it; it takes none that remembers its digits for one of its own."""
    if type(value) is not Number:
        raise TypeError(f"{type(value).__name__} is not JSON")
    return orjson.Fragment(value.text)


def _write(value: JsonValue, put: Callable[[str], object], sort_keys: bool) -> None:
    if isinstance(value, str):
        put(quote(value))
    elif value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, dict):
        separator = "{"
        for key in sorted(value) if sort_keys else value:
            put(f"{separator}{quote(key)}:")
            _write(value[key], put, sort_keys)
            separator = ","
        put("{}" if separator == "{" else "}")
    elif isinstance(value, list | tuple):
        separator = "["
        for item in value:
            put(separator)
            _write(item, put, sort_keys)
            separator = ","
        put("[]" if separator == "[" else "]")
    else:
        put(number_text(value))


def pretty(value: JsonValue) -> str:
    """A value as indented JSON text for people; a Number with the digits it came with."""
    return "".join(_pretty(value, "\n"))


def pretty_text(text: str) -> str:
    """JSON text indented for people, what is no JSON as it is."""
    try:
        return pretty(loads(text))
    except ValueError:
        return text


def _pretty(value: JsonValue, line: str) -> Iterator[str]:
    inner = f"{line}  "
    if isinstance(value, dict) and value:
        for index, (key, item) in enumerate(value.items()):
            yield f"{',' if index else '{'}{inner}{quote(key)}: "
            yield from _pretty(item, inner)
        yield f"{line}}}"
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield f"{',' if index else '['}{inner}"
            yield from _pretty(item, inner)
        yield f"{line}]"
    else:
        yield dumps(value)


def number_text(value: int | float) -> str:
    """A number's digits: those of the source where there is one, else the shortest that read back the same."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise TypeError(f"{value} is not JSON")
        return float.__repr__(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
