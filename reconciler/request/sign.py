"""Standard Webhooks signatures: which keys sign now, and the headers that they make of exactly the bytes sent.

Called by `dispatch` just before a request is sent, by what shows webhooks, and by `reconciler signing`. Pure: `now` is
an argument in milliseconds since the epoch. No message ever holds a part of a key.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from reconciler.errors import SecretError
from reconciler.models.credential import Signing, SigningKey
from reconciler.models.webhook import fill_secrets, secret_names
from reconciler.request.draft import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from reconciler.request.render import Prepared

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SECRET_PREFIX: Final = "whsec_"  # a shared secret, v1
PRIVATE_PREFIX: Final = "whsk_"  # an ed25519 private key, v1a
PUBLIC_PREFIX: Final = "whpk_"  # an ed25519 public key, with which receivers verify v1a
SECRET_MIN_BYTES: Final = 24  # Standard Webhooks 1.0.0, "Symmetric": between 24 and 64 bytes
SECRET_MAX_BYTES: Final = 64
_BLOCK_BYTES: Final = hashlib.sha256().block_size  # a key of more would have to be hashed first (RFC 2104)
assert SECRET_MAX_BYTES <= _BLOCK_BYTES
ED25519_BYTES: Final = 32  # of a seed, and of a public key (RFC 8032, section 5.1.5)
KEYS_KEPT: Final = 256  # parsed; webhooks of one team often sign by the same
NAMELESS: Final = "signing"  # stands for a secret's name where a stored key names none
KEY_HINT: Final = "make one with `reconciler signing keygen`"

_PEM_START: Final = "-----BEGIN "


class KeyTextError(ValueError):
    """A text is no key; the message says what is wrong with it and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """Signs as v1: HMAC-SHA256 (RFC 2104) by two digests that have taken the padded key; half of what hmac.digest
    takes, which also gives away the interpreter's lock. The key is no longer than a block."""

    secret: bytes
    _inner: "hashlib._Hash" = field(init=False, repr=False, compare=False)
    _outer: "hashlib._Hash" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        key = self.secret.ljust(_BLOCK_BYTES, b"\0")
        object.__setattr__(self, "_inner", hashlib.sha256(key.translate(hmac.trans_36)))
        object.__setattr__(self, "_outer", hashlib.sha256(key.translate(hmac.trans_5C)))

    def sign(self, content: bytes) -> str:
        """The entry of `webhook-signature`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(content)
        outer.update(inner.digest())
        return f"v1,{_base64(outer.digest())}"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Signs as v1a: ed25519."""

    key: "Ed25519PrivateKey"

    def sign(self, content: bytes) -> str:
        """The entry of `webhook-signature`."""
        return f"v1a,{_base64(self.key.sign(content))}"

    def public_text(self) -> str:
        """The public key as receivers are given it: `whpk_…`."""
        return PUBLIC_PREFIX + _base64(self.key.public_key().public_bytes_raw())


Signer = SharedSecret | PrivateKey


def signed(
    prepared: Prepared, shown: Prepared, signing: Signing | None, *, secrets: Mapping[str, str], now: int
) -> tuple[Prepared, Prepared]:
    """The request with its signatures, and the same as people are shown it: a signature is no secret.

    The signatures are those of the bytes sent, so that they do not fit a shown body in which a secret is masked.
    Unsigned where the webhook does not sign. Raises SecretError where no key is valid now or a key is none: a webhook
    that signs sends nothing unsigned.
    """
    if signing is None:
        return prepared, shown
    headers = signature_headers(signers_of(signing, secrets, now=now), prepared, now=now)
    with_them = _with_headers(prepared, headers)
    return with_them, with_them if shown is prepared else _with_headers(shown, headers)


def _with_headers(request: Prepared, headers: tuple[tuple[str, str], ...]) -> Prepared:
    return Prepared(request.method, request.url, request.headers + headers, request.body)


def signature_headers(signers: Sequence[Signer], prepared: Prepared, *, now: int) -> tuple[tuple[str, str], ...]:
    """The timestamp, and a signature by each of the signers, in their order."""
    message_id = next(value for name, value in prepared.headers if name == ID_HEADER)
    timestamp, signatures = signatures_of(signers, message_id, prepared.body or b"", now=now)
    return (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, signatures)


def signatures_of(signers: Sequence[Signer], message_id: str, body: bytes, *, now: int) -> tuple[str, str]:
    """The values of the two headers: the timestamp, and a signature by each of the signers, in their order."""
    timestamp = str(now // 1000)
    content = signed_content(message_id, timestamp, body)
    if len(signers) == 1:
        return timestamp, signers[0].sign(content)
    return timestamp, " ".join([signer.sign(content) for signer in signers])


def signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    """What is signed: id, timestamp in seconds and body, joined by full stops."""
    return f"{message_id}.{timestamp}.".encode() + body


def signers_of(signing: Signing, secrets: Mapping[str, str], *, now: int) -> tuple[Signer, ...]:
    """Every key whose window is open now. Raises SecretError where there is none, where a secret has no value, or where
    a value is no key; of a key that does not sign yet the value is not asked for."""
    open_keys = [key for key in signing.keys if key.is_open(now)]
    if not open_keys:
        hint = "add a key to `signing.keys` whose window is open; deliveries wait for it"
        name = min(secret_names([key.key for key in signing.keys]), default=NAMELESS)
        raise SecretError(f"nothing is sent unsigned: {_why_none(signing, now)}", name=name, hint=hint)
    return tuple(_signer(key, secrets) for key in open_keys)


def next_change(signing: Signing, *, now: int) -> int | None:
    """When a window next opens or closes; None: never."""
    return min((at for key in signing.keys for at in (key.opens_at, key.closes_at) if at and at > now), default=None)


@lru_cache(maxsize=KEYS_KEPT)
def parse_signer(text: str) -> Signer:
    """A key as people write it: whsec_, whsk_ or PEM. Raises KeyTextError."""
    if text.startswith(SECRET_PREFIX):
        secret = _decoded(text.removeprefix(SECRET_PREFIX))
        if not SECRET_MIN_BYTES <= len(secret) <= SECRET_MAX_BYTES:
            bounds = f"{SECRET_MIN_BYTES} to {SECRET_MAX_BYTES}"
            raise KeyTextError(f"it has {len(secret)} bytes after {SECRET_PREFIX}, not {bounds}")
        return SharedSecret(secret)
    if text.startswith(PRIVATE_PREFIX):
        return PrivateKey(_private_key(_decoded(text.removeprefix(PRIVATE_PREFIX))))
    if text.startswith(_PEM_START):
        return PrivateKey(_from_pem(text))
    if text.startswith(PUBLIC_PREFIX):
        raise KeyTextError(f"it is a public key ({PUBLIC_PREFIX}), which cannot sign")
    raise KeyTextError(f"it begins with neither {SECRET_PREFIX} nor {PRIVATE_PREFIX}, and is no PEM")


def parse_public_key(text: str) -> "Ed25519PublicKey":
    """A public key as receivers are given it: `whpk_…`. Raises KeyTextError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = _decoded(text.removeprefix(PUBLIC_PREFIX))
    if len(raw) != ED25519_BYTES:
        raise KeyTextError(f"it has {len(raw)} bytes after {PUBLIC_PREFIX}, not {ED25519_BYTES}")
    return Ed25519PublicKey.from_public_bytes(raw)


def secret_text(secret: bytes) -> str:
    """A shared secret as it is written."""
    return SECRET_PREFIX + _base64(secret)


def private_text(seed: bytes) -> str:
    """An ed25519 private key as it is written: the seed and the public key, as Svix does."""
    public = _private_key(seed).public_key().public_bytes_raw()
    return PRIVATE_PREFIX + _base64(seed + public)


def _signer(key: SigningKey, secrets: Mapping[str, str]) -> Signer:
    name = min(secret_names(key.key), default=NAMELESS)
    try:
        return parse_signer(fill_secrets(key.key, secrets))
    except KeyError as exc:
        raise SecretError(f"the secret has no value: {exc.args[0]}", name=str(exc.args[0])) from None
    except KeyTextError as exc:
        raise SecretError(f"secret `{name}` is no signing key: {exc}", name=name, hint=KEY_HINT) from None


def _why_none(signing: Signing, now: int) -> str:
    begins = [key for key in signing.keys if key.opens_at is not None and key.opens_at > now]
    if begins:
        return f"the next signing key begins at {min(begins, key=_opening).not_before}"
    return f"the last signing key ended at {max(signing.keys, key=_closing).not_after}"


def _opening(key: SigningKey) -> int:
    return key.opens_at or 0


def _closing(key: SigningKey) -> int:
    return key.closes_at or 0


def _private_key(raw: bytes) -> "Ed25519PrivateKey":
    """From a seed, or a seed with its public key behind it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if len(raw) not in (ED25519_BYTES, 2 * ED25519_BYTES):
        raise KeyTextError(f"it has {len(raw)} bytes after {PRIVATE_PREFIX}, not 32 or 64")
    key = Ed25519PrivateKey.from_private_bytes(raw[:ED25519_BYTES])
    if raw[ED25519_BYTES:] not in (b"", key.public_key().public_bytes_raw()):
        raise KeyTextError("its second half is not the public key of its first")
    return key


def _from_pem(text: str) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = text if "\n" in text else text.replace("\\n", "\n")  # as variables of the environment often hold it
    try:
        key = load_pem_private_key(pem.encode("utf-8"), password=None)
    except TypeError:
        raise KeyTextError("its PEM is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyTextError("its PEM holds no private key that can be read") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyTextError("its PEM holds a key of another kind than ed25519")
    return key


def _decoded(text: str) -> bytes:
    """Base64, with or without its padding."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise KeyTextError("what follows its prefix is not Base64") from None


def _base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")
