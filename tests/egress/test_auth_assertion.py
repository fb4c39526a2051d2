"""The key behind private_key_jwt: how people give it, what it signs, and what is said of one that cannot."""

import base64
import json
import warnings

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey, RSAKey
from oauth_room import jwk_text, private_pem, public_pem

from reconciler.egress.assertion import KeyUnusableError, load_key, private_parts

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KINDS = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")


def verify(token: str, private: str, algorithm: str) -> dict[str, object]:
    """The claims, verified by cryptography alone (RFC 7515, appendix A.3; RFC 7518, section 3.4)."""
    head, body, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    signed = token.rpartition(".")[0].encode()
    key = serialization.load_pem_private_key(private.encode(), None).public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), HASHES[algorithm[2:]])
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        half = len(signature) // 2
        pair = (int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
        key.verify(encode_dss_signature(*pair), signed, ec.ECDSA(HASHES[algorithm[2:]]))
    assert json.loads(head)["alg"] == algorithm
    claims: dict[str, object] = json.loads(body)
    return claims


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("spelling", ["pem", "escaped", "quoted", "crlf", "jwk", "pretty jwk", "escaped jwk"])
def test_a_key_signs_however_it_is_given(algorithm: str, spelling: str) -> None:
    """PEM and JWK, with the line ends that variables and editors make of them."""
    pem = private_pem(KINDS.get(algorithm, "RSA"))
    jwk = jwk_text(pem, ECKey if algorithm in KINDS else RSAKey)
    text = {
        "pem": pem,
        "escaped": pem.replace("\n", "\\n"),
        "quoted": '"' + pem.replace("\n", "\\n") + '"',
        "crlf": pem.replace("\n", "\r\n"),
        "jwk": jwk,
        "pretty jwk": json.dumps(json.loads(jwk), indent=2),
        "escaped jwk": jwk.replace('"', '\\"'),
    }[spelling]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token = load_key(text, algorithm).sign({"alg": algorithm, "kid": "k1"}, {"iss": "me"})

    assert verify(token, pem, algorithm) == {"iss": "me"}
    with pytest.raises(InvalidSignature):
        verify(token, private_pem(KINDS.get(algorithm, "RSA"), which=1), algorithm)


def weak_pem() -> str:
    """An RSA key of 1024 bits."""
    key = rsa.generate_private_key(65537, 1024)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def encrypted_pem() -> str:
    """A key with a passphrase."""
    key = serialization.load_pem_private_key(private_pem().encode(), None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pass")
    ).decode()


BAD = {
    "a password": ("correct horse battery staple", "RS256", "neither PEM"),
    "public": (public_pem(private_pem()), "RS256", "no private key, but PUBLIC KEY"),
    "public jwk": (json.dumps(RSAKey.import_key(public_pem(private_pem())).as_dict()), "RS256", "member `d`"),
    "jwks": (json.dumps({"keys": []}), "RS256", "JWKS"),
    "half json": ('{"kty": "RSA"', "RS256", "not JSON"),
    "RSA for ES": (private_pem(), "ES256", "PEM cannot be read as a key for ES256"),
    "EC for RS": (private_pem("P-256"), "RS256", "PEM cannot be read as a key for RS256"),
    "RSA jwk for ES": (jwk_text(private_pem(), RSAKey), "ES256", "type RSA, the algorithm wants EC"),
    "another curve": (private_pem("P-521"), "ES256", "curve is P-521, ES256 wants P-256"),
    "weak": (weak_pem(), "RS256", "1024 bits"),
    "passphrase": (encrypted_pem(), "RS256", "passphrase"),
    "broken": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "RS256", "cannot be read"),
    "certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "RS256", "but CERTIFICATE"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_key_that_cannot_sign_is_explained_and_not_quoted(name: str) -> None:
    """What it is, or what is missing; never a part of it."""
    text, algorithm, fact = BAD[name]

    with pytest.raises(KeyUnusableError) as caught:
        load_key(text, algorithm)

    assert fact in str(caught.value)
    assert not any(len(line) > 16 and line in str(caught.value) for line in text.split("\n"))


def test_every_private_member_of_a_jwk_is_known_as_a_secret() -> None:
    """Whoever echoes one of them, gives the key away."""
    jwk = json.loads(jwk_text(private_pem(), RSAKey))

    parts = private_parts(json.dumps(jwk))

    assert set(parts) == {jwk[name] for name in ("d", "p", "q", "dp", "dq", "qi")}
    assert jwk["n"] not in parts
