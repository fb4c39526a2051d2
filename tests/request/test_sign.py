"""Standard Webhooks signatures (`request.sign`): vectors, keys, windows."""

import base64
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Receiver

from reconciler.errors import SecretError
from reconciler.models.credential import Signing
from reconciler.models.webhook import Webhook
from reconciler.request.render import Prepared
from reconciler.request.sign import (
    KeyTextError,
    PrivateKey,
    SharedSecret,
    next_change,
    parse_public_key,
    parse_signer,
    private_text,
    secret_text,
    signature_headers,
    signed,
    signers_of,
)

# The vectors of Standard Webhooks' libraries (v1) and of Svix's server (v1a)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
SEED = bytes(range(32))


def prepared(body: bytes | None = BODY, message_id: str = MESSAGE_ID) -> Prepared:
    return Prepared("POST", "https://hooks.example.com/in", (("webhook-id", message_id),), body)


def signing(*keys: dict[str, Any]) -> Signing:
    return Signing.model_validate({"keys": [{"key": "${secret:k}", **key} for key in keys]}, strict=False)


def headers_of(*keys: str, now: int = AT * 1000, request: Prepared | None = None) -> dict[str, str]:
    return dict(signature_headers([parse_signer(key) for key in keys], request or prepared(), now=now))


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=5_000))
def test_a_shared_secret_signs_by_hmac_sha256(secret: bytes, content: bytes) -> None:
    """As the standard library's own function has it, however long key and content are."""
    expected = base64.b64encode(hmac.digest(secret, content, "sha256")).decode()
    signer = SharedSecret(secret)

    assert signer.sign(content) == signer.sign(content) == f"v1,{expected}"


def test_the_vectors_of_the_specification_and_of_svix() -> None:
    """The same bytes under the same keys have the same signatures, in the order of the keys."""
    assert headers_of(SECRET) == {"webhook-timestamp": str(AT), "webhook-signature": V1}
    assert headers_of(PRIVATE) == {"webhook-timestamp": str(AT), "webhook-signature": V1A}
    assert headers_of(PRIVATE, SECRET)["webhook-signature"] == f"{V1A} {V1}"


def test_the_public_key_is_that_of_the_private_one() -> None:
    """What receivers are given verifies what was signed, as plain ed25519."""
    signer = parse_signer(PRIVATE)
    assert isinstance(signer, PrivateKey)
    assert signer.public_text() == PUBLIC

    content = f"{MESSAGE_ID}.{AT}.".encode() + BODY
    parse_public_key(PUBLIC).verify(base64.b64decode(V1A.removeprefix("v1a,")), content)


def test_the_timestamp_is_in_whole_seconds_and_signed() -> None:
    """Part of a second is cut, never rounded up: a receiver refuses the future."""
    assert headers_of(SECRET, now=AT * 1000 + 999) == headers_of(SECRET)
    assert headers_of(SECRET, now=AT * 1000 + 1000)["webhook-signature"] != V1


def test_a_request_without_a_body_is_signed_as_an_empty_one() -> None:
    assert headers_of(SECRET, request=prepared(None)) == headers_of(SECRET, request=prepared(b""))


@given(secret=st.binary(min_size=24, max_size=64), body=st.text(), message_id=st.from_regex(r"dlv_[0-9a-f]{32}"))
def test_what_we_sign_is_what_the_reference_library_signs(secret: bytes, body: str, message_id: str) -> None:
    """Law: for every secret and body the signature is that of the `standardwebhooks` package."""
    from datetime import UTC, datetime

    request = prepared(body.encode(), message_id)
    theirs = Receiver(secret_text(secret)).sign(message_id, datetime.fromtimestamp(AT, UTC), body)

    assert headers_of(secret_text(secret), request=request)["webhook-signature"] == theirs


@given(seed=st.binary(min_size=32, max_size=32))
def test_a_private_key_is_read_as_it_is_written(seed: bytes) -> None:
    signer = parse_signer(private_text(seed))

    assert isinstance(signer, PrivateKey)
    assert signer.key.private_bytes_raw() == seed


def test_keys_are_taken_in_every_usual_spelling() -> None:
    """Base64 with and without padding; a seed alone; PEM, also with escaped line ends, as variables often hold it."""
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    texts = [
        f"whsk_{base64.b64encode(SEED).decode()}",
        f"whsk_{base64.b64encode(SEED).decode().rstrip('=')}",
        private_text(SEED),
        pem,
        pem.replace("\n", "\\n"),
    ]

    assert {headers_of(text)["webhook-signature"] for text in texts} == {headers_of(texts[0])["webhook-signature"]}
    unpadded = base64.b64encode(b"x" * 25).decode().rstrip("=")
    assert parse_signer(f"whsec_{unpadded}") == SharedSecret(b"x" * 25)


def test_a_text_that_is_no_key_is_refused_without_showing_it() -> None:
    """Each reason names what is wrong; nothing of the text is in it."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    rsa_pem = other.private_bytes(*form, serialization.NoEncryption()).decode()
    locked = Ed25519PrivateKey.from_private_bytes(SEED).private_bytes(
        *form, serialization.BestAvailableEncryption(b"pw")
    )
    wrong_half = base64.b64encode(SEED + bytes(32)).decode()
    reasons = {
        "whsec_" + base64.b64encode(b"c4n4ry" * 3).decode(): "it has 18 bytes after whsec_, not 24 to 64",
        "whsec_" + base64.b64encode(b"c4n4ry" * 12).decode(): "it has 72 bytes after whsec_, not 24 to 64",
        "whsec_": "it has 0 bytes after whsec_, not 24 to 64",
        "whsec_c4n4ry!": "what follows its prefix is not Base64",
        "whsec_c4n4ry c4n4ry": "what follows its prefix is not Base64",
        "whsec_c4n4rÿ": "what follows its prefix is not Base64",
        "whsec_c": "what follows its prefix is not Base64",
        "c4n4ryc4n4ryc4n4ry": "it begins with neither whsec_ nor whsk_, and is no PEM",
        f"whsk_{base64.b64encode(b'c4n4ry' * 4).decode()}": "it has 24 bytes after whsk_, not 32 or 64",
        f"whsk_{wrong_half}": "its second half is not the public key of its first",
        PUBLIC: "it is a public key (whpk_), which cannot sign",
        "-----BEGIN PRIVATE KEY-----\nc4n4ry\n-----END": "its PEM holds no private key that can be read",
        locked.decode(): "its PEM is encrypted",
        rsa_pem: "its PEM holds a key of another kind than ed25519",
    }

    for text, reason in reasons.items():
        with pytest.raises(KeyTextError) as caught:
            parse_signer(text)
        assert str(caught.value) == reason


def test_every_key_whose_window_is_open_signs() -> None:
    """`not_before` opens, `not_after` closes, to the millisecond, whatever their offsets; in the manifest's order."""
    rotation = signing(
        {"key": "${secret:old}", "not_after": "2026-03-08T01:00:00+01:00"},
        {"key": "${secret:new}", "not_before": "2026-03-01T00:00:00Z"},
    )
    old, new = secret_text(b"o" * 24), secret_text(b"n" * 24)
    march_1, march_8 = 1_772_323_200_000, 1_772_928_000_000

    def open_at(now: int) -> list[bytes]:
        found = signers_of(rotation, {"old": old, "new": new}, now=now)
        return [signer.secret[:1] for signer in found if isinstance(signer, SharedSecret)]

    assert open_at(march_1 - 1) == [b"o"]
    assert open_at(march_1) == open_at(march_8 - 1) == [b"o", b"n"]
    assert open_at(march_8) == [b"n"]
    assert next_change(rotation, now=0) == march_1
    assert next_change(rotation, now=march_1) == march_8
    assert next_change(rotation, now=march_8) is None


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ([{"not_after": "2020-01-01T00:00:00Z"}], "the last signing key ended at 2020-01-01T00:00:00Z"),
        (
            [{"not_after": "2020-01-01T00:00:00Z"}, {"not_before": "2099-01-01T00:00:00Z"}],
            "the next signing key begins at 2099-01-01T00:00:00Z",
        ),
        ([{"not_before": "2099-01-01T00:00:00Z"}], "the next signing key begins at 2099-01-01T00:00:00Z"),
    ],
)
def test_without_a_valid_key_nothing_is_signed_and_the_reason_tells_when(keys: list[Any], why: str) -> None:
    with pytest.raises(SecretError) as caught:
        signers_of(signing(*keys), {"k": SECRET}, now=AT * 1000 + 10**12 // 5)

    assert caught.value.message == f"nothing is sent unsigned: {why}"


def test_a_value_that_is_no_key_is_told_by_its_name_only() -> None:
    with pytest.raises(SecretError) as caught:
        signers_of(signing({}), {"k": "c4n4ry-c4n4ry"}, now=0)

    assert caught.value.message.startswith("secret `k` is no signing key: it begins with neither whsec_")
    assert "signing keygen" in caught.value.hint
    assert "c4n4ry" not in f"{caught.value.message}{caught.value.hint}"


def test_what_people_are_shown_carries_the_signature_of_what_was_sent() -> None:
    """A signature is no secret; that of the masked body would help nobody."""
    sent, shown = prepared(b'{"token": "s3cr3t"}'), prepared(b'{"token": "***"}')

    signed_sent, signed_shown = signed(sent, shown, signing({}), secrets={"k": SECRET}, now=AT * 1000)

    assert signed_shown.headers == signed_sent.headers
    assert dict(signed_sent.headers) == {"webhook-id": MESSAGE_ID, **headers_of(SECRET, request=sent)}
    assert (signed_sent.body, signed_shown.body) == (sent.body, shown.body)


def test_a_webhook_without_signing_keeps_its_headers() -> None:
    assert signed(prepared(), prepared(), None, secrets={}, now=0) == (prepared(), prepared())


def test_a_secret_of_closed_windows_only_is_idle() -> None:
    """A key that has ended may be taken from the binding file, one that comes may still be missing there."""
    spec = {
        "url": "https://hooks.example.com/in",
        "triggers": ["Manual"],
        "headers": {"x-api-client-token": "${secret:shared}"},
        "signing": {
            "keys": [
                {"key": "${secret:old}", "not_after": "2020-01-01T00:00:00Z"},
                {"key": "${secret:shared}", "not_after": "2020-01-01T00:00:00Z"},
                {"key": "${secret:both}", "not_after": "2020-01-01T00:00:00Z"},
                {"key": "${secret:both}"},
                {"key": "${secret:next}", "not_before": "2099-01-01T00:00:00Z"},
            ]
        },
    }
    webhook = Webhook.model_validate({"metadata": {"name": "w"}, "spec": spec}, strict=False)

    assert webhook.idle_secrets(AT * 1000 + 10**12 // 5) == {"old", "next"}
    assert webhook.idle_secrets(0) == {"next"}


def test_a_public_key_of_another_length_is_refused() -> None:
    with pytest.raises(KeyTextError, match="it has 4 bytes after whpk_, not 32"):
        parse_public_key("whpk_AAAAAA==")
    assert isinstance(parse_public_key(PUBLIC), Ed25519PublicKey)
