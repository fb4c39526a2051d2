"""What is wrong with a store, what is live in it and what it sends to; each trouble with the way to mend it.

Called by the command line on a store file, serving or not, and by the daemon's API. Only looks: reads the store, reads
secrets without keeping them, and shakes hands with receivers by TLS, once a host, without a request.
"""

import asyncio
import contextlib
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from reconciler.dispatch import diagnose
from reconciler.dispatch.diagnose import Scene
from reconciler.dispatch.ready import trouble_of, why_held
from reconciler.dispatch.room import RoomLimits
from reconciler.egress.deliver import Deliverer
from reconciler.egress.dial import Dialer
from reconciler.egress.inspect import Inspection, inspect_hosts
from reconciler.egress.operator_file import deeds_of_others
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import NotInStoreError, Severity, StoreError
from reconciler.models.delivery import State
from reconciler.models.diagnosis import Check, Diagnosis, Finding
from reconciler.models.flow import Flow
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import Webhook, host_of
from reconciler.settings import EgressSettings
from reconciler.store.audit import walked
from reconciler.store.base import Store
from reconciler.store.examine import Examination, LooseFile

HOSTS_MAX: Final = 500  # shaken hands with; more could not be in the time for all
FLOWS_MAX: Final = 100  # backlogs told, the largest first
ENTRIES_MAX: Final = 20_000  # of the audit log, verified from its end: some 0.2 s; with `is_full` all


@dataclass(frozen=True, slots=True)
class How:
    """How thoroughly to look: `dials` receivers; `is_full` reads every page of the store."""

    dials: bool = True
    is_full: bool = False


class Doctor:
    """Looks at one store. `resolver` None: whose secrets are bound where is the word of the daemon that serves the
    store, if one does. `deliverer` is that of the daemon that looks, which knows what access tokens it lacks, `room` is
    when its intake is full, and `key_files` are those that it holds beside its secrets'. `now` gives milliseconds since
    the epoch."""

    def __init__(
        self,
        store: Store,
        *,
        settings: EgressSettings,
        resolver: SecretResolver | None,
        now: Callable[[], int],
        deliverer: Deliverer | None = None,
        room: RoomLimits | None = None,
        key_files: Sequence[Path] = (),
    ) -> None:
        self._store = store
        self._settings = settings
        self._given = resolver
        self._resolver = resolver or SecretResolver.load(None)
        self._given_deliverer = deliverer
        self._room = room or RoomLimits(max_unfinished=None)  # how many a daemon takes only it can tell
        self._key_files = tuple(key_files)
        self._now = now

    async def diagnose(self, how: How = How()) -> Diagnosis:
        """Every check. What of the store cannot be read is a finding, and so is what hangs on it."""
        examined: Examination | None = None
        try:
            examined = await self._store.examine(now=self._now(), is_full=how.is_full)
            scene = await self._scene(examined)
            checks = await asyncio.to_thread(self._checks, scene)  # it reads secrets' files, and opens each webhook
        except StoreError as exc:
            return unreadable(exc, damage=diagnose.damage(examined) if examined is not None else ())
        if how.dials:
            checks.append(await self._receivers(scene))
        checks.append(diagnose.clock(scene))
        checks.append(await _guarded("audit", partial(self._audit, how)))
        return Diagnosis(tuple(checks))

    @cached_property
    def _deliverer(self) -> Deliverer:
        """Judges credentials; nothing is sent through it here. Made when it is needed: it reads all authorities."""
        return self._given_deliverer or Deliverer(self._settings, masker=self._resolver.masker)

    def _checks(self, scene: Scene) -> list[Check]:
        found = {**self._held(scene), **self._tokenless(scene)}
        problems = problems_of(self._given)
        return [
            diagnose.store(scene, self._room),
            diagnose.files(scene, loose_keys((*self._key_files, *self._resolver.files))),
            diagnose.daemon(scene),
            diagnose.queue(scene, self._room),
            diagnose.backlog(scene),
            diagnose.halts(scene),
            diagnose.events(scene),
            diagnose.configuration(scene),
            diagnose.secrets(scene, found, is_told=self._is_told(scene), problems=problems),
        ]

    async def _scene(self, examined: Examination) -> Scene:
        store = self._store
        state, counts = await store.live_state(), await store.counts()

        def pending(live: LiveWebhook) -> int:
            return counts.get(live.uid, {}).get(State.PENDING, 0)

        largest = sorted(state.webhooks, key=pending, reverse=True)[:FLOWS_MAX]
        waiting = [live for live in largest if pending(live)]
        flows = {live.uid: found for live in waiting if (found := await self._flow(live)) is not None}
        now = self._now()
        return Scene(
            now=now,
            examined=examined,
            state=state,
            counts=counts,
            flows=flows,
            halts={uid: halt.at(now) for uid, halt in (await store.halts()).items()},
            holds=await store.holds(),
            match_errors=await store.match_error_counts(),
            names={live.uid: live.webhook.name for live in state.webhooks},
        )

    async def _flow(self, live: LiveWebhook) -> Flow | None:
        """A webhook's backlog; None where it has gone, or another name, since the state was read."""
        try:
            return (await self._store.flow(live.webhook.name)).expected(live.webhook)
        except NotInStoreError:
            return None

    def _is_told(self, scene: Scene) -> bool:
        """Whether the serving daemon's word on secrets counts, since nobody has given us a binding file."""
        return self._given is None and scene.examined.holder is not None

    def _held(self, scene: Scene) -> dict[str, str]:
        """Of active webhooks, by name, those that cannot be sent to for want of a secret or a key, and why."""
        if self._is_told(scene):
            notes = scene.examined.lanes
            told = ((live, notes.get(live.uid)) for live in scene.state.webhooks)
            names = {webhook.name for webhook in _sent(scene)}
            return {live.webhook.name: note for live, note in told if note and live.webhook.name in names}
        known = self._resolver, self._deliverer
        found = ((webhook.name, why_held(webhook, *known, now=scene.now)) for webhook in _sent(scene))
        return {name: why for name, why in found if why is not None}

    def _tokenless(self, scene: Scene) -> dict[str, str]:
        """Of active webhooks those whose client gets no access token now, and why, as far as the deliverer knows."""
        if self._is_told(scene):
            return {}
        known = self._resolver, self._deliverer
        found = ((webhook.name, trouble_of(webhook, *known, now=scene.now)) for webhook in _sent(scene))
        return {name: trouble.detail for name, trouble in found if trouble is not None}

    async def _receivers(self, scene: Scene) -> Check:
        hosts = list(await asyncio.to_thread(hosts_of, scene.state.webhooks))
        inspected: tuple[Inspection, ...] = await inspect_hosts(Dialer(self._settings), hosts[:HOSTS_MAX])
        return diagnose.receivers(scene, hosts, inspected)

    async def _audit(self, how: How) -> Check:
        last = (await self._store.audit_head()).number
        start = 1 if how.is_full else max(1, last - ENTRIES_MAX + 1)
        return diagnose.audit(await walked(self._store, start=start), start=start)


def hosts_of(lives: Iterable[LiveWebhook]) -> dict[str, None]:
    """The hosts that active webhooks send to, those of access tokens among them, in order."""
    hosts: dict[str, None] = {}
    for live in lives:
        spec = live.webhook.spec
        if live.webhook.is_active:
            hosts[live.webhook.host] = None
            if spec.auth is not None and spec.auth.oauth2 is not None:
                hosts[host_of(spec.auth.oauth2.token_url)] = None
    return hosts


def unreadable(exc: StoreError, *, damage: Sequence[Finding] = ()) -> Diagnosis:
    """All that can be told of a store that cannot be read; `damage` was seen before."""
    finding = Finding(Severity.ERROR, "store.unreadable", exc.message, mend=exc.hint)
    return Diagnosis((Check("store", "cannot be read", (*damage, finding)),))


def _sent(scene: Scene) -> list[Webhook]:
    """The webhooks that are sent something once they can be."""
    lives = (live.webhook for live in scene.state.webhooks)
    return [webhook for webhook in lives if webhook.is_active]


async def _guarded(name: str, check: Callable[[], Awaitable[Check]]) -> Check:
    """A check that reads the store at length: what it cannot read is its finding."""
    try:
        return await check()
    except StoreError as exc:
        finding = Finding(Severity.ERROR, f"{name}.unreadable", exc.message, mend=exc.hint)
        return Check(name, "cannot be read", (finding,))


def loose_keys(paths: Iterable[Path]) -> Iterator[LooseFile]:
    """Of files with keys and secrets, those that others may read or change."""
    for path in paths:
        with contextlib.suppress(OSError):  # what cannot be read is told where it is needed
            status = path.stat()
            if deeds_of_others(status):
                yield LooseFile(str(path), stat.S_IMODE(status.st_mode))


def problems_of(resolver: SecretResolver | None) -> Sequence[Finding]:
    """What is to be said of the binding file itself."""
    warnings = () if resolver is None else resolver.warnings
    return [
        Finding(problem.severity, problem.code, problem.message, problem.where, problem.hint) for problem in warnings
    ]
