"""What `doctor` finds in stores, daemons, configuration and receivers that are really so, and that it finds no more."""

import asyncio
import os
import sqlite3
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from served import NOW, Room, event, open_room, publish, raw, webhook

from reconciler.dispatch import diagnose
from reconciler.dispatch.doctor import Doctor, How, hosts_of
from reconciler.dispatch.room import RoomLimits
from reconciler.egress.dial import Dialer
from reconciler.egress.inspect import inspect_hosts
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import Severity
from reconciler.models.audit import Warrant
from reconciler.models.delivery import AttemptResult, Fault, Outcome, ReceivedResponse, SentRequest, State
from reconciler.models.diagnosis import Diagnosis, Finding, diagnosis_of
from reconciler.models.event import EventId
from reconciler.models.flow import Pause
from reconciler.models.health import Health
from reconciler.models.revision import ChangeSet, Hold
from reconciler.models.webhook import Policy, WebhookUid
from reconciler.settings import ConnectTo, EgressSettings
from reconciler.store.base import Claimed, Finished, Lane, NewEvent
from reconciler.store.examine import Answered
from reconciler.store.match_error import NewMatchError
from reconciler.store.sqlite import examine as examining
from reconciler.store.sqlite.lock import DaemonLock, holder_of
from reconciler.store.sqlite.store import SqliteStore

HOUR = 3_600_000
OFFLINE = How(dials=False)
HOST = "receiver.example.com"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """One webhook, live."""
    async with open_room(tmp_path, webhook("flow")) as room:
        yield room


async def look(room: Room, how: How = OFFLINE, **facts: Any) -> Diagnosis:
    given = {"settings": EgressSettings(), "resolver": None, "now": lambda: room.now, **facts}
    return await Doctor(room.store, **given).diagnose(how)


def findings(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for check in diagnosis.checks for finding in check.findings]


def codes(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in findings(diagnosis)]


def fact(diagnosis: Diagnosis, name: str) -> str:
    return next(check.fact for check in diagnosis.checks if check.name == name)


async def pend(room: Room, number: int = 1) -> None:
    """Deliveries of `flow`, pending."""
    await room.intake.take(raw([event(n) for n in range(number)]), source="test")


async def claimed(room: Room, **lane: Any) -> tuple[Claimed, ...]:
    """Its lane open, and what is due claimed, for a minute."""
    facts = {"per_second": None, "burst": 1, "max_concurrency": 16, **lane}
    await room.store.configure(1, [Lane(WebhookUid("flow"), f"{HOST}/hook", **facts)])
    return await room.store.claim(now=room.now, lease_until=room.now + 60_000, limit=10, revision=1, commit=None)


def ended(item: Claimed, at: int, **facts: Any) -> Finished:
    given: dict[str, Any] = {
        "outcome": Outcome.RETRYABLE,
        "result": AttemptResult(Outcome.RETRYABLE),
        "state": State.PENDING,
        "next_attempt_at": at,
        **facts,
    }
    return Finished(seq=item.seq, token=item.token, number=item.number, finished_at=at, **given)


def edit(room: Room, *statements: str) -> None:
    """What nobody should do to a store: without its triggers and its constraints."""
    db = sqlite3.connect(path_of(room), isolation_level=None)
    db.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    db.close()


def path_of(room: Room) -> Path:
    assert isinstance(room.store, SqliteStore)
    return room.store._path


async def test_a_store_that_is_well_has_no_finding(room: Room) -> None:
    diagnosis = await look(room)

    assert findings(diagnosis) == []
    assert diagnosis.is_well
    assert [check.name for check in diagnosis.checks] == [
        *("store", "files", "daemon", "queue", "backlog", "halts", "events", "webhooks", "secrets", "clock", "audit")
    ]
    assert diagnosis_of(diagnosis.to_json()) == diagnosis


async def test_it_changes_nothing(room: Room) -> None:
    await pend(room, 3)
    before = path_of(room).read_bytes(), Path(f"{path_of(room)}-wal").read_bytes()

    await look(room)

    assert (path_of(room).read_bytes(), Path(f"{path_of(room)}-wal").read_bytes()) == before


# The store ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_damaged_page_is_found(tmp_path: Path, is_full: bool) -> None:
    async with open_room(tmp_path, webhook("flow")) as room:
        await pend(room, 200)
    path = tmp_path / "store.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : (page - 1) * size + 64] = b"\xff" * 64
    path.write_bytes(bytes(content))

    async with SqliteStore(path) as store:
        doctor = Doctor(store, settings=EgressSettings(), resolver=None, now=lambda: NOW)
        diagnosis = await doctor.diagnose(replace(OFFLINE, is_full=is_full))

    assert not diagnosis.is_well
    assert {"store.damaged", "store.unreadable"} & set(codes(diagnosis))


@pytest.mark.parametrize(
    ("code", "statement"),
    [
        ("counters", "UPDATE lanes SET pending = pending + 1"),
        ("counters", "DELETE FROM deliveries WHERE seq = (SELECT max(seq) FROM deliveries)"),
        ("cancelling", "UPDATE lanes SET doomed = 1"),
        ("heads", "UPDATE deliveries SET is_head = 0 WHERE order_key IS NOT NULL"),
        ("attempts", "INSERT INTO attempts VALUES (1, 1, 4, 0, 0, 1, NULL, '{}')"),
        ("probes", "UPDATE paces SET probe_seq = 1, opened_at = 1"),
        ("asleep", "UPDATE lanes SET wake_at = NULL"),
        ("asleep", "UPDATE paces SET wake_at = NULL"),
        ("revisions", "UPDATE store SET live_revision = 0"),
        ("audited", "INSERT INTO revisions SELECT 3, 'p3', 0, 'x', NULL, '', 0, 0, 0, 0, NULL, NULL, '', 0, 0"),
        ("audited", "DELETE FROM audit_entries WHERE number = 2"),
        ("rewritten", "UPDATE webhook_versions SET name = 'other' WHERE revision = 2"),
        ("rewritten", "UPDATE webhook_versions SET digest = 'other' WHERE revision = 1"),
    ],
)
async def test_rows_that_break_a_rule_are_found(room: Room, code: str, statement: str) -> None:
    """Whatever edits the file by hand; each rule holds before."""
    await pend(room, 3)
    await room.store.configure(1, [Lane(WebhookUid("flow"), f"{HOST}/hook", None, 1, 16)])
    assert [code for code in codes(await look(room)) if code.startswith("store.")] == []
    await publish(room.store, webhook("flow", title="again"))

    edit(room, statement)

    assert f"store.{code}" in codes(await look(room))


async def test_every_kind_of_revision_is_what_the_audit_log_says(room: Room) -> None:
    """Created, changed, deleted, released, with a policy, rolled back: none looks rewritten."""
    await publish(room.store, webhook("flow", title="changed"), webhook("other"))
    await publish(room.store, webhook("flow"))
    state = await room.store.live_state()
    empty = ChangeSet(state.lineage, state.revision, "p", NOW, "ann", None, "team", (), (), None, 0, 0, 0, 0, ())
    await room.store.publish(replace(empty, policy=Policy(max_delete_percent=10)))
    uids = tuple(live.uid for live in state.webhooks)
    await room.store.publish(
        replace(empty, base_revision=state.revision + 1, plan_id="q", released=uids, forgotten=1, restores=1)
    )

    assert codes(await look(room)) == []


async def test_a_row_that_names_none_is_found(room: Room) -> None:
    await pend(room)
    edit(room, "PRAGMA foreign_keys = OFF", "DELETE FROM events")

    found = findings(await look(room))

    assert "a row of deliveries names a row of events that is not there" in [finding.fact for finding in found]


async def test_what_takes_too_long_is_left_out_and_said(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await pend(room, 300)
    monkeypatch.setattr(examining, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(examining, "PROGRESS_STEPS", 1)

    assert "store.unchecked" in codes(await look(room))
    assert "store.unchecked" not in codes(await look(room, replace(OFFLINE, is_full=True)))


async def test_files_that_others_may_use_are_named(room: Room) -> None:
    path_of(room).chmod(0o644)

    (found,) = findings(await look(room))

    assert (found.code, found.severity) == ("file.mode", Severity.WARNING)
    assert f"{path_of(room)} (mode 0644)" in found.fact
    assert found.mend == f"chmod 600 {path_of(room)}"


@pytest.mark.parametrize(("mode", "told"), [(0o777, ["file.folder_mode"]), (0o1777, []), (0o775, [])])
async def test_a_folder_where_everybody_may_replace_the_store_is_named(room: Room, mode: int, told: list[str]) -> None:
    """Where it is sticky, as /tmp is, nobody may; a group is somebody's choice."""
    folder = path_of(room).parent
    folder.chmod(mode)

    found = findings(await look(room))

    assert [finding.code for finding in found] == told
    assert [finding.mend for finding in found] == [f"chmod o-w {folder}"] * len(told)


async def test_who_can_read_the_lock_can_take_it(room: Room) -> None:
    room.store.take_daemon_lock()
    lock = path_of(room).with_name("store.db.lock")
    lock.chmod(0o640)

    assert [(found.code, found.mend) for found in findings(await look(room))] == [("file.mode", f"chmod 600 {lock}")]


async def test_files_with_secrets_and_keys_that_others_may_use_are_named(room: Room, tmp_path: Path) -> None:
    """Those of the binding file, and those that the daemon was given. One that is not there is told elsewhere."""
    bindings, secret, key = (tmp_path / name for name in ("secrets.yaml", "token", "tls.key"))
    bindings.write_text(
        f"one: {{from: 'file:{secret}', hosts: [hooks.example.com]}}\n"
        f"two: {{from: 'file:{tmp_path}/missing', hosts: [hooks.example.com]}}\n"
    )
    for path, mode in ((bindings, 0o600), (secret, 0o644), (key, 0o602)):
        path.touch()
        path.chmod(mode)

    resolver = SecretResolver.load(bindings)
    doctor = Doctor(room.store, settings=EgressSettings(), resolver=resolver, now=lambda: NOW, key_files=[key])
    (found,) = findings(await doctor.diagnose(OFFLINE))

    assert (found.code, found.severity) == ("file.key_mode", Severity.WARNING)
    assert f"{key} (mode 0602), {secret} (mode 0644)" in found.fact
    assert found.mend == f"chmod 600 {key} {secret}"


async def test_a_disk_without_room_is_an_error_and_one_that_fills_a_warning(room: Room) -> None:
    doctor = Doctor(room.store, settings=EgressSettings(), resolver=None, now=lambda: NOW)
    scene = await doctor._scene(await room.store.examine(now=NOW))

    def code(free: int, total: int, min_free: int | None = None) -> list[str]:
        seen, room = replace(scene.examined, free_bytes=free, total_bytes=total), RoomLimits(min_free_bytes=min_free)
        return [finding.code for finding in diagnose.store(replace(scene, examined=seen), room).findings]

    assert code(1 << 20, 1 << 40) == ["store.full"]
    assert code(1 << 35, 1 << 40) == ["store.space"]
    assert code(1 << 39, 1 << 40) == []
    assert code(1 << 39, 1 << 40, 1 << 40) == ["store.full"], "by the daemon's own limit"
    assert code(1 << 20, 1 << 40, 0) == ["store.space"]


async def test_a_backlog_that_turns_senders_away_is_an_error(room: Room) -> None:
    """By the limit of the daemon that looks; whoever looks at the file knows of none."""
    await pend(room, 3)

    async def is_full(limits: RoomLimits | None) -> bool:
        facts = {"settings": EgressSettings(), "resolver": None, "now": lambda: room.now}
        return "queue.full" in codes(await Doctor(room.store, room=limits, **facts).diagnose(OFFLINE))

    assert await is_full(RoomLimits(max_unfinished=3))
    assert not await is_full(RoomLimits(max_unfinished=4))
    assert not await is_full(None)


async def test_a_store_that_cannot_be_examined_is_said(room: Room) -> None:
    path_of(room).rename(path_of(room).with_name("moved"))

    diagnosis = await look(room)

    assert codes(diagnosis) == ["store.unreadable"]


# The daemon ---------------------------------------------------------------------------------------------------------


async def test_who_serves_the_store_is_told_and_a_stale_lock_file_is_nobody(room: Room) -> None:
    assert fact(await look(room), "daemon") == "none serves the store"
    lock = DaemonLock(path_of(room))
    lock.take()
    assert f"process {os.getpid()} on " in fact(await look(room), "daemon")
    lock.drop()

    assert holder_of(path_of(room)) is None
    assert path_of(room).with_name("store.db.lock").exists()
    lock.take()  # asking leaves no lock behind
    lock.drop()


async def test_what_is_late_is_a_warning_without_a_daemon_and_an_error_with_one(room: Room) -> None:
    await pend(room)
    await room.store.configure(1, [Lane(WebhookUid("flow"), f"{HOST}/hook", None, 1, 16)])
    assert codes(await look(room)) == ["daemon.none"]
    room.now += HOUR

    alone = await look(room)
    room.store.take_daemon_lock()
    served = await look(room)

    assert codes(alone) == ["daemon.none", "queue.lag"] and alone.is_well
    assert codes(served) == ["queue.lag"] and not served.is_well
    assert findings(served)[0].fact == "a delivery could have been sent 1 h ago, and was not"


async def test_leases_that_nobody_closes_are_found(room: Room) -> None:
    await pend(room)
    await claimed(room)
    room.store.take_daemon_lock()
    assert codes(await look(room)) == []
    room.now += HOUR

    assert codes(await look(room)) == ["queue.leases"]
    assert "1 lease expired and not closed" in findings(await look(room))[0].fact


async def test_a_long_backlog_is_told_with_how_long_it_takes(tmp_path: Path) -> None:
    slow = webhook("flow", rate_limit={"per_second": 0.01, "burst": 1})
    async with open_room(tmp_path, slow) as room:
        await pend(room, 50)

        diagnosis = await look(room)

    found = next(finding for finding in findings(diagnosis) if finding.code == "backlog.long")
    assert (found.subject, found.fact) == ("flow", "50 pending, 1.39 h at 0.01/s")
    assert fact(diagnosis, "backlog") == "flow: 50 pending, 1.39 h at 0.01/s"


async def test_pauses_holds_and_breakers_are_told_with_the_way_out(room: Room) -> None:
    await pend(room, 12)
    for item in await claimed(room):
        finished = ended(item, room.now, health=Health.FAILED, blame="HTTP 503")
        await room.store.finish([finished])
    await room.store.pause("flow", Pause(NOW, "ann", "rebuild"), warrant=Warrant("ann"))
    await room.store.set_hold("team", Hold("team", NOW, "ann", "wait"), warrant=Warrant("ann"))

    found = {finding.code: finding for finding in findings(await look(room))}

    assert found["webhook.paused"].severity is Severity.WARNING
    assert "by ann: rebuild" in found["webhook.paused"].fact
    assert found["webhook.breaker"].severity is Severity.ERROR
    assert found["apply.held"].mend == "once the reason is gone: reconciler rollback --release --owner team"


async def test_a_pause_by_the_destinations_faults_is_an_error(room: Room) -> None:
    await pend(room)
    (item,) = await claimed(room)
    await room.store.finish([ended(item, room.now, health=Health.GONE, blame="HTTP 410")])

    found = next(finding for finding in findings(await look(room)) if finding.code == "webhook.paused")

    assert found.severity is Severity.ERROR and "HTTP 410" in found.fact


async def test_events_that_reached_nobody_are_counted(room: Room) -> None:
    await room.intake.take(b"no JSON", source="test")
    error = NewMatchError(WebhookUid("flow"), "no such key")
    new = NewEvent(EventId("e"), "AccessRequestCreated", None, None, "test", b"{}", "f", NOW, match_errors=(error,))
    await room.store.accept([new], revision=1)

    found = findings(await look(room))

    assert [finding.code for finding in found] == ["event.quarantined", "event.match_error"]
    assert found[1].subject == "flow"


# What is live -------------------------------------------------------------------------------------------------------


async def test_a_webhook_that_somebody_edited_is_found(room: Room) -> None:
    edit(room, "UPDATE documents SET body = replace(body, 'RequestCreated', 'RequestFailed')")

    assert codes(await look(room)) == ["webhook.edited"]


async def test_a_last_signing_key_that_soon_ends_is_found_unless_one_follows(tmp_path: Path) -> None:
    def keys(*windows: tuple[str | None, str | None]) -> dict[str, Any]:
        return {"keys": [{"key": "${secret:key}", "not_before": begin, "not_after": end} for begin, end in windows]}

    soon = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(days=3)
    end, earlier = soon.isoformat(), (soon - timedelta(days=1)).isoformat()
    alone, followed = keys((None, end)), keys((None, end), (earlier, None))
    async with open_room(tmp_path, webhook("a", signing=alone), webhook("b", signing=followed)) as room:
        diagnosis = await look(room)

    assert [found.subject for found in findings(diagnosis) if found.code == "webhook.key_ends"] == ["a"]


BINDINGS = """
good: {from: env:GOOD, hosts: [receiver.example.com]}
unset: {from: env:UNSET, hosts: [receiver.example.com]}
elsewhere: {from: env:GOOD, hosts: [other.example.com]}
"""


def with_secret(name: str, secret: str, **facts: Any) -> Any:
    return webhook(name, headers={"x-api-client-token": f"${{secret:{secret}}}"}, **facts)


@pytest.fixture
def resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretResolver:
    monkeypatch.setenv("GOOD", "a-long-enough-secret")
    file = tmp_path / "secrets.yaml"
    file.write_text(BINDINGS)
    file.chmod(0o600)
    return SecretResolver.load(file)


async def test_each_secret_that_cannot_be_resolved_is_told(tmp_path: Path, resolver: SecretResolver) -> None:
    hooks = [with_secret(name, name) for name in ("good", "unset", "elsewhere", "unbound")]
    async with open_room(tmp_path, *hooks, with_secret("off", "unbound", status="inactive")) as room:
        diagnosis = await look(room, resolver=resolver)

    found = {finding.subject: finding.fact for finding in findings(diagnosis)}
    assert sorted(found) == ["elsewhere", "unbound", "unset"]
    assert "bound to other hosts" in found["elsewhere"]
    assert "the variable UNSET is not set" in found["unset"]
    assert "is not bound" in found["unbound"]
    assert "a-long-enough-secret" not in f"{diagnosis}"


OAUTH = {
    "token_url": "https://login.example.com/oauth2/v1/token",
    "client_id": "c1",
    "private_key": "${secret:good}",
    "key_id": "k1",
    "algorithm": "RS256",
}


async def test_a_key_of_no_use_is_told_and_the_host_of_tokens_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOD", "this-is-no-private-key")
    (tmp_path / "secrets.yaml").write_text("good: {from: env:GOOD, hosts: [login.example.com]}")
    (tmp_path / "secrets.yaml").chmod(0o600)
    async with open_room(tmp_path, webhook("flow", auth={"oauth2": OAUTH})) as room:
        diagnosis = await look(room, resolver=SecretResolver.load(tmp_path / "secrets.yaml"))
        hosts = list(hosts_of((await room.store.live_state()).webhooks))

    (found,) = findings(diagnosis)
    assert (found.code, found.subject) == ("secret.unresolved", "flow")
    assert "this-is-no-private-key" not in f"{diagnosis}"
    assert hosts == [HOST, "login.example.com"]


async def test_without_bindings_the_serving_daemons_word_counts(tmp_path: Path) -> None:
    async with open_room(tmp_path, with_secret("flow", "token"), with_secret("fine", "token")) as room:
        alone = await look(room)
        closed = Lane(WebhookUid("flow"), "a", None, 1, 1, is_open=False, note="secret `token` is not bound")
        await room.store.configure(1, [closed, Lane(WebhookUid("fine"), "b", None, 1, 1)])
        room.store.take_daemon_lock()
        served = await look(room)

    assert [finding.subject for finding in findings(alone)] == ["fine", "flow"]
    assert [(finding.subject, finding.fact) for finding in findings(served)] == [
        ("flow", "secret `token` is not bound")
    ]


async def test_a_binding_file_that_others_read_is_said(room: Room, resolver: SecretResolver, tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").chmod(0o644)

    diagnosis = await look(room, resolver=SecretResolver.load(tmp_path / "secrets.yaml"))

    assert "may be read by others" in findings(diagnosis)[0].fact


# Receivers ----------------------------------------------------------------------------------------------------------


class Doors:
    """TLS servers on loopback that say nothing, by the name that they are reached at."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.heard: list[bytes] = []
        self.targets: list[ConnectTo] = []

    async def open(self, host: str, *, named: str | None = None, days: int = 365) -> Any:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ends = datetime.now(UTC) + timedelta(days=days)
        leaf = self.ca.issue_cert(named or host, not_before=datetime.now(UTC) - timedelta(days=400), not_after=ends)
        leaf.configure_cert(context)

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                self.heard.append(await reader.read())
            except OSError:
                self.heard.append(b"")
            writer.close()

        server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=context)
        self.targets.append(ConnectTo(host, 443, "127.0.0.1", server.sockets[0].getsockname()[1]))
        return server

    @property
    def settings(self) -> EgressSettings:
        return EgressSettings(ca_file=self.ca_file, connect_to=tuple(self.targets))


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    return Doors(tmp_path)


def to(*hosts: str) -> list[Any]:
    return [webhook(f"hook-{index}", url=f"https://{host}/in") for index, host in enumerate(hosts)]


async def test_receivers_are_greeted_once_a_host_and_sent_nothing(tmp_path: Path, doors: Doors) -> None:
    server = await doors.open(HOST)
    async with open_room(tmp_path, *to(HOST, HOST)) as room:
        diagnosis = await look(room, How(), settings=doors.settings)
    server.close()
    await server.wait_closed()

    assert findings(diagnosis) == []
    assert fact(diagnosis, "receivers") == "1 of 1 host reached by TLS"
    assert doors.heard == [b""]


async def test_certificates_and_doors_that_are_wrong_are_told_by_host(tmp_path: Path, doors: Doors) -> None:
    servers = [
        await doors.open("good.example.com"),
        await doors.open("soon.example.com", days=10),
        await doors.open("expired.example.com", days=-1),
        await doors.open("misnamed.example.com", named="other.example.com"),
    ]
    doors.targets.append(ConnectTo("closed.example.com", 443, "127.0.0.1", 1))
    hosts = [f"{name}.example.com" for name in ("good", "soon", "expired", "misnamed", "closed")]
    async with open_room(tmp_path, *to(*hosts)) as room:
        room.now = int(datetime.now(UTC).timestamp() * 1000)
        diagnosis = await look(room, How(), settings=doors.settings)
    for server in servers:
        server.close()

    found = {finding.subject: (finding.code, finding.severity) for finding in findings(diagnosis)}
    assert found == {
        "soon.example.com": ("receiver.certificate", Severity.WARNING),
        "expired.example.com": ("receiver.tls", Severity.ERROR),
        "misnamed.example.com": ("receiver.tls", Severity.ERROR),
        "closed.example.com": ("receiver.connect", Severity.ERROR),
    }
    assert fact(diagnosis, "receivers") == "2 of 5 hosts reached by TLS"


async def test_names_that_lead_nowhere_or_inside_are_told() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        if host == "gone.example.com":
            raise OSError("no such name")
        return ["169.254.169.254"]

    inspected = await inspect_hosts(
        Dialer(EgressSettings(), resolve=resolve), ["gone.example.com", "inside.example.com"]
    )

    assert [item.fault for item in inspected] == [Fault.DNS, Fault.REFUSED_ADDRESS]


async def test_inactive_webhooks_are_not_dialled(tmp_path: Path) -> None:
    async with open_room(tmp_path, webhook("flow", status="inactive")) as room:
        assert fact(await look(room, How()), "receivers") == "no webhook is active"


# The clock and the audit log ----------------------------------------------------------------------------------------


def answers(**seconds: float) -> tuple[Answered, ...]:
    """One answer of each host, whose clock is so many seconds behind ours."""
    return tuple(
        Answered(
            f"https://{host}.example.com/in",
            format_datetime(datetime.fromtimestamp(int(NOW / 1000 - behind), UTC), usegmt=True),
            NOW,
        )
        for host, behind in seconds.items()
    )


@pytest.mark.parametrize(
    ("hosts", "severity"),
    [
        ({"a": 0, "b": 1}, None),
        ({"a": 20, "b": 20}, Severity.WARNING),
        ({"a": 300, "b": 300, "c": 0}, Severity.ERROR),
        ({"a": 300, "b": 0, "c": 0}, None),  # its own clock is wrong
        ({"a": 300}, Severity.WARNING),  # who knows whose
        ({"a": -300, "b": -300}, Severity.ERROR),
        ({}, None),
    ],
)
async def test_the_clock_is_judged_by_the_receivers_answers(
    room: Room, hosts: dict[str, float], severity: Severity | None
) -> None:
    doctor = Doctor(room.store, settings=EgressSettings(), resolver=None, now=lambda: NOW)
    scene = await doctor._scene(await room.store.examine(now=NOW))

    check = diagnose.clock(replace(scene, examined=replace(scene.examined, answered=answers(**hosts))))

    assert check.severity is severity


async def test_the_dates_of_recorded_attempts_are_found(room: Room) -> None:
    await pend(room)
    (item,) = await claimed(room)
    headers = (("Date", "Tue, 24 Nov 2026 08:00:00 GMT"), ("x", "y"))
    result = AttemptResult(
        Outcome.DELIVERED,
        request=SentRequest("POST", "https://receiver.example.com/hook", (), ""),
        response=ReceivedResponse(200, "OK", headers, "ok", 2, truncated=False),
    )
    at = int(datetime(2026, 11, 24, 8, 10, 0, 500_000, tzinfo=UTC).timestamp() * 1000)
    done = ended(item, at, state=State.DELIVERED, outcome=Outcome.DELIVERED, result=result, next_attempt_at=None)
    await room.store.finish([done])

    found = findings(await look(room))

    assert [finding.code for finding in found] == ["clock.offset"]
    assert "10 min ahead of theirs" in found[0].fact


@pytest.mark.parametrize(
    "body",
    [
        "replace(body, 'dana', 'hugo')",
        "json_set(body, '$.details.revision', json('[1]'))",
        "json_set(body, '$.details', NULL)",
        "'no JSON'",
        "'[]'",
    ],
)
async def test_an_audit_log_that_was_tampered_with_is_an_error(room: Room, body: str) -> None:
    """Whatever stands there now, it ends no other check."""
    edit(room, f"UPDATE audit_entries SET body = {body}")

    diagnosis = await look(room)

    assert "audit.broken" in codes(diagnosis)
    assert len(diagnosis.checks) == 11


def test_sizes_are_told_as_people_say_them() -> None:
    sizes: list[tuple[int, str]] = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 50, "1024 TiB"),
    ]

    assert [(number, diagnose.size(number)) for number, _ in sizes] == sizes
