"""JSON (RFC 8259) with a placeholder character for each expression of a template: where does each one stand?

Outside a string an expression counts as a value; a string whose text is a JSON object or array is read in the same
way. Called by `place`, which knows the template that the text came from.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from reconciler import jsontext
from reconciler.template.fault import shown

HOLE: Final = "\udc00"  # stands for an expression; a template cannot hold it, since lone surrogates are refused
LEVELS_MAX: Final = 8  # JSON in a string, in a string, …: each level doubles the backslashes

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_TOKEN: Final = re.compile(
    rf"""(?P<string>"((?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}}))*+)")"""
    rf"""|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<word>true|false|null)"""
    rf"""|(?P<hole>{HOLE})|(?P<mark>[{{}}\[\]:,])"""
)
_STRING_START: Final = re.compile(r""""(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+""")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_WORD_END: Final = re.compile(rf"""[\s,:{{}}\[\]"{HOLE}]""")
_CLOSING: Final = {"{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Place:
    """`levels` JSON strings are around the expression; innermost it is a value, or else part of a string's text."""

    levels: int
    is_value: bool


class NotJson(Exception):
    """The text is not JSON; `start` and `end` are offsets into it."""

    def __init__(self, message: str, start: int, end: int, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Reading:
    """The places of the expressions in order, and the spans of strings that look like JSON but are not."""

    places: tuple[Place, ...]
    broken: tuple[tuple[int, int], ...] = ()


def read_document(text: str) -> Reading:
    """The places in a JSON document. Raises NotJson."""
    scanner = _Scanner(text, 0)
    scanner.run()
    return Reading(tuple(scanner.places), tuple(scanner.broken))


def read_string(text: str) -> Reading:
    """The places in a text that is to become one JSON string. Raises NotJson where it is nested too deeply."""
    scanner = _Scanner(text, 0)
    if not scanner.nested(text, 0, len(text)):
        scanner.places = [Place(1, is_value=False)] * text.count(HOLE)
    return Reading(tuple(scanner.places), tuple(scanner.broken))


class _Expect(Enum):
    """What may come next; the value is how a message names it, unless it depends on the bracket."""

    VALUE = "a value"
    FIRST_ITEM = "a value or `]`"
    FIRST_KEY = "a key in quotes or `}`"
    KEY = "a key in quotes"
    COLON = "`:`"
    NEXT = "a comma or the closing bracket"
    NOTHING = "nothing more"


class _TooDeep(NotJson):
    """Nested too deeply: an error at every level, never taken for plain text."""


class _Scanner:
    """One JSON text; `level` strings are around it."""

    def __init__(self, text: str, level: int) -> None:
        self.text = text
        self.level = level
        self.places: list[Place] = []
        self.broken: list[tuple[int, int]] = []
        self.open: list[str] = []  # the brackets around the position
        self.keys: list[set[str]] = []  # the literal keys of the objects around it
        self.expect = _Expect.VALUE

    def run(self) -> None:
        position = self._skip(0)
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise self._unreadable(position)
            self._take(match)
            position = self._skip(match.end())
        if self.expect is not _Expect.NOTHING:
            raise self._incomplete()

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        return match.end() if match else position

    def _take(self, match: re.Match[str]) -> None:
        kind = match.lastgroup
        if kind == "mark":
            self._mark(match[0], match.start())
        elif self.expect in (_Expect.KEY, _Expect.FIRST_KEY):
            if kind != "string":
                raise self._unexpected(match, hint="put the key into double quotes")
            self._key(match)
        elif self.expect not in (_Expect.VALUE, _Expect.FIRST_ITEM):
            raise self._unexpected(match)
        else:
            if kind == "hole":
                self.places.append(Place(self.level, is_value=True))
            elif kind == "string":
                self._string(match)
            self.expect = self._after_value()

    def _after_value(self) -> _Expect:
        return _Expect.NEXT if self.open else _Expect.NOTHING

    def _mark(self, mark: str, start: int) -> None:
        expect = self.expect
        if mark in "{[" and expect in (_Expect.VALUE, _Expect.FIRST_ITEM):
            if len(self.open) >= jsontext.DEPTH_MAX:
                raise _TooDeep(f"nested deeper than {jsontext.DEPTH_MAX} levels", start, start + 1)
            self.open.append(mark)
            self.keys.append(set())
            self.expect = _Expect.FIRST_KEY if mark == "{" else _Expect.FIRST_ITEM
        elif mark == ":" and expect is _Expect.COLON:
            self.expect = _Expect.VALUE
        elif mark == "," and expect is _Expect.NEXT:
            self.expect = _Expect.KEY if self.open[-1] == "{" else _Expect.VALUE
        elif self.open and mark == _CLOSING[self.open[-1]] and self._may_close():
            self.open.pop()
            self.keys.pop()
            self.expect = self._after_value()
        else:
            hint = "remove the comma before it" if mark in "}]" and expect in (_Expect.KEY, _Expect.VALUE) else ""
            raise NotJson(f"{self._wanted()}, not `{mark}`", start, start + 1, hint=hint)

    def _may_close(self) -> bool:
        first = _Expect.FIRST_KEY if self.open[-1] == "{" else _Expect.FIRST_ITEM
        return self.expect in (_Expect.NEXT, first)

    def _key(self, match: re.Match[str]) -> None:
        self._string(match)
        if HOLE not in match[0]:
            key = _decoded(match[2])
            if key in self.keys[-1] and not self.level:
                raise NotJson("the object has this key twice", *match.span(), hint="which one counts is undefined")
            self.keys[-1].add(key)
        self.expect = _Expect.COLON

    def _string(self, match: re.Match[str]) -> None:
        if HOLE not in match[0]:
            return
        text = HOLE.join(_SURROGATE.sub("\ufffd", _decoded(part)) for part in match[2].split(HOLE))
        if not self.nested(text, *match.span()):
            self.places += [Place(self.level + 1, is_value=False)] * text.count(HOLE)

    def nested(self, text: str, start: int, end: int) -> bool:
        """Whether a string's text is a JSON object or array; if so, its places are added."""
        stripped = text.strip(" \t\n\r")
        if not stripped.startswith(("{", "[")):
            return False
        inner = _Scanner(text, self.level + 1)
        try:
            inner.run()
        except _TooDeep as exc:
            raise _TooDeep(exc.message, start, end, hint=exc.hint) from None
        except NotJson:
            if '"' in stripped and stripped.startswith("{") and stripped.endswith("}"):
                self.broken.append((start, end))
            return False
        if inner.places and inner.level > LEVELS_MAX:
            raise _TooDeep(f"JSON in strings is nested deeper than {LEVELS_MAX} levels", start, end)
        self.places += inner.places
        self.broken += [(start, end) for _ in inner.broken]
        return True

    def _needed(self) -> str:
        return f"`,` or `{_CLOSING[self.open[-1]]}`" if self.expect is _Expect.NEXT else self.expect.value

    def _wanted(self) -> str:
        if self.expect is _Expect.NOTHING:
            return "the JSON must end here"
        return f"the JSON needs {self._needed()} here"

    def _unexpected(self, match: re.Match[str], *, hint: str = "") -> NotJson:
        names = {"hole": "an expression", "string": "a string"}
        what = names.get(match.lastgroup or "") or shown(_word(match[0]))
        if match[0] == HOLE and self.expect is _Expect.NEXT:
            hint = "put text and expressions together inside double quotes"
        return NotJson(f"{self._wanted()}, not {what}", *match.span(), hint=hint)

    def _incomplete(self) -> NotJson:
        end = len(self.text.rstrip(" \t\n\r"))
        if end == 0:
            hint = "leave `body_template` out to send the event itself"
            return NotJson("the body is empty, which is not JSON", 0, len(self.text), hint=hint)
        return NotJson(f"the JSON ends too early: it needs {self._needed()}", end, end)

    def _unreadable(self, position: int) -> NotJson:
        """Why no token begins at `position`."""
        text = self.text
        if text[position] != '"':
            hint = "text stands in double quotes" if text[position].isalpha() or text[position] == "'" else ""
            return NotJson(f"{self._wanted()}, not {shown(_word(text[position:]))}", position, position + 1, hint=hint)
        start = _STRING_START.match(text, position)
        end = start.end() if start else position + 1
        # 1. the end of the text, 2. a backslash before something, 3. a control character
        if end >= len(text):
            return NotJson("the string is not closed", position, position + 1, hint='close it with `"`')
        if text[end] == "\\":
            return self._bad_escape(end)
        if text[end] == "\n":
            return NotJson("a line break inside a string", end, end + 1, hint="write `\\n`")
        return NotJson("a control character inside a string", end, end + 1, hint=f"write `\\u{ord(text[end]):04x}`")

    def _bad_escape(self, position: int) -> NotJson:
        following = self.text[position + 1 : position + 2]
        if following == HOLE:
            hint = "Handlebars takes one of two backslashes before an expression away: write three for one"
            return NotJson("an expression right after a backslash", position, position + 2, hint=hint)
        hint = "a literal backslash is written `\\\\`"
        return NotJson(f"unknown escape in a string: {shown(chr(92) + following)}", position, position + 2, hint=hint)


def _decoded(raw: str) -> str:
    """The text of a JSON string without its quotes."""
    text: str = json.loads(f'"{raw}"')
    return text


def _word(text: str) -> str:
    """What a text begins with, up to where something else could begin."""
    return _WORD_END.split(text, maxsplit=1)[0] or text[:1]
