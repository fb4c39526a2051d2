"""The body of a webhook: one template, or a mapping whose leaves are templates.

A mapping becomes a JSON document in its author's order. Its keys are literal text; a leaf that is one expression keeps
the value's type, every other text leaf becomes a string; numbers, booleans and nulls stand as they are. Called by
`request.render` and `dispatch`, and through `check` by `manifest.validate`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from reconciler import jsontext
from reconciler.template.compile import COMPILED_MAX, Hole, Template, compile_template, json_pieces, usable_nodes
from reconciler.template.effect import faults_without_effect
from reconciler.template.fault import BAD_LEAF, TOO_DEEP, Source, TemplateFault
from reconciler.template.parse import parse
from reconciler.template.place import leaf_layout

Body = str | Mapping[str, Any]
Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One text leaf of a mapping body, and the keys that lead to it."""

    path: Keys
    text: str


def is_json_type(content_type: str) -> bool:
    """Whether a media type says JSON: `application/json` or a `+json` suffix (RFC 6839), parameters aside."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def has_effect(body: Body | None) -> bool:
    """Whether everything that the body uses has effect; if not, nothing is sent for its webhook."""
    texts = [body or ""] if not isinstance(body, Mapping) else [leaf.text for leaf in leaves_of(body)]
    return not any(_lacks_effect(text) for text in texts)


@lru_cache(maxsize=COMPILED_MAX)
def _lacks_effect(text: str) -> bool:
    return bool(faults_without_effect(parse(text)))


def compile_body(body: Body, *, content_type: str) -> Template:
    """The compiled body; the same for the same body and kind of content. Raises TemplateError for its first fault."""
    if isinstance(body, str):
        return compile_template(body, escape="json" if is_json_type(content_type) else "none")
    if not is_json_type(content_type):
        raise mapping_fault(content_type).as_error()
    return _compiled(_Key(_frozen(body), body))


def mapping_fault(content_type: str) -> TemplateFault:
    """A mapping body with a content type that is not JSON."""
    message = f"a mapping body is sent as JSON, but the content type is not JSON: {content_type}"
    return Source("").fault(BAD_LEAF, message, 0, 1, hint="write the body as text, or set a JSON `content_type`")


def leaves_of(body: Mapping[str, Any]) -> tuple[Leaf, ...]:
    """The text leaves of a mapping body, in order."""
    return tuple(item for item in outline(body) if isinstance(item, Leaf))


def outline(body: Any, path: Keys = ()) -> Iterator[str | Leaf | TemplateFault]:
    """A mapping body as JSON text with its leaves in place, and what cannot stand in one as faults."""
    if len(path) > jsontext.DEPTH_MAX:
        yield Source("", path).fault(TOO_DEEP, f"nested deeper than {jsontext.DEPTH_MAX} levels", 0, 1)
    elif isinstance(body, str):
        yield Leaf(path, body)
    elif isinstance(body, Mapping):
        yield from _outline_of_mapping(body, path)
    elif isinstance(body, list | tuple):
        separator = "["
        for index, item in enumerate(body):
            yield separator
            yield from outline(item, (*path, index))
            separator = ","
        yield "[]" if separator == "[" else "]"
    else:
        try:
            yield jsontext.dumps(body)
        except (TypeError, ValueError):
            message = f"a leaf must be text, a number, true, false or null: {body!r:.60}"
            yield Source("", path).fault(BAD_LEAF, message, 0, 1, hint="put it into quotes")


def _outline_of_mapping(body: Mapping[Any, Any], path: Keys) -> Iterator[str | Leaf | TemplateFault]:
    separator = "{"
    for key, item in body.items():
        if not isinstance(key, str):
            message = f"a key must be text: {key!r:.60}"
            yield Source("", path).fault(BAD_LEAF, message, 0, 1, hint="put it into quotes")
            continue
        if "{{" in key or "${" in key:
            message = f"a key is literal text and holds no expression: {key!r:.60}"
            yield Source(key, (*path, key)).fault(BAD_LEAF, message, 0, len(key), hint="write the body as text")
        yield f"{separator}{jsontext.quote(key)}:"
        yield from outline(item, (*path, key))
        separator = ","
    yield "{}" if separator == "{" else "}"


@dataclass(frozen=True, slots=True)
class _Key:
    """A mapping body as something that can be memoised."""

    key: object
    body: Mapping[str, Any] = field(compare=False)


def _frozen(value: object) -> object:
    """A hashable value that is equal for equal bodies only: `1`, `1.0`, `true` and `"1"` differ."""
    # 1. text, 2. a mapping: pairs, 3. a list: its items after a mark, 4. anything else: its type and digits
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return tuple([(key, _frozen(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return ("[", *map(_frozen, value))
    return (type(value), value.text if isinstance(value, jsontext.Number) else repr(value))


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(key: _Key) -> Template:
    pieces: list[str | Hole] = []
    for item in outline(key.body):
        if isinstance(item, TemplateFault):
            raise item.as_error()
        found = _leaf_pieces(item) if isinstance(item, Leaf) else (item,)
        for piece in found:
            if isinstance(piece, str) and pieces and isinstance(last := pieces[-1], str):
                pieces[-1] = last + piece
            else:
                pieces.append(piece)
    return Template(tuple(pieces))


def _leaf_pieces(leaf: Leaf) -> tuple[str | Hole, ...]:
    """A leaf as a JSON value: its one expression, or its text between quotes."""
    source, nodes = usable_nodes(leaf.text)
    layout = leaf_layout(source, nodes)
    pieces = json_pieces(source, layout)
    if layout.is_value:
        return pieces
    return ('"', *(jsontext.escape(piece) if isinstance(piece, str) else piece for piece in pieces), '"')
