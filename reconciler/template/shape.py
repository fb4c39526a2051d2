"""What a schema allows: the JSON Schema (2020-12) of events as templates need it, for paths and for what they find.

Used by `check`. References and unions are followed; null is passed over, since every field may be missing anyway.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from reconciler.template.lookup import is_index

Schema = Mapping[str, Any]
Shape = list[Schema]  # what a value may be; empty where nothing is known

ANYTHING: Final[Shape] = [{}]
BOOLEAN: Final[Shape] = [{"type": "boolean"}]
NUMBER: Final[Shape] = [{"type": "number"}]
TEXT: Final[Shape] = [{"type": "string"}]

_KINDS: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_REFERENCES_MAX: Final = 32  # a chain of `$ref` longer than this goes in a circle


def alternatives(schema: Schema, root: Schema) -> Shape:
    """What a value may be, apart from null: references followed, unions laid open."""
    found: Shape = []
    waiting = [(schema, 0)]
    while waiting:
        item, references = waiting.pop(0)
        if "$ref" in item and references < _REFERENCES_MAX:
            waiting.append((_referred(item["$ref"], root), references + 1))
        parts = [part for key in ("anyOf", "oneOf", "allOf") for part in item.get(key) or ()]
        waiting += [(_schema(part), references) for part in parts]
        if "$ref" not in item and not parts and kinds(item) != {"null"}:
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


def kinds(schema: Schema) -> frozenset[str]:
    """The JSON types that a schema allows."""
    named = schema.get("type")
    if named is not None:
        return frozenset([named] if isinstance(named, str) else named)
    if "properties" in schema:
        return frozenset({"object"})
    return frozenset({"array"}) if "items" in schema else _KINDS


def step(schema: Schema, name: str) -> Schema | None:
    """The schema of what `name` leads to; None where it leads nowhere."""
    # 1. a declared field, 2. any field of an object that declares none, 3. an element of a list, 4. a length
    properties = schema.get("properties") or {}
    if name in properties:
        return _schema(properties[name])
    allowed = kinds(schema)
    if "object" in allowed and not properties and schema.get("additionalProperties", True) is not False:
        return _schema(schema.get("additionalProperties", True))
    if "array" in allowed and is_index(name):
        return _schema(schema.get("items", True))
    if name == "length" and allowed & {"array", "string"}:
        return {"type": "integer"}
    return None


def items_of(shape: Shape, root: Schema) -> Shape:
    """What the items of a list, or the fields of an object, may be."""
    found: Shape = []
    for schema in shape:
        if "array" in kinds(schema):
            found += alternatives(_schema(schema.get("items", True)), root)
        if "object" in kinds(schema):
            found += _fields_of(schema, root)
    return distinct(found)


def _fields_of(schema: Schema, root: Schema) -> Shape:
    properties = schema.get("properties") or {}
    if not properties:
        return alternatives(_schema(schema.get("additionalProperties", True)), root)
    return [kind for item in properties.values() for kind in alternatives(_schema(item), root)]


def distinct(shapes: Iterable[Schema]) -> Shape:
    """Each schema once."""
    found: Shape = []
    for schema in shapes:
        if schema not in found:
            found.append(schema)
    return found
