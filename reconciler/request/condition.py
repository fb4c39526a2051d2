"""`when`: one condition in CEL, asked of events that passed the filters. Pure; loads the library when first asked.

Made by `match`; checked against the event's schema before anything is applied by `condition_check`. What it sees are
`event_type`, `event_time` and `data` as the event has them: a number is a number, a field that is missing or null has
no value. `has(x.y)` is true if the field is there and not null; reading a missing field is an error, and an error is a
verdict of its own, never a silent "no".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, Final

from reconciler.jsontext import JsonValue

ROOTS: Final = ("event_type", "event_time", "data")  # what a condition sees of an event
COMPILED_MAX: Final = 16_384  # distinct conditions kept compiled; one costs about 10 kB
ERROR_MAX_CHARACTERS: Final = 256
INTEGER_LIMIT: Final = 2**63  # CEL's integers have 64 bits; what is larger becomes the nearest double


class MatchState(StrEnum):
    """Whether a webhook wants an event. `error`: its `when` could not be told."""

    YES = "yes"
    NO = "no"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook says to an event; `error` says why it could not be told, in words for people."""

    state: MatchState
    error: str = ""


YES: Final = Verdict(MatchState.YES)
NO: Final = Verdict(MatchState.NO)


class Said:
    """What conditions see of one event, made ready once for all of them."""

    __slots__ = ("_activation", "payload")

    def __init__(self, payload: Mapping[str, JsonValue]) -> None:
        self.payload = payload
        self._activation: Any = None

    @property
    def activation(self) -> Any:
        """The event as the library wants it."""
        if self._activation is None:
            said = {name: _plain(self.payload.get(name)) for name in ROOTS}
            self._activation = environment().Activation(said)
        return self._activation


class When:
    """One condition. A text that does not compile answers every event with an error."""

    __slots__ = ("_problem", "_program", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._program: Any = None
        self._problem = ""

    def judge(self, said: Said) -> Verdict:
        """Whether the condition holds for an event. Never raises."""
        if self._program is None and not self._problem:
            self._compile()
        if self._problem:
            return _error(f"it does not compile: {self._problem}")
        return _judge(self._program, said)

    def _compile(self) -> None:
        try:
            self._program = environment().compile(with_null_guards(self.text))
        except (RuntimeError, TypeError) as exc:
            self._problem = compile_problem(exc)


@lru_cache(maxsize=COMPILED_MAX)
def compile_when(text: str) -> When:
    """The condition, compiled when it is first asked."""
    return When(text)


@cache
def environment() -> Any:
    """Where conditions are compiled and run: everything below the roots has the type that the event gives it."""
    from cel_expr_python import cel

    kinds = {"event_type": cel.Type.STRING, "event_time": cel.Type.DYN, "data": cel.Type.DYN}
    return cel.NewEnv(variables=kinds)


def compile_problem(exc: Exception) -> str:
    """The first thing that the library found, in one line."""
    if isinstance(exc, TypeError):
        return "it holds a lone surrogate, which UTF-8 cannot carry"
    first = _POSITION.sub("", _STATUS.sub("", str(exc))).split("\n", 1)[0]
    return _cut(_lowered(first.split(" [", 1)[0].split(" expecting ", 1)[0]))


# --- asking


def _judge(program: Any, said: Said) -> Verdict:
    from cel_expr_python import cel

    try:
        found = program.eval(said.activation)
        kind, value = found.type(), found.value()
    except (RuntimeError, ValueError, OverflowError) as exc:  # the iteration budget, above all
        return _error(_failure(str(exc)))
    if kind == cel.Type.BOOL:
        return YES if value else NO
    if kind == cel.Type.ERROR:
        return _error(_failure(str(value)))
    return _error(f"it is neither true nor false: {_CEL_NAMES.get(kind.name(), kind.name().lower())}")


def _error(text: str) -> Verdict:
    return Verdict(MatchState.ERROR, _cut(text))


def _failure(text: str) -> str:
    """The library's words without its codes; the most frequent failures in ours."""
    said = _STATUS.sub("", text).split(" [", 1)[0]
    if missing := _NO_KEY.fullmatch(said):
        return f"the event has no field `{missing[1]}`"
    if said == _NO_OBJECT:
        return "a field is read from what is null or no object"
    if applied := _OVERLOADS.fullmatch(said):
        kinds = ", ".join(kind for kind in (applied["of"], applied["to"]) if kind)
        return f"`{applied['name'].strip('_').replace('_', ' ')}` cannot take {_KIND.sub(_kind_name, kinds)}"
    return _lowered(said)


def _kind_name(kind: re.Match[str]) -> str:
    return kind[0].removesuffix("_type").removesuffix("64")


def missing_field(error: str) -> str | None:
    """The field that an error says is missing."""
    found = _OUR_NO_KEY.fullmatch(error)
    return found[1] if found else None


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _cut(text: str) -> str:
    return text if len(text) <= ERROR_MAX_CHARACTERS else f"{text[: ERROR_MAX_CHARACTERS - 1]}…"


_STATUS: Final = re.compile(r"^[A-Z_]+: (?=\S)")
_POSITION: Final = re.compile(r"^ERROR: <input>:-?\d+:-?\d+: ")
_NO_KEY: Final = re.compile(r'Key not found in map : "(.*)"', re.DOTALL)
_NO_OBJECT: Final = "Applying SELECT to non-message type"
_OVERLOADS: Final = re.compile(
    r"No matching overloads found : (?:\((?P<of>[^()]*)\)\.)?(?P<name>[^\s()]+)\((?P<to>.*)\)", re.DOTALL
)
_KIND: Final = re.compile(r"null_type|u?int64")
_OUR_NO_KEY: Final = re.compile(r"the event has no field `(.*)`", re.DOTALL)
_CEL_NAMES: Final = {"NULL": "null", "NULL_TYPE": "null", "DYN": "of any type"}


def _plain(value: JsonValue) -> Any:
    """A value of an event as CEL has it: Python's own types only, numbers of 64 bits, text that is UTF-8."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, int) and -INTEGER_LIMIT <= value < INTEGER_LIMIT:
        return value
    try:
        return float(value)
    except OverflowError:
        return float("-inf") if value < 0 else float("inf")


def _text(text: str) -> str:
    """The text, lone surrogates as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# --- has()

_TOKEN: Final = re.compile(
    r"""
      (?P<passed>
          //[^\n]*
        | (?<![\w])[bB]?[rR][bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        | \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
      )
    | (?P<has>(?<![\w.])has\s*\()
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    """,
    re.VERBOSE | re.DOTALL,
)


def with_null_guards(text: str) -> str:
    """The condition with each `has(x.y)` also asking that the field is not null.

    Events say null for what there is not; to CEL's own macro such a field is there, and reading on from it fails.
    """
    if "has" not in text:
        return text
    frames: list[tuple[bool, list[str]]] = [(False, [])]  # each open bracket: whether it is has(), and what is in it
    done = 0
    for token in _TOKEN.finditer(text):
        frames[-1][1].append(text[done : token.start()])
        done = token.end()
        if token["passed"] is not None:
            frames[-1][1].append(token[0])
        elif token["close"] is None:
            frames.append((token["has"] is not None, [] if token["has"] is not None else [token[0]]))
        elif len(frames) > 1:
            is_has, parts = frames.pop()
            inner = "".join(parts)
            frames[-1][1].append(f"(has({inner}) && {inner} != null)" if is_has else f"{inner}{token[0]}")
        else:
            return text  # it does not compile either way
    return text if len(frames) > 1 else "".join([*frames[0][1], text[done:]])
