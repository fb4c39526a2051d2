"""Documents as YAML that people like to read: long texts as literal blocks, keys in the schema's order.

Used by `webhooks show` and, with `export`, to write manifests.
"""

from collections.abc import Mapping
from typing import Any, Final

import yaml

KEY_ORDER: Final = ("apiVersion", "kind", "metadata", "spec")
SPEC_ORDER: Final = ("status", "method", "url", "headers", "query", "triggers", "filters", "when", "body_template")


class _Dumper(yaml.SafeDumper):
    """Block style, lists indented under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_long = "\n" in text and all(line == line.rstrip(" ") for line in text.split("\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if is_long else None)


_Dumper.add_representer(str, _represent_text)


def dump_document(document: Mapping[str, Any]) -> str:
    """One document as YAML; reads back as the same value."""
    ordered = {key: document[key] for key in KEY_ORDER if key in document}
    if isinstance(ordered.get("spec"), Mapping):
        ordered["spec"] = _ordered(ordered["spec"])
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _ordered(spec: Mapping[str, Any]) -> dict[str, Any]:
    first = {key: spec[key] for key in SPEC_ORDER if key in spec}
    return {**first, **{key: spec[key] for key in spec if key not in first}}
