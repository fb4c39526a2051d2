"""`audit list|verify` as people use them, and who each command says has acted, on a file and through a daemon."""

import asyncio
import json
import os
import pwd
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from served import NOW, Room, event, open_room, raw, running, webhook

from reconciler.cli.main import cli, run
from reconciler.store.sqlite.store import SqliteStore
from reconciler.web.app import Security, build_app
from reconciler.web.token import Tokens

ME = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
SECRET = "a-secret-that-must-never-be-kept"
MANIFEST = """
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: flow}
spec:
  url: https://receiver.example.com/hook
  triggers: [RequestCreated, Manual]
  headers: {x-api-client-token: "${secret:token}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("RECONCILER_STORE", "RECONCILER_SECRETS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOKEN", SECRET)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "flow.yaml").write_text(MANIFEST)
    (tmp_path / "secrets.yaml").write_text("token: {from: env:TOKEN, hosts: [receiver.example.com]}")
    (tmp_path / "secrets.yaml").chmod(0o600)
    (tmp_path / "event.json").write_text(json.dumps(event(1)))
    return tmp_path


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Any:
    def told(*args: str, code: int = 0) -> str:
        found = run(list(args))
        out, err = capfd.readouterr()
        assert found == code, f"exit {found}\n{out}\n{err}"
        return out

    return told


def entries(told: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    return list(reversed(json.loads(told("audit", "list", "--format", "json"))))


def test_each_command_says_who_did_it_for_whom_and_why(
    folder: Path, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is known: the system's user, whatever variables and options call him."""
    monkeypatch.setenv("LOGNAME", "somebody-else")
    why = ("--reason", "it is time", "--as", "ann")
    told("apply", "--auto-approve", "--as", "ann")
    told("webhooks", "pause", "flow", *why)
    told("webhooks", "resume", "flow", *why)
    told("trigger", "flow", "--event", "event.json", "--no-wait", "--id", "once", *why)
    told("trigger", "flow", "--event", "event.json", "--no-wait", "--id", "once", *why)  # fires once
    told("deliveries", "cancel", "--webhook", "flow", "--auto-approve", *why)
    told("deliveries", "replay", "--webhook", "flow", "--state", "cancelled", "--auto-approve", *why)
    out = ("--secrets", "secrets.yaml", "--connect-to", "receiver.example.com:443:127.0.0.1:1")
    told("test", "flow", *out, *why, code=1)
    told("auth", "test", "flow", *out, "--send", *why, code=1)
    told("auth", "test", "flow", *out, *why)  # sends nothing
    (folder / "manifests" / "flow.yaml").write_text(MANIFEST.replace("Manual", "RequestApproved"))
    told("apply", "--auto-approve", "--as", "ann")
    told("rollback", "1", "--hold", "--auto-approve", *why)
    told("rollback", "--release", *why)

    found = entries(told)

    actions = "apply pause resume trigger cancel replay test test apply hold rollback release"
    assert " ".join(entry["action"] for entry in found) == actions
    assert {entry["principal"] for entry in found} == {ME}
    assert {entry["behalf"] for entry in found} == {"ann"}
    assert [entry["reason"] for entry in found] == ["", *["it is time"] * 7, "", *["it is time"] * 3]
    assert [entry["details"]["successful"] for entry in found[6:8]] == [False, False]
    told("audit", "verify")


def test_no_secret_is_in_it(folder: Path, told: Any) -> None:
    told("apply", "--auto-approve")
    told("test", "flow", "--secrets", "secrets.yaml", "--connect-to", "receiver.example.com:443:127.0.0.1:1", code=1)

    assert SECRET not in told("audit", "list", "--format", "json")
    for path in folder.glob("reconciler.db*"):
        assert SECRET.encode() not in path.read_bytes()


def test_a_replayed_event_is_told_with_what_mended_it(folder: Path, told: Any) -> None:
    async def seed() -> None:
        async with open_room(folder, webhook("flow")) as room:
            await room.intake.take(b"no JSON", source="test")

    asyncio.run(seed())
    store = ("--store", f"sqlite:///{folder / 'store.db'}")
    (quarantined,) = json.loads(told(*store, "events", "list", "--format", "json"))

    told(*store, "events", "replay", quarantined["id"], code=1)
    told(*store, "events", "replay", quarantined["id"], "--file", "event.json", "--as", "ann")

    newest, *rest = json.loads(told(*store, "audit", "list", "--format", "json"))
    assert (newest["action"], newest["subject"]) == ("replay_event", quarantined["id"])
    assert newest["details"]["events"] == {"accepted": 1} and len(newest["details"]["mended_sha256"]) == 64
    assert [entry["action"] for entry in rest] == ["apply"], "what stayed quarantined had no effect"


def test_the_head_is_printed_and_asked_for_later(folder: Path, told: Any) -> None:
    told("apply", "--auto-approve")
    head = json.loads(told("audit", "verify", "--format", "json"))["head"]
    told("webhooks", "pause", "flow", "--reason", "later")

    text = told("audit", "verify", "--expect", head)

    assert text.splitlines()[:3] == ["The audit log is whole.", "  entries  2", f"  noted    {head} is entry 1"]
    assert json.loads(told("audit", "verify", "--from", "2", "--expect", head, "--format", "json"))["checked"] == 1
    told("audit", "verify", "--expect", "0" * 64, code=1)
    told("audit", "verify", "--expect", "what", code=64)
    told("audit", "verify", "--from", "9", code=1)


def test_what_was_tampered_with_is_said(folder: Path, told: Any) -> None:
    told("apply", "--auto-approve")
    told("webhooks", "pause", "flow", "--reason", "later")
    db = sqlite3.connect(folder / "reconciler.db", isolation_level=None)
    db.execute("DROP TRIGGER audit_entries_updated")
    db.execute("UPDATE audit_entries SET body = replace(body, 'later', 'never') WHERE number = 2")
    db.close()

    text = told("audit", "verify", code=1)

    assert text.splitlines()[:2] == [
        "The audit log was tampered with.",
        "  ✗ entry 2 was edited: its digest is not that of what it says",
    ]


def test_a_hostile_reason_is_harmless_on_a_terminal(folder: Path, told: Any) -> None:
    told("apply", "--auto-approve")
    told("webhooks", "pause", "flow", "--reason", "later")
    told("webhooks", "resume", "flow", "--reason", "\x1b[31m\u202egone")

    out = told("audit", "list")

    assert "\x1b" not in out and "\\x1b[31m\\u202egone" in out


async def invoke(*args: str, code: int = 0) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, cli, list(args), standalone_mode=False)
    assert result.exception is None and (result.return_value or 0) == code, result.output
    return result.stdout


async def test_through_a_daemon_the_token_says_who(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the client says of itself is kept beside it."""
    (folder / "tokens.yaml").write_text(f"on-call: {{token: {'t' * 40}, roles: [operate, apply]}}")
    (folder / "tokens.yaml").chmod(0o600)
    monkeypatch.setenv("RECONCILER_TOKEN", "t" * 40)
    async with open_room(folder, webhook("flow", triggers=["Manual"])) as room:
        app = _app(room, Tokens.load(folder / "tokens.yaml"))
        async with running(app) as url:
            why = ("--reason", "it is time", "--as", "ann")
            await room.intake.take(raw(event(1)), source="test")
            await invoke("--store", url, "webhooks", "pause", "flow", *why)
            await invoke("--store", url, "webhooks", "resume", "flow", "--compact", "--auto-approve", *why)
            await invoke("--store", url, "trigger", "flow", "--event", "event.json", "--no-wait", *why)
            to = ("--connect-to", "receiver.example.com:443:127.0.0.1:1")
            await invoke("--store", url, "test", "flow", *to, *why, code=1)
            await invoke("--store", url, "apply", "--auto-approve", "--as", "ann", "--allow-deletes", "1")
            found = json.loads(await invoke("--store", url, "audit", "list", "--format", "json"))
            report = json.loads(await invoke("--store", url, "audit", "verify", "--format", "json"))

    assert [entry["action"] for entry in found] == ["apply", "test", "trigger", "resume", "pause", "apply"]
    assert [(entry["principal"], entry["behalf"]) for entry in found[:-1]] == [("on-call", "ann")] * 5
    assert {entry["reason"] for entry in found[1:-1]} == {"it is time"}
    assert report["valid"] and report["entries"] == 6
    async with SqliteStore(folder / "store.db") as store:
        assert (await store.audit_head()).digest == report["head"]


async def test_a_token_that_may_only_read_tests_and_says_that_it_was_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tokens.yaml").write_text(f"reader: {{token: {'t' * 40}, roles: [read]}}")
    (folder / "tokens.yaml").chmod(0o600)
    monkeypatch.setenv("RECONCILER_TOKEN", "t" * 40)
    async with open_room(folder, webhook("flow")) as room:
        async with running(_app(room, Tokens.load(folder / "tokens.yaml"))) as url:
            args = ["--store", url, "test", "flow", "--connect-to", "receiver.example.com:443:127.0.0.1:1"]
            result = await asyncio.to_thread(CliRunner().invoke, cli, args, standalone_mode=False)

        assert (
            "warning: the audit log was not told of the test: the daemon refuses: the token `reader` has"
            in result.stderr
        )
        assert (await room.store.audit_head()).number == 1


def _app(room: Room, tokens: Tokens) -> Any:
    return build_app(
        store=room.store,
        live=room.live,
        intake=room.intake,
        status=dict,
        now=lambda: NOW,
        security=Security(tokens),
    )
