"""What pydantic found, as faults in our words: which field, what it must be, what it is, how to mend it.

Called by `manifest.validate`. Says no value that may be a secret.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.models.fault import Fault, Path, holds_secrets, show

SHOWN_MAX: Final = 80  # characters of a value that a message quotes

_EXPECTED_TYPE: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "enum": "text",
    "literal_error": "text",
}
_BOUNDS: Final = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_NO_NAME: Final = re.compile(r"[^a-z0-9]+")
_QUOTED: Final = re.compile(r"'([^']*)'")


def field_faults(error: ValidationError, model: type[BaseModel], raw: Any, *, prefix: Path = ()) -> Iterator[Fault]:
    """One fault for each field that pydantic refuses; `raw` is what was validated, `prefix` leads to it."""
    errors = [(_path(item["loc"], raw, item["type"]), item) for item in error.errors(include_url=False)]
    texts = {path for path, item in errors if item["type"] == "string_type"}
    scalars = texts & {path for path, item in errors if item["type"] == "int_type"}
    for path, item in errors:
        if item["type"] == "too_short" and item["input"]:
            continue  # its items are at fault, and reported
        if path in texts and item["type"] in ("int_type", "float_type", "bool_type", "none_required"):
            continue  # the other members of a union of scalars
        if path in scalars:
            yield _wrong_type((*prefix, *path), "text, a number, true or false", item["input"])
            continue
        yield _fault(path, item, model, prefix)


def shown(value: object, path: Path) -> str:
    """`: value` for a message; nothing where the value may be a secret, or is none."""
    if value is None or holds_secrets(path):
        return ""
    if isinstance(value, bool):
        return f": {str(value).lower()}"
    if isinstance(value, Mapping | list | tuple):
        return ": a mapping" if isinstance(value, Mapping) else ": a list"
    text = str(value)
    return f": {ascii(text)[1:-1] if not text.isprintable() else text}"[: SHOWN_MAX + 2]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word; else nothing."""
    by_lower = {item.lower(): item for item in known}
    close = get_close_matches(word.lower(), by_lower)
    if not close:
        return ""
    best = max(close, key=lambda item: _shared_length(item, word.lower()))
    return f"did you mean `{by_lower[best]}`?"


def _shared_length(one: str, other: str) -> int:
    """How many characters two words share at their beginning: `retries` is nearer to `retry` than to `triggers`."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def _path(loc: tuple[int | str, ...], raw: Any, kind: str) -> Path:
    """pydantic's `loc` without what is no key of the document, such as the tag of a union's member."""
    path: list[int | str] = []
    value = raw
    for number, part in enumerate(loc):
        is_key = isinstance(value, Mapping) and part in value
        is_index = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_key or is_index:
            value = value[part]
            path.append(part)
        elif kind == "missing" and number == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _fault(path: Path, item: ErrorDetails, model: type[BaseModel], prefix: Path) -> Fault:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    full = (*prefix, *path)
    field = f"`{show(full)}`"
    value_shown = shown(value, full)
    # 1. The key is not there, or nobody knows it.
    if kind == "missing":
        return Fault("field.missing", full, f"{field} is missing", on_key=True)
    if kind == "extra_forbidden":
        known = known_keys(model, path[:-1])
        hint = did_you_mean(str(path[-1]), known) or f"known here: {', '.join(known)}"
        return Fault("field.unknown", full, f"unknown key: {path[-1]}"[:SHOWN_MAX], hint, on_key=True)
    # 2. The value is of another type.
    if path[-1:] == ("rate_limit",) and kind == "literal_error":
        hint = did_you_mean(str(value), ("unlimited",)) or "write {per_second: 9}"
        return Fault("field.choice", full, f"{field} must be `unlimited` or a mapping{value_shown}", hint)
    if path[-1:] == ("body_template",) and kind == "string_type":
        return _wrong_type(full, "text or a mapping", value)
    if kind in ("enum", "literal_error") and isinstance(value, str):
        choices = _QUOTED.findall(str(context.get("expected", "")))
        hint = did_you_mean(value, choices)
        return Fault("field.choice", full, f"{field} must be one of {', '.join(choices)}{value_shown}", hint)
    if kind in _EXPECTED_TYPE:
        return _wrong_type(full, _EXPECTED_TYPE[kind], value)
    # 3. The value is of the type, but out of bounds.
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return Fault("field.range", full, f"{field} must be {words} {context[key]:g}{value_shown}")
    if kind in ("too_short", "string_too_short"):
        return Fault("field.empty", full, f"{field} must not be empty")
    if kind in ("too_long", "string_too_long"):
        return Fault("field.range", full, f"{field} is too long")
    # 4. Our own judgement.
    message = f"{field} {item['msg']}{value_shown}"
    if kind == "duration":
        hint = "a number and s, m or h, like 30s" if not isinstance(value, str) else ""
        return Fault("field.duration", full, message, hint)
    if kind == "name":
        slug = _NO_NAME.sub("-", str(value).lower()).strip("-")[:63].strip("-")
        return Fault("field.name", full, message, f"like {slug}" if slug else "")
    return Fault("field.value", full, message)


def _wrong_type(path: Path, expected: str, value: object) -> Fault:
    field = f"`{show(path)}`"
    if value is None:
        return Fault("field.type", path, f"{field} must be {expected}, but is empty")
    hint = ""
    is_scalar = isinstance(value, str | int | float)
    if expected == "text" and is_scalar:
        text = shown(value, path)[2:]
        hint = f'quote it: "{text}"' if text else "quote it"
    elif expected == "a list" and is_scalar:
        hint = "put it in brackets, like [a, b]"
    elif isinstance(value, str) and not holds_secrets(path) and expected != "a mapping":
        hint = "write it without quotes"
    return Fault("field.type", path, f"{field} must be {expected}{shown(value, path)}", hint)


def known_keys(model: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The keys that the model at a path knows, in their order; empty where any key may stand."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            current = _inner(field.annotation) if field else None
        elif isinstance(part, int) or get_origin(current) is dict:
            arguments = [item for item in get_args(current) if item is not Ellipsis]
            current = _inner(arguments[-1]) if arguments else None
        else:
            return ()
    return tuple(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else ()


def _inner(annotation: Any) -> Any:
    """An annotation without Annotated and None, and of a union the model."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        arguments = [item for item in get_args(annotation) if item is not type(None)]
        if get_origin(annotation) is Annotated:
            annotation = arguments[0]
            continue
        inner = [_inner(item) for item in arguments]
        models = [item for item in inner if isinstance(item, type) and issubclass(item, BaseModel)]
        annotation = models[0] if models else inner[0]
    return annotation
