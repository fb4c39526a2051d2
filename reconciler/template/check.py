"""What is wrong with the body of a webhook before anything is sent: every fault at once, each at its place.

Syntax, JSON, constructs without effect, and paths that the event's schema does not have. Called by `manifest.validate`
with the schema of `models.event`.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from reconciler.template.body import Body, Leaf, is_json_type, mapping_fault, outline
from reconciler.template.effect import faults_without_effect, root_path
from reconciler.template.fault import (
    FAULTS_MAX,
    LIST_WITHOUT_INDEX,
    NOT_AN_OBJECT,
    UNKNOWN_FIELD,
    Source,
    TemplateFault,
    shown,
)
from reconciler.template.lookup import is_index
from reconciler.template.parse import parse
from reconciler.template.place import document_layout, leaf_layout, nodes_of
from reconciler.template.quick import glance
from reconciler.template.syntax import Mustache, Path, Segment, Statement

Schema = Mapping[str, Any]

FIELDS_MAX: Final = 4096  # distinct paths of a store's templates, which are few

_ANYTHING: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_REFERENCES_MAX: Final = 32  # a chain of `$ref` longer than this goes in a circle


def check_body(body: Body, *, content_type: str, schema: Schema) -> tuple[TemplateFault, ...]:
    """Every fault of a body, in order. `schema` is the JSON Schema (2020-12) of the events that it is rendered with."""
    if isinstance(body, str):
        return tuple(_check_text(body, schema, is_json=is_json_type(content_type)))
    faults = [] if is_json_type(content_type) else [mapping_fault(content_type)]
    for item in outline(body):
        if isinstance(item, TemplateFault):
            faults.append(item)
        elif isinstance(item, Leaf):
            faults += _check_text(item.text, schema, is_json=True, leaf=item)
    return tuple(faults)


def _check_text(text: str, schema: Schema, *, is_json: bool, leaf: Leaf | None = None) -> list[TemplateFault]:
    if is_sound_at_a_glance(text, schema, is_json=is_json, is_leaf=leaf is not None):
        return []
    return read_text(text, schema, is_json=is_json, leaf=leaf)


def is_sound_at_a_glance(text: str, schema: Schema, *, is_json: bool, is_leaf: bool) -> bool:
    """Whether a template needs no reading: it has only fields that the schema knows, where text may stand."""
    seen = glance(text)
    if seen is None or not all(_is_sound_field(field, _Same(schema)) for field in seen.fields):
        return False
    return not is_json or (seen.is_plain_string if is_leaf else seen.is_json)


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """A schema, to be looked up by its identity."""

    schema: Schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.schema is other.schema

    def __hash__(self) -> int:
        return id(self.schema)


@lru_cache(maxsize=FIELDS_MAX)
def _is_sound_field(field: str, same: _Same) -> bool:
    """Whether a field is one wherever text may stand: judged once for all templates."""
    return not read_text(f"{{{{{field}}}}}", same.schema, is_json=False)


def read_text(text: str, schema: Schema, *, is_json: bool, leaf: Leaf | None = None) -> list[TemplateFault]:
    """Every fault of a template, found by reading it in full."""
    parsed = parse(text)
    faults = [*parsed.faults, *faults_without_effect(parsed)]
    faults += islice(_path_faults(parsed.source, parsed.program.body, schema), FAULTS_MAX)
    nodes = nodes_of(parsed.program)
    if is_json and nodes is not None and not parsed.faults:
        layout = leaf_layout(parsed.source, nodes) if leaf else document_layout(parsed.source, nodes)
        faults += layout.faults
    faults.sort(key=lambda fault: (fault.line, fault.column))
    return [replace(fault, path=leaf.path) for fault in faults] if leaf else faults


def _path_faults(source: Source, body: tuple[Statement, ...], schema: Schema) -> Iterator[TemplateFault]:
    """The faults of the paths outside blocks: inside one, a path begins at what the block has chosen."""
    for node in body:
        if not isinstance(node, Mustache) or not node.call.is_plain or node.is_decorator:
            continue
        path = root_path(node.call.callee)
        fault = _path_fault(source, path, schema) if path else None
        if fault is not None:
            yield fault


def _alternatives(schema: Schema, root: Schema) -> list[Schema]:
    """What a value may be, apart from null: references followed, unions laid open."""
    found: list[Schema] = []
    waiting = [(schema, 0)]
    while waiting:
        item, references = waiting.pop(0)
        if "$ref" in item and references < _REFERENCES_MAX:
            waiting.append((_referred(item["$ref"], root), references + 1))
        parts = [part for key in ("anyOf", "oneOf", "allOf") for part in item.get(key) or ()]
        waiting += [(_schema(part), references) for part in parts]
        if "$ref" not in item and not parts and _kinds(item) != {"null"}:
            found.append(item)
    return found


def _referred(reference: str, root: Schema) -> Schema:
    """The schema that a local `$ref` such as `#/$defs/Name` points to."""
    node: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        node = node[name]
    return _schema(node)


def _schema(value: Any) -> Schema:
    """A subschema as a mapping: `true` allows anything, as does an empty one."""
    return value if isinstance(value, Mapping) else {}


def _kinds(schema: Schema) -> frozenset[str]:
    """The JSON types that a schema allows."""
    kinds = schema.get("type")
    if kinds is not None:
        return frozenset([kinds] if isinstance(kinds, str) else kinds)
    if "properties" in schema:
        return frozenset({"object"})
    return frozenset({"array"}) if "items" in schema else _ANYTHING


def _path_fault(source: Source, path: Path, schema: Schema) -> TemplateFault | None:
    """The first name of a path that the schema does not have."""
    segments = path.segments[1:] if path.is_data else path.segments
    here = _alternatives(schema, schema)
    walked: list[Segment] = []
    for segment in segments:
        following = [target for kind in here if (target := _step(kind, segment.name)) is not None]
        if not following:
            return _describe(source, walked, segment, here)
        here = [deeper for target in following for deeper in _alternatives(target, schema)]
        walked.append(segment)
    return None


def _step(schema: Schema, name: str) -> Schema | None:
    """The schema of what `name` leads to; None where it leads nowhere."""
    # 1. a declared field, 2. any field of an object that declares none, 3. an element of a list, 4. a length
    properties = schema.get("properties") or {}
    if name in properties:
        return _schema(properties[name])
    kinds = _kinds(schema)
    if "object" in kinds and not properties and schema.get("additionalProperties", True) is not False:
        return _schema(schema.get("additionalProperties", True))
    if "array" in kinds and is_index(name):
        return _schema(schema.get("items", True))
    if name == "length" and kinds & {"array", "string"}:
        return {"type": "integer"}
    return None


def _describe(source: Source, walked: list[Segment], segment: Segment, here: list[Schema]) -> TemplateFault:
    """Why no alternative has the name."""
    parent = _spelling([item.name for item in walked]) or "the event"
    names = sorted({name for schema in here for name in schema.get("properties") or ()})
    # 1. an object with other fields, 2. a list, 3. text or a number
    if names:
        close = difflib.get_close_matches(segment.name, names, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"its fields are: {', '.join(names)}"
        message = f"{_ticked(parent)} has no field {shown(segment.name)}"
        return source.fault(UNKNOWN_FIELD, message, segment.start, segment.end, hint=hint)
    if any("array" in _kinds(schema) for schema in here):
        message = f"{_ticked(parent)} is a list: {shown(segment.name)} needs the index of an element before it"
        hint = f"write {shown(f'{parent}.[0].{segment.name}')}"
        return source.fault(LIST_WITHOUT_INDEX, message, segment.start, segment.end, hint=hint)
    kinds = " or ".join(sorted({kind for schema in here for kind in _kinds(schema)} - {"null"}))
    message = f"{_ticked(parent)} is a {kinds}: it has no field {shown(segment.name)}"
    return source.fault(NOT_AN_OBJECT, message, segment.start, segment.end, hint=f"write `{{{{{parent}}}}}`")


def _ticked(parent: str) -> str:
    return parent if parent == "the event" else shown(parent)


def _spelling(names: list[str]) -> str:
    """A path as a template spells it: `data.access_groups.[0].name`."""
    return ".".join(f"[{name}]" if is_index(name) else name for name in names)
