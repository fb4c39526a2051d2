"""A text read as programs and people would read it: escapes undone, level by level, with the way back. Pure.

For `egress.mask`, which looks for secrets on each level: however percent signs, backslashes, entities and line ends are
mixed and nested, what they spell comes out. It knows no secret and guesses no encoding of a whole text.
"""

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, Self

LEVELS_MAX: Final = 6  # the text itself, and as often as escapes in escapes are undone

# What an encoder may put in or leave out: line ends and blanks (wrapped Base64, a blank that forms write as `+`), and
# backslashes, which stand before what they quote and before each other
SQUEEZED: Final = bytes((*range(0x21), 0x7F)) + b"+\\"

_PERCENT, _BACKSLASH, _AMPERSAND = b"%\\&"

# Each branch begins with a character of its own, by which the search is quick, and a run of backslashes is tried once
_ESCAPE: Final = re.compile(
    rb"""
    %(?: [0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2}){0,31}+ | u[0-9A-Fa-f]{4} )       # URLs; JavaScript's escape()
    | \\(?<!\\\\)\\*+(?:                                                    # JSON, JavaScript, Python, Go
        u[dD][89abAB][0-9A-Fa-f]{2} \\++ u[dD][c-fC-F][0-9A-Fa-f]{2}
        | u[0-9A-Fa-f]{4} | u\{[0-9A-Fa-f]{1,6}\} | U[0-9A-Fa-f]{8} | x[0-9A-Fa-f]{2} | [bfnrt] )
    | &(?: \#[0-9]{1,7} | \#[xX][0-9A-Fa-f]{1,6} | [A-Za-z][A-Za-z0-9]{1,30} );
    """,
    re.VERBOSE,
)
_CUT: Final = re.compile(rb"(?:%u?[0-9A-Fa-f]{0,3}|(?<!\\)\\++[uUx]?\{?[0-9A-Fa-f]{0,7}|&[#A-Za-z0-9]{0,31})\Z")
_CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_SQUEEZED_RUN: Final = re.compile(rb"[\x00-\x20\x7f+\\]++")


class Level:
    """The bytes on one level, and for each span of them the span of the text that they stand for."""

    def __init__(self, data: bytes, below: "Level | None" = None) -> None:
        self.data = data
        self._below = below
        # of each replaced piece: where it begins and ends here, and where it did on the level below
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._starts_below: list[int] = []
        self._stops_below: list[int] = []

    @classmethod
    def above(cls, below: Self, pattern: re.Pattern[bytes], replace: Callable[[bytes], bytes]) -> Self:
        """The level with what the pattern matches replaced."""
        level = cls(b"", below)
        parts: list[bytes] = []
        at = length = 0
        for match in pattern.finditer(below.data):
            start, stop = match.span()
            new = replace(match[0])
            parts += (below.data[at:start], new)
            length += start - at
            level._starts.append(length)
            length += len(new)
            level._stops.append(length)
            level._starts_below.append(start)
            level._stops_below.append(stop)
            at = stop
        parts.append(below.data[at:])
        level.data = b"".join(parts)
        return level

    def span_of_text(self, start: int, stop: int) -> tuple[int, int]:
        """Where the bytes from `start` to before `stop` come from, escapes as a whole."""
        return (
            self.span_below(start, stop)
            if self._below is None
            else self._below.span_of_text(*self.span_below(start, stop))
        )

    def span_below(self, start: int, stop: int) -> tuple[int, int]:
        """The same one level down."""
        first = bisect_right(self._starts, start) - 1
        if first >= 0:
            is_inside = start < self._stops[first]
            start = self._starts_below[first] if is_inside else self._stops_below[first] + start - self._stops[first]
        last = bisect_left(self._starts, stop) - 1
        if last >= 0:
            stop = self._stops_below[last] + max(0, stop - self._stops[last])
        return start, stop


def undone(data: bytes) -> bytes | None:
    """The text with its escapes undone once; None where it has none."""
    if _PERCENT not in data and _BACKSLASH not in data and _AMPERSAND not in data:  # numbers: each one call of memchr
        return None
    result, count = _ESCAPE.subn(_replace, data)
    return result if count else None


def wholly_undone(data: bytes) -> bytes:
    """The text after as many rounds as there are levels."""
    for _ in range(LEVELS_MAX):
        data = undone(data) or data
    return data


def squeezed(data: bytes) -> bytes:
    """The text without what encoders put in or leave out."""
    return data.translate(None, SQUEEZED)


def levels(data: bytes) -> Iterator[Level]:
    """The text, the text with its escapes undone, and so on while there are any."""
    level = Level(data)
    yield level
    for _ in range(LEVELS_MAX - 1):
        if undone(level.data) is None:
            return
        level = Level.above(level, _ESCAPE, _decoded)
        yield level


def squeeze(level: Level) -> Level:
    """The level above with the same left out as by `squeezed`."""
    return Level.above(level, _SQUEEZED_RUN, _nothing)


def cut_escape(data: bytes) -> int:
    """Where an escape begins that the end of the text may have cut; its length where there is none."""
    cut = _CUT.search(data, max(0, len(data) - 40))
    return cut.start() if cut else len(data)


def _replace(match: re.Match[bytes]) -> bytes:
    return _decoded(match[0])


def _nothing(_: bytes) -> bytes:
    return b""


@lru_cache(maxsize=1024)
def _decoded(token: bytes) -> bytes:
    # 1. entities  2. percent signs  3. what follows backslashes
    if token.startswith((b"&#x", b"&#X")):
        return _code_point(int(token[3:-1], 16)) or token
    if token.startswith(b"&#"):
        return _code_point(int(token[2:-1])) or token
    if token.startswith(b"&"):
        return html.unescape(token.decode("ascii")).encode()
    if token.startswith(b"%"):
        return (
            _code_point(int(token[2:], 16))
            if token[1:2] == b"u"
            else bytes.fromhex(token.replace(b"%", b"").decode("ascii"))
        )
    rest = token.lstrip(b"\\")
    if rest in _CONTROLS:
        return _CONTROLS[rest]
    if rest.startswith(b"x"):
        return bytes.fromhex(rest[1:].decode("ascii"))
    high, backslash, low = rest[1:].partition(b"\\")
    if backslash:
        pair = 0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low.lstrip(b"\\")[1:], 16) & 0x3FF)
        return chr(pair).encode()
    return _code_point(int(high.strip(b"{}"), 16)) or token


def _code_point(code: int) -> bytes:
    """In UTF-8; nothing for what is no code point."""
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else b""
