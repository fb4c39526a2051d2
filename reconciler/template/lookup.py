"""How a path finds its value: by keys of objects, indices of lists and text, and `.length`; by nothing else.

Called by compiled templates where their own short way fails, and by helpers that take a path. Never raises; what is not
there is None, as null is.
"""

import re
from collections.abc import Sequence
from typing import Final

from reconciler.jsontext import JsonValue

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")  # as JavaScript spells the keys of an array


def is_index(name: str) -> bool:
    """Whether a path's name may be the index of a list."""
    return _INDEX.fullmatch(name) is not None


def walk(value: JsonValue, names: Sequence[str]) -> JsonValue:
    """The value at a path, step by step."""
    for name in names:
        value = get(value, name)
    return value


def get(value: JsonValue, name: str) -> JsonValue:
    """What a name leads to."""
    # 1. a field, 2. an item, 3. a length, 4. a character of a text
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and is_index(name):
        return value[int(name)] if int(name) < len(value) else None
    if name == "length" and isinstance(value, list | str):
        return len(value) if isinstance(value, list) else len(_utf16(value)) // 2
    if isinstance(value, str) and is_index(name):
        unit = _utf16(value)[2 * int(name) : 2 * int(name) + 2]
        return unit.decode("utf-16-le", "surrogatepass") or None
    return None


def _utf16(text: str) -> bytes:
    """A text as JavaScript counts it: two bytes a unit."""
    return text.encode("utf-16-le", "surrogatepass")
