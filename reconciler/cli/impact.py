"""`plan --impact`: the recorded events that a plan is measured with, read a page at a time.

A page is one short read of the store, which never waits for a writer and keeps none waiting, so that a serving daemon
is not held up; through a daemon it is one request. Counting is left to `plan.impact`.
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.plan_option import DEFAULT_DAYS
from reconciler.errors import ReconcilerError
from reconciler.plan.plan import Plan
from reconciler.store.base import EventLog, EventStatus, Page, StoredEvent

if TYPE_CHECKING:
    from reconciler.models.event import Event
    from reconciler.plan.impact import ImpactMeter

DAY_MS: Final = 86_400_000
PAGE_EVENTS: Final = 500
HELD_BYTES: Final = 256 * 1024  # of a file that are read at once


async def with_impact(made: Plan, url: str, options: Mapping[str, Any]) -> Plan:
    """The plan with its impact. Raises ReconcilerError for events that cannot be read."""
    from reconciler.plan.impact import ImpactMeter

    meter, skipped = ImpactMeter(made.changes), 0
    if options["impact_file"] is not None:
        source = "of the file"
        for event in _file_events(Path(options["impact_file"])):
            skipped += _add(meter, event)
    else:
        days = options["impact_days"] or DEFAULT_DAYS
        source = f"of the last {days} days" if days > 1 else "of the last day"
        async for stored in _store_events(url, since=time.time_ns() // 1_000_000 - days * DAY_MS):
            if meter.may_match(stored.event_type):
                skipped += _add(meter, _stored_event(stored))
            else:
                meter.pass_over()
    return replace(made, impact=meter.result(source, skipped=skipped))


def _add(meter: "ImpactMeter", event: "Event | None") -> int:
    """Count an event; 1 for what is none."""
    if event is None:
        return 1
    meter.add(event)
    return 0


async def _store_events(url: str, *, since: int) -> AsyncIterator[StoredEvent]:
    """The accepted events received since then, newest first; none where there is no store."""
    from reconciler.cli.state import open_state

    store = open_state(url, create=False)
    if store is None:
        return
    async with store:
        async for stored in accepted_since(store, since):
            yield stored


async def accepted_since(store: EventLog, since: int) -> AsyncIterator[StoredEvent]:
    """Accepted events received at `since` or later, newest first, a page at a time."""
    page = Page(PAGE_EVENTS)
    while True:
        found = await store.events(page, status=EventStatus.ACCEPTED)
        for stored in found:
            if stored.received_at < since:
                return
            yield stored
        if len(found) < PAGE_EVENTS:
            return
        page = Page(PAGE_EVENTS, found[-1].id)


def _stored_event(stored: StoredEvent) -> "Event | None":
    """What intake made of it; the judgement is not repeated."""
    from reconciler.models.event import read_event

    try:
        payload, own = read_event(stored.raw)
    except ValueError:
        return None
    return _made(payload, own, stored.id) if isinstance(payload, dict) else None


def _file_events(file: Path) -> Iterator["Event | None"]:
    """The events of a JSONL file, each judged as intake would; None for a line that is no event."""
    from reconciler.source.jsonl import LineSplitter

    splitter, number = LineSplitter(), 0
    try:
        with file.open("rb") as opened:
            while True:
                chunk = opened.read(HELD_BYTES)
                items = splitter.feed(chunk) if chunk else splitter.end()
                for item in items:
                    number += 1
                    yield None if item.problem else _file_event(item.value, item.raw, f"event {number}")
                if not chunk:
                    return
    except OSError as exc:
        raise ReconcilerError(f"cannot read events: {file}: {(exc.strerror or '').lower()}") from exc


def _file_event(value: Any, raw: bytes, name: str) -> "Event | None":
    from reconciler import jsontext
    from reconciler.models.event import EventProblem, judge_payload, payload_of

    payload = payload_of(value)
    try:
        judged = judge_payload(payload)
    except EventProblem:
        return None
    return _made(judged, raw if payload is value else jsontext.dumps(payload).encode("utf-8"), name)


def _made(payload: dict[str, Any], raw: bytes, event_id: str) -> "Event":
    """The event as matching and rendering see it. Its digest is not asked for, and costs as much as reading it."""
    from reconciler.models.event import Event, EventId

    return Event(
        id=EventId(event_id),
        event_type=payload["event_type"],
        data_id=None,
        event_time=None,
        payload=payload,
        raw=raw,
        fingerprint="",
    )
