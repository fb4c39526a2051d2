"""The pipeline's way: every command against a real daemon, by https:// with a token or by http:// on this machine."""

import asyncio
import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from reconciler.daemon import Daemon, DaemonSettings
from reconciler.models.event import EventId
from reconciler.observe import log
from reconciler.sandbox.okta import OktaSandbox
from reconciler.settings import EgressSettings, parse_connect_to
from reconciler.store.base import NewEvent
from reconciler.store.open import open_store

HOST = "acme.workflows.okta.com"
ALIAS = "0123456789abcdef0123456789abcdef"
ROLES = {"pipeline": ["apply"], "reader": ["read"], "apono": ["ingest"]}
TOKENS = {name: f"{name}-" + "0123456789abcdef" * 2 for name in ROLES}
EVENT = {"event_type": "AccessRequestCreated", "event_time": 1.50, "data": {"id": "r", "justification": "é\u202e"}}

Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@dataclass(frozen=True)
class Running:
    """A daemon on a store in the test's folder, where commands are run too."""

    url: str
    folder: Path
    sandbox: OktaSandbox

    @property
    def local(self) -> str:
        """The same store, as who is on the daemon's disk names it."""
        return f"sqlite:///{self.folder / 'store.db'}"

    def declare(self, *names: str, title: str = "") -> None:
        """Replace what manifests/ declares."""
        documents = [
            {
                "apiVersion": "reconciler/v1",
                "kind": "Webhook",
                "metadata": {"name": name, "title": title or name},
                "spec": {"url": f"https://{HOST}/api/flo/{ALIAS}/invoke", "triggers": ["RequestCreated"]},
            }
            for name in names
        ]
        (self.folder / "manifests").mkdir(exist_ok=True)
        (self.folder / "manifests" / "all.yaml").write_text("\n---\n".join(json.dumps(item) for item in documents))


@contextlib.asynccontextmanager
async def daemon(folder: Path, **facts: Any) -> AsyncIterator[Running]:
    """A daemon in this loop; what it sends goes to a sandbox."""
    (folder / "sandbox.pem").touch()
    async with OktaSandbox() as sandbox:
        (folder / "sandbox.pem").write_bytes(sandbox.ca_pem)
        egress = EgressSettings(
            ca_file=folder / "sandbox.pem", connect_to=(parse_connect_to(f"{HOST}:443:127.0.0.1:{sandbox.port}"),)
        )
        store = open_store(f"sqlite:///{folder / 'store.db'}", create=True)
        assert store is not None
        async with store:
            served = Daemon(DaemonSettings("127.0.0.1", 0, egress, **facts), store=store)
            ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            running = asyncio.create_task(served.run(on_ready=ready.set_result))
            try:
                yield Running(await asyncio.wait_for(ready, 20), folder, sandbox)
            finally:
                served.stop()
                await running


@pytest.fixture
def run(reconciler: Callable[..., subprocess.CompletedProcess[str]]) -> Run:
    """A command, while the daemon runs in this loop."""

    async def call(*args: str, **facts: Any) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(reconciler, *args, **facts)

    return call


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Running]:
    """http:// on loopback, without tokens."""
    async with daemon(tmp_path) as running:
        yield running


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Running]:
    """https:// with tokens; what it says of itself is in log.txt."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(json.dumps({name: {"token": TOKENS[name], "roles": roles} for name, roles in ROLES.items()}))
    tokens.chmod(0o600)
    stream = io.StringIO()
    log.configure("text", stream)
    try:
        async with daemon(tmp_path, tokens_file=tokens, tls=(tmp_path / "cert.pem", tmp_path / "key.pem")) as running:
            yield running
    finally:
        log.silence()
        (tmp_path / "log.txt").write_text(stream.getvalue())
    assert not any(token in stream.getvalue() for token in TOKENS.values())


def as_(name: str, running: Running) -> dict[str, str]:
    """A pipeline's environment."""
    return {"RECONCILER_STORE": running.url, "RECONCILER_TOKEN": TOKENS[name], "RECONCILER_CA": "ca.pem"}


async def test_a_pipeline_plans_and_applies_and_the_daemon_delivers(guarded: Running, run: Run) -> None:
    """Plan, apply, apply again, history; then an event is delivered under the new revision."""
    guarded.declare("one", "two")
    pipeline = as_("pipeline", guarded)

    planned = await run("plan", "--detailed-exitcode", "--out", "plan.bin", env=pipeline, code=2)
    applied = await run("apply", "--plan", "plan.bin", "--commit", "c0ffee", env=pipeline)
    again = await run("apply", "--auto-approve", env=pipeline)
    [revision] = json.loads((await run("history", "--format", "json", env=as_("reader", guarded))).stdout)
    (guarded.folder / "event.json").write_text(json.dumps(EVENT))
    sent = await run("send", "event.json", "--to", guarded.url, env=as_("apono", guarded))
    received = await asyncio.wait_for(guarded.sandbox.next_request(), 20)

    assert "Plan: 2 to add, 0 to change, 0 to destroy." in planned.stdout
    assert "Revision 1" in applied.stdout
    assert "No changes." in again.stdout
    assert (revision["applied_by"], revision["commit"], revision["created"]) == ("pipeline", "c0ffee", 2)
    assert sent.stderr.startswith("1 accepted")
    assert dict(received.headers)["webhook-id"].startswith("dlv_")
    pages = await run("deliveries", "list", "--format", "json", env=pipeline)
    assert [item["revision"] for item in json.loads(pages.stdout)] == [1, 1]


READING = (
    ("webhooks", "list"),
    ("webhooks", "show", "one"),
    ("events", "list"),
    ("events", "show", "{event}"),
    ("deliveries", "list"),
    ("deliveries", "list", "--limit", "1", "--before", "{delivery}"),
    ("deliveries", "show", "{delivery}"),
    ("history",),
    ("show", "1"),
    ("diff", "1", "live"),
    ("diff", "live", "manifests"),
    ("drift",),
    ("plan",),
    ("render", "one", "--event", "event.json"),
)


async def test_every_command_prints_the_same_bytes_through_the_daemon(plain: Running, run: Run) -> None:
    """Where the state is read from is told by nothing in what is printed."""
    plain.declare("one", "two", title="é \u202e <b>")
    await run("apply", "--auto-approve", "--store", plain.url)
    (plain.folder / "event.json").write_text(json.dumps(EVENT))
    (plain.folder / "broken.json").write_bytes(b'{"x": \xff')
    await run("send", "event.json", "--to", plain.url)
    await run("send", "broken.json", "--to", plain.url, code=1)
    for _ in range(2):
        await asyncio.wait_for(plain.sandbox.next_request(), 20)
    await _all_delivered(plain, run)
    plain.declare("one", "three")
    events = json.loads((await run("events", "list", "--format", "json", "--store", plain.local)).stdout)
    deliveries = json.loads((await run("deliveries", "list", "--format", "json", "--store", plain.local)).stdout)
    ids = {"{event}": events[-1]["id"], "{delivery}": deliveries[0]["id"]}

    lines = [
        [ids.get(arg, arg) for arg in (*command, "--format", output_format)]
        for command in READING
        for output_format in ("json", "text")
    ]
    lines.append(["export"])

    local, remote = await asyncio.gather(*(printed(plain.folder, lines, store) for store in (plain.local, plain.url)))

    for line, here, there in zip(lines, local, remote, strict=True):
        assert here == there, line
        assert here[0] == 0 and here[1], line


MANY = """
import contextlib, io, json, sys
from reconciler.cli.main import run
for args in json.loads(sys.argv[1]):
    raw = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(item, "utf-8", write_through=True) for item in raw)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(args)
    print(json.dumps([code, *(item.getvalue().decode() for item in raw)]))
"""


async def printed(folder: Path, lines: list[list[str]], store: str) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each command line against a store, all in one process."""
    arguments = json.dumps([[*line, "--store", store] for line in lines])
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", MANY, arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


async def _all_delivered(running: Running, run: Run) -> None:
    for _ in range(200):
        listed = json.loads((await run("deliveries", "list", "--format", "json", "--store", running.local)).stdout)
        if {item["state"] for item in listed} == {"delivered"}:
            return
    raise AssertionError(f"not delivered: {listed}")


async def test_impact_is_measured_through_the_daemon(guarded: Running, run: Run) -> None:
    """By https://, with the role to read, over several pages of events; the same bytes as on the daemon's disk."""
    guarded.declare("one", "two")
    await run("apply", "--auto-approve", env=as_("pipeline", guarded))
    now = time.time_ns() // 1_000_000
    raw = json.dumps(EVENT).encode()
    events = [
        NewEvent(EventId(f"e-{n}"), EVENT["event_type"], None, None, "test", raw, f"{n}", now) for n in range(1_201)
    ]
    store = open_store(guarded.local, create=False)
    assert store is not None
    async with store:
        await store.accept(events, revision=1)
    guarded.declare("one", "three")
    plan = ("plan", "--impact", "--format", "json")

    there = await run(*plan, env=as_("reader", guarded))
    here = await run(*plan, "--store", guarded.local)
    refused = await run(*plan, env=as_("apono", guarded), code=1)

    impact = json.loads(there.stdout)["impact"]
    assert (impact["events"], impact["skipped"], impact["source"]) == (1_201, 0, "of the last 7 days")
    assert {item["address"]: (item["added"], item["lost"]) for item in impact["webhooks"]} == {
        "webhook.three": (1_201, 0),
        "webhook.two": (0, 1_201),
    }
    assert there.stdout == here.stdout
    assert refused.stdout == ""


async def test_of_two_applies_one_is_stale(plain: Running, run: Run) -> None:
    """Both plans were made from one revision; the daemon compares and sets, and the loser exits 4."""
    plain.declare("base")
    await run("apply", "--auto-approve", "--store", plain.url)
    for name in ("left", "right"):
        plain.declare("base", name)
        await run("plan", "--out", f"{name}.bin", "--store", plain.url)

    done = await asyncio.gather(
        *(run("apply", "--plan", f"{name}.bin", "--store", plain.url, code=None) for name in ("left", "right"))
    )

    assert sorted(item.returncode for item in done) == [0, 4]
    [loser] = [item for item in done if item.returncode == 4]
    assert "moved on since the plan was made: from revision 1 to 2" in loser.stderr
    history = json.loads((await run("history", "--format", "json", "--store", plain.url)).stdout)
    assert [item["revision"] for item in history] == [2, 1]


async def test_a_saved_plan_is_used_once(plain: Running, run: Run) -> None:
    """Through the daemon as without it."""
    plain.declare("base")
    await run("plan", "--out", "plan.bin", "--store", plain.url)
    await run("apply", "--plan", "plan.bin", "--store", plain.url)

    again = await run("apply", "--plan", "plan.bin", "--store", plain.url, code=4)

    assert "the plan has been applied already: revision 1" in again.stderr


async def test_many_applies_serialise(plain: Running, run: Run) -> None:
    """Whoever planned from what is live wins; nobody is locked out for good."""
    plain.declare("base")
    await run("apply", "--auto-approve", "--store", plain.url)

    async def apply(number: int) -> int:
        folder = plain.folder / f"m{number}"
        folder.mkdir()
        (folder / "all.yaml").write_text(
            (plain.folder / "manifests" / "all.yaml").read_text().replace("base", f"w{number}")
        )
        args = ("apply", f"m{number}", "--auto-approve", "--allow-deletes", "1", "--store", plain.url)
        return (await run(*args, code=None)).returncode

    codes = await asyncio.gather(*(apply(number) for number in range(4)))

    assert set(codes) <= {0, 4} and 0 in codes
    history = json.loads((await run("history", "--format", "json", "--store", plain.url)).stdout)
    assert [item["revision"] for item in history] == list(range(1 + codes.count(0), 0, -1))


async def test_without_the_role_nothing_is_applied(guarded: Running, run: Run) -> None:
    """The plan is made, the apply refused; without a token not even that."""
    guarded.declare("one")

    refused = await run("apply", "--auto-approve", env=as_("reader", guarded), code=1)
    unknown = await run("plan", env={**as_("reader", guarded), "RECONCILER_TOKEN": "x" * 40}, code=1)
    without = await run("plan", env={**as_("reader", guarded), "RECONCILER_TOKEN": ""}, code=1)
    sending = await run(
        "send",
        "-",
        "--to",
        guarded.url,
        "--ca",
        "ca.pem",
        env={"RECONCILER_TOKEN": TOKENS["reader"]},
        stdin="{}",
        code=1,
    )

    assert "the token `reader` has not the role `apply`" in refused.stderr
    assert "the daemon does not know this token" in unknown.stderr and "RECONCILER_TOKEN" in unknown.stderr
    assert "the daemon wants a bearer token" in without.stderr
    assert "the token `reader` has not the role `ingest`" in sending.stderr
    for done in (refused, unknown, without, sending):
        assert not any(token in done.stdout + done.stderr for token in (*TOKENS.values(), "x" * 40))
    history = json.loads((await run("history", "--format", "json", env=as_("reader", guarded))).stdout)
    assert history == []


async def test_a_rollback_holds_later_applies_until_it_is_released(guarded: Running, run: Run) -> None:
    """A new revision by the token; then applies exit 3 with the reason, until somebody with the role releases them."""
    pipeline = as_("pipeline", guarded)
    for names in (("one",), ("one", "two")):
        guarded.declare(*names)
        await run("apply", "--auto-approve", env=pipeline)

    back = await run("rollback", "1", "--auto-approve", "--hold", "--reason", "incident 7", env=pipeline)
    held = await run("apply", "--auto-approve", env=pipeline, code=3)
    await run("rollback", "--release", env=as_("reader", guarded), code=1)
    released = await run("rollback", "--release", env=pipeline)
    await run("apply", "--auto-approve", env=pipeline)

    assert "Revision 3" in back.stdout
    assert "by pipeline: incident 7" in held.stderr
    assert "Released" in released.stdout
    history = json.loads((await run("history", "--format", "json", env=as_("reader", guarded))).stdout)
    assert [(item["applied_by"], item["restores"], item["reason"]) for item in history[:2]] == [
        ("pipeline", None, ""),
        ("pipeline", 1, "incident 7"),
    ]


async def test_a_test_event_goes_through_the_live_webhook(plain: Running, run: Run) -> None:
    """`test NAME` reads the webhook from the daemon and sends by itself."""
    plain.declare("one")
    await run("apply", "--auto-approve", "--store", plain.url)
    egress = ("--ca", "sandbox.pem", "--connect-to", f"{HOST}:443:127.0.0.1:{plain.sandbox.port}")

    done = await run("--store", plain.url, "test", "one", *egress, "--format", "json")

    received = await asyncio.wait_for(plain.sandbox.next_request(), 20)
    assert dict(received.headers)["x-reconciler-test"] == "1"
    assert json.loads(done.stdout)["request"]["url"].startswith(f"https://{HOST}/")


async def test_a_daemon_that_is_down_fails_every_command(tmp_path: Path) -> None:
    """Exit 1, and never an empty list or a plan from nothing."""
    async with daemon(tmp_path) as stopped:
        stopped.declare("one")

    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    lines = [["plan"], ["apply", "--auto-approve"], ["history"], ["webhooks", "list"], ["deliveries", "show", "x"]]
    lines.append(["render", "one", "--event", "event.json"])  # not from manifests/ either: what is live is unknown
    for code, out, err in await printed(tmp_path, lines, stopped.url):
        assert (code, out) == (1, "")
        assert f"no daemon answers at {stopped.url}" in err


async def test_a_daemon_opens_no_other_daemons_store(run: Run) -> None:
    """`run` needs the store itself."""
    done = await run("run", "--store", "https://daemon.example.com", code=1)

    assert "`--store` names a daemon, not a store to open" in done.stderr


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A certificate with its key, another key, and tokens, in the folder where commands are run."""
    authority = trustme.CA()
    certificate = authority.issue_cert("daemon.example.com")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.issue_cert("other.example.com").private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "tokens.yaml").write_text(f"ci: {{token: {TOKENS['pipeline']}, roles: [apply]}}")
    (tmp_path / "bad.yaml").write_text(f"ci: {{token: {TOKENS['pipeline']}}}")
    return tmp_path


TLS = ("--tls-cert", "cert.pem", "--tls-key", "key.pem")


OPEN: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("--listen", "0.0.0.0:0"), 1, "without tokens the daemon listens only on loopback: 0.0.0.0"),
    (("--listen", "0.0.0.0:0", *TLS), 1, "without tokens the daemon listens only on loopback: 0.0.0.0"),
    (("--listen", "0.0.0.0:0", "--tokens", "tokens.yaml"), 1, "beyond loopback the daemon serves https:// only"),
    (("--tls-cert", "cert.pem"), 64, "--tls-cert and --tls-key go together"),
    (("--tls-key", "key.pem"), 64, "--tls-cert and --tls-key go together"),
    (("--tls-cert", "cert.pem", "--tls-key", "other.pem"), 1, "cannot be used together"),
    (("--tls-cert", "key.pem", "--tls-key", "key.pem"), 1, "holds no certificate that can be read"),
    (("--tls-cert", "none.pem", "--tls-key", "key.pem"), 1, "none.pem"),
    (("--tls-cert", "cert.pem", "--tls-key", "none.pem"), 1, "`--tls-key` cannot be read: none.pem"),
    (("--tokens", "bad.yaml"), 1, "bad.yaml:1:1: `roles` is missing"),
    (("--tokens", "none.yaml"), 1, "the tokens file cannot be read"),
)


async def test_a_daemon_that_would_be_open_does_not_start(files: Path) -> None:
    """Nor one whose files do not fit; it says which."""
    done = await printed(files, [["run", *args] for args, _, _ in OPEN], "sqlite:///store.db")

    for (args, code, fact), (found, _, err) in zip(OPEN, done, strict=True):
        assert (found, fact in err) == (code, True), (args, err)
        assert "ready:" not in err and TOKENS["pipeline"] not in err


async def test_an_encrypted_key_is_refused_instead_of_asked_for(files: Path, run: Run) -> None:
    """Nobody sits at a daemon's terminal."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((files / "key.pem").read_bytes(), None)
    (files / "locked.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    done = await run("run", "--tls-cert", "cert.pem", "--tls-key", "locked.pem", code=1)

    assert "cannot be used together" in done.stderr and "without a password" in done.stderr
