"""Text and JSON between Python and SQLite: what UTF-8 cannot carry must not stop an intake or a record."""

import json
from collections.abc import Sequence
from typing import Any, Final

import orjson

LAST_CHARACTER: Final = "\U0010ffff"  # sorts after whatever may follow a prefix


def storable(text: str) -> str:
    r"""The text, with lone surrogates spelt out (`\ud800`): SQLite stores UTF-8, which cannot carry them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def storable_or_none(text: str | None) -> str | None:
    """The same for what may be missing."""
    return None if text is None else storable(text)


def pack_texts(items: Sequence[Sequence[Any]]) -> str:
    """`connection.pack` for rows with texts from outside, of which each becomes `storable`."""
    try:
        return orjson.dumps(items).decode()
    except TypeError:  # lone surrogates, and nothing else: a look at each text costs as much as packing it
        spelt = [[storable(item) if isinstance(item, str) else item for item in row] for row in items]
        return orjson.dumps(spelt).decode()


def dump_bytes(value: Any) -> bytes:
    """JSON text of a document of our own making, in UTF-8; ASCII where it holds what orjson refuses."""
    try:
        return orjson.dumps(value)
    except TypeError:  # lone surrogates, integers over 64 bits
        return json.dumps(value, separators=(",", ":")).encode()


def dump(value: Any) -> str:
    """The same as text."""
    return dump_bytes(value).decode()


def load(text: str) -> Any:
    """The value of JSON text that `dump` wrote."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # an escaped lone surrogate
        return json.loads(text)
