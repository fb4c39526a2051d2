"""The source of one Python function, line by line, and the constants that it works on. Part of `emit`.

The source is made of names that are counted here. Every text, name and literal of a template is a constant in the
function's globals, and there are no builtins in them. Generated code is some ten times as fast as walking a program,
which decides how many deliveries a daemon renders.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import orjson

from reconciler.jsontext import JsonValue
from reconciler.template.helper_compare import holds, holds_or_zero
from reconciler.template.limit import Meter, weigh, weigh_text
from reconciler.template.lookup import get, walk
from reconciler.template.output import plain_text, string_bytes
from reconciler.template.program import Spot
from reconciler.template.run import differ, merge, no_partial, secret_of, spread, unfold

FILE: Final = "<template>"  # as tracebacks call the generated code
EVENT: Final = "c0"  # the event's name in it
PARTS_MAX: Final = 32  # pieces between two looks at the output's size

Render = Callable[[JsonValue, Mapping[str, str]], Iterable[str] | Iterable[bytes]]

_HEAD: Final = f"def render({EVENT}, secrets):"
_PREAMBLE: Final = ("out = list()", "put = out.extend", "meter = Meter()", "check = meter.check", "steps = limit = 0")
_SHARED: Final[Mapping[str, Any]] = {
    "__builtins__": {},
    "E": (KeyError, TypeError, IndexError),
    "Meter": Meter,
    "cut": slice(1, -1),
    "dict": dict,
    "differ": differ,
    "enumerate": enumerate,
    "get": get,
    "holds": holds,
    "holds_or_zero": holds_or_zero,
    "len": len,
    "list": list,
    "merge": merge,
    "no_partial": no_partial,
    "plain_text": plain_text,
    "quoted": orjson.dumps,
    "secret_of": secret_of,
    "spread": spread,
    "str": str,
    "string_bytes": string_bytes,
    "type": type,
    "unfold": unfold,
    "walk": walk,
    "weigh": weigh,
    "weigh_text": weigh_text,
}


class _Part(NamedTuple):
    """A piece of the output as an expression of the source, and the same in UTF-8, if there is one; or literal text,
    which has no spot, and no lone surrogate either."""

    expression: str
    in_utf8: str
    spot: Spot | None


class Code:
    """A function under construction. `spots` are the places of its lines that can fail, with the helper that a line
    calls; `is_straight` says that there is nothing but text and expressions so far, `is_in_utf8`, once the function is
    made, that it gives bytes."""

    def __init__(self) -> None:
        self.spots: dict[int, tuple[Spot, str]] = {}
        self.is_straight = True
        self.is_in_utf8 = False
        self._constants: dict[str, Any] = dict(_SHARED)
        self._known: dict[tuple[type, Any], str] = {}
        self._lines: list[str] = []
        self._indent = 1
        self._parts: list[_Part] = []
        self._text = ""
        self._count = 0
        for line in _PREAMBLE:
            self.add(line)

    def function(self) -> Render:
        """The function, once everything has been written: it gives the pieces of the output."""
        if self.is_straight:  # one tuple, and nothing to measure
            self._lines[: len(_PREAMBLE)] = [""] * len(_PREAMBLE)
            self.is_in_utf8 = all(part.spot is None or part.in_utf8 for part in self._parts)
            self.flush("return")
        else:
            self.flush()
            self.add("return out")
        source = "\n".join([_HEAD, *self._lines, ""])
        exec(compile(source, FILE, "exec"), self._constants)
        render: Render = self._constants.pop("render")
        return render

    def words(self, text: str) -> None:
        """Write literal text."""
        self._text += text

    def part(self, expression: str, spot: Spot, *, in_utf8: str = "") -> None:
        """Write what an expression of the source gives; `in_utf8` is an expression that gives its bytes."""
        self._gather_text()
        self._parts.append(_Part(expression, in_utf8, spot))
        if len(self._parts) >= PARTS_MAX:
            self.flush()
            self.add("limit = check(steps, out)", spot)

    def add(self, line: str, spot: Spot | None = None, helper: str = "") -> None:
        """A line of its own."""
        self._lines.append(f"{' ' * self._indent}{line}")
        if spot is not None:
            self.spots[len(self._lines) + 1] = spot, helper  # the first line is the function's head

    @contextmanager
    def indented(self, line: str) -> Iterator[None]:
        """A compound statement: what is written meanwhile is its body."""
        self.flush()
        self.is_straight = False
        self.add(line)
        self._indent += 1
        before = len(self._lines)
        yield
        self.flush()
        if len(self._lines) == before:
            self.add("pass")
        self._indent -= 1

    def flush(self, put: str = "put") -> None:
        """Make lines of the parts and texts that have been gathered."""
        self._gather_text()
        if not self._parts and put == "put":
            return
        self.is_straight = False
        self.add(f"{put}((")
        for part in self._parts:
            self.add(f"{self._expression(part)},", part.spot)
        self.add("))")
        self._parts = []

    def _expression(self, part: _Part) -> str:
        if part.spot is None:
            return self.constant(part.expression.encode() if self.is_in_utf8 else part.expression)
        return part.in_utf8 if self.is_in_utf8 else part.expression

    def _gather_text(self) -> None:
        if self._text:
            self._parts.append(_Part(self._text, "", None))
            self._text = ""

    def name(self, letter: str) -> str:
        """A name that is not taken."""
        self._count += 1
        return f"{letter}{self._count}"

    def constant(self, value: Any) -> str:
        """The name of a constant."""
        key = (type(value), value if isinstance(value, str | bytes | int) else id(value))
        if key not in self._known:
            self._known[key] = name = self.name("k")
            self._constants[name] = value
        return self._known[key]
