"""What must not be shown although it stands in a document: literals that look like secrets.

Called by everything that shows or keeps parts of a plan. A manifest with such a literal is refused before it gets
here; a store may still hold one from elsewhere. References, `${secret:name}`, are no secrets and are shown.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.plan.diff import Document, Path

MASK: Final = "(sensitive value)"  # Terraform's words

_NAMES: Final = frozenset({"authorization", "proxy-authorization", "cookie", "clienttoken", "token", "password", "key"})
_ENDINGS: Final = ("-key", "-token", "-secret", "password")
_TOKEN: Final = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64}(?![0-9A-Za-z])")  # the form of Okta's client tokens
_REFERENCES: Final = ("${secret:", "{{")  # what the manifest put there for a value to come


def shown(path: Path, value: Any) -> Any:
    """A value as people and files may see it; `path` leads to it from the document's root."""
    if isinstance(value, Mapping):
        return {key: shown((*path, key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(path, item) for item in value]
    if not isinstance(value, str):
        return value
    if path and _is_secret_name(path[-1]) and not any(mark in value for mark in _REFERENCES):
        return MASK
    return _TOKEN.sub(MASK, value)


def shown_document(document: Document) -> dict[str, Any]:
    """A whole document, masked."""
    return {key: shown((key,), value) for key, value in document.items()}


def _is_secret_name(name: str) -> bool:
    spelt = name.lower().replace("_", "-")
    return spelt in _NAMES or spelt.endswith(_ENDINGS)
