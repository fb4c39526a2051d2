"""`doctor` as people use it: its text as a golden file, its exit codes, on a file that is served and through a daemon.

RECONCILER_GOLDEN=write writes the golden file anew.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from served import NOW, Room, event, open_room, raw, running, webhook

from reconciler.cli.main import cli, run
from reconciler.dispatch.doctor import Doctor
from reconciler.egress.secrets import SecretResolver
from reconciler.models.audit import Warrant
from reconciler.models.flow import Pause
from reconciler.settings import ConnectTo, EgressSettings
from reconciler.store.sqlite.store import SqliteStore
from reconciler.web.app import Security, build_app
from reconciler.web.token import Tokens

GOLDEN = Path(__file__).parent / "golden_doctor.txt"
WRITES = os.environ.get("RECONCILER_GOLDEN") == "write"
TO_NOWHERE = ("--connect-to", "receiver.example.com:443:127.0.0.1:1")
Told = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("RECONCILER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def told(folder: Path, capfd: pytest.CaptureFixture[str]) -> Told:
    def told(*args: str, code: int = 0) -> str:
        found = run(["--store", f"sqlite:///{folder / 'store.db'}", "doctor", *args])
        out, err = capfd.readouterr()
        assert found == code, f"exit {found}\n{out}\n{err}"
        return out

    return told


async def make_troubled(folder: Path) -> None:
    """A store with a bit of everything that can be wrong without a daemon."""
    slow = webhook("slow", rate_limit={"per_second": 0.01, "burst": 1})
    locked = webhook("locked", headers={"x-api-client-token": "${secret:token}"}, triggers=["RequestFailed"])
    async with open_room(folder, slow, locked) as room:
        await room.intake.take(raw([event(number) for number in range(50)]), source="test")
        await room.intake.take(b"no JSON", source="test")
        await room.store.pause("slow", Pause(NOW, "ann", "the flow is rebuilt"), warrant=Warrant("ann@laptop", at=NOW))


def settled(text: str, folder: Path) -> str:
    """Without what differs from day to day and from machine to machine."""
    text = text.replace(str(folder), "FOLDER")
    text = re.sub(r"SQLite [\d.]+, schema \d+", "SQLite N, schema N", text)
    text = re.sub(r"[\d.]+ ([KMGT]i)?B", "SIZE", text)
    return re.sub(r"head [0-9a-f]{16}", "head DIGEST", text)


def test_the_text_is_what_the_golden_file_shows(folder: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a check, below it what is wrong and how to mend it."""
    monkeypatch.setenv("NO_COLOR", "1")
    asyncio.run(make_troubled(folder))
    (folder / "store.db").chmod(0o640)

    text = settled(told(*TO_NOWHERE, code=1), folder)

    if WRITES:
        GOLDEN.write_text(text, "utf-8")
    assert text == GOLDEN.read_text("utf-8")


def test_json_tells_the_same(folder: Path, told: Told) -> None:
    asyncio.run(make_troubled(folder))

    report = json.loads(told(*TO_NOWHERE, "--format", "json", code=1))

    found = [finding for check in report["checks"] for finding in check["findings"]]
    assert (report["format_version"], report["well"]) == (1, False)
    assert report["error_count"] == sum(finding["severity"] == "error" for finding in found) == 2
    assert {finding["code"] for finding in found if finding["severity"] == "error"} == {
        "secret.unresolved",
        "receiver.connect",
    }
    assert all(finding["mend"] for finding in found)


def test_warnings_alone_exit_0(folder: Path, told: Told) -> None:
    async def seed() -> None:
        async with open_room(folder, webhook("flow")) as room:
            await room.intake.take(b"no JSON", source="test")

    asyncio.run(seed())

    assert told("--offline").splitlines()[-1] == "1 warning"


def test_a_store_that_is_well_is_said_to_be(folder: Path, told: Told) -> None:
    async def seed() -> None:
        async with open_room(folder, webhook("flow")):
            pass

    asyncio.run(seed())

    assert told("--offline").splitlines()[-1] == "All is well."
    assert told("--offline", "--full").splitlines()[-1] == "All is well."


def test_what_is_no_store_is_a_finding_and_no_store_an_error(folder: Path, told: Told) -> None:
    told(code=1)
    (folder / "store.db").write_bytes(b"no database" * 1000)

    report = json.loads(told("--format", "json", code=1))

    assert [finding["code"] for check in report["checks"] for finding in check["findings"]] == ["store.unreadable"]


def test_a_broken_binding_file_is_said_as_such(folder: Path, told: Told) -> None:
    asyncio.run(make_troubled(folder))
    (folder / "secrets.yaml").write_text("token: {from: nowhere}")

    told("--offline", "--secrets", "secrets.yaml", code=1)


async def invoke(*args: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, list(args), standalone_mode=False)


def _app(room: Room, **facts: Any) -> Any:
    return build_app(store=room.store, live=room.live, intake=room.intake, status=dict, now=lambda: NOW, **facts)


async def test_through_a_daemon_its_own_secrets_and_options_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may read may ask; the daemon is the one that looks, and dials."""
    (folder / "tokens.yaml").write_text(f"auditor: {{token: {'t' * 40}, roles: [read]}}")
    (folder / "secrets.yaml").write_text("token: {from: env:TOKEN, hosts: [receiver.example.com]}")
    for name in ("tokens.yaml", "secrets.yaml"):
        (folder / name).chmod(0o600)
    monkeypatch.setenv("TOKEN", "a-secret-of-the-daemon")
    monkeypatch.setenv("RECONCILER_TOKEN", "t" * 40)
    locked = webhook("locked", headers={"x-api-client-token": "${secret:token}"})
    async with open_room(folder, locked) as room:
        settings = EgressSettings(connect_to=(ConnectTo("receiver.example.com", 443, "127.0.0.1", 1),))
        resolver = SecretResolver.load(folder / "secrets.yaml")
        doctor = Doctor(room.store, settings=settings, resolver=resolver, now=lambda: NOW)
        async with running(_app(room, doctor=doctor, security=Security(Tokens.load(folder / "tokens.yaml")))) as url:
            dialled = await invoke("--store", url, "doctor", "--format", "json")
            offline = await invoke("--store", url, "doctor", "--offline")
            full = await invoke("--store", url, "doctor", "--full")

    report = json.loads(dialled.stdout)
    assert [finding["code"] for check in report["checks"] for finding in check["findings"]] == ["receiver.connect"]
    assert dialled.return_value == 1
    assert (offline.return_value, offline.stdout.splitlines()[-1]) == (0, "All is well.")
    assert "a-secret-of-the-daemon" not in dialled.stdout
    assert "--full goes with a store file" in f"{full.exception}"


async def test_the_api_refuses_what_it_cannot_read(folder: Path) -> None:
    import httpx

    async with open_room(folder, webhook("flow")) as room, running(_app(room)) as url, httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/v1/doctor?connect=perhaps")).status_code == 400
        assert (await client.get(f"{url}/v1/doctor")).json()["well"] is True


async def test_a_serving_daemon_goes_on_while_its_file_is_looked_at(folder: Path) -> None:
    """Another process looks, as thoroughly as it can, while this one takes events; no write waits for it."""
    async with open_room(folder, webhook("flow")) as room:
        await room.intake.take(raw([event(number) for number in range(500)]), source="test")
        room.store.take_daemon_lock()
        command = [sys.executable, "-m", "reconciler", "--store", f"sqlite:///{folder / 'store.db'}", "doctor"]
        looking = await asyncio.create_subprocess_exec(
            *command, "--full", "--offline", "--format", "json", stdout=subprocess.PIPE
        )
        number, slowest = 500, 0.0
        loop = asyncio.get_running_loop()
        while looking.returncode is None and number < 5_000:
            began = loop.time()
            await room.intake.take(raw(event(number)), source="test")
            slowest = max(slowest, loop.time() - began)
            number += 1
            if number % 20 == 0:
                await asyncio.sleep(0)  # its end is told by the loop
        out, _ = await asyncio.wait_for(looking.communicate(), 60)

    report = json.loads(out)
    daemon = next(check for check in report["checks"] if check["name"] == "daemon")
    assert f"process {os.getpid()} on " in daemon["fact"]
    assert report["error_count"] == 0, report
    assert slowest < 5, "SQLite waits up to ten seconds for a lock"


async def test_a_daemon_that_starts_while_somebody_asks_who_serves_is_not_refused(folder: Path) -> None:
    import fcntl

    async with open_room(folder, webhook("flow")) as room:
        lock = folder / "store.db.lock"
        asking = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(asking, fcntl.LOCK_SH)
        taking = asyncio.create_task(asyncio.to_thread(room.store.take_daemon_lock))
        os.close(asking)

        await taking

    async with SqliteStore(folder / "store.db") as store:
        assert (await store.examine(now=NOW)).holder is None
