"""PEM as it comes out of variables and files: made whole again, and told apart by its labels (RFC 7468). Pure.

Called by `egress.identity`, `egress.assertion` and `egress.certificate`. No message quotes what is inside.
"""

import re
from typing import Final

_LABEL: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----")


class PemError(ValueError):
    """Why a text is not the PEM that is wanted; never quotes it."""


def pem_text(text: str) -> str:
    """The text with the line ends that a variable has as backslash and n, and without quotes around it."""
    text = text.strip().strip("\"'")
    if "\n" not in text:
        text = text.replace("\\r", "").replace("\\n", "\n")
    return text


def labels(text: str) -> tuple[str, ...]:
    """The labels of the PEM blocks in a text, in order: CERTIFICATE, PRIVATE KEY, RSA PRIVATE KEY …"""
    return tuple(_LABEL.findall(text))


def is_encrypted(text: str) -> bool:
    """Whether a private key in it wants a passphrase."""
    return "ENCRYPTED PRIVATE KEY" in labels(text) or "Proc-Type: 4,ENCRYPTED" in text


def refuse_wrong_kind(text: str, wanted: str) -> None:
    """Raise PemError unless a block's label ends in `wanted`, saying what the text is instead."""
    found = labels(text)
    if any(label.endswith(wanted) for label in found):
        if wanted.endswith("KEY") and is_encrypted(text):
            raise PemError("the key has a passphrase; store it without one, as the binding's source keeps it safe")
        return
    if not found:
        raise PemError("it has no line that begins with -----BEGIN")
    raise PemError(f"it holds {', '.join(sorted(set(found)))}")
