"""Documents as YAML that people like to read and that loads as the same: long texts as literal blocks, keys in the
schema's order, quotes where YAML parsers would disagree.

Used by `webhooks show` and, with `export`, to write manifests.
"""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from reconciler.manifest import scalar
from reconciler.models.fault import SECRET_FIELDS

KEY_ORDER: Final = ("apiVersion", "kind", "metadata", "spec")
SPEC_ORDER: Final = ("status", "method", "url", "headers", "query", "triggers", "filters", "when", "body_template")


class _Dumper(yaml.SafeDumper):
    """Block style, lists indented under their key, no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_long = "\n" in text and all(line == line.rstrip(" ") for line in text.split("\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if is_long else _quote(text))


def _quote(text: str) -> str | None:
    """Single quotes for a text that would not be one to every parser; PyYAML adds those of its own."""
    try:
        return None if scalar.resolve(text) == text else "'"
    except scalar.ScalarError:
        return "'"


_Dumper.add_representer(str, _represent_text)


def dump_document(document: Mapping[str, Any]) -> str:
    """A stored document as a manifest; loads as the same webhook."""
    ordered = {key: document[key] for key in KEY_ORDER if key in document}
    if isinstance(ordered.get("metadata"), Mapping):
        ordered["metadata"] = _escaped(ordered["metadata"])
    if isinstance(ordered.get("spec"), Mapping):
        ordered["spec"] = _ordered(ordered["spec"])
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _ordered(spec: Mapping[str, Any]) -> dict[str, Any]:
    keys = (*(key for key in SPEC_ORDER if key in spec), *(key for key in spec if key not in SPEC_ORDER))
    return {key: spec[key] if key in SECRET_FIELDS else _escaped(spec[key]) for key in keys}


def _escaped(value: Any) -> Any:
    """A value that no secret is put into, its literal `${` as a manifest writes it."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
