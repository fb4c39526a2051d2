"""Documents as manifests that people like to read and that load as the same: long texts as literal blocks, keys in the
schema's order, quotes where YAML parsers would disagree.

Used by `webhooks show`, `show`, `export` and `import`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from reconciler.manifest.emit import yaml_text
from reconciler.models.fault import SECRET_FIELDS

SCHEMA_LINE: Final = "# yaml-language-server: $schema=../schemas/manifest.schema.json\n"
KEY_ORDER: Final = ("apiVersion", "kind", "metadata", "spec")


def dump_document(document: Mapping[str, Any]) -> str:
    """A stored document as a manifest; loads as the same webhook. `document` is `Webhook.document()`, a part of it, or
    that of a project; metadata and spec keep their order."""
    return yaml_text(as_written(document))


def dump_manifests(documents: Iterable[Mapping[str, Any]]) -> str:
    """Documents as one file, with the line by which editors find the schema."""
    return SCHEMA_LINE + "---\n".join(dump_document(document) for document in documents)


def as_written(document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored document as a manifest says it: where no secret can stand, a literal `${` is escaped."""
    ordered = {key: document[key] for key in KEY_ORDER if key in document}
    if isinstance(ordered.get("metadata"), Mapping):
        ordered["metadata"] = _escaped(ordered["metadata"])
    if isinstance(ordered.get("spec"), Mapping):
        spec = ordered["spec"]
        ordered["spec"] = {key: spec[key] if key in SECRET_FIELDS else _escaped(spec[key]) for key in spec}
    return ordered


def _escaped(value: Any) -> Any:
    """A value that no secret is put into, its literal `${` as a manifest writes it."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value
