"""The canary: secrets planted wherever one can stand, every command, every fault, and then a look at all that is left.

A command that is new and has no line in canary_command.py fails the first test here: give it one.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from canary_command import BOTH, LEAVES, ONCE, SERVICES, THROUGH_DAEMON, WRONGLY, Canary, leaf_of
from canary_plant import ODD, PLAIN, SIGNER, WEBHOOKS, plant, write_inputs
from canary_receiver import CanaryReceiver
from canary_secret import Eyes, forms, odd, token
from e2e_manifest import event
from workshop import Process, Workshop

from reconciler.manifest import load

STORE = "sqlite:///reconciler.db"


def test_every_command_has_a_place_in_the_canary() -> None:
    """Whoever adds one says here how it is run."""
    run_ones = {leaf_of(line) for line in (*ONCE, *BOTH, *THROUGH_DAEMON)}

    assert set(LEAVES) - run_ones - SERVICES == set()


def test_a_leak_is_seen_in_every_form() -> None:
    """The test's own eyes."""
    eyes = Eyes({name: odd(name) for name in ODD} | {name: token(name) for name in PLAIN})
    assert not eyes.leaks("nothing " * 100)
    for name in ODD:
        for form in forms(odd(name)):
            for text in (form, json.dumps(form), json.dumps(json.dumps(form))):
                assert any(found.startswith(f"{name} as") for found in eyes.leaks(f"x{text}y")), (name, text)
        for code in (odd(name).encode().hex(), odd(name).encode().hex().upper()):
            assert eyes.leaks(f"<{code}>")


@pytest.fixture
def canary(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """All planted; commands run in the folder, with caches and temporary files in it."""
    ca = trustme.CA()
    planted = plant(workshop, ca, monkeypatch)
    write_inputs(workshop, planted)
    for name in ("cache", "tmp"):
        (workshop.folder / name).mkdir()
    places = {"XDG_CACHE_HOME": str(workshop.folder / "cache"), "TMPDIR": str(workshop.folder / "tmp")}
    for name, value in (places | {"RECONCILER_TOKEN": planted["api"], "RECONCILER_CA": "ca.pem"}).items():
        monkeypatch.setenv(name, value)
        workshop.env[name] = value
    monkeypatch.setattr(load, "MIN_BYTES", 0)  # else so small a set is not worth a place in the cache
    monkeypatch.chdir(workshop.folder)
    with CanaryReceiver(ca).running() as receiver:
        yield Canary(workshop, receiver, planted)


def test_no_secret_comes_out_of_anything(
    canary: Canary, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command on the store's file, then a daemon with every fault and every command through it; at the end each
    output, log, page, API answer and file is searched."""
    workshop, planted = canary.workshop, canary.planted
    sandbox = workshop.start(
        *("sandbox", "--listen", "127.0.0.1:0", "--ca-out", "sandbox.pem", "--record", "record.jsonl"),
        *("--flow", f"{'0' * 32}={planted['flow_token']}", "--oauth-secret", f"canary={planted['sandbox']}"),
    )
    canary.call_all(ONCE, "")
    monkeypatch.setenv("RECONCILER_STORE", STORE)
    canary.call_all((*BOTH, "doctor --full --offline"), "file")
    monkeypatch.setenv("RECONCILER_PROXY", f"http://canary:{planted['proxy']}@127.0.0.1:{canary.receiver.proxy_port}")
    canary.call("test plain --secrets secrets.yaml", "json", "proxy")
    canary.call("doctor --secrets secrets.yaml", "json", "proxy")
    monkeypatch.delenv("RECONCILER_PROXY")
    canary.call_all(WRONGLY, "wrongly")
    visit_sandbox(sandbox.url(), planted)

    workshop.env["PYTHONASYNCIODEBUG"] = "1"
    daemon = workshop.start(
        *("run", "--store", STORE, "--listen", "127.0.0.1:0", "--tokens", "vault/tokens.yaml", "--log-format", "json"),
        *("--tls-cert", "daemon.pem", "--tls-key", "vault/daemon_key", *canary.egress.split()),
    )
    url = daemon.url()
    canary.ids |= {"url": url, "listen": url.removeprefix("https://")}
    monkeypatch.setenv("RECONCILER_STORE", url)
    with httpx.Client(
        base_url=url, verify=ssl.create_default_context(cafile=workshop.folder / "ca.pem"), timeout=10
    ) as client:
        post_events(client, planted)
        wait_for_attempts(canary, daemon, eventually)
        rotate(canary, client, eventually)
        canary.find_ids()
        canary.call_all((*BOTH, *THROUGH_DAEMON), "daemon")
        canary.find_ids()
        browse(client, canary)
        stray(client, canary)
    canary.files = {f"{place}, in use": raw for place, raw in left_in(workshop.folder).items()}
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    for process, name in ((daemon, "daemon"), (sandbox, "sandbox")):
        process.kill()
        canary.said[f"the log of the {name}"] = "\n".join(process.lines)

    demo = workshop.command("demo")
    canary.said["demo"] = demo.stdout + demo.stderr
    assert_all_happened(canary)
    assert_nothing_shows(canary)


def visit_sandbox(url: str, planted: dict[str, str]) -> None:
    """What its record keeps: a flow's token, a client's secret."""
    headers = {"host": "acme.workflows.okta.com", "x-api-client-token": planted["flow_token"]}
    form = {"grant_type": "client_credentials", "client_id": "canary", "client_secret": planted["sandbox"]}
    with httpx.Client(base_url=url, verify=False, timeout=10) as client:
        client.post(f"/api/flo/{'0' * 32}/invoke", headers=headers, json={})
        client.post(
            f"/api/flo/{'0' * 32}/invoke?clientToken={planted['flow_token']}", headers={"host": headers["host"]}
        )
        client.post("/oauth2/v1/token", data=form, headers={"host": "acme.okta.com"})
        client.post("/oauth2/v1/token", auth=("canary", planted["sandbox"]), headers={"host": "acme.okta.com"})


def post_events(client: httpx.Client, planted: dict[str, str]) -> None:
    """By token and signed; enough of one kind for a pause and an open breaker; one that is no event."""
    known = {"authorization": f"Bearer {planted['api']}"}
    assert client.post("/v1/events", content=event(1), headers=known).status_code == 202
    for number in range(2, 13):
        approved = event(number).replace(b"AccessRequestCreated", b"AccessRequestApproved")
        assert client.post("/v1/events", content=approved, headers=known).status_code == 202
    now, body = int(time.time()), event(20)
    key = base64.b64decode(SIGNER.removeprefix("whsec_"))
    made = base64.b64encode(hmac.new(key, f"msg_1.{now}.".encode() + body, hashlib.sha256).digest()).decode()
    proof = {"webhook-id": "msg_1", "webhook-timestamp": f"{now}", "webhook-signature": f"v1,{made}"}
    assert client.post("/v1/events", content=body, headers=proof).status_code == 202
    assert client.post("/v1/events", content=body + b" ", headers=proof).status_code == 401
    assert client.post("/v1/events", content=b'{"event_type": 1', headers=known).status_code == 202


def logged(daemon: Process) -> list[dict[str, Any]]:
    """The facts of its log so far."""
    return [json.loads(line) for line in list(daemon.lines) if line.startswith("{")]


def wait_for_attempts(canary: Canary, daemon: Process, eventually: Callable[..., Any]) -> None:
    """Until every webhook that can be sent to was, and the one that is refused was paused."""
    held = {"unbound", "short", "control", "locked", "mistaken", "oauth-refused", "oauth-jwk", "on-call"}
    wanted = set(re.findall("metadata: {name: ([a-z0-9-]+)", WEBHOOKS))

    def is_done() -> bool:
        tried = [line["webhook"] for line in logged(daemon) if line["event"] == "delivery.attempted"]
        return wanted - held <= set(tried) and tried.count("basic") >= 5

    eventually(is_done, what="an attempt of each webhook")
    eventually(lambda: canary.receiver.tokens and canary.receiver.shown_certificates, what="tokens and certificates")
    eventually(
        lambda: json.loads(canary.call("webhooks show basic", "json", "waiting"))["paused"],
        what="the pause of a webhook",
    )


def rotate(canary: Canary, client: httpx.Client, eventually: Callable[..., Any]) -> None:
    """A new value in the place of one; the receiver repeats the old one, which it was sent before."""
    new = odd("header, rotated")
    canary.planted["header, rotated"] = new
    canary.receiver.remembers = True
    (canary.workshop.folder / "vault/new").write_text(new)
    os.replace(canary.workshop.folder / "vault/new", canary.workshop.folder / "vault/header")
    known = {"authorization": f"Bearer {canary.planted['api']}"}
    assert client.post("/v1/events", content=event(30), headers=known).status_code == 202
    eventually(lambda: any(new in item[1].values() for item in list(canary.receiver.requests)), what="the new value")
    assert any(canary.planted["header"] in item[1].values() for item in canary.receiver.requests)
    canary.receiver.remembers = False


def browse(client: httpx.Client, canary: Canary) -> None:
    """Every page and every answer of the API that a reader can see, without a token and with one."""
    ids, known = canary.ids, {"authorization": f"Bearer {canary.planted['reader']}"}
    pages = ("/", "/deliveries", "/events", "/revisions", "/webhooks/plain", "/webhooks/unbound", "/webhooks/basic")
    pages += (
        f"/deliveries/{ids['delivery']}",
        f"/deliveries/{ids['basic']}",
        f"/events/{ids['event']}",
        "/login",
        "/nowhere",
    )
    described = client.get("/v1/openapi.json", headers=known).json()["paths"]
    filled = {"name": "plain", "number": "1", "uid": "none"}
    for path, methods in described.items():
        if "get" in methods:
            named = path.replace("{id}", ids["event"] if "events" in path else ids["delivery"])
            pages += (named.format_map(filled),)
    for page in pages:
        for headers in ({}, known, {"accept": "text/html", **known}):
            answer = client.get(page, headers=headers)
            canary.said[f"GET {page} {sorted(headers)}"] = f"{answer.headers}{answer.text}"


def stray(client: httpx.Client, canary: Canary) -> None:
    """Tokens where they do not belong: not repeated, not logged. And a session of the page."""
    wrong, api = canary.planted["stray"], canary.planted["api"]
    for headers in (
        {"authorization": f"Bearer {wrong}"},
        {"authorization": f"Basic {wrong}"},
        {"cookie": f"a={wrong}"},
    ):
        for method, path in (("GET", "/v1/webhooks"), ("POST", "/v1/events"), ("GET", f"/?token={wrong}")):
            answer = client.request(method, path, headers=headers)
            canary.said[f"{method} {path} {headers}"[:40]] = f"{answer.headers}{answer.text}"
    known = {"authorization": f"Bearer {api}"}
    for path in (
        f"/v1/deliveries?limit={wrong}",
        f"/v1/events?before={wrong}",
        f"/v1/{wrong}",
        f"/v1/webhooks?token={wrong}",
    ):
        canary.said[f"GET {path[:20]}"] = client.get(path, headers=known).headers.__repr__()
    origin = {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    for given in (wrong, api):
        answer = client.post("/login", data={"token": given}, headers=origin)
        canary.said[f"POST /login {given == api}"] = f"{answer.headers}{answer.text}"
    shown = client.get("/webhooks/plain")
    canary.said["the page, logged in"] = f"{shown.headers}{shown.text}"
    client.cookies.clear()


def assert_all_happened(canary: Canary) -> None:
    """Nothing was passed over: the faults came, and commands did what they are for."""
    lines = [json.loads(line) for line in canary.said["the log of the daemon"].splitlines() if line.startswith("{")]
    faults = {line.get("fault") for line in lines if line["event"] == "delivery.attempted"}
    assert {"status", "validator", "tls", "connect", "timeout", "protocol", "reset", "render", "token"} <= faults, (
        faults
    )
    failed = {line for line, code in canary.codes.items() if code not in (0, 1, 2, 3)}
    assert {line for line in failed if not line.startswith("wrongly")} == set()
    assert not [line for line, text in canary.said.items() if "Traceback" in text]


def assert_nothing_shows(canary: Canary) -> None:
    """Search all of it. Only the vault holds what was planted, and the certificates what is public of them."""
    eyes = Eyes(canary.planted)
    for number, given in enumerate(canary.receiver.tokens):
        eyes.learn(f"access token {number}", given)
    for _, _, body in canary.receiver.requests:
        _, assertion, rest = body.decode("utf-8", "replace").partition("client_assertion=")
        if assertion:
            eyes.learn("signature of an assertion", rest.partition("&")[0].rpartition(".")[2])
    found = {place: leaks for place, text in canary.said.items() if (leaks := sorted(eyes.leaks(text))[:3])}
    files = {**canary.files, **left_in(canary.workshop.folder)}
    found |= {place: leaks for place, raw in files.items() if (leaks := sorted(eyes.leaks(raw))[:3])}
    kinds = ("reconciler.db", "reconciler.db-wal", "reconciler.db-shm", "plan.json", "record.jsonl", "cache/")
    assert [kind for kind in kinds if not any(kind in place for place in files)] == []
    assert not found, "\n".join(f"{place}: {leaks}" for place, leaks in found.items())


def left_in(folder: Path) -> dict[str, bytes]:
    """Every file but the vault and certificates, by its path."""
    public = {"ca.pem", "daemon.pem", "sandbox.pem"}
    files = [item for item in folder.rglob("*") if item.is_file() and not item.is_symlink() and item.name not in public]
    return {str(item): item.read_bytes() for item in files if "vault" not in item.parts}
