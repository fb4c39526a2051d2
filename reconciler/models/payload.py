"""How the payloads of events are described: tolerant models, and JSON Schemas made of them. Pure.

Used by the modules of `models` that describe a kind of event.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str | int | float, Field(json_schema_extra={"anyOf": None, "type": ["string", "number"]})]
Time = Annotated[
    str | int | float,
    Field(json_schema_extra={"anyOf": None, "type": ["number", "string"], "x-display": "epoch seconds"}),
]


class Tolerant(BaseModel):
    """What vendors send: unknown fields are kept, nothing is coerced."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)


def tidy(node: Any) -> None:
    """Drop what pydantic adds for Python's sake: titles, null defaults, unions of scalars spelt as anyOf."""
    if isinstance(node, list):
        for item in node:
            tidy(item)
        return
    if not isinstance(node, dict):
        return
    if not isinstance(node.get("properties"), dict) or "type" in node:
        node.pop("title", None)
    if node.get("default", 0) is None:
        node.pop("default")
    scalars = [
        item.get("type") for item in node.get("anyOf") or () if set(item) <= {"type"} and isinstance(item["type"], str)
    ]
    if node.get("anyOf") is None:
        node.pop("anyOf", None)
    elif len(scalars) == len(node["anyOf"]) and scalars:
        node.pop("anyOf")
        node["type"] = list(dict.fromkeys("number" if kind == "integer" else kind for kind in scalars))
    for key, item in list(node.items()):
        if key == "properties":
            for field in item.values():
                tidy(field)
        elif key not in ("type", "required", "description"):
            tidy(item)
    if "x-display" in node and isinstance(node.get("type"), list) and "null" not in node["type"]:
        node["type"] = [*node["type"], "null"]
