"""The judgement of `dispatch.doctor`: what was seen of a store, its daemon and its receivers, as findings. Pure.

An error is what deliveries or the store suffer from now; a warning what they will, or what a person should know.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Final

from reconciler.dispatch.room import RoomLimits
from reconciler.egress.inspect import Inspection
from reconciler.errors import Severity
from reconciler.models.audit import Chain
from reconciler.models.delivery import Fault, State, iso_time
from reconciler.models.diagnosis import Check, Finding
from reconciler.models.flow import ITSELF, NO_HALT, Flow, Halt, span
from reconciler.models.revision import Hold, LiveState, LiveWebhook
from reconciler.models.webhook import WebhookUid, host_of
from reconciler.store.examine import Answered, Examination, LooseFile
from reconciler.store.retention import Load

LAG_MS: Final = 60_000  # a daemon that works claims what is due within a second
LEASE_LATE_MS: Final = 10_000  # it closes expired leases every second
BACKLOG_SECONDS: Final = 3_600.0  # longer than this is worth a word
EXPIRY_DAYS: Final = 21  # certificates of 90 days are renewed at 30; of 47, as from 2029, at 15 or so
KEY_DAYS: Final = 14  # for a signing key's successor to reach every receiver
CLOCK_WARNING_MS: Final = 5_000
CLOCK_ERROR_MS: Final = 60_000  # access tokens are asked for with a time; Standard Webhooks' receivers take 5 minutes
DAY_MS: Final = 86_400_000
ADVICE: Final = {
    Fault.DNS: "check the host in the manifest, and the name server of this machine",
    Fault.REFUSED_ADDRESS: "receivers have public addresses; the operator exempts his own by `--allow-range`",
    Fault.CONNECT: "check that the receiver is up and that no firewall stands between",
    Fault.CONNECT_TIMEOUT: "check that the receiver is up and that no firewall stands between",
    Fault.TLS: "renew or mend the receiver's certificate; give an authority of your own by `--ca`",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What was read of a store at `now`, in milliseconds since the epoch; `flows` of the largest backlogs, largest
    first."""

    now: int
    examined: Examination
    state: LiveState
    counts: Mapping[WebhookUid, Mapping[State, int]]
    flows: Mapping[WebhookUid, Flow]
    halts: Mapping[WebhookUid, Halt]
    holds: Sequence[Hold]
    match_errors: Mapping[WebhookUid, int]
    names: Mapping[WebhookUid, str]  # of the live webhooks

    def name(self, uid: WebhookUid) -> str:
        """The live name of a webhook, else its uid."""
        return self.names.get(uid, uid)

    def total(self, state: State) -> int:
        """How many deliveries are in a state."""
        return sum(of.get(state, 0) for of in self.counts.values())


def damage(seen: Examination) -> list[Finding]:
    """What the engine itself finds wrong with its file, and the rules that its rows break."""
    mend = "restore a backup; `sqlite3 FILE .recover` may save rows"
    damaged = [_error("store.damaged", fact, mend=mend) for fact in seen.damage]
    mend = "stop the daemon, keep a copy of the file, and report this"
    return damaged + [_error(f"store.{item.code}", item.fact, mend=mend) for item in seen.broken]


def store(scene: Scene, room: RoomLimits) -> Check:
    """The file's integrity, the rules of its rows, the room on its disk."""
    seen = scene.examined
    findings = damage(seen)
    if seen.left_out:
        names = ", ".join(seen.left_out[:3]) + (f" and {len(seen.left_out) - 3} more" if len(seen.left_out) > 3 else "")
        findings.append(
            _warning("store.unchecked", f"too large to check in a few seconds: {names}", mend="run `doctor --full`")
        )
    load = Load(0, seen.free_bytes, seen.total_bytes)
    if (full := replace(room, max_unfinished=None).full(load)) is not None:
        findings.append(_error("store.full", full[1], mend="free space: no event is taken until then"))
    elif seen.free_bytes is not None and seen.total_bytes and seen.free_bytes < seen.total_bytes // 10:
        free = f"the store's disk is nearly full: {size(seen.free_bytes)} of {size(seen.total_bytes)} are free"
        findings.append(_warning("store.space", free, mend="free space, or keep less: `run --retention`"))
    facts = [
        seen.engine,
        f"schema {seen.schema_version}",
        f"revision {scene.state.revision}",
        size(seen.size_bytes),
        *([] if seen.free_bytes is None else [f"{size(seen.free_bytes)} free"]),
    ]
    return Check("store", ", ".join(facts), tuple(findings))


def files(scene: Scene, keys: Iterable[LooseFile] = ()) -> Check:
    """Who may read and write the store's files; and those with `keys` in them that others may use."""
    kinds = (
        ("file.mode", "others may use what stands in the store", scene.examined.loose),
        ("file.key_mode", "others may read or change a secret or a key", tuple(keys)),
    )
    findings = [_too_open(*kind) for kind in kinds if kind[-1]]
    if (folder := scene.examined.open_folder) is not None:
        fact = f"everybody may put another file in the store's place: {folder.path} (mode {folder.mode:04o})"
        findings.append(_warning("file.folder_mode", fact, mend=f"chmod o-w {shlex.quote(folder.path)}"))
    return Check("files", "others may use them" if findings else "for their owner only", tuple(findings))


def _too_open(code: str, fact: str, loose: Sequence[LooseFile]) -> Finding:
    modes = ", ".join(f"{item.path} (mode {item.mode:04o})" for item in loose)
    return _warning(code, f"{fact}: {modes}", mend=f"chmod 600 {' '.join(shlex.quote(item.path) for item in loose)}")


def daemon(scene: Scene) -> Check:
    """Who delivers."""
    holder, unfinished = scene.examined.holder, scene.total(State.PENDING) + scene.total(State.IN_FLIGHT)
    if holder is not None:
        who = f"process {holder.pid} on {holder.host} since {holder.started_at}" if holder.pid else "has just started"
        return Check("daemon", who)
    if not unfinished:
        return Check("daemon", "none serves the store")
    fact = f"no daemon serves the store, and {unfinished:,} deliveries wait"
    return Check("daemon", "none serves the store", (_warning("daemon.none", fact, mend="start it: `reconciler run`"),))


def queue(scene: Scene, room: RoomLimits) -> Check:
    """What is too much, and what is late: deliveries that could be sent and are not, attempts whose worker is gone."""
    seen, findings = scene.examined, []
    load = Load(scene.total(State.PENDING) + scene.total(State.IN_FLIGHT))
    if (full := replace(room, min_free_bytes=0).full(load)) is not None:
        mend = "no event is taken until then: see below what holds it back, or raise `run --max-pending`"
        findings.append(_error("queue.full", full[1], mend=mend))
    is_served = seen.holder is not None
    lag = 0 if seen.due_at is None else scene.now - seen.due_at
    if lag > LAG_MS:
        fact = f"a delivery could have been sent {span(lag / 1000)} ago, and was not"
        mend = "look at the daemon's log and load" if is_served else "start the daemon: `reconciler run`"
        findings.append((_error if is_served else _warning)("queue.lag", fact, mend=mend))
    if seen.expired and scene.now - (seen.expired_at or 0) > LEASE_LATE_MS:
        late = span((scene.now - (seen.expired_at or 0)) / 1000)
        fact = f"{_counted(seen.expired, 'lease')} expired and not closed, the oldest {late} ago"
        mend = "a daemon closes them as unknown when it starts; one that runs should have: look at its log"
        findings.append((_error if is_served else _warning)("queue.leases", fact, mend=mend))
    numbers = [f"{scene.total(state):,} {state.value.replace('_', ' ')}" for state in State]
    return Check("queue", ", ".join(numbers), tuple(findings))


def backlog(scene: Scene) -> Check:
    """What waits for each webhook, and how long it takes at the allowed rate."""
    findings = []
    for uid, flow in scene.flows.items():
        seconds = flow.seconds()
        if seconds is not None and seconds > BACKLOG_SECONDS:
            mend = "`webhooks resume --fresh-first` sends new events first, `--compact` drops what is superseded"
            findings.append(_warning("backlog.long", flow.estimate(), scene.name(uid), mend))
    shown = [f"{scene.name(uid)}: {flow.estimate()}" for uid, flow in list(scene.flows.items())[:3]]
    more = f"; {len(scene.flows) - 3} more" if len(scene.flows) > 3 else ""
    return Check("backlog", "; ".join(shown) + more if shown else "none", tuple(findings))


def halts(scene: Scene) -> Check:
    """What holds deliveries and applies back."""
    findings = []
    for uid, halt in sorted(scene.halts.items(), key=lambda item: scene.name(item[0])):
        if uid not in scene.names or halt == NO_HALT:
            continue
        name = scene.name(uid)
        if halt.pause is not None:
            make = _error if halt.pause.paused_by == ITSELF else _warning
            findings.append(
                make(
                    "webhook.paused",
                    halt.pause.fact,
                    name,
                    f"once its reason is gone: `reconciler webhooks resume {name}`",
                )
            )
        if halt.breaker.is_open:
            fact = Halt(None, halt.breaker).fact or ""
            mend = f"mend the receiver; `reconciler webhooks resume {name}` probes it at once"
            findings.append(_error("webhook.breaker", fact, name, mend))
    findings += [_warning("apply.held", hold.fact, hold.owner, hold.way_out) for hold in scene.holds]
    return Check("halts", f"{len(findings)} found" if findings else "nothing is held back", tuple(findings))


def events(scene: Scene) -> Check:
    """What was received and reached nobody."""
    findings = []
    if number := scene.examined.quarantined:
        fact = f"{_counted(number, 'event')} in quarantine, which the schema does not take"
        mend = "`reconciler events list --status quarantined` lists them, `events replay` takes them once mended"
        findings.append(_warning("event.quarantined", fact, mend=mend))
    for uid, number in sorted(scene.match_errors.items(), key=lambda item: scene.name(item[0])):
        fact = f"its `when` could not be told for {_counted(number, 'event')}"
        mend = "`reconciler events list --match-errors` says why; mend it, then `events replay --match-errors`"
        findings.append(_warning("event.match_error", fact, scene.name(uid), mend))
    return Check("events", "some reached nobody" if findings else "none in quarantine", tuple(findings))


def configuration(scene: Scene) -> Check:
    """What is live and cannot deliver, or will cease to."""
    findings: list[Finding] = []
    for live in scene.state.webhooks:
        findings += _configured(live, scene.now)
    active = sum(live.webhook.is_active for live in scene.state.webhooks)
    fact = f"{_counted(len(scene.state.webhooks), 'webhook')} live, {active} active"
    return Check("webhooks", fact, tuple(findings))


def _configured(live: LiveWebhook, now: int) -> list[Finding]:
    webhook, found = live.webhook, []
    if not live.is_intact:
        mend = "somebody edited the store; apply the manifests again, or roll back"
        found.append(_error("webhook.edited", "its stored document is not what was applied", webhook.name, mend))
    if not webhook.is_active:
        return found
    keys = webhook.spec.signing.keys if webhook.spec.signing is not None else ()
    ends = [key.closes_at for key in keys if key.is_open(now)]
    if ends and all(at is not None for at in ends):
        last = max(at for at in ends if at is not None)
        successors = [key for key in keys if key.opens_at is not None and now < key.opens_at <= last]
        if last - now < KEY_DAYS * DAY_MS and not successors:
            fact = f"its last signing key ends at {iso_time(last)}, and none follows"
            found.append(
                _warning("webhook.key_ends", fact, webhook.name, "add the key that follows; windows may overlap")
            )
    return found


def secrets(scene: Scene, held: Mapping[str, str], *, is_told: bool, problems: Sequence[Finding] = ()) -> Check:
    """What is bound to nothing, to other hosts, or cannot be read. `is_told`: by the serving daemon."""
    needed = {
        name for live in scene.state.webhooks if live.webhook.is_active for name, _ in live.webhook.secret_hosts()
    }
    mend = "bind it in the operator's file, named by `--secrets`, or mend what the file names"
    findings = [_error("secret.unresolved", why, name, mend) for name, why in sorted(held.items())]
    whose = ", as the daemon says" if is_told and needed else ""
    fact = f"{_counted(len(needed), 'secret')} needed{whose}" if needed else "none is needed"
    return Check("secrets", fact, (*problems, *findings))


def receivers(scene: Scene, hosts: Sequence[str], inspected: Sequence[Inspection]) -> Check:
    """What was met at the receivers' doors."""
    findings = []
    for item in inspected:
        if item.fault is not None:
            mend = ADVICE.get(item.fault, "")
            subject = "" if item.detail.startswith(item.host) else item.host  # it is said once
            findings.append(_error(f"receiver.{item.fault.value}", item.detail, subject, mend))
        elif item.expires_at is not None and item.expires_at - scene.now < EXPIRY_DAYS * DAY_MS:
            left = (item.expires_at - scene.now) // DAY_MS
            fact = f"its certificate ends in {_counted(max(0, left), 'day')}: {iso_time(item.expires_at)}"
            findings.append(_warning("receiver.certificate", fact, item.host, "renew it: deliveries fail after that"))
    if missed := len(hosts) - len(inspected):
        fact = f"{_counted(missed, 'host')} not looked at: there was no time"
        findings.append(_warning("receiver.unchecked", fact, mend="run `doctor` again"))
    well = sum(item.fault is None for item in inspected)
    fact = f"{well} of {_counted(len(hosts), 'host')} reached by TLS" if hosts else "no webhook is active"
    return Check("receivers", fact, tuple(findings))


def clock(scene: Scene) -> Check:
    """How far this machine's clock is from the receivers', by the `Date` of their answers (RFC 9110, section 6.6.1)."""
    offsets = clock_offsets(scene.examined.answered)
    if not offsets:
        return Check("clock", "no answer has told the time yet")
    off = round(median(offsets.values()))
    fact = f"{_counted(len(offsets), 'receiver')} compared, {_ahead(off)}"
    if abs(off) <= CLOCK_WARNING_MS:
        return Check("clock", fact)
    make = _error if abs(off) > CLOCK_ERROR_MS and len(offsets) > 1 else _warning
    whose = "" if len(offsets) > 1 else f", or that of {next(iter(offsets))}"
    mend = f"set this machine's clock{whose}, by NTP: signatures and access tokens carry the time"
    return Check("clock", fact, (make("clock.offset", f"this machine's clock is {_ahead(off)}", mend=mend),))


def clock_offsets(answered: Sequence[Answered]) -> dict[str, float]:
    """By host, how many milliseconds our clock was ahead of its own, by the median of its answers. A `Date` has whole
    seconds, so half of one is added to it."""
    found: dict[str, list[float]] = {}
    for item in answered:
        try:
            date = parsedate_to_datetime(item.date).timestamp() * 1000 + 500
        except (ValueError, TypeError, OverflowError):
            continue
        found.setdefault(host_of(item.url), []).append(item.finished_at - date)
    return {host: median(offsets) for host, offsets in found.items()}


def audit(chain: Chain, *, start: int = 1) -> Check:
    """Whether the audit log is whole, from the entry `start` on."""
    mend = "find out who could write the store; `reconciler audit verify` says it again"
    findings = [_error("audit.broken", problem, mend=mend) for problem in chain.problems]
    since = "" if start == 1 else f", verified from {start:,}"
    fact = f"{_counted(chain.number, 'entry', 'entries')}{since}, head {(chain.digest or '')[:16]}…"
    return Check("audit", fact, tuple(findings))


def size(number: int) -> str:
    """Bytes as people say them."""
    value, units = float(number), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if value < 1024 or unit == units[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def _ahead(off_ms: float) -> str:
    if abs(off_ms) < 1000:
        return "less than a second off"
    return f"{span(abs(off_ms) / 1000)} {'ahead of' if off_ms > 0 else 'behind'} theirs"


def _counted(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _error(code: str, fact: str, subject: str = "", mend: str = "") -> Finding:
    return Finding(Severity.ERROR, code, fact, subject, mend)


def _warning(code: str, fact: str, subject: str = "", mend: str = "") -> Finding:
    return Finding(Severity.WARNING, code, fact, subject, mend)
