"""Helpers on lists and objects: `lookup first last count pluck`.

In the table of `helpers`. They give back values as they are, so that an expression of its own keeps the value's type.
None of them raises, whatever it is given.
"""

from reconciler.jsontext import JsonValue
from reconciler.template.helper_compare import is_number
from reconciler.template.lookup import get, walk
from reconciler.template.output import plain_text


def lookup(value: JsonValue, key: JsonValue) -> JsonValue:
    """`lookup value key`: the field or item that another value names, as in Handlebars."""
    if not value and not isinstance(value, dict):
        return value
    return get(value, plain_text(key) if key is not None else "null")


def first(value: JsonValue) -> JsonValue:
    """`first list`: its first item; null for an empty list and for what is no list."""
    return value[0] if isinstance(value, list) and value else None


def last(value: JsonValue) -> JsonValue:
    """`last list`: its last item; null for an empty list and for what is no list."""
    return value[-1] if isinstance(value, list) and value else None


def count(value: JsonValue) -> int:
    """`count value`: how many items a list, fields an object or characters a text has; 0 for null and the rest."""
    return len(value) if isinstance(value, list | dict | str) else 0


def pluck(value: JsonValue, path: JsonValue) -> list[JsonValue]:
    """`pluck list path`: what stands at a path, like "integration.name", in each item; null where there is nothing. Of
    an object, in each of its fields; an empty list for what is neither."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not (isinstance(path, str) or is_number(path)):
        return [None for _ in items]
    names = plain_text(path).split(".")
    return [walk(item, names) for item in items]
