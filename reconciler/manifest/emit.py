"""Plain values as YAML text: the same bytes for the same value, whatever library reads or writes YAML elsewhere.

Called by `manifest.format`. What it writes reads back equal with our own loader and means the same to YAML 1.1 and 1.2
parsers: a text that any of them would take for something else is quoted. Knows nothing of webhooks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler.manifest.scalar import ScalarError, resolve

WIDTH: Final = 120  # columns; a list that fits stands on one line
LONG_TEXT: Final = 60  # characters; a longer text that would need quotes is a literal block
KEY_MAX: Final = 1000  # characters; beyond 1024, YAML takes no key without `?` before it (YAML 1.2, section 8.2.2)
STEP: Final = 2  # spaces a level

_PLAIN_START: Final = re.compile(r"[^\W]|[/$.(^]")
_NOT_PLAIN: Final = re.compile(r": |:$| #|[\t\n]")
_FLOW_INDICATOR: Final = re.compile(r"[,\[\]{}?:]")
_SHORT_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def yaml_text(value: Mapping[str, Any]) -> str:
    """One document, its last line ended. Keys are texts; values None, bool, int, float, str, list or mapping, as JSON
    has them. The order of keys is kept."""
    return "".join(f"{line}\n" for line in _mapping(value, 0))


def _mapping(value: Mapping[str, Any], indent: int) -> Iterator[str]:
    pad = " " * indent
    for key, item in value.items():
        name = _key(key)
        if len(name) > KEY_MAX:
            yield f"{pad}? {name}"
            name = ""
        first, *rest = _node(item, indent, width=WIDTH - indent - len(name) - 2)
        yield f"{pad}{name}: {first}" if first else f"{pad}{name}:"
        yield from rest


def _sequence(items: Sequence[Any], indent: int) -> Iterator[str]:
    pad = " " * indent
    for item in items:
        first, *rest = _node(item, indent, width=WIDTH - indent - STEP)
        if not first:  # a mapping or list, of which the first line stands beside the dash
            first, *rest = rest
            first = first.removeprefix(pad + " " * STEP)
        yield f"{pad}- {first}"
        yield from rest


def _node(value: Any, indent: int, *, width: int) -> Iterator[str]:
    """What follows a key or a dash at `indent`: the rest of its line, which may be empty, then the lines below."""
    # 1. a mapping or list below, 2. one in brackets, 3. a literal block, 4. a scalar
    if isinstance(value, Mapping) and value:
        yield ""
        yield from _mapping(value, indent + STEP)
    elif isinstance(value, list | tuple) and value:
        flow = _flow(value)
        if flow is not None and len(flow) <= width:
            yield flow
        else:
            yield ""
            yield from _sequence(value, indent + STEP)
    elif isinstance(value, str) and _is_block(value):
        yield from _block(value, indent + STEP)
    else:
        yield _scalar(value)


def _flow(items: Sequence[Any]) -> str | None:
    """The list in brackets; None where it holds more than short scalars."""
    if any(isinstance(item, Mapping | list | tuple) or (isinstance(item, str) and _is_block(item)) for item in items):
        return None
    return f"[{', '.join(_scalar(item, in_flow=True) for item in items)}]"


def _scalar(value: Any, *, in_flow: bool = False) -> str:
    if isinstance(value, str):
        return _text(value, in_flow=in_flow)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        digits = float.__repr__(value)
        mantissa, exponent, power = digits.partition("e")
        return f"{mantissa}.0e{power}" if exponent and "." not in mantissa else digits  # YAML 1.1 takes 1e+16 for text
    return "{}" if isinstance(value, Mapping) else "[]"


def _key(key: str) -> str:
    return _text(key, in_flow=False)


def _text(text: str, *, in_flow: bool) -> str:
    if _is_plain(text) and not (in_flow and _FLOW_INDICATOR.search(text)):
        return text
    if text.isprintable() and '"' in text and "'" not in text:
        return f"'{text}'"
    return f'"{"".join(map(_escaped, text))}"'


def _is_plain(text: str) -> bool:
    """Whether every parser reads the text as itself without quotes."""
    if not _PLAIN_START.match(text) or _NOT_PLAIN.search(text) or not text.isprintable() or text != text.strip():
        return False
    try:
        return isinstance(resolve(text), str)
    except ScalarError:
        return False


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_block(text: str) -> bool:
    """Whether the text is long, and a literal block can carry every character of it."""
    is_long = "\n" in text or (len(text) > LONG_TEXT and not _is_plain(text))
    return is_long and not text.isspace() and all(char.isprintable() or char in "\n\t" for char in text)


def _block(text: str, indent: int) -> Iterator[str]:
    """The header of a literal block, then its lines. A text that begins with white space needs its indentation said."""
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    indicator = STEP if text[0].isspace() else ""
    chomping = "-" if ends == 0 else "" if ends == 1 else "+"
    yield f"|{indicator}{chomping}"
    for line in (*body.split("\n"), *[""] * (ends - 1)):
        yield f"{' ' * indent}{line}" if line else ""
