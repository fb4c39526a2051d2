"""Text and JSON between Python and SQLite: what UTF-8 cannot carry must not stop an intake or a record."""

import json
from typing import Any, Final

import orjson

LAST_CHARACTER: Final = "\U0010ffff"  # sorts after whatever may follow a prefix


def storable(text: str) -> str:
    r"""The text, with lone surrogates spelt out (`\ud800`): SQLite stores UTF-8, which cannot carry them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def storable_or_none(text: str | None) -> str | None:
    """The same for what may be missing."""
    return None if text is None else storable(text)


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
