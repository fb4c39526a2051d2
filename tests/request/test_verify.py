"""What a receiver says of a signed request (`request.verify`): the cases of Standard Webhooks' own libraries."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.request.render import Prepared
from reconciler.request.sign import parse_signer, private_text, secret_text, signature_headers
from reconciler.request.verify import MASKED_HINT, Verdict, parse_verifying_key, verify

SECRET = secret_text(b"s" * 32)
OTHER = secret_text(b"o" * 32)
PRIVATE = private_text(bytes(range(32)))
NOW = 1_800_000_000
BODY = b'{"a": 1}'


def signed(*keys: str, body: bytes = BODY, at: int = NOW) -> dict[str, str]:
    """The headers of a request signed by these keys."""
    request = Prepared("POST", "https://hooks.example.com/in", (("webhook-id", "dlv_1"),), body)
    made = signature_headers([parse_signer(key) for key in keys], request, now=at * 1000)
    return {"webhook-id": "dlv_1", **dict(made)}


def judge(headers: dict[str, str], *keys: str, body: bytes = BODY, **more: Any) -> Verdict:
    known = [parse_verifying_key(f"key {number}", key) for number, key in enumerate(keys, start=1)]
    return verify(headers, body, known, **{"now": NOW, **more})


def public(private: str) -> str:
    signer = parse_signer(private)
    return signer.public_text()  # type: ignore[union-attr]


@given(body=st.binary(), secret=st.binary(min_size=24, max_size=64), seed=st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_verified_by_each_of_its_keys_and_by_no_other(
    body: bytes, secret: bytes, seed: bytes
) -> None:
    """Law: for every body and key; a single changed bit is found."""
    shared, private = secret_text(secret), private_text(seed)
    headers = signed(shared, private, body=body)

    assert judge(headers, shared, body=body) == Verdict(key="key 1", scheme="v1", age_seconds=0)
    assert judge(headers, public(private), body=body) == Verdict(key="key 1", scheme="v1a", age_seconds=0)
    assert judge(headers, private, body=body).scheme == "v1a"
    assert judge(headers, secret_text(bytes([secret[0] ^ 1]) + secret[1:]), body=body).problem is not None
    assert judge(headers, shared, body=body + b" ").problem is not None


def test_the_key_that_fits_is_named_in_a_rotation() -> None:
    assert judge(signed(SECRET), OTHER, SECRET).key == "key 2"
    assert judge(signed(OTHER, SECRET), SECRET).key == "key 1"


def test_names_of_headers_may_be_spelt_in_any_case_and_signatures_unpadded() -> None:
    headers = {name.title(): value.rstrip("=") for name, value in signed(SECRET).items()}

    assert judge(headers, SECRET).problem is None


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = signed(SECRET)
    del headers[name]

    assert judge(headers, SECRET).problem == f"the request lacks {name}"


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "１８", "18000000000000000000000000000"])
def test_a_timestamp_that_is_none_is_refused(text: str) -> None:
    assert judge({**signed(SECRET), "webhook-timestamp": text}, SECRET).problem is not None


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [
        (300, None),
        (-300, None),
        (301, "the signature fits, but it was made 301 s ago; receivers take 300 s"),
        (-301, "the signature fits, but it was made 301 s ahead; receivers take 300 s"),
    ],
)
def test_a_timestamp_too_far_from_now_is_refused_though_its_signature_fits(seconds: int, problem: str | None) -> None:
    """Five minutes either way, as the libraries of Standard Webhooks take."""
    verdict = judge(signed(SECRET, at=NOW - seconds), SECRET)

    assert (verdict.problem, verdict.key, verdict.age_seconds) == (problem, "key 1", seconds)


def test_the_tolerance_can_be_chosen() -> None:
    assert judge(signed(SECRET, at=NOW - 301), SECRET, tolerance_seconds=400).problem is None


@pytest.mark.parametrize(
    ("arrived", "hint"),
    [
        (BODY + b"\n", "without its last line end"),
        (BODY + b"\r\n", "without its last line end"),
        (BODY, "is it the key"),
        (b'{"a": "***"}', MASKED_HINT),
    ],
)
def test_what_became_of_the_body_is_guessed(arrived: bytes, hint: str) -> None:
    """Files get line ends, records mask secrets; else nobody knows."""
    headers = signed(OTHER if arrived == BODY else SECRET)

    verdict = judge(headers, SECRET, body=arrived)

    assert verdict.problem == "no signature fits: 1 of v1, 1 key"
    assert hint in verdict.hint


def test_a_lost_line_end_is_guessed_too() -> None:
    assert "with a line end" in judge(signed(SECRET, body=BODY + b"\n"), SECRET).hint
    assert "Unix line ends" in judge(signed(SECRET, body=b"a\nb"), SECRET, body=b"a\r\nb").hint
    assert "Windows line ends" in judge(signed(SECRET, body=b"a\r\nb"), SECRET, body=b"a\nb").hint


def test_keys_of_the_other_scheme_are_told_as_such() -> None:
    assert judge(signed(SECRET), PRIVATE).hint == "v1 is verified by a whsec_ key, v1a by a whpk_ key"


@pytest.mark.parametrize("entry", ["v1", "v1,%%%", "garbage", "v1,A"])
def test_what_is_no_signature_is_counted_and_does_not_hide_one_that_is(entry: str) -> None:
    headers = signed(SECRET)
    good = headers["webhook-signature"]

    assert judge({**headers, "webhook-signature": f"{entry} {good}"}, SECRET).problem is None
    alone = judge({**headers, "webhook-signature": entry}, SECRET)
    assert alone.problem == "no signature fits: 0 of none, 1 key; 1 not of the form SCHEME,BASE64"


def test_a_signature_of_another_length_is_refused() -> None:
    """Neither scheme falls over it."""
    short = base64.b64encode(b"x").decode()

    assert judge({**signed(SECRET), "webhook-signature": f"v1,{short} v1a,{short} v2,{short}"}, SECRET, PRIVATE).problem
