"""Where two bodies differ: values of JSON, numbers by their digits, or lines of text. Pure, and knows no webhook.

Called by `expect`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import zip_longest
from typing import Any, Final

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.models.fault import Path

_SHORT_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # RFC 9535, section 2.5.1.1, less what is not ASCII


class Absent(Enum):
    """What is not there, which null is not."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two values differ: the keys that lead there in the expected and in the actual one, and what is there."""

    keys: Path
    body_keys: Path
    expected: JsonValue | Absent
    actual: JsonValue | Absent

    def below(self, key: str | int, body_key: str | int) -> "Difference":
        """The same, seen from the values around."""
        return Difference((key, *self.keys), (body_key, *self.body_keys), self.expected, self.actual)


def differences(expected: JsonValue, actual: JsonValue, *, is_part: bool = False) -> tuple[Difference, ...]:
    """Where two JSON values differ. Objects have no order; numbers are equal if their digits are.

    With `is_part` an object may have more keys, and a list more items, than are expected: each expected item is found
    in one item of its own, in order. One that is not is compared with the nearest of those that are left."""
    return _Comparison(is_part).of(expected, actual)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Compares values, each pair of objects or lists once: those in a list are asked about again and again while one
    of them is looked for."""

    is_part: bool
    known: dict[tuple[int, int], tuple[Difference, ...]] = field(default_factory=dict)

    def of(self, expected: JsonValue, actual: JsonValue) -> tuple[Difference, ...]:
        """The differences, with the keys that lead to them from these values on."""
        are_objects = isinstance(expected, Mapping) and isinstance(actual, Mapping)
        if not are_objects and not (isinstance(expected, list) and isinstance(actual, list)):
            return () if _is_equal(expected, actual) else (Difference((), (), expected, actual),)
        key = id(expected), id(actual)
        if key not in self.known:
            self.known[key] = self._members(expected, actual) if are_objects else self._items(expected, actual)
        return self.known[key]

    def _members(self, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[Difference, ...]:
        found: list[Difference] = []
        for key, item in expected.items():
            if key in actual:
                found += [difference.below(key, key) for difference in self.of(item, actual[key])]
            else:
                found.append(Difference((key,), (key,), item, ABSENT))
        if not self.is_part:
            found += [Difference((key,), (key,), ABSENT, item) for key, item in actual.items() if key not in expected]
        return tuple(found)

    def _items(self, expected: list[Any], actual: list[Any]) -> tuple[Difference, ...]:
        found: list[Difference] = []
        places = self._places(expected, actual) if self.is_part else list(range(len(actual)))
        for index, item in enumerate(expected):
            place = places[index] if index < len(places) else None
            if place is None:
                found.append(Difference((index,), (index,), item, ABSENT))
            else:
                found += [difference.below(index, place) for difference in self.of(item, actual[place])]
        if not self.is_part:
            extra = range(len(expected), len(actual))
            found += [Difference((index,), (index,), ABSENT, actual[index]) for index in extra]
        return tuple(found)

    def _places(self, expected: list[Any], actual: list[Any]) -> list[int | None]:
        """For each expected item the first that it is found in, else the nearest, among those after the last; None
        where none is left."""
        places: list[int | None] = []
        start = 0
        for item in expected:
            distances = [self._distance(item, actual[place]) for place in range(start, len(actual))]
            place = start + distances.index(min(distances)) if distances else None
            places.append(place)
            start = len(actual) if place is None else place + 1
        return places

    def _distance(self, expected: JsonValue, actual: JsonValue) -> tuple[bool, int]:
        """How little two items have in common: none that differs, then how much does, last another kind of value."""
        found = self.of(expected, actual)
        return bool(found) and type_name(expected) != type_name(actual), len(found)


def _is_equal(one: JsonValue, other: JsonValue) -> bool:
    kind = type_name(one)
    if kind == "number" == type_name(other):
        return jsontext.number_text(one) == jsontext.number_text(other)
    return kind == type_name(other) and bool(one == other)


def fact_of(expected: JsonValue | Absent, actual: JsonValue | Absent) -> str:
    """What to say of two values that differ."""
    # 1. one is not there, 2. other types, 3. numbers that are only written otherwise
    if actual is ABSENT:
        return "it is missing"
    if expected is ABSENT:
        return "nothing is expected there"
    kinds = type_name(expected), type_name(actual)
    if kinds[0] != kinds[1]:
        return f"{kinds[1]} instead of {kinds[0]}"
    return "other digits" if kinds[0] == "number" and expected == actual else "another value"


def type_name(value: JsonValue) -> str:
    """What people call a JSON value's type."""
    # 1. booleans are numbers to Python
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "number"
    return "mapping" if isinstance(value, Mapping) else "list"


def json_path(keys: Path) -> str:
    """A JSONPath (RFC 9535) to a value of a body: `$.fields["event type"][0]`."""
    text = "$"
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if _SHORT_KEY.fullmatch(key) else f"[{jsontext.quote(key)}]"
    return text


def differing_lines(one: str, other: str) -> Iterator[tuple[str | Absent, str | Absent]]:
    """The lines of two texts side by side, with their ends; a line more or less in the middle shifts only those up to
    the next that are equal to the end."""
    lines, others = one.splitlines(keepends=True), other.splitlines(keepends=True)
    shortest, tail = min(len(lines), len(others)), 0
    head = next((number for number in range(shortest) if lines[number] != others[number]), shortest)
    while tail < shortest - head and lines[-1 - tail] == others[-1 - tail]:
        tail += 1
    yield from zip(lines[:head], others[:head], strict=True)
    yield from zip_longest(lines[head : len(lines) - tail], others[head : len(others) - tail], fillvalue=ABSENT)
