"""The common template at a glance: JSON text with plain fields in its strings, told without reading it in full.

Called by `check`, which has thousands of templates to judge and reads what is not told here. Says only of some sound
templates that they are; never that one is not.
"""

import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from reconciler import jsontext

TEXT_MAX_CHARS: Final = 16_384  # longer templates are rare, and not all of them sound

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
# Not after a character that gives the braces another meaning, nor before one more brace.
_FIELD: Final = re.compile(rf"(?<![\\{{$])\{{\{{ ?({_NAME}(?:\.(?:{_NAME}|\[{_NAME}\]|\[[0-9]+\]))*) ?\}}\}}(?!\}})")
_STRING_LIKE_JSON: Final = re.compile(r'"[ \t]*[{\[\\]')  # what else begins a string is no JSON inside it


@dataclass(frozen=True, slots=True)
class Glance:
    """A template's `fields`, and its text with a word in place of each."""

    fields: frozenset[str]
    text: str

    @property
    def is_json(self) -> bool:
        """Whether the text is a JSON document whose fields all stand in strings that are plain text."""
        if _STRING_LIKE_JSON.search(self.text) or self.text.count("{") + self.text.count("[") > jsontext.DEPTH_MAX:
            return False
        try:
            json.loads(self.text, object_pairs_hook=_without_twins, parse_constant=_refused)
        except ValueError:  # a field outside a string, too: the word that stands for it is no JSON
            return False
        return True

    @property
    def is_plain_string(self) -> bool:
        """Whether the text, as one JSON string, is not JSON itself."""
        return not self.text.lstrip(" \t\n\r").startswith(("{", "["))


def places_of(text: str, fields: Container[str]) -> Iterator[tuple[str, int]]:
    """Where these fields stand in a template that was told at a glance: each with the offset of its first character."""
    return ((match[1], match.start(1)) for match in _FIELD.finditer(text) if match[1] in fields)


def glance(text: str) -> Glance | None:
    """The template's fields, where it has nothing else to be judged but their paths and the text around them."""
    if len(text) > TEXT_MAX_CHARS:
        return None
    parts = _FIELD.split(text)
    rest = "field".join(parts[::2])
    if "{{" in rest or "${" in rest or not _is_text(rest):
        return None
    return Glance(frozenset(parts[1::2]), rest)


def _is_text(text: str) -> bool:
    """Whether it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_twins(pairs: list[tuple[str, object]]) -> None:
    """Refuse an object with two keys that are equal, or differ in their fields only."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("the object has a key twice")


def _refused(word: str) -> None:
    raise ValueError(word)  # NaN and Infinity, which Python reads
