"""Verifies a signed request as a receiver does, and tells what is wrong: for people who debug a receiver. Pure.

Called by `reconciler signing verify`. Signatures are compared in constant time; no message holds a part of a key.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.request.draft import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from reconciler.request.sign import (
    PUBLIC_PREFIX,
    SharedSecret,
    parse_public_key,
    parse_signer,
    signed_content,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_SECONDS: Final = 300  # Standard Webhooks' libraries take timestamps of five minutes around now
MASKED_HINT: Final = "the body holds `***`: a record masks secrets, and a signature is that of what was sent"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One key a receiver knows, by the name that people gave it."""

    name: str
    key: "SharedSecret | Ed25519PublicKey"

    @property
    def scheme(self) -> str:
        """How its signatures begin."""
        return "v1" if isinstance(self.key, SharedSecret) else "v1a"

    def fits(self, signature: bytes, content: bytes) -> bool:
        """Whether the signature is this key's."""
        if isinstance(self.key, SharedSecret):
            return hmac.compare_digest(signature, hmac.digest(self.key.secret, content, "sha256"))
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a receiver would say. `key` and `scheme` are those of the signature that fits, also where the `problem` is
    another; `age_seconds` is how long ago it was signed; verified if there is no problem."""

    problem: str | None = None
    hint: str = ""
    key: str | None = None
    scheme: str | None = None
    age_seconds: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape of `signing verify --format json`."""
        return {
            "verified": self.problem is None,
            "key": self.key,
            "scheme": self.scheme,
            "age_seconds": self.age_seconds,
            "problem": self.problem,
            "hint": self.hint or None,
        }


def parse_verifying_key(name: str, text: str) -> VerifyingKey:
    """A key as people have it: whsec_, whpk_, or whsk_ and PEM for their public half. Raises KeyTextError."""
    if text.startswith(PUBLIC_PREFIX):
        return VerifyingKey(name, parse_public_key(text))
    signer = parse_signer(text)
    return VerifyingKey(name, signer if isinstance(signer, SharedSecret) else signer.key.public_key())


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Sequence[VerifyingKey],
    *,
    now: int,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> Verdict:
    """What a receiver with these keys says of a request at `now`, in seconds since the epoch.

    `headers` may be spelt in any case. A request is verified where one signature of one key fits and its timestamp is
    within `tolerance_seconds` of now (Standard Webhooks 1.0.0, "Verifying webhook authenticity").
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    missing = [name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if not said.get(name)]
    if missing:
        return Verdict(
            f"the request lacks {', '.join(missing)}", "was it signed at all, and are these all its headers?"
        )
    if not said[TIMESTAMP_HEADER].isascii() or not said[TIMESTAMP_HEADER].isdigit():
        return Verdict(f"webhook-timestamp is not a number of seconds: {said[TIMESTAMP_HEADER][:40]}")
    verdict = _compare(said, body, keys)
    age = now - int(said[TIMESTAMP_HEADER][:20])
    verdict = replace(verdict, age_seconds=age)
    if verdict.problem is None and abs(age) > tolerance_seconds:
        when = f"{age} s ago" if age > 0 else f"{-age} s ahead"
        problem = f"the signature fits, but it was made {when}; receivers take {tolerance_seconds:g} s"
        return replace(verdict, problem=problem, hint="compare the clocks of both sides; for an old record use `--at`")
    return verdict


def fitting_key(
    webhook_id: str, timestamp: str, signature: str, body: bytes, keys: Sequence[VerifyingKey]
) -> VerifyingKey | None:
    """The key that one of the signatures is of; every key is tried, whatever fits before. Says nothing of the time."""
    entries, _ = _signatures(signature)
    content = signed_content(webhook_id, timestamp, body)
    found = [key for key in keys for scheme, raw in entries if key.scheme == scheme and key.fits(raw, content)]
    return found[0] if found else None


def _compare(said: Mapping[str, str], body: bytes, keys: Sequence[VerifyingKey]) -> Verdict:
    entries, odd = _signatures(said[SIGNATURE_HEADER])

    def fitting(text: bytes) -> VerifyingKey | None:
        return fitting_key(said[ID_HEADER], said[TIMESTAMP_HEADER], said[SIGNATURE_HEADER], text, keys)

    if key := fitting(body):
        return Verdict(key=key.name, scheme=key.scheme)
    schemes = ", ".join(sorted({scheme for scheme, _ in entries})) or "none"
    problem = f"no signature fits: {len(entries)} of {schemes}, {len(keys)} key{'' if len(keys) == 1 else 's'}"
    if odd:
        return Verdict(f"{problem}; {odd} not of the form SCHEME,BASE64")
    if not {key.scheme for key in keys} & {scheme for scheme, _ in entries}:
        return Verdict(problem, "v1 is verified by a whsec_ key, v1a by a whpk_ key")
    return Verdict(problem, _why_not(body, (what for what, text in _likely_bodies(body) if fitting(text))))


def _why_not(body: bytes, fits_if: Iterable[str]) -> str:
    """A guess at what became of the body on its way."""
    for what in fits_if:
        return f"it fits the body {what}: verify the bytes as they arrived, before anything parses them"
    return MASKED_HINT if b"***" in body else "is it the key of this webhook, and the body byte for byte?"


def _likely_bodies(body: bytes) -> Iterable[tuple[str, bytes]]:
    """What editors, shells and frameworks make of a body, undone."""
    if body.endswith(b"\n"):
        yield "without its last line end", body.removesuffix(b"\n").removesuffix(b"\r")
    else:
        yield "with a line end behind it", body + b"\n"
    yield "with Unix line ends", body.replace(b"\r\n", b"\n")
    yield "with Windows line ends", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _signatures(text: str) -> tuple[list[tuple[str, bytes]], int]:
    """Scheme and bytes of each entry, and how many entries are none."""
    entries: list[tuple[str, bytes]] = []
    odd = 0
    for entry in text.split():
        scheme, comma, encoded = entry.partition(",")
        try:
            raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            comma = ""
        if comma:
            entries.append((scheme, raw))
        else:
            odd += 1
    return entries, odd
