"""Events judged again: a quarantined one as what it is now, whether mended by hand or by a newer version; an accepted
one for the webhooks of which it could not be told whether they want it.

Called by `events replay`, on a store or behind the daemon. What was received stays as it was; the event that it has
become is stored beside it, under its own identity, with its deliveries, and each names the other.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.dispatch.intake import Intake, IntakeAnswer, ItemAnswer
from reconciler.dispatch.item import PayloadTooLargeError, parse_items
from reconciler.dispatch.judge import Judged, judge_items
from reconciler.dispatch.live import Live
from reconciler.dispatch.rejudge import Rejudged, RejudgeStore, rejudge
from reconciler.errors import NotInStoreError, ReconcilerError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant
from reconciler.models.event import EventId
from reconciler.store.base import EventStatus, StoredEvent
from reconciler.store.match_error import MatchErrorFilter

MEND_HINT: Final = "`reconciler events show {id}` prints it as received; mend it and replay it with `--file MENDED`"


class ReplayError(ReconcilerError):
    """An event that cannot be replayed, or not so; nothing was done."""


@dataclass(frozen=True, slots=True)
class EventReplay:
    """What became of one event that was judged again: the events that it is now, or why it is none."""

    event_id: EventId
    answer: IntakeAnswer
    rejudged: Rejudged | None = None  # of an accepted event: what became of its match errors

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it is left to mend."""
        is_told = self.rejudged is None or not self.rejudged.failed
        return is_told and not (self.answer.quarantined or self.answer.conflicts)

    def to_json(self) -> dict[str, Any]:
        """The shape of `events replay --format json` and of the API."""
        rejudged = None if self.rejudged is None else self.rejudged.to_json()
        return {"id": self.event_id, **self.answer.to_json(), "match_errors": rejudged}


class Replayer:
    """Judges stored events again. `now` gives milliseconds since the epoch."""

    def __init__(self, store: RejudgeStore, live: Live, intake: Intake, *, now: Callable[[], int]) -> None:
        self._store = store
        self._live = live
        self._intake = intake
        self._now = now

    async def replay(self, event_id: str, mended: bytes | None = None, warrant: Warrant = UNKNOWN) -> EventReplay:
        """Judge one event again, as `mended` where that is given. Raises NotInStoreError, ReplayError, StoreError."""
        stored = await self._store.event(event_id)
        if stored is None:
            raise NotInStoreError(f"there is no such event: {event_id}", hint="list them with `reconciler events list`")
        # Four cases: mended before; quarantined; taken, with match errors; taken as it was.
        match stored.status:
            case EventStatus.MENDED:
                raise ReplayError(f"the event was mended before: {event_id}", hint=f"it is {stored.mended_as} now")
            case EventStatus.QUARANTINED:
                return await self._mend(stored, mended, warrant)
            case _ if stored.match_errors and mended is None:
                return await self._rejudge(stored, warrant)
            case _:
                hint = f"`reconciler deliveries replay --event {stored.id}` sends it again"
                raise ReplayError(f"the event is accepted, not quarantined: {stored.id}", hint=hint)

    async def _rejudge(self, stored: StoredEvent, warrant: Warrant) -> EventReplay:
        """Ask the webhooks again that could not tell."""
        where = MatchErrorFilter(event_id=stored.id)
        rejudged = await rejudge(self._store, self._live, now=self._now, where=where, deed=_deed(stored, warrant))
        if rejudged.deliveries:
            self._intake.wake()
        return EventReplay(stored.id, IntakeAnswer((ItemAnswer(stored.id, stored.status),)), rejudged)

    async def _mend(self, stored: StoredEvent, mended: bytes | None, warrant: Warrant) -> EventReplay:
        """Take it if all of it can be taken: a part would leave the rest where nobody looks for it."""
        await self._live.refresh()
        now = self._now()
        judged = judge_mended(stored.raw if mended is None else mended, stored, now=now)
        if any(item.event is None for item in judged):
            return EventReplay(stored.id, IntakeAnswer(tuple(_refused(stored, item) for item in judged)))
        return EventReplay(
            stored.id, await self._intake.take_judged(judged, now=now, deed=_deed(stored, warrant, mended))
        )


def _deed(stored: StoredEvent, warrant: Warrant, mended: bytes | None = None) -> Deed:
    """What the audit log tells of it: as what it was received, and the SHA-256 of what mends it."""
    details: dict[str, Any] = {"was": stored.status.value}
    if mended is not None:
        details["mended_sha256"] = hashlib.sha256(mended).hexdigest()
    return Deed(AuditAction.REPLAY_EVENT, stored.id, details, warrant)


def judge_mended(raw: bytes, stored: StoredEvent, *, now: int) -> Sequence[Judged]:
    """The events in mended bytes, one or several, each marked with the quarantined event that it mends. Pure.

    Raises ReplayError for bytes that are more than an intake takes.
    """
    try:
        items = parse_items(raw)
    except PayloadTooLargeError as exc:
        raise ReplayError(exc.message, hint=exc.hint) from exc
    if not items:
        raise ReplayError("the mended file has no event", hint=MEND_HINT.format(id=stored.id))
    judged = judge_items(items, source=stored.source, now=now, given_id=None)
    return [replace(item, row=item.row._replace(mends=stored.id)) for item in judged]


def _refused(stored: StoredEvent, item: Judged) -> ItemAnswer:
    problem = item.row.problem or "not taken, since another part of it has a problem"
    return ItemAnswer(stored.id, EventStatus.QUARANTINED, problem)
