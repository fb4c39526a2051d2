"""private_key_jwt: the key that a secret holds, and the assertion it signs for a token endpoint (RFC 7523).

Called by `egress.auth` for each token and by `dispatch.ready` to see beforehand whether a key can be used. The home of
joserfc on the sending side, imported when the first key is read. No message quotes a key.
"""

import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from reconciler.egress.pem import is_encrypted, labels, pem_text
from reconciler.models.credential import OAuth2

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

ASSERTION_SECONDS: Final = 300  # how long an assertion holds; servers take at most an hour (Okta), some far less
RSA_MIN_BITS: Final = 2048  # RFC 7518, section 3.3
KEYS_MAX: Final = 1024  # kept parsed
PRIVATE_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "k")  # of a JWK (RFC 7518, section 6)

_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}  # RFC 7518, section 3.4


class KeyUnusableError(ValueError):
    """Why a secret is no key that can sign: for people, never with a part of the key."""


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """A private key that fits its algorithm. `fact` tells people which: "RSA, 2048 bits"."""

    key: "RSAKey | ECKey"
    algorithm: str
    fact: str
    own_id: str | None  # the `kid` inside a JWK

    @property
    def thumbprint(self) -> str:
        """The SHA-256 of the public key (RFC 7638), by which people compare it with what they registered."""
        return self.key.thumbprint()

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """The JWT in its compact form (RFC 7519)."""
        from joserfc import jwt

        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])


def assertion_header(oauth2: OAuth2) -> dict[str, Any]:
    """What the assertion says of itself."""
    return {"alg": oauth2.algorithm, "kid": oauth2.key_id, "typ": "JWT"}


def assertion_claims(oauth2: OAuth2, *, audience: str, now: int, unique: str) -> dict[str, Any]:
    """What the assertion claims (RFC 7523, section 3); `now` in seconds since the epoch, `unique` unlike any
    before.
    """
    return {
        "iss": oauth2.client_id,
        "sub": oauth2.client_id,
        "aud": audience,
        "jti": unique,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
    }


@lru_cache(maxsize=KEYS_MAX)
def load_key(text: str, algorithm: str) -> AssertionKey:
    """The private key in PEM or JWK, line ends as they are or as backslash and n. Raises KeyUnusableError where it is
    none, or none for the algorithm."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    wanted = ECKey if algorithm in _CURVES else RSAKey
    material = _material(text, wanted.key_type)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joserfc warns of short keys, which are refused below
            key = wanted.import_key(material)
            _judge_strength(key, algorithm)
    except KeyUnusableError:
        raise
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        kind = "JWK" if isinstance(material, dict) else "PEM"
        raise KeyUnusableError(f"the {kind} cannot be read as a key for {algorithm}") from None
    fact = f"RSA, {_bits(key)} bits" if wanted is RSAKey else f"EC, {_CURVES[algorithm]}"
    own_id = material.get("kid") if isinstance(material, dict) else None
    return AssertionKey(key, algorithm, fact, own_id if isinstance(own_id, str) else None)


def private_parts(text: str) -> tuple[str, ...]:
    """The spellings of a key, beside its own, that must not be seen: the members of a JWK, PEM with other line ends."""
    if not _looks_like_json(text):
        whole = pem_text(text)
        body = "".join(line for line in whole.split("\n") if not line.startswith("-----"))
        return tuple(part for part in (whole, whole.replace("\n", "\\n"), body) if len(part) > 32)
    try:
        found = _read_json(text)
    except KeyUnusableError:
        return ()
    return tuple(value for name in PRIVATE_MEMBERS if isinstance(value := found.get(name), str) and len(value) > 8)


def _material(text: str, key_type: str) -> str | dict[str, Any]:
    """What joserfc reads: PEM, or a JWK. Raises KeyUnusableError for what is plainly something else."""
    if _looks_like_json(text):
        found = _read_json(text)
        if "keys" in found:
            raise KeyUnusableError("it is a set of keys (JWKS): give the one private key of it")
        if not isinstance(found.get("d"), str):
            raise KeyUnusableError("it is a public JWK: give the private one, which has a member `d`")
        if found.get("kty") != key_type:
            raise KeyUnusableError(f"it is a key of type {str(found.get('kty'))[:8]}, the algorithm wants {key_type}")
        return found
    pem = pem_text(text)
    found_labels = labels(pem)
    if not found_labels:
        raise KeyUnusableError("it is neither PEM, which begins with -----BEGIN, nor a JWK, which begins with {")
    if is_encrypted(pem):
        raise KeyUnusableError("the key has a passphrase; store it without one")
    if not any(label.endswith("PRIVATE KEY") for label in found_labels):
        raise KeyUnusableError(f"it holds no private key, but {', '.join(sorted(set(found_labels)))}")
    return pem


def _looks_like_json(text: str) -> bool:
    return text.strip().strip("'").startswith("{")


def _read_json(text: str) -> dict[str, Any]:
    stripped = text.strip().strip("'")
    for candidate in (stripped, stripped.replace("\\n", "\n").replace('\\"', '"')):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    raise KeyUnusableError("it begins like a JWK, but is not JSON")


def _judge_strength(key: Any, algorithm: str) -> None:
    if algorithm in _CURVES:
        if key.curve_name != _CURVES[algorithm]:
            raise KeyUnusableError(f"its curve is {key.curve_name}, {algorithm} wants {_CURVES[algorithm]}")
    elif _bits(key) < RSA_MIN_BITS:
        raise KeyUnusableError(f"it has {_bits(key)} bits, fewer than {RSA_MIN_BITS} (RFC 7518, section 3.3)")


def _bits(key: Any) -> int:
    return int(key.private_key.key_size)
