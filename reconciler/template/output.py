"""How a value of the event is written where an expression stands.

In JSON by the place (see `scan`); in HTML, forms and plain text as JavaScript turns a value into text, except that a
number keeps the digits it came with. Called by `compile`.
"""

import json
import re
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import quote_plus

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.template.scan import Place

Write = Callable[[JsonValue], str]
Escape = Literal["json", "html", "form", "none"]

OUTPUT_MAX_BYTES: Final = 1_048_576  # 1 MiB: four times the largest event

SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HTML: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"}
)


class OutputTooLargeError(Exception):
    """What one expression gives is more than a whole body may be."""


def json_writer(place: Place) -> Write:
    """The function that writes a value at a place of a JSON body."""
    if place == Place(0, is_value=True):
        return jsontext.dumps
    if place == Place(1, is_value=False):
        return string_text
    base = jsontext.dumps if place.is_value else text_of

    def write(value: JsonValue) -> str:
        text = base(value)
        for _ in range(place.levels):
            if len(text) > OUTPUT_MAX_BYTES:
                raise OutputTooLargeError
            text = jsontext.escape(text)
        return text

    return write


def text_of(value: JsonValue) -> str:
    """A value as the text of a JSON string: null is empty, objects and lists are their JSON text."""
    if isinstance(value, str):
        return value
    return "" if value is None else jsontext.dumps(value)


def string_text(value: JsonValue) -> str:
    """A value as it stands between the quotes of a JSON string. Generated code knows this function and takes a short
    way for text in ASCII."""
    if isinstance(value, str):
        return jsontext.escape(value)
    return "" if value is None else jsontext.escape(jsontext.dumps(value))


def string_bytes(value: JsonValue) -> bytes:
    """`string_text` in UTF-8, which carries all that stands in it."""
    return value.text.encode() if type(value) is jsontext.Number else string_text(value).encode()


def plain_text(value: JsonValue) -> str:
    """A value as JavaScript's `String(value)` has it, null being empty as in Handlebars."""
    # 1. text, 2. nothing, 3. a list: its items between commas, 4. an object, 5. a boolean or a number
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(map(plain_text, value))
    if isinstance(value, dict):
        return "[object Object]"
    return jsontext.dumps(value)


def html_text(value: JsonValue) -> str:
    """`plain_text` with the characters escaped that Handlebars escapes."""
    return plain_text(value).translate(_HTML)


def form_text(value: JsonValue) -> str:
    """`plain_text` percent-encoded as forms are (WHATWG URL, application/x-www-form-urlencoded serializing); a lone
    surrogate becomes U+FFFD."""
    return quote_plus(SURROGATE.sub("\ufffd", plain_text(value)), safe="*").replace("~", "%7E")


def indented(text: str, indent: str, levels: int) -> str:
    """The text of a partial that stands alone on an indented line: each of its lines is indented, as in Handlebars.
    In a JSON string, of which there may be `levels`, line feeds are written `\\n`."""
    for _ in range(levels):
        text = json.loads(f'"{text}"')
    lines = text.split("\n")
    rest = [lines.pop()] if not lines[-1] else []
    text = "\n".join([*(f"{indent}{line}" for line in lines), *rest])
    for _ in range(levels):
        text = jsontext.escape(text)
    return text


WRITERS: Final[dict[Escape, Write]] = {"html": html_text, "form": form_text, "none": plain_text}
