"""The JSON Schemas that are published in `schemas/`, and the same as tables.

Generated from the models, so that editors say what the loader enforces; called by `reconciler schema` and `explain`.
Our own validation stays the judge: a JSON Schema cannot know variables, positions or secrets.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from reconciler.models.event import event_schema
from reconciler.models.field import format_duration
from reconciler.models.operational import operational_schema
from reconciler.models.webhook import API_VERSION, Approval, Method, Ordering, Project, Status, Trigger, Webhook
from reconciler.models.webhook_test import WebhookTest

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VARIABLE: Final = {
    "type": "string",
    "pattern": r"\$\{var:[A-Za-z_][A-Za-z0-9_-]*\}",
    "description": "${var:NAME} takes a variable of --var or --var-file before the value gets its type.",
}
_CHOICES: Final = frozenset(choice.__name__ for choice in (Approval, Method, Ordering, Status, Trigger))

_ISO_DURATION: Final = re.compile(r"P(?=.)(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?")
_TIMEDELTA: Final = TypeAdapter(timedelta)

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One row of `explain`; `last` is the revision that brought the field, or its default."""

    path: str
    type: str
    meaning: str
    last: str = ""


def schema_files() -> dict[str, str]:
    """Each published schema's file name and text; the same bytes for the same code."""
    return {
        "event.schema.json": schema_text(event_schema()),
        "manifest.schema.json": schema_text(manifest_schema()),
        "operational.schema.json": schema_text(operational_schema()),
    }


def schema_text(schema: Schema) -> str:
    """A schema as it is published."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def manifest_schema() -> Schema:
    """The JSON Schema (2020-12) of one manifest document: a Webhook, a Project or a WebhookTest."""
    models: list[type[BaseModel]] = [Webhook, Project, WebhookTest]
    _, generated = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions: dict[str, Schema] = generated["$defs"]
    for definition in definitions.values():
        tidy(definition)
    webhook, project, test = (definitions.pop(model.__name__) for model in models)
    definitions["Defaults"] = _defaults(definitions["Spec"])
    defaults = definitions["ProjectSpec"]["properties"]["defaults"]
    definitions["ProjectSpec"]["properties"]["defaults"] = {
        "$ref": "#/$defs/Defaults",
        "description": defaults["description"],
    }
    for definition in definitions.values():
        _take_variables(definition)
    definitions["Variable"] = dict(VARIABLE)
    kinds = {"Webhook": (webhook, "A declared webhook."), "Project": (project, "What holds for every webhook.")}
    kinds["WebhookTest"] = (test, "A test of a webhook, for `reconciler check`; plan and apply pass it over.")
    for kind, (schema, description) in kinds.items():
        definitions[kind] = _document(kind, schema, description)
    return {
        "$schema": DIALECT,
        "$id": "manifest.schema.json",
        "title": "reconciler manifest",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {"kind": {"enum": list(kinds), "description": "What this document declares."}},
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in kinds],
        "$defs": dict(sorted(definitions.items())),
    }


def _document(kind: str, schema: Schema, description: str) -> Schema:
    head = {
        "apiVersion": {"const": API_VERSION, "description": "The version of the manifest format."},
        "kind": {"const": kind, "description": description},
    }
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "required": ["apiVersion", "kind", *schema.get("required", ())],
        "properties": {**head, **schema["properties"]},
    }


def _defaults(spec: Schema) -> Schema:
    """What may stand under a project's defaults: any part of a spec."""
    optional: Schema = {key: deepcopy(item) for key, item in spec.items() if key != "required"}
    return {**optional, "description": "Any part of a webhook's spec."}


def tidy(node: Any) -> None:
    """Drop the titles and null defaults that pydantic adds, and the Python docstrings of enums."""
    if isinstance(node, list):
        for item in node:
            tidy(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    if node.get("default", 0) is None:
        del node["default"]
    if "default" in node:
        node["default"] = _as_written(node["default"])
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    for key, item in node.items():
        for child in item.values() if key == "properties" else (item,):
            tidy(child)


def _as_written(default: Any) -> Any:
    """A default as a manifest would say it: pydantic spells durations PT5S, which no manifest may."""
    if isinstance(default, dict):
        return {key: _as_written(item) for key, item in default.items()}
    if isinstance(default, list):
        return [_as_written(item) for item in default]
    if isinstance(default, str) and _ISO_DURATION.fullmatch(default):
        return format_duration(_TIMEDELTA.validate_python(default))
    return default


def _take_variables(node: Any) -> None:
    """Let `${var:NAME}` stand where a number, a boolean or one of several words is meant."""
    if isinstance(node, list):
        for item in node:
            _take_variables(item)
    if not isinstance(node, dict):
        return
    for key, child in list(node.items()):
        if key == "properties":
            for name, field in child.items():
                child[name] = _or_variable(field)
        elif key in ("items", "additionalProperties") and isinstance(child, dict):
            node[key] = _or_variable(child)


def _or_variable(field: Schema) -> Schema:
    _take_variables(field)
    variable = {"$ref": "#/$defs/Variable"}
    for union in ("anyOf", "oneOf"):
        if any(_is_typed(option) for option in field.get(union, ())):
            return {**field, union: [*field[union], variable]}
    if not _is_typed(field):
        return field
    outside: Schema = {key: field[key] for key in ("description", "default") if key in field}
    inside = {key: item for key, item in field.items() if key not in outside}
    return {"anyOf": [inside, variable], **outside}


def _is_typed(field: Schema) -> bool:
    """Whether not any text will do: numbers, booleans, and one of several words."""
    name = str(field.get("$ref", "")).rpartition("/")[2]
    is_choice = "enum" in field or "const" in field or name in _CHOICES
    return is_choice or field.get("type") in ("integer", "number", "boolean")


def explain_event(*, is_operational: bool = False) -> list[Field]:
    """The payload's fields, depth first: path as templates write it with `[]` for a list, types, meaning, since."""
    schema = operational_schema() if is_operational else event_schema()
    return [
        Field(path, _type_name(field, schema), field.get("description", ""), str(field.get("x-since", "")))
        for path, field in _walk(schema, schema, "")
    ]


def explain_manifest() -> list[Field]:
    """The fields of a webhook's manifest, depth first, then those of a test, whose paths begin with its kind."""
    return [*_explain(Webhook, ""), *_explain(WebhookTest, "WebhookTest.")]


def _explain(model: type[BaseModel], prefix: str) -> Iterator[Field]:
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    for definition in (schema, *schema["$defs"].values()):
        tidy(definition)
    for path, field in _walk(schema, schema, ""):
        default = field.get("default", "")
        if path.startswith("spec.") and "." not in path.removeprefix("spec.") and isinstance(default, dict | list):
            default = "" if not default else "see below"
        yield Field(prefix + path, _type_name(field, schema), field.get("description", ""), _shown(default))


def _shown(default: Any) -> str:
    return default if isinstance(default, str) else json.dumps(default)


def _walk(node: Schema, root: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    for name, field in node.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        yield below, field
        target, suffix = _target(field, root)
        if target is not None:
            yield from _walk(target, root, below + suffix)


def _target(field: Schema, root: Schema) -> tuple[Schema | None, str]:
    """The object that a field leads to, through references, nullable unions and lists."""
    for option in _options(field):
        if "$ref" in option:
            return _resolve(option, root), ""
        if option.get("type") == "array":
            target, suffix = _target(option.get("items", {}), root)
            return target, "[]" + suffix
    return None, ""


def _options(field: Schema) -> list[Schema]:
    options: list[Schema] = []
    for option in field.get("anyOf") or field.get("oneOf") or [field]:
        options.extend(_options(option) if "anyOf" in option or "oneOf" in option else [option])
    return options


def _resolve(node: Schema, root: Schema) -> Schema:
    name = str(node["$ref"]).rpartition("/")[2]
    found: Schema = root["$defs"][name]
    return found


def _type_name(field: Schema, root: Schema) -> str:
    names: list[str] = []
    for option in _options(field):
        if "$ref" in option:
            option = _resolve(option, root)
        kind = option.get("type", "any")
        if "enum" in option:
            kind = "|".join(map(str, option["enum"]))
        elif "const" in option:
            kind = str(option["const"])
        elif kind == "array":
            kind = f"list of {_type_name(option.get('items', {}), root)}"
        elif isinstance(kind, list):
            kind = " or ".join(item for item in kind if item != "null")
        if kind != "null" and kind not in names:
            names.append(kind)
    return " or ".join(names)
