"""What is wrong with the body of a webhook before anything is sent: every fault at once, each at its place.

Syntax, helpers, partials, JSON through all branches, and paths that the event's schema does not have (`path_check`).
Called by `manifest.validate` with the schema of `models.event`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Final

from reconciler.template.body import Body, Leaf, is_json_type, mapping_fault, outline
from reconciler.template.compile import NO_NAMES
from reconciler.template.fault import FAULTS_MAX, Source, TemplateFault
from reconciler.template.parse import parse
from reconciler.template.path_check import path_faults
from reconciler.template.place import document_layout, leaf_layout
from reconciler.template.program import Context
from reconciler.template.quick import glance, places_of
from reconciler.template.resolve import resolve
from reconciler.template.shape import Schema

FIELDS_MAX: Final = 4096  # distinct paths of a store's templates, which are few


def check_body(
    body: Body, *, content_type: str, schema: Schema, partials: Mapping[str, str] = NO_NAMES
) -> tuple[TemplateFault, ...]:
    """Every fault of a body, in order. `schema` is the JSON Schema (2020-12) of the events that it is rendered with,
    `partials` are the texts that `{{> name}}` may name."""
    if isinstance(body, str):
        return tuple(_check_text(body, schema, is_json=is_json_type(content_type), partials=partials))
    faults = [] if is_json_type(content_type) else [mapping_fault(content_type)]
    for item in outline(body):
        if isinstance(item, TemplateFault):
            faults.append(item)
        elif isinstance(item, Leaf):
            faults += _check_text(item.text, schema, is_json=True, leaf=item, partials=partials)
    return tuple(faults)


def _check_text(
    text: str, schema: Schema, *, is_json: bool, partials: Mapping[str, str], leaf: Leaf | None = None
) -> list[TemplateFault]:
    faults = told_at_a_glance(text, schema, is_json=is_json, is_leaf=leaf is not None)
    if faults is None:
        return read_text(text, schema, is_json=is_json, leaf=leaf, partials=partials)
    return [replace(fault, path=leaf.path) for fault in faults] if leaf else faults


def told_at_a_glance(text: str, schema: Schema, *, is_json: bool, is_leaf: bool) -> list[TemplateFault] | None:
    """The warnings of a template that needs no reading, since it has only fields that the schema knows, where text may
    stand; None for any other."""
    seen = glance(text)
    if seen is None:
        return None
    faults = {field: _field_faults(field, _Same(schema)) for field in seen.fields}
    if any(fault.is_error for found in faults.values() for fault in found):
        return None
    if is_json and not (seen.is_plain_string if is_leaf else seen.is_json):
        return None
    source = Source(text)
    doubtful = {field for field, found in faults.items() if found}
    moved = (
        _moved(fault, *source.locate(offset + fault.column - len("{{") - 1))
        for field, offset in places_of(text, doubtful)
        for fault in faults[field]
    )
    return list(islice(moved, FAULTS_MAX))


def _moved(fault: TemplateFault, line: int, column: int) -> TemplateFault:
    return replace(fault, line=line, column=column, end_column=column + fault.end_column - fault.column)


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """A schema, to be looked up by its identity."""

    schema: Schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.schema is other.schema

    def __hash__(self) -> int:
        return id(self.schema)


@lru_cache(maxsize=FIELDS_MAX)
def _field_faults(field: str, same: _Same) -> tuple[TemplateFault, ...]:
    """The faults of a field wherever text may stand: judged once for all templates."""
    return tuple(read_text(f"{{{{{field}}}}}", same.schema, is_json=False))


def read_text(
    text: str,
    schema: Schema,
    *,
    is_json: bool,
    leaf: Leaf | None = None,
    partials: Mapping[str, str] = NO_NAMES,
) -> list[TemplateFault]:
    """Every fault of a template, found by reading it in full."""
    parsed, root = parse(text), Context()
    resolved = resolve(parsed, partials, root)
    faults = [*parsed.faults, *resolved.faults]
    faults += islice(path_faults(resolved.body, root, schema), FAULTS_MAX)
    if is_json and resolved.is_whole and not parsed.faults:
        layout = leaf_layout(resolved.body) if leaf else document_layout(resolved.body)
        faults += layout.faults
    faults = sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column))
    return [replace(fault, path=leaf.path) for fault in faults] if leaf else faults
