"""What must not be shown although it stands in a document: literals that look like secrets.

Called by everything that shows or keeps parts of a plan. A manifest with such a literal is refused before it gets
here; a store may still hold one from elsewhere. References, `${secret:name}`, are no secrets and are shown.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.models.url import is_secret_name
from reconciler.plan.diff import Document, Path

MASK: Final = "(sensitive value)"  # Terraform's words

TOKEN_LENGTH: Final = 64  # the form of Okta's client tokens

_TOKEN: Final = re.compile(rf"(?<![0-9A-Za-z])[0-9a-fA-F]{{{TOKEN_LENGTH}}}(?![0-9A-Za-z])")
_PARAMETER: Final = re.compile(r"([?&]([^=&#]*)=)([^&#]*)")
_REFERENCES: Final = ("${secret:", "{{")  # what the manifest put there for a value to come


def shown(path: Path, value: Any) -> Any:
    """A value as people and files may see it; `path` leads to it from the document's root."""
    # 1. a text, which comes first since most are, 2. a mapping, 3. a list, 4. a number, a boolean or nothing
    if isinstance(value, str):
        return _shown_text(path, value)
    if isinstance(value, dict | Mapping):
        return {key: shown((*path, key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(path, item) for item in value]
    return value


def shown_document(document: Document) -> dict[str, Any]:
    """A whole document, masked."""
    return {key: shown((key,), value) for key, value in document.items()}


def _shown_text(path: Path, value: str) -> str:
    if path and _is_secret(path[-1], value):
        return MASK
    if path == ("spec", "url"):
        value = _PARAMETER.sub(lambda match: match[1] + (MASK if _is_secret(match[2], match[3]) else match[3]), value)
    return _TOKEN.sub(MASK, value) if len(value) >= TOKEN_LENGTH else value


def _is_secret(name: str, value: str) -> bool:
    return (is_secret_name(name) or name == "key") and not any(mark in value for mark in _REFERENCES)
