"""Helpers that answer true or false: `eq ne gt gte lt lte and or not`.

In the table of `helpers`. Also as blocks: `{{#eq a b}}…{{else}}…{{/eq}}`. None of them raises, whatever it is given.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from reconciler import jsontext
from reconciler.jsontext import JsonValue

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def holds(value: JsonValue) -> bool:
    """Whether a value counts as something, as `#if` has it: not null, false, 0, empty text or an empty list."""
    return bool(value) or isinstance(value, dict)


def holds_or_zero(value: JsonValue) -> bool:
    """The same with `includeZero=true`: 0 counts as something."""
    return holds(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def equal(value: JsonValue, other: JsonValue) -> bool:
    """`eq value other`: the same type and the same value; numbers are compared exactly, digit by digit, and missing
    equals null. Lists and objects are equal only to themselves, as in JavaScript."""
    if isinstance(value, dict | list) or isinstance(other, dict | list):
        return value is other
    if is_number(value) and is_number(other):
        return compare_numbers(value, other) == 0
    return type(value) is type(other) and bool(value == other)


def unequal(value: JsonValue, other: JsonValue) -> bool:
    """`ne value other`: not `eq`."""
    return not equal(value, other)


def greater(value: JsonValue, other: JsonValue) -> bool:
    """`gt value other`: two numbers, or two texts by their characters; a text that reads as a number counts as one
    beside a number. Anything else is neither greater nor less."""
    return _compare(value, other) in (1,)


def greater_or_equal(value: JsonValue, other: JsonValue) -> bool:
    """`gte value other`: `gt`, or as great."""
    return _compare(value, other) in (0, 1)


def less(value: JsonValue, other: JsonValue) -> bool:
    """`lt value other`: as `gt`."""
    return _compare(value, other) in (-1,)


def less_or_equal(value: JsonValue, other: JsonValue) -> bool:
    """`lte value other`: `lt`, or as great."""
    return _compare(value, other) in (-1, 0)


def both(value: JsonValue, other: JsonValue, *others: JsonValue) -> bool:
    """`and value other …`: whether all count as something, as `#if` has it."""
    return all(map(holds, (value, other, *others)))


def either(value: JsonValue, other: JsonValue, *others: JsonValue) -> bool:
    """`or value other …`: whether one of them counts as something, as `#if` has it."""
    return any(map(holds, (value, other, *others)))


def negate(value: JsonValue) -> bool:
    """`not value`: whether it counts as nothing, as `#if` has it."""
    return not holds(value)


def is_number(value: JsonValue) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare_numbers(value: int | float, other: int | float) -> int:
    """-1, 0 or 1. Exact, but for exponents of more than eighteen digits, which count as infinite or zero."""
    left, right = decimal_of(jsontext.number_text(value)), decimal_of(jsontext.number_text(other))
    return (left > right) - (left < right)


def decimal_of(text: str) -> Decimal:
    """The number that a JSON number's text says."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(float(text))


def _compare(value: JsonValue, other: JsonValue) -> int | None:
    """-1, 0 or 1; None where there is no order."""
    if isinstance(value, str) and isinstance(other, str):
        return (value > other) - (value < other)
    left, right = _as_number(value), _as_number(other)
    return None if left is None or right is None else compare_numbers(left, right)


def _as_number(value: JsonValue) -> int | float | None:
    if isinstance(value, str):
        return jsontext.Number(value) if _NUMBER.fullmatch(value) else None
    return value if is_number(value) else None
