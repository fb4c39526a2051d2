"""Secrets for the canary test, and the eyes that find any part of one in what the product leaves behind."""

import base64
import hashlib
import html
import json
import re
import string
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote_to_bytes

PART = 10  # characters in a row that are known again
STEP = 3  # places between two looks: of a secret that comes out, twelve characters in a row are found for certain
COMMON = 64  # characters that the PEM of all keys of one kind begins with
_HEX = re.compile(f"[0-9a-fA-F]{{{2 * PART},}}")
_CODE_POINT = re.compile(rb"\\+u([0-9a-fA-F]{4})")


def token(name: str) -> str:
    """A secret of letters, like no other's and like no id or time."""
    digest = hashlib.sha512(f"canary {name}".encode()).digest()
    return "".join(string.ascii_letters[byte % 52] for byte in digest[:40])


def odd(name: str) -> str:
    """A secret that escapes otherwise in JSON, URLs, HTML and Base64."""
    text = base64.b64encode(hashlib.sha256(f"odd canary {name}".encode()).digest()).decode().replace("/", "x")
    return f"{text[:8]}\"/+{text[8:18]}\\ <&'{text[18:28]}%2B=?#{text[28:40]}"


def body_of(pem: str) -> str:
    """Of a key in PEM what is its own."""
    return "".join(line for line in pem.splitlines() if line and "-----" not in line and ":" not in line)[COMMON:]


def forms(secret: str) -> Iterator[str]:
    """What programs make of a text on its way."""
    raw = secret.encode()
    in_json = json.dumps(secret)[1:-1]
    yield from (secret, secret.replace("\\", ""), in_json, json.dumps(in_json)[1:-1], repr(secret)[1:-1])
    yield from (quote(secret, safe=""), quote(secret), quote(secret, safe="*"), quote_plus(secret), html.escape(secret))
    for inner in {raw, in_json.encode(), quote(secret, safe="").encode()}:
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + inner).decode()[4:-4]
            yield from (encoded, encoded.replace("+", "-").replace("/", "_"), quote(encoded, safe=""))


class Eyes:
    """Finds the parts of secrets, given by name."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self._parts: dict[str, str] = {}
        self._hex_parts: dict[str, str] = {}
        for name, secret in secrets.items():
            self.learn(name, secret)

    def learn(self, name: str, secret: str) -> None:
        """Look for one more."""
        raw = secret.encode()
        for form in forms(secret):
            self._parts |= dict.fromkeys(_pieces(form, PART), name)
        for code in (raw.hex(), raw.hex().upper()):
            self._hex_parts |= dict.fromkeys(_pieces(code, 2 * PART), name)

    def leaks(self, what: str | bytes) -> set[str]:
        """Which secrets come out of it, and by which part."""
        raw = what.encode() if isinstance(what, str) else what
        found: dict[str, str] = {}
        for text in _readings(raw):
            found |= {piece: self._parts[piece] for piece in _pieces(text, PART, STEP) if piece in self._parts}
            codes = (piece for code in _HEX.findall(text) for piece in _pieces(code, 2 * PART, STEP))
            found |= {piece: self._hex_parts[piece] for piece in codes if piece in self._hex_parts}
        return {f"{name} as {piece}" for piece, name in found.items()}


def _pieces(text: str, length: int, step: int = 1) -> Iterator[str]:
    return (text[at : at + length] for at in range(0, len(text) - length + 1, step))


def _readings(raw: bytes) -> Iterable[str]:
    """The text, and the text with escapes undone, in our own way."""
    text = raw.decode("latin-1")
    plain = _CODE_POINT.sub(lambda match: chr(int(match[1], 16)).encode("utf-8", "replace"), unquote_to_bytes(raw))
    undone = html.unescape(plain.decode("latin-1")).replace("\\", "")
    return (text,) if undone == text else (text, undone)
