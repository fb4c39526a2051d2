"""How a path finds its value in the event: keys of objects, indices of lists, `.length`; nothing else of a value.

Compiled once per path by `compile`. A path that leads nowhere gives None, as null does.
"""

import re
from collections.abc import Callable
from functools import reduce
from operator import getitem
from typing import Any, Final

from reconciler.jsontext import JsonValue

Find = Callable[[JsonValue], JsonValue]

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")  # as JavaScript spells the keys of an array


def is_index(name: str) -> bool:
    """Whether a path's name may be the index of a list."""
    return _INDEX.fullmatch(name) is not None


def finder(names: tuple[str, ...]) -> Find:
    """The function that finds the value at a path."""
    if not names:
        return lambda value: value
    if any(map(is_index, names)):
        return _finder_with_index(names)

    def find(value: JsonValue) -> JsonValue:
        try:
            return reduce(getitem, names, value)  # keys only: on anything but an object this raises
        except (KeyError, TypeError):
            return walk(value, names)

    return find


def _finder_with_index(names: tuple[str, ...]) -> Find:
    steps: list[str | int] = [int(name) if is_index(name) else name for name in names]
    first = next(index for index, step in enumerate(steps) if isinstance(step, int))
    head, rest = tuple(steps[:first]), tuple(steps[first:])

    def find(value: JsonValue) -> JsonValue:
        node: Any = value
        try:
            node = reduce(getitem, head, node)
            for step in rest:
                if type(step) is int and type(node) is not list:  # text has indices in Python, but not here
                    return walk(value, names)
                node = node[step]
        except (KeyError, TypeError, IndexError):
            return walk(value, names)
        return node

    return find


def walk(value: JsonValue, names: tuple[str, ...]) -> JsonValue:
    """The value at a path, step by step: what a finder must equal."""
    for name in names:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and is_index(name) and int(name) < len(value):
            value = value[int(name)]
        elif name == "length" and isinstance(value, list):
            value = len(value)
        elif name == "length" and isinstance(value, str):
            value = len(value.encode("utf-16-le", "surrogatepass")) // 2  # as JavaScript counts
        else:
            return None
    return value
