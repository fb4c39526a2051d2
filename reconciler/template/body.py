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
from reconciler.template.compile import (
    COMPILED_MAX,
    NO_NAMES,
    Partials,
    Template,
    compile_template,
    finish,
    frozen_partials,
    refuse,
    usable_body,
    writer_of,
)
from reconciler.template.emit import Emitter
from reconciler.template.fault import BAD_LEAF, TOO_DEEP, Source, TemplateFault
from reconciler.template.include import included_names
from reconciler.template.output import Escape
from reconciler.template.place import is_value, leaf_layout
from reconciler.template.program import Context

Body = str | Mapping[str, Any]
Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One text leaf of a mapping body, and the keys that lead to it."""

    path: Keys
    text: str


@lru_cache(maxsize=1024)  # asked for each body that is rendered
def is_json_type(content_type: str) -> bool:
    """Whether a media type says JSON: `application/json` or a `+json` suffix (RFC 6839), parameters aside."""
    media_type = _media_type(content_type)
    return media_type == "application/json" or media_type.endswith("+json")


@lru_cache(maxsize=1024)
def escape_of(content_type: str) -> Escape:
    """How the expressions of a body are escaped: for JSON, for a form, for HTML and XML, or, in plain text, not."""
    media_type = _media_type(content_type)
    if is_json_type(content_type):
        return "json"
    if media_type == "application/x-www-form-urlencoded":
        return "form"
    is_markup = media_type in ("text/html", "text/xml", "application/xml") or media_type.endswith("+xml")
    return "html" if is_markup else "none"


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def compile_body(body: Body, *, content_type: str, partials: Mapping[str, str] = NO_NAMES) -> Template:
    """The compiled body; the same for the same body, kind of content and partials. Raises TemplateError for its first
    fault."""
    if isinstance(body, str):
        return compile_template(body, escape=escape_of(content_type), partials=partials)
    if not is_json_type(content_type):
        raise mapping_fault(content_type).as_error()
    return _compiled(_Key((_frozen(body), frozen_partials(partials)), body))


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

    key: tuple[object, Partials]
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
    root = Context()
    emitter = Emitter(root)
    for item in outline(key.body):
        if isinstance(item, TemplateFault):
            raise item.as_error()
        if isinstance(item, Leaf):
            _emit_leaf(emitter, item.text, key.key[1], root)
        else:
            emitter.words(item)
    return finish(emitter)


def _emit_leaf(emitter: Emitter, text: str, partials: Partials, root: Context) -> None:
    """A leaf as a JSON value: its one expression, or its text between quotes."""
    body = usable_body(text, dict(partials), root)
    layout = leaf_layout(body)
    refuse(layout.faults)
    if is_value(body):
        emitter.body(body, writer_of(layout))
        return
    emitter.words('"')
    emitter.body(body, writer_of(layout), dropped=layout.dropped, spell=jsontext.escape, levels=1)
    emitter.words('"')


def used_partials(body: Body, partials: Mapping[str, str]) -> dict[str, str]:
    """Those of the partials that a body includes, by way of others too; all of them where a name is a value."""
    texts = [body] if isinstance(body, str) else [leaf.text for leaf in leaves_of(body)]
    waiting = [name for text in texts if "{{" in text for name in included_names(text)]
    used: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        for item in partials if name is None else (name,):
            if item in partials and item not in used:
                used[item] = partials[item]
                waiting += included_names(partials[item])
    return dict(sorted(used.items()))
