"""`signing keygen` and `signing verify`, as people call them."""

import base64
import json
import time
from datetime import datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Receiver

from reconciler.cli.main import run
from reconciler.request.render import Prepared
from reconciler.request.sign import PrivateKey, SharedSecret, parse_signer, signature_headers

BODY = b'{"who": "Zo\xc3\xab"}'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, without colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RECONCILER_SECRETS", raising=False)
    return tmp_path


def keygen(capsys, *options: str) -> str:
    assert run(["signing", "keygen", *options]) == 0
    done = capsys.readouterr()
    assert done.err == ""
    return done.out


def write_request(*keys: str, at: int | None = None, body: bytes = BODY) -> None:
    """headers.txt and body, as a receiver would note them."""
    request = Prepared("POST", "https://hooks.example.com/in", (("webhook-id", "dlv_1"),), body)
    now = at if at is not None else int(time.time())
    made = signature_headers([parse_signer(key) for key in keys], request, now=now * 1000)
    lines = ["POST /in HTTP/1.1", "Webhook-Id: dlv_1", *(f"{name}: {value}" for name, value in made)]
    Path("headers.txt").write_text("\r\n".join(lines))
    Path("body").write_bytes(body)


GIVEN = ["--headers", "headers.txt", "--body", "body"]


def test_a_new_secret_is_long_enough_and_another_each_time(capsys, folder):
    """Also for the reference library; nothing is written anywhere."""
    first, second = keygen(capsys).strip(), keygen(capsys).strip()

    signer = parse_signer(first)
    assert isinstance(signer, SharedSecret)
    assert len(signer.secret) == 32
    assert first != second
    assert Receiver(first).sign("id", datetime(2026, 1, 1), "x").startswith("v1,")
    assert list(folder.iterdir()) == []


def test_a_new_pair_belongs_together(capsys):
    private, public = keygen(capsys, "--asymmetric").split()

    signer = parse_signer(private)
    assert isinstance(signer, PrivateKey)
    assert signer.public_text() == public
    assert set(json.loads(keygen(capsys, "--asymmetric", "--format", "json"))) == {"private_key", "public_key"}
    assert json.loads(keygen(capsys, "--format", "json"))["secret"].startswith("whsec_")


def test_a_request_is_verified_by_the_key_that_fits(capsys):
    """By files of keys, one of which fits; which one is said."""
    secret, other = keygen(capsys).strip(), keygen(capsys).strip()
    Path("old.key").write_text(f"{other}\n")
    Path("new.key").write_text(f"{secret}\n")
    write_request(secret)

    assert run(["signing", "verify", "--key-file", "old.key", "--key-file", "new.key", *GIVEN]) == 0

    assert capsys.readouterr().out.startswith("verified: v1 by new.key, signed ")


def test_a_bound_secret_verifies_without_being_shown(capsys, monkeypatch, folder):
    private, public = keygen(capsys, "--asymmetric").split()
    monkeypatch.setenv("SIGNING_KEY", private)
    Path("secrets.yaml").write_text("signing_key: {from: env:SIGNING_KEY, hosts: [hooks.example.com]}\n")
    Path("secrets.yaml").chmod(0o600)
    Path("public.key").write_text(public)
    write_request(private)

    assert run(["signing", "verify", "--secret", "signing_key", "--secrets", "secrets.yaml", *GIVEN]) == 0
    assert run(["signing", "verify", "--key-file", "public.key", *GIVEN, "--format", "json"]) == 0

    done = capsys.readouterr()
    assert done.out.startswith("verified: v1a by signing_key, ")
    assert json.loads(done.out.partition("\n")[2]) | {"age_seconds": 0} == {
        "verified": True, "key": "public.key", "scheme": "v1a", "age_seconds": 0, "problem": None, "hint": None,
    }  # fmt: skip
    assert private.removeprefix("whsk_") not in done.out + done.err
    assert run(["signing", "verify", "--secret", "unknown", "--secrets", "secrets.yaml", *GIVEN]) == 1
    assert "secret `unknown` is not bound" in capsys.readouterr().err


def test_an_old_request_is_refused_and_taken_as_of_its_time(capsys):
    secret = keygen(capsys).strip()
    Path("key").write_text(secret)
    write_request(secret, at=1_800_000_000)

    assert run(["signing", "verify", "--key-file", "key", *GIVEN, "--at", "2027-01-15T08:10:00Z"]) == 1
    assert "made 600 s ago; receivers take 300 s" in capsys.readouterr().err
    assert run(["signing", "verify", "--key-file", "key", *GIVEN, "--at", "2027-01-15T08:04:00Z"]) == 0
    later = ["--at", "2027-01-15T08:10:00Z", "--tolerance", "10m"]
    assert run(["signing", "verify", "--key-file", "key", *GIVEN, *later]) == 0


def test_a_changed_body_is_not_verified_and_says_what_may_have_happened(capsys):
    secret = keygen(capsys).strip()
    Path("key").write_text(secret)
    write_request(secret)
    Path("body").write_bytes(BODY + b"\n")

    assert run(["signing", "verify", "--key-file", "key", *GIVEN]) == 1

    error = capsys.readouterr().err
    assert "error: not verified: no signature fits: 1 of v1, 1 key" in error
    assert "hint: it fits the body without its last line end" in error


def test_a_record_is_a_request_too(capsys):
    """The last line of the sandbox's record, and what `deliveries show` prints of the last attempt."""
    secret = keygen(capsys).strip()
    Path("key").write_text(secret)
    write_request(secret)
    lines = [line.partition(": ") for line in Path("headers.txt").read_text().splitlines()[1:]]
    headers = {name: value for name, _, value in lines if name}
    request = {"headers": headers, "body": BODY.decode()}
    older = {"headers": {}, "body": "older"}
    Path("record.jsonl").write_text(f"{json.dumps(older)}\n{json.dumps(request)}\n")
    shown = {"id": "dlv_1", "attempt_log": [{"request": older}, {"request": request}, {"request": None}]}
    Path("delivery.json").write_text(json.dumps(shown, indent=2))
    encoded = {**request, "body": "?", "body_base64": base64.b64encode(BODY).decode()}
    Path("encoded.json").write_text(json.dumps(encoded))

    for file in ("record.jsonl", "delivery.json", "encoded.json"):
        assert run(["signing", "verify", "--key-file", "key", "--request", file]) == 0, file
    Path("empty.json").write_text("{}")
    assert run(["signing", "verify", "--key-file", "key", "--request", "empty.json"]) == 1
    assert "there is no request with headers and body in it: empty.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([*GIVEN], 64, "no key is given"),
        (["--key-file", "key"], 64, "the request is not given whole: nothing"),
        (["--key-file", "key", "--body", "body"], 64, "the request is not given whole: `--body`"),
        (["--key-file", "key", *GIVEN, "--request", "x"], 64, "not given whole: `--headers`, `--body`, `--request`"),
        (["--key-file", "key", *GIVEN, "--at", "soon"], 64, "`--at` is not a time with its offset: soon"),
        (["--key-file", "key", *GIVEN, "--tolerance", "5"], 64, "`--tolerance` cannot be read: 5"),
        (["--key-file", "missing", *GIVEN], 1, "no such file or directory: missing"),
        (["--key-file", "bad", *GIVEN], 1, "`bad` is no signing key: it begins with neither"),
    ],
)
def test_what_is_missing_or_wrong_is_told(capsys, options, code, said):
    """Usage by its own exit code; a key that is none is never shown."""
    secret = keygen(capsys).strip()
    Path("key").write_text(secret)
    Path("bad").write_text("c4n4ry")
    write_request(secret)

    assert run(["signing", "verify", *options]) == code

    error = capsys.readouterr().err
    assert said in error
    assert "c4n4ry" not in error
