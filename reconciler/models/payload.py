"""How the payloads of events are described: tolerant models, and JSON Schemas made of them. Pure.

Used by the modules of `models` that describe a kind of event.
"""

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from reconciler.jsontext import Number

Text = Annotated[str | int | float, Field(json_schema_extra={"anyOf": None, "type": ["string", "number"]})]
Time = Annotated[
    str | int | float,
    Field(json_schema_extra={"anyOf": None, "type": ["number", "string"], "x-display": "epoch seconds"}),
]


class Tolerant(BaseModel):
    """What vendors send: unknown fields are kept, nothing is coerced."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)


Check = Callable[[Any], bool]
_SCALARS: Final = (str, int, float, NoneType)


def quick_check(model: type[Tolerant]) -> Check:
    """A look at a value that `jsontext.loads` gave, in a tenth of the time that the model takes. True: the model takes
    it, if the value holds no lone surrogate. False says nothing: ask the model."""
    checks = {name: _check_of(field) for name, field in model.model_fields.items()}
    types_of = {name: types for name, (types, _) in checks.items()}
    inner_of = {name: inner for name, (_, inner) in checks.items()}
    required = {name for name, field in model.model_fields.items() if field.is_required()}

    def fits(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for key, item in value.items():
            types = types_of.get(key)  # what the model has no field for, it takes
            if types is not None and type(item) not in types and not inner_of[key](item):
                return False
        return not required or required <= value.keys()

    return fits


def _check_of(field: FieldInfo) -> tuple[frozenset[type], Check]:
    """The types whose every value a field takes, and the check of values of other types."""
    if not field.metadata:
        return _check(field.annotation)
    return frozenset(), (lambda value: type(value) is str and value != "") if _is_filled_text(field) else _unsure


def _is_filled_text(field: FieldInfo) -> bool:
    return field.annotation is str and [getattr(item, "min_length", None) for item in field.metadata] == [1]


def _check(kind: Any) -> tuple[frozenset[type], Check]:
    """As `_check_of`, of an annotation; of one that is not known nothing is sure."""
    kinds = _alternatives(kind)
    types = frozenset(item for item in kinds if item in _SCALARS)
    others = [item for item in kinds if item not in types]
    inner = _check_of_one(others[0]) if len(others) == 1 else _unsure
    return types | ({Number} if float in types else set()), inner


def _check_of_one(kind: Any) -> Check:
    """A model, a tuple of any length, or an object whose members are anything."""
    args = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Tolerant):
        return quick_check(kind)
    if get_origin(kind) is tuple and len(args) == 2 and args[1] is Ellipsis:
        return _check_of_list(*_check(args[0]))
    if get_origin(kind) is dict and args == (str, Any):
        return lambda value: type(value) is dict
    return _unsure


def _check_of_list(types: frozenset[type], inner: Check) -> Check:
    def fits(value: Any) -> bool:
        if type(value) is not list:
            return False
        for item in value:  # noqa: SIM110  # twice as quick as a generator
            if type(item) not in types and not inner(item):
                return False
        return True

    return fits


def _alternatives(kind: Any) -> list[Any]:
    """The members of a union, those of unions in it too; an annotation that only describes is passed over."""
    if get_origin(kind) in (Union, UnionType):
        return [inner for item in get_args(kind) for inner in _alternatives(item)]
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        if all(isinstance(note, FieldInfo) and not note.metadata for note in notes):
            return _alternatives(inner)
    return [kind]


def _unsure(value: Any) -> bool:
    return False


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
