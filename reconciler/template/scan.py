"""JSON (RFC 8259) token by token: what may come next, and what is wrong with what comes.

A `State` is where a text stands in the grammar. Expressions and blocks of a template are characters of their own here;
`place` knows what they are, and follows a template's branches with these states.
"""

import json
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, NamedTuple

from reconciler import jsontext
from reconciler.template.fault import NOT_JSON, shown

HOLE: Final = "\udc00"  # stands for an expression; a template cannot hold it, since lone surrogates are refused
BLOCK: Final = "\udc01"  # stands for a block or a partial
FINAL: Final = "\udc02"  # stands for the line feed at the end of a partial's file
MARKS: Final = f"{HOLE}{BLOCK}{FINAL}"

_SPACE: Final = re.compile(rf"[ \t\n\r{FINAL}]*")
_ESCAPE: Final = r"""\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})"""
TOKEN: Final = re.compile(
    rf"""(?P<string>"((?:[^"\\\x00-\x1f]++|{_ESCAPE})*+)")"""
    rf"""|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<word>true|false|null)"""
    rf"""|(?P<hole>{HOLE})|(?P<mark>[{{}}\[\]:,])"""
)
QUOTE: Final = re.compile(r'(?P<string>")')
STRING_TEXT: Final = re.compile(rf"""(?:[^"\\\x00-\x1f{MARKS}]++|{_ESCAPE})*+""")  # between quotes and marks
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_WORD_END: Final = re.compile(rf"""[\s,:{{}}\[\]"{MARKS}]""")
_CLOSING: Final = {"{": "}", "[": "]"}

Quoted = Literal["", "key", "value"]
Match = re.Match[str]


@dataclass(frozen=True, slots=True)
class Place:
    """`levels` JSON strings are around the expression; innermost it is a value, or else part of a string's text."""

    levels: int
    is_value: bool


class NotJson(Exception):
    """The text is not JSON; `start` and `end` are offsets into it."""

    def __init__(self, message: str, start: int, end: int, *, hint: str = "", code: str = NOT_JSON) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint
        self.code = code


class TooDeep(NotJson):
    """Nested too deeply: an error at every level, never taken for plain text."""


class Expect(IntEnum):
    """What may come next."""

    DOCUMENT = 0
    VALUE = 1
    FIRST_ITEM = 2
    FIRST_KEY = 3
    KEY = 4
    COLON = 5
    NEXT = 6
    NOTHING = 7


_NAMES: Final = (  # as messages call them, in the order above
    "an object or a list",
    "a value",
    "a value or `]`",
    "a key in quotes or `}`",
    "a key in quotes",
    "`:`",
    "a comma or the closing bracket",
    "nothing more",
)
_TAKES: Final = (  # the kinds of token that fit, in the order above
    {"open", "end"},
    {"open", "scalar"},
    {"open", "scalar", "close"},
    {"string", "close"},
    {"string"},
    {"colon"},
    {"comma", "close"},
    {"end"},
)
_KIND_OF_MARK: Final = {"{": "open", "[": "open", "}": "close", "]": "close", ":": "colon", ",": "comma"}


class State(NamedTuple):
    """Where a text stands: what may come next (after branches it may be one of several, in order), the brackets around,
    the literal keys of the objects around, and whether it stands in a string whose two quotes are not in one branch."""

    expects: tuple[Expect, ...]
    open: tuple[str, ...] = ()
    keys: tuple[frozenset[str], ...] = ()
    quoted: Quoted = ""

    @property
    def wants_key(self) -> bool:
        """Whether a string here is a key."""
        return Expect.KEY in self.expects or Expect.FIRST_KEY in self.expects

    def with_expect(self, expect: Expect) -> "State":
        """The state, inside the same brackets and outside of strings, where one thing may come next."""
        return State((expect,), self.open, self.keys)

    def after_value(self) -> "State":
        """The state once a value is complete."""
        return self.with_expect(Expect.NEXT if self.open else Expect.NOTHING)

    def inside_string(self) -> "State":
        """The state after the opening quote of a string whose end is elsewhere."""
        return self._replace(quoted="key" if self.wants_key else "value")

    def after_string(self) -> "State":
        """The state after the closing quote of such a string."""
        return self.with_expect(Expect.COLON) if self.quoted == "key" else self.after_value()

    def needed(self, expect: Expect) -> str:
        """What is needed, in words."""
        return f"`,` or `{_CLOSING[self.open[-1]]}`" if expect is Expect.NEXT else _NAMES[expect]

    def wanted(self, expect: Expect) -> str:
        """The beginning of a message about what is there instead."""
        if expect is Expect.NOTHING:
            return "the JSON must end here"
        return f"the JSON needs {self.needed(expect)} here"


START: Final = State((Expect.VALUE,))
START_INNER: Final = State((Expect.DOCUMENT,))


def skip_space(text: str, position: int) -> int:
    """The next position that holds more than white space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def can_join(one: State, other: State) -> bool:
    """Whether a text can go on after branches that end in these states: the same brackets and strings around, and at
    least one token that fits both."""
    if one.open != other.open or one.quoted != other.quoted:
        return False
    return bool(one.quoted) or bool(set.intersection(*(_TAKES[expect] for expect in one.expects + other.expects)))


def join(one: State, other: State) -> State:
    """The state after either of two branches. Only keys that both have written are known to be there."""
    keys = tuple(mine & theirs for mine, theirs in zip(one.keys, other.keys, strict=True))
    return one._replace(expects=tuple(sorted({*one.expects, *other.expects})), keys=keys)


def takes_value(state: State) -> bool:
    """Whether a value may stand here."""
    return all("scalar" in _TAKES[expect] for expect in state.expects)


def differ_text(one: State, other: State) -> str:
    """Where two branches end, for the message that they end in different contexts."""
    if one.quoted != other.quoted or one.open == other.open:
        return f"one {_end_text(one)}, another {_end_text(other)}"
    return f"one inside {_brackets_text(one)}, another inside {_brackets_text(other)}"


def _end_text(state: State) -> str:
    if state.quoted:
        return "inside a string"
    return f"where {' or '.join(dict.fromkeys(state.needed(expect) for expect in state.expects))} must follow"


def _brackets_text(state: State) -> str:
    return f"`{''.join(state.open[-8:])}`" if state.open else "no bracket"


def take_mark(state: State, mark: str, start: int) -> State:
    """The state after a bracket, comma or colon. Raises NotJson."""
    kind = _KIND_OF_MARK[mark]
    for expect in state.expects:
        is_right = kind != "close" or mark == _CLOSING[state.open[-1]] if state.open else kind != "close"
        if kind not in _TAKES[expect] or not is_right:
            is_early = mark in "}]" and expect in (Expect.KEY, Expect.VALUE)
            hint = _hint_after_branches(state) or ("remove the comma before it" if is_early else "")
            raise NotJson(f"{state.wanted(expect)}, not `{mark}`", start, start + 1, hint=hint)
    if kind == "open":
        if len(state.open) >= jsontext.DEPTH_MAX:
            raise TooDeep(f"nested deeper than {jsontext.DEPTH_MAX} levels", start, start + 1)
        first = Expect.FIRST_KEY if mark == "{" else Expect.FIRST_ITEM
        return State((first,), (*state.open, mark), (*state.keys, frozenset()))
    if kind == "close":
        return State((), state.open[:-1], state.keys[:-1]).after_value()
    is_object = kind == "comma" and state.open[-1] == "{"
    return state.with_expect(Expect.KEY if is_object else Expect.VALUE)


def take_value(state: State, match: re.Match[str]) -> State:
    """The state after a string that is no key, a number, a word or an expression. Raises NotJson."""
    for expect in state.expects:
        if expect in (Expect.KEY, Expect.FIRST_KEY):
            raise unexpected(state, expect, match, hint="put the key into double quotes")
        if "scalar" not in _TAKES[expect]:
            raise unexpected(state, expect, match)
    return state.after_value()


def take_key(state: State, match: re.Match[str], key: str | None, *, is_outermost: bool) -> State:
    """The state after a key; None for one with expressions in it. Raises NotJson, also for one that is there twice."""
    for expect in state.expects:
        if "string" not in _TAKES[expect]:
            raise unexpected(state, expect, match)
    if key is None:
        return state.with_expect(Expect.COLON)
    if key in state.keys[-1] and is_outermost:
        raise NotJson("the object has this key twice", *match.span(), hint="which one counts is undefined")
    keys = (*state.keys[:-1], state.keys[-1] | {key})
    return State((Expect.COLON,), state.open, keys)


def unexpected(state: State, expect: Expect, match: re.Match[str], *, hint: str = "") -> NotJson:
    """What is wrong with a token that does not fit."""
    names = {"hole": "an expression", "string": "a string"}
    what = names.get(match.lastgroup or "") or shown(_word(match[0]))
    if match[0] == HOLE and expect is Expect.NEXT:
        hint = "put text and expressions together inside double quotes"
    return NotJson(f"{state.wanted(expect)}, not {what}", *match.span(), hint=_hint_after_branches(state) or hint)


def _hint_after_branches(state: State) -> str:
    if len(state.expects) < 2:
        return ""
    return "the block before it may also write nothing: put what belongs to its text, such as a comma, into it"


def incomplete(state: State, text: str, *, string_start: int) -> NotJson | None:
    """What is wrong with a document that ends here; None if it is complete. `string_start` is where the last string
    began whose end was not found."""
    end = len(text.rstrip(" \t\n\r"))
    if state.quoted:
        return NotJson("the string is not closed", string_start, string_start + 1, hint='close it with `"`')
    missing = [expect for expect in state.expects if "end" not in _TAKES[expect]]
    if not missing:
        return None
    if end == 0:
        hint = "leave `body_template` out to send the event itself"
        return NotJson("the body is empty, which is not JSON", 0, len(text), hint=hint)
    return NotJson(f"the JSON ends too early: it needs {state.needed(missing[0])}", end, end)


def unreadable(state: State, text: str, position: int) -> NotJson:
    """Why no token begins at `position`, where no string does either."""
    hint = "text stands in double quotes" if text[position].isalpha() or text[position] == "'" else ""
    wanted = state.wanted(state.expects[0])
    return NotJson(f"{wanted}, not {shown(_word(text[position:]))}", position, position + 1, hint=hint)


def bad_string(text: str, position: int) -> NotJson:
    """Why a string cannot hold the character at `position`."""
    # 1. a backslash before something, 2. a line break, 3. another control character
    if text[position] == "\\":
        return _bad_escape(text, position)
    if text[position] == "\n":
        return NotJson("a line break inside a string", position, position + 1, hint="write `\\n`")
    hint = f"write `\\u{ord(text[position]):04x}`"
    return NotJson("a control character inside a string", position, position + 1, hint=hint)


def _bad_escape(text: str, position: int) -> NotJson:
    following = text[position + 1 : position + 2]
    if following and following in MARKS:
        hint = "Handlebars takes one of two backslashes before an expression away: write three for one"
        return NotJson("an expression right after a backslash", position, position + 2, hint=hint)
    hint = "a literal backslash is written `\\\\`"
    return NotJson(f"unknown escape in a string: {shown(chr(92) + following)}", position, position + 2, hint=hint)


def decoded(raw: str) -> str:
    """The text of what stands between the quotes of a JSON string, expressions and blocks left as they are."""
    parts = re.split(f"([{MARKS}])", raw)
    return "".join(part if part in MARKS and part else _decoded(part) for part in parts)


def _decoded(raw: str) -> str:
    text: str = json.loads(f'"{raw}"') if "\\" in raw else raw
    return _SURROGATE.sub("\ufffd", text)


def key_of(raw: str) -> str:
    """The literal text of a key."""
    text: str = json.loads(f'"{raw}"')
    return text


def _word(text: str) -> str:
    """What a text begins with, up to where something else could begin."""
    return _WORD_END.split(text, maxsplit=1)[0] or text[:1]
