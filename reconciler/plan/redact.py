"""What must not be shown although it stands in a document: literals that look like secrets.

Called by everything that shows or keeps parts of a plan. A manifest with such a literal is refused before it gets
here; a store may still hold one from elsewhere. References, `${secret:name}`, are no secrets and are shown.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from reconciler.models.url import is_secret_name
from reconciler.plan.diff import Absent, Document, Path

MASK: Final = "(sensitive value)"  # Terraform's words

TOKEN_LENGTH: Final = 64  # the form of Okta's client tokens

_TOKEN: Final = re.compile(rf"(?<![0-9A-Za-z])[0-9a-fA-F]{{{TOKEN_LENGTH}}}(?![0-9A-Za-z])")
STRIDE: Final = 8
_TOKEN_SAMPLE: Final = re.compile(rf"[0-9a-fA-F]{{{TOKEN_LENGTH // STRIDE}}}")
_PARAMETER: Final = re.compile(r"([?&]([^=&#]*)=)([^&#]*)")
_REFERENCES: Final = ("${secret:", "{{")  # what the manifest put there for a value to come
_URL_PATH: Final[Path] = ("spec", "url")
_PLAIN: Final = frozenset((int, float, bool, type(None), Absent))


def shown(path: Path, value: Any) -> Any:
    """A value as people and files may see it; `path` leads to it from the document's root."""
    # 1. a text, which comes first since most are, 2. a number, a boolean or nothing, 3. a mapping, 4. a list; a plan of
    # ten thousand webhooks asks half a million times, so the usual kinds are told without isinstance
    kind = value.__class__
    if kind is str or isinstance(value, str):
        return _shown_text(path, value)
    if kind in _PLAIN:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: item if _is_harmless(key, item) else shown((*path, key), item) for key, item in value.items()}
    if kind is list or isinstance(value, list | tuple):
        key = path[-1] if path else ""
        return [item if _is_harmless(key, item) else shown(path, item) for item in value]
    return value


def shown_document(document: Document) -> dict[str, Any]:
    """A whole document, masked."""
    return {key: shown((key,), value) for key, value in document.items()}


def _shown_text(path: Path, value: str) -> str:
    if path and _names_secret(path[-1]) and not _is_reference(value):
        return MASK
    if path == _URL_PATH and ("?" in value or "&" in value):
        value = _PARAMETER.sub(lambda match: match[1] + (MASK if _is_secret(match[2], match[3]) else match[3]), value)
    return _TOKEN.sub(MASK, value) if _may_hold_token(value) else value


def _may_hold_token(value: str) -> bool:
    """Nearly never: of each token, at least TOKEN_LENGTH / STRIDE characters in a row are among every STRIDE-th of the
    text, which are looked through in a tenth of the time."""
    return len(value) >= TOKEN_LENGTH and _TOKEN_SAMPLE.search(value[::STRIDE]) is not None


@lru_cache(maxsize=1024)  # nearly every webhook has the same
def _names_secret(name: str) -> bool:
    return is_secret_name(name) or name == "key"


def _is_harmless(key: str, item: Any) -> bool:
    """Whether what stands under a key is shown as it is, told without its path: nearly every text is short, and neither
    a URL nor under a name that bears a secret."""
    return item.__class__ is str and len(item) < TOKEN_LENGTH and key != "url" and not _names_secret(key)


def _is_secret(name: str, value: str) -> bool:
    return _names_secret(name) and not _is_reference(value)


def _is_reference(value: str) -> bool:
    return any(mark in value for mark in _REFERENCES)
