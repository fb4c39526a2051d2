"""JSONPath (RFC 9535) within bounds: a manifest's author writes the path, a receiver the value, and neither may make us
wait. The home of the library, imported by `request.answer` only where a webhook has validators. Pure.

Beyond the RFC, patterns of match() and search() must be literals and I-Regexps (RFC 9485), so that what a receiver says
is never run as one and a faulty one is known before anything is sent.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import regex
from iregexp_check import check as is_i_regexp
from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError, JSONPathQuery, JSONPathTypeError
from jsonpath_rfc9535.filter_expressions import StringLiteral
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction

from reconciler import jsontext
from reconciler.jsontext import JsonValue

PATH_MAX_CHARACTERS: Final = 256
STEPS_MAX: Final = 50_000  # members and elements looked at for one path; some 50 ms
PATTERN_STEPS: Final = 1_000  # what one match() or search() costs of them
PATTERN_SECONDS: Final = 0.01  # the longest that one may take
VALUES_MAX: Final = 1_000  # values that one path may find

_REGEX_FUNCTIONS: Final = ("match", "search")


class PathTextError(ValueError):
    """A text is no JSONPath; `index` counts the characters before the fault."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class PathTooCostlyError(Exception):
    """A path looks at more of a value than it may."""


@lru_cache(maxsize=4096)
def compiled(text: str) -> JSONPathQuery:
    """The path, ready to be applied. Raises PathTextError."""
    if len(text) > PATH_MAX_CHARACTERS:
        raise PathTextError(f"it has more than {PATH_MAX_CHARACTERS} characters", PATH_MAX_CHARACTERS)
    try:
        return _ENVIRONMENT.compile(text)
    except JSONPathError as exc:
        raise PathTextError(f"{exc.args[0]}"[:120], exc.token.index if exc.token else 0) from None
    except RecursionError:
        raise PathTextError("it is nested too deeply", 0) from None


def find_values(text: str, value: JsonValue) -> list[JsonValue]:
    """The values at a path, in order. Raises PathTextError, and PathTooCostlyError beyond the bounds."""
    query = compiled(text)
    budget = _Budget(STEPS_MAX)
    if not query.singular_query():
        value = _counted(value, budget)
    try:
        found = list(_bounded(node.value for node in query.finditer(value)))
    except (RecursionError, JSONPathError):
        raise PathTooCostlyError("the answer is nested too deeply") from None
    budget.is_closed = True
    return found


def _bounded(values: Iterator[JsonValue]) -> Iterator[JsonValue]:
    for number, value in enumerate(values):
        if number >= VALUES_MAX:
            raise PathTooCostlyError(f"more than {VALUES_MAX} values are there")
        yield value


class _Budget:
    """Steps that are left; once it is closed they are no longer counted."""

    __slots__ = ("is_closed", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.is_closed = False

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0 and not self.is_closed:
            raise PathTooCostlyError(f"more than {STEPS_MAX} steps are needed")


class _CountedList(list[Any]):
    """A list that pays for being gone through or compared."""

    __slots__ = ("budget",)
    budget: _Budget

    def __iter__(self) -> Iterator[Any]:
        self.budget.spend(len(self) + 1)
        return super().__iter__()

    def __eq__(self, other: object) -> bool:
        self.budget.spend(len(self) + 1)
        return super().__eq__(other)


class _CountedDict(dict[str, Any]):
    """A mapping that pays for being gone through or compared."""

    __slots__ = ("budget",)
    budget: _Budget

    def items(self) -> Any:
        self.budget.spend(len(self) + 1)
        return super().items()

    def __eq__(self, other: object) -> bool:
        self.budget.spend(len(self) + 1)
        return super().__eq__(other)


class _CountedText(str):
    """A text that pays for being searched by a pattern."""

    __slots__ = ("budget",)
    budget: _Budget


def _counted(value: JsonValue, budget: _Budget) -> JsonValue:
    """A copy of a value whose parts pay out of one budget; nested no deeper than `jsontext.DEPTH_MAX`."""
    counted: _CountedList | _CountedDict | _CountedText
    if isinstance(value, dict):
        counted = _CountedDict((key, _counted(item, budget)) for key, item in value.items())
    elif isinstance(value, list):
        counted = _CountedList(_counted(item, budget) for item in value)
    elif isinstance(value, str):
        counted = _CountedText(value)
    else:
        return value
    counted.budget = budget
    return counted


class _Pattern(FilterFunction):
    """`match` and `search`, each call within its time."""

    arg_types: Final = [ExpressionType.VALUE, ExpressionType.VALUE]
    return_type: Final = ExpressionType.LOGICAL

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, text: object, pattern: object) -> bool:
        if not isinstance(text, str) or not isinstance(pattern, str):
            return False
        if isinstance(text, _CountedText):  # else a literal of the path's author
            text.budget.spend(PATTERN_STEPS)
        program = _program(pattern)
        apply = program.fullmatch if self._name == "match" else program.search
        try:
            return apply(text, timeout=PATTERN_SECONDS) is not None
        except TimeoutError:
            raise PathTooCostlyError(f"{self._name}() takes longer than {PATTERN_SECONDS * 1000:g} ms") from None


@lru_cache(maxsize=256)
def _program(pattern: str) -> "regex.Pattern[str]":
    """An I-Regexp as a program: outside classes a full stop is anything but a line's end (RFC 9485, section 5.3)."""
    parts: list[str] = []
    is_escaped = in_class = False
    for char in pattern:
        if is_escaped:
            is_escaped = False
        elif char == "\\":
            is_escaped = True
        elif char in "[]":
            in_class = char == "["
        elif char == "." and not in_class:
            char = r"[^\n\r]"
        parts.append(char)
    return regex.compile("".join(parts))


class _Environment(JSONPathEnvironment):
    """The RFC's functions, with patterns judged when a path is compiled."""

    max_recursion_depth = jsontext.DEPTH_MAX + 1

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        for name in _REGEX_FUNCTIONS:
            self.function_extensions[name] = _Pattern(name)

    def validate_function_extension_signature(self, token: Any, args: Sequence[Any]) -> list[Any]:
        checked: list[Any] = super().validate_function_extension_signature(token, list(args))
        if token.value in _REGEX_FUNCTIONS:
            pattern = checked[1]
            if not isinstance(pattern, StringLiteral):
                raise JSONPathTypeError(f"the pattern of {token.value}() is not a text", token=token)
            if not _is_pattern(pattern.value):
                raise JSONPathTypeError(f"the pattern of {token.value}() is no I-Regexp (RFC 9485)", token=token)
        return checked


def _is_pattern(text: str) -> bool:
    try:
        return bool(is_i_regexp(text)) and _program(text) is not None
    except (regex.error, RecursionError, MemoryError):
        return False


_ENVIRONMENT: Final = _Environment()
