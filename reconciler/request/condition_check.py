"""A `when` against the schema of events, before anything is applied: syntax, fields, types, true or false.

Called by `manifest.validate`. The schema becomes types of the library, which knows typed objects as Protocol Buffers
only; where the schema takes text and numbers alike, so does the check. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from reconciler.errors import Severity
from reconciler.models.corpus import OLDER_PAYLOAD, corpus
from reconciler.models.event import AccessRequest, event_schema
from reconciler.models.fault import Fault, Path
from reconciler.models.operational import Operational, operational_schema
from reconciler.models.webhook import Trigger
from reconciler.request.condition import (
    ROOTS,
    Said,
    compile_problem,
    compile_when,
    environment,
    missing_field,
    with_null_guards,
)

WHEN_MAX_CHARACTERS: Final = 4096  # a condition that people can review; the library's own limit is 100,000

SYNTAX: Final = "when.syntax"
UNKNOWN_FIELD: Final = "when.unknown_field"
UNKNOWN_NAME: Final = "when.unknown_name"
TYPE: Final = "when.type"
TOO_LARGE: Final = "when.too_large"
NEWER_FIELD: Final = "when.newer_field"

FUNCTIONS: Final = (  # of CEL's standard library, for "did you mean"
    *("size", "has", "all", "exists", "exists_one", "map", "filter", "contains", "startsWith", "endsWith", "matches"),
    *("int", "uint", "double", "string", "bool", "bytes", "timestamp", "duration", "type", "dyn", "getFullYear"),
    *("getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds"),
    "getMilliseconds",
)

_PATH: Final[Path] = ("spec", "when")
_ERROR: Final = re.compile(r"^ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)
_CASCADE: Final = "*error*"  # what follows from an error said before
_FIELD: Final = re.compile(r"undefined field '(.*)' not found in struct '(.*)'")
_NAME: Final = re.compile(r"undeclared reference to '(.*)' \(in container ''\)")
_OVERLOAD: Final = re.compile(r"found no matching overload for '(.*)' applied to '\((.*)\)'")
_NOT_CEL: Final = "Syntax error: "
_TOO_DEEP: Final = "recursion"  # of the parser, or of what it has parsed
_EARLY_END: Final = "mismatched input '<EOF>'"
_SHOWN_MAX: Final = 120


def check_when(text: str, *, is_operational: bool = False) -> tuple[Fault, ...]:
    """The faults of a condition on access requests, or on operational events, with their places. Never raises."""
    if len(text) > WHEN_MAX_CHARACTERS:
        fact = f"`when` has {len(text)} characters of at most {WHEN_MAX_CHARACTERS}"
        return (Fault(TOO_LARGE, _PATH, fact, "choose by filters first, or make two webhooks of it"),)
    try:
        kind = _typed_environment(is_strict=False, is_operational=is_operational).compile(text).return_type()
        environment().compile(with_null_guards(text))
    except (RuntimeError, TypeError) as exc:
        return tuple(_faults(text, exc, is_operational))
    fault = _not_boolean(text, kind, is_operational) or (None if is_operational else _newer_field(text))
    return () if fault is None else (fault,)


def _newer_field(text: str) -> Fault | None:
    """A warning where the condition reads a field that older payloads lack, and does not ask for it first."""
    older = dict(corpus(Trigger.REQUEST_CREATED))[OLDER_PAYLOAD]
    field = missing_field(compile_when(text).judge(Said(older)).error)
    if field is None or "x-since" not in _fields_of_data().get(field, {}):
        return None
    path = f"data.{field}"
    at = text.find(path)
    place = _Place.of(text, at, len(path)) if at >= 0 else None
    hint = f"ask first: has({path}) && …; without it the match ends as an error"
    message = f"`{path}` is missing from payloads before 2024"
    return _fault(NEWER_FIELD, message, hint, place, severity=Severity.WARNING)


def _fields_of_data(*, is_operational: bool = False) -> Mapping[str, Mapping[str, Any]]:
    fields: Mapping[str, Mapping[str, Any]] = _definitions()[_kind_of_data(is_operational)]["properties"]
    return fields


# --- what the library found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a text: line and columns from 1, the end being the column after the last character."""

    line: int
    column: int
    end_column: int

    @classmethod
    def of(cls, text: str, offset: int, length: int) -> "_Place":
        """The place of some characters; of what lies behind the end, the last one."""
        last = max(len(text.rstrip()) - 1, 0)
        offset = min(offset, last)
        column = offset - text.rfind("\n", 0, offset)
        return cls(text.count("\n", 0, offset) + 1, column, column + max(length, 1))


def _faults(text: str, exc: Exception, is_operational: bool) -> Iterator[Fault]:
    """One fault for each thing found; what follows from another is left out."""
    found = list(_ERROR.finditer(f"{exc}".replace("INVALID_ARGUMENT: ERROR", "ERROR")))
    found = [item for item in found if _CASCADE not in item[3]] or found[:1]
    if any(item[3].startswith(_NOT_CEL) for item in found):
        found = found[:1]  # what was read after it was read wrongly
    if not found:
        code, fact = (
            (TOO_LARGE, "nests too deep")
            if _TOO_DEEP in f"{exc}"
            else (SYNTAX, f"cannot be taken: {compile_problem(exc)}")
        )
        yield Fault(code, _PATH, f"`when` {fact}")
        return
    seen: set[Fault] = set()
    for item in found:
        said = item[3].removesuffix(" [INVALID_ARGUMENT]")
        fault = _located(text, _offset(text, int(item[1]), int(item[2])), said, is_operational)
        if fault not in seen:
            seen.add(fault)
            yield fault


def _located(text: str, offset: int, said: str, is_operational: bool) -> Fault:
    if field := _FIELD.fullmatch(said):
        return _unknown_field(text, offset, *field.groups())
    if name := _NAME.fullmatch(said):
        return _unknown_name(text, offset, name[1], _fields_of_data(is_operational=is_operational))
    if said.startswith(_NOT_CEL):
        reason = said.removeprefix(_NOT_CEL).split(" expecting ", 1)[0]
        fact = "it ends too early" if reason == _EARLY_END else f"{reason[:1].lower()}{reason[1:]}"[:_SHOWN_MAX]
        return _fault(
            SYNTAX, f"`when` is not CEL: {fact}", "like size(data.access_groups) > 1", _Place.of(text, offset, 1)
        )
    if applied := _OVERLOAD.fullmatch(said):
        operator, kinds = applied[1].strip("_").replace("_", " "), applied[2]
        hint = "of a list ask size(), exists() or all()" if "list(" in kinds else ""
        return _fault(
            TYPE, f"`when` cannot apply `{operator}` to {kinds}"[:_SHOWN_MAX], hint, _Place.of(text, offset, 1)
        )
    fact = said[:1].lower() + said[1:]
    return _fault(TYPE, f"`when` cannot be told: {fact}"[:_SHOWN_MAX], "", _Place.of(text, offset, 1))


def _unknown_field(text: str, offset: int, name: str, kind: str) -> Fault:
    """The library points at the dot before the name."""
    fields = tuple(_definitions().get(kind, {}).get("properties", ()))
    at = text.find(name, offset)
    start = at if at >= 0 else offset
    owner = _owner(text, offset)
    message = f"`{owner}` has no field `{name}`" if owner else f"the event has no field `{name}` here"
    at_top = f"the event has it: write `{name}`" if name in ROOTS else ""
    hint = at_top or _meant(name, fields) or f"its fields are: {', '.join(fields)}"
    return _fault(UNKNOWN_FIELD, message, hint, _Place.of(text, start, len(name)))


def _unknown_name(text: str, offset: int, said: str, fields: Mapping[str, Any]) -> Fault:
    """The library points at the name or, of a method, at the bracket behind it; a whole path may be one name to it."""
    start = max(offset if text.startswith(said, offset) else text.rfind(said, 0, offset), 0)
    is_call = text[start + len(said) :].lstrip().startswith("(")
    name = said if is_call else said.partition(".")[0]
    if is_call and name in FUNCTIONS:
        message, hint = f"`when` cannot call `{name}` like this", "look at what stands before it and in its brackets"
    elif is_call:
        message, hint = (
            f"`when` knows no function `{name}`",
            _meant(name, FUNCTIONS) or "it knows those of standard CEL",
        )
    else:
        message = f"`when` knows no name `{name}`"
        inside = f"write `data.{said}`" if name in fields else ""
        hint = inside or _meant(name, ROOTS) or f"it knows {', '.join(ROOTS)}"
    return _fault(UNKNOWN_NAME, message, hint, _Place.of(text, start, len(name)))


def _meant(name: str, known: tuple[str, ...]) -> str:
    by_lower = {item.lower(): item for item in known}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean `{by_lower[close[0]]}`?" if close else ""


def _owner(text: str, offset: int) -> str:
    """The path in front of a dot."""
    found = re.search(r"[A-Za-z_][\w.\[\]]*$", text[:offset].rstrip())
    return found[0] if found else ""


def _offset(text: str, line: int, column: int) -> int:
    """The offset of a place that the library names, from 1."""
    lines = text.split("\n")
    return sum(len(item) + 1 for item in lines[: line - 1]) + column - 1


def _fault(code: str, message: str, hint: str, place: _Place | None, *, severity: Severity = Severity.ERROR) -> Fault:
    if place is None:
        return Fault(code, _PATH, message, hint, severity)
    return Fault(
        code, _PATH, message, hint, severity, line=place.line, column=place.column, end_column=place.end_column
    )


# --- true or false


def _not_boolean(text: str, kind: Any, is_operational: bool) -> Fault | None:
    """Whether the result cannot be true or false. One of any type is judged again as text: no field of the schema but
    those that the administrator defines may be a boolean."""
    from cel_expr_python import cel

    if kind == cel.Type.DYN:
        try:
            kind = _typed_environment(is_strict=True, is_operational=is_operational).compile(text).return_type()
        except RuntimeError:
            return None
    if kind in (cel.Type.BOOL, cel.Type.DYN):
        return None
    name = "a list" if kind.name().startswith("LIST") else _RESULTS.get(kind.name(), "an object")
    hint = "compare it with something, or ask has() of it"
    return Fault("when.not_boolean", _PATH, f"`when` must be true or false: it is {name}", hint)


_RESULTS: Final = {
    "STRING": "text",
    "INT": "a number",
    "UINT": "a number",
    "DOUBLE": "a number",
    "NULL": "null",
}


# --- the schema as types


def _definitions() -> Mapping[str, Any]:
    """What access requests and operational events are made of; no two have one name."""
    return {**event_schema()["$defs"], **operational_schema()["$defs"]}


def _kind_of_data(is_operational: bool) -> str:
    return Operational.__name__ if is_operational else AccessRequest.__name__


@cache
def _typed_environment(*, is_strict: bool, is_operational: bool) -> Any:
    """Where conditions are compiled to be checked. `is_strict` takes text for what may be text or a number."""
    from cel_expr_python import cel
    from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2, wrappers_pb2

    file = descriptor_pb2.FileDescriptorProto(name="event.proto", syntax="proto3")
    of_field = descriptor_pb2.FieldDescriptorProto
    scalar = "StringValue" if is_strict else "Value"
    for name, model in _definitions().items():
        message = file.message_type.add(name=name)
        for number, (key, field) in enumerate(model["properties"].items(), 1):
            type_name, is_list = _field_type(field, scalar)
            label = of_field.LABEL_REPEATED if is_list else of_field.LABEL_OPTIONAL
            message.field.add(name=key, number=number, label=label, type=of_field.TYPE_MESSAGE, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    for module in (struct_pb2, wrappers_pb2):
        copied = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(copied)
        pool.Add(copied)
        file.dependency.append(copied.name)
    pool.Add(file)
    text = cel.Type.STRING if is_strict else cel.Type.DYN
    data = cel.Type(_kind_of_data(is_operational))
    return cel.NewEnv(pool, variables={"event_type": cel.Type.STRING, "event_time": text, "data": data})


def _field_type(field: Mapping[str, Any], scalar: str) -> tuple[str, bool]:
    """The name of a field's type, and whether it is a list of such."""
    for choice in field.get("anyOf", (field,)):
        if "$ref" in choice:
            return f".{choice['$ref'].rpartition('/')[2]}", False
        if choice.get("type") == "array":
            return _field_type(choice["items"], scalar)[0], True
        if choice.get("type") == "object":
            return ".google.protobuf.Struct", False
    return f".google.protobuf.{scalar}", False
