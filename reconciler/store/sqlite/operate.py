"""Interventions on a connection: the deliveries that an operator means, portion by portion, replayed or cancelled.

`pick` finds a portion and only reads; `intervene` judges each of its rows again in the transaction that changes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import apsw

from reconciler.errors import NotInStoreError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant
from reconciler.models.delivery import Action, DeliveryId, Intervention, Reason, State, replay_id
from reconciler.store.operate import FIRST_IDS, PORTION_ROWS, Portion, Selection, Terms, Verdict
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import array, pack, run, value
from reconciler.store.sqlite.finish import NEXT_HEADS
from reconciler.store.sqlite.lane import refresh
from reconciler.store.sqlite.text import storable

WINDOW_ROWS: Final = 100_000  # walked in one read where no index leads to what is meant
REPLAY_RANK: Final = 1  # above that of any new delivery, which is 0 or lower: replays get what fresh ones leave
_INDEX_OF: Final = {State.DEAD: "deliveries_dead", State.CANCELLED: "deliveries_cancelled"}

_ROWS: Final = """
SELECT json_group_array(json_array(d.seq, d.id, d.lane_id, d.state,
    EXISTS (SELECT 1 FROM deliveries r WHERE r.replay_of = d.seq AND r.state IN ('pending', 'in_flight')),
    EXISTS (SELECT 1 FROM delivery_interventions i WHERE i.delivery_seq = d.seq
        AND i.intervention_id = (SELECT id FROM interventions WHERE key = :key))))
FROM json_each(:seqs) j CROSS JOIN deliveries d ON d.seq = j.value
"""
_LANES: Final = """
SELECT json_group_array(json_array(l.id,
    coalesce((SELECT name FROM webhook_versions WHERE uid = l.webhook_uid ORDER BY revision DESC LIMIT 1),
        l.webhook_uid),
    CASE WHEN w.uid IS NULL THEN 'webhook_deleted' WHEN d.body ->> '$.spec.status' <> 'active' THEN 'webhook_inactive'
        END))
FROM json_each(:lanes) j CROSS JOIN lanes l ON l.id = j.value
LEFT JOIN live_webhooks w ON w.uid = l.webhook_uid
LEFT JOIN webhook_versions v ON v.uid = w.uid AND v.revision = w.revision LEFT JOIN documents d ON d.id = v.document_id
"""
_INTERVENTION: Final = """
INSERT INTO interventions (key, action, given_at, given_by, reason)
VALUES (:key, :action, :given_at, :given_by, :reason) ON CONFLICT (key) DO NOTHING
"""
_NOTE: Final = """
INSERT INTO delivery_interventions (delivery_seq, intervention_id, attempts)
SELECT d.seq, (SELECT id FROM interventions WHERE key = :key), d.attempts
FROM json_each(:seqs) j CROSS JOIN deliveries d ON d.seq = j.value
"""
_REPLAY: Final = """
UPDATE deliveries SET state = 'pending', reason = NULL, outcome = NULL, order_key = NULL, is_head = 1,
    rank = :rank, due_at = :due_at + j.key * :interval_us / 1000, hold_until = :due_at, counted = 0,
    give_up_at = NULL, replays = replays + 1
FROM json_each(:seqs) j WHERE deliveries.seq = j.value
"""
_REPLAY_AS: Final = """
INSERT INTO deliveries (id, event_seq, lane_id, state, is_head, rank, due_at, hold_until, revision, git_commit,
    accepted_at, replays, replay_of)
SELECT j.value ->> 1, d.event_seq, d.lane_id, 'pending', 1, :rank, :due_at + j.key * :interval_us / 1000, :due_at,
    s.live_revision, (SELECT git_commit FROM revisions WHERE number = s.live_revision), :given_at, 1, d.seq
FROM jsonb_each(:ids) j CROSS JOIN deliveries d ON d.seq = j.value ->> 0 CROSS JOIN store s
"""
_RANK_LANES: Final = """
UPDATE lanes SET ranks = (SELECT json_group_array(value ORDER BY value) FROM (
    SELECT value FROM json_each(coalesce(lanes.ranks, '[0]')) UNION SELECT :rank))
WHERE id IN (SELECT value FROM json_each(:lanes))
"""
_SEQS_OF: Final = "SELECT json_group_array(seq) FROM deliveries WHERE id IN (SELECT value FROM json_each(:ids))"
_HEADS: Final = """
SELECT json_group_array(d.seq) FROM json_each(:seqs) j CROSS JOIN deliveries d ON d.seq = j.value
WHERE d.is_head OR d.hold_until <= :now
"""
_CANCEL: Final = """
UPDATE deliveries SET state = 'cancelled', reason = :reason WHERE seq IN (SELECT value FROM json_each(:seqs))
"""
# Out of its order, so that what comes later waits for what came before.
_LEAVE_ORDER: Final = """
UPDATE deliveries SET order_key = NULL, is_head = 1 WHERE seq IN (SELECT value FROM json_each(:seqs))
"""
_CANCEL_WHEN_BACK: Final = """
UPDATE deliveries SET cancel_reason = coalesce(cancel_reason, :reason)
WHERE seq IN (SELECT value FROM json_each(:seqs))
"""


@dataclass(frozen=True, slots=True)
class Picked:
    """The rows of a portion, by acceptance, and where the next one begins."""

    seqs: tuple[int, ...]
    following: str | None


class _Way(NamedTuple):
    """Where a portion is looked for, and how its rows' order is spelt; a walk is bounded by WINDOW_ROWS."""

    source: str
    seq: str = "d.seq"
    is_walk: bool = False


class Row(NamedTuple):
    """What a verdict needs to know of a delivery."""

    seq: int
    id: str
    lane_id: int
    state: State
    has_replay: bool  # under a new id, unfinished
    is_repeated: bool


def pick(db: apsw.Connection, where: Selection, at: str | None) -> Picked:
    """The next portion of a selection. Raises NotInStoreError for an `at` that no portion gave."""
    after, until = _place(db, at)
    lanes = _lanes_named(db, where.webhooks)
    way = _way(where, lanes)
    end = min(until, after + WINDOW_ROWS) if way.is_walk else until
    sql = (
        f"SELECT json_group_array(seq) FROM (SELECT d.seq FROM {way.source}"
        f" WHERE {way.seq} > :after AND {way.seq} <= :until AND {' AND '.join(_terms(where, lanes))}"
        f" ORDER BY {way.seq} LIMIT {PORTION_ROWS})"
    )
    seqs = array(
        db,
        sql,
        after=after,
        until=end,
        ids=pack([storable(id_) for id_ in where.ids]),
        lanes=pack(lanes),
        event_id=None if where.event_id is None else storable(where.event_id),
        types=pack([storable(kind) for kind in where.event_types]),
        since=where.accepted_since,
        before=where.accepted_before,
    )
    reached = seqs[-1] if len(seqs) == PORTION_ROWS else end
    return Picked(tuple(seqs), f"{reached}-{until}" if reached < until else None)


def _way(where: Selection, lanes: Sequence[int]) -> _Way:
    """How to find what is meant. A planner cannot know it: how many rows have a state is for the day to say."""
    # Four cases: named, found by the index on ids or events; in a state that has an index; of one webhook; a walk.
    if where.ids or where.event_id is not None:
        return _Way("deliveries d", seq="+d.seq")
    if len(where.states) == 1 and where.states[0] in _INDEX_OF:
        return _Way(f"deliveries d INDEXED BY {_INDEX_OF[where.states[0]]}")
    if len(lanes) == 1:
        return _Way("deliveries d INDEXED BY deliveries_lane", is_walk=True)
    return _Way("deliveries d NOT INDEXED", is_walk=True)


def survey(db: apsw.Connection, where: Selection, action: Action, terms: Terms, at: str | None) -> Portion:
    """What would become of the next portion."""
    picked = pick(db, where, at)
    rows, lanes = _rows(db, picked.seqs, key="")
    return _portion(rows, lanes, _verdicts(rows, lanes, action, terms), picked.following)


def intervene(
    db: apsw.Connection,
    where: Selection,
    picked: Picked,
    how: Intervention,
    terms: Terms,
    warrant: Warrant = UNKNOWN,
) -> Portion:
    """Replay or cancel what of a portion can be; what has left the selected states meanwhile is none."""
    kept = value(db, "SELECT action FROM interventions WHERE key = :key", key=storable(how.key))
    if kept is not None and kept != how.action.value:  # also where it has had all that is meant now
        raise NotInStoreError(f"the key is that of another deed, a {kept}: {how.key}", hint="give a key of its own")
    found, lanes = _rows(db, picked.seqs, key=how.key)
    rows = [row for row in found if not where.states or row.state in where.states]
    verdicts = _verdicts(rows, lanes, how.action, terms)
    touched = [row for row, verdict in zip(rows, verdicts, strict=True) if verdict.is_done]
    if touched:
        _note(db, how, touched)
        match how.action:
            case Action.REPLAY:
                _replay(db, touched, how, terms)
            case Action.CANCEL:
                _cancel(db, touched, how)
        refresh(db, {row.lane_id for row in touched})
    portion = _portion(rows, lanes, verdicts, picked.following)
    if touched:
        append(db, _deed(portion, how, terms, warrant), at=how.given_at)
    return portion


def _deed(portion: Portion, how: Intervention, terms: Terms, warrant: Warrant) -> Deed:
    """What the audit log tells of a portion; `delivery_interventions` has each of its deliveries under the key."""
    done = {
        name: sum(number for verdict, number in of.items() if verdict.is_done) for name, of in portion.counts.items()
    }
    webhooks = {name: number for name, number in done.items() if number}
    return Deed(
        AuditAction(how.action.value),
        next(iter(webhooks)) if len(webhooks) == 1 else "",
        {
            "key": how.key,
            "given_by": how.given_by,
            "done": portion.done,
            "webhooks": webhooks,
            "first": list(portion.first),
            "new_id": terms.is_new_id,
        },
        replace(warrant, reason=warrant.reason or how.reason),
    )


def _place(db: apsw.Connection, at: str | None) -> tuple[int, int]:
    """After which row to go on, and the last one."""
    if at is None:
        return 0, int(value(db, "SELECT coalesce(max(seq), 0) FROM deliveries"))
    after, _, until = at.partition("-")
    if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in (after, until)):
        raise NotInStoreError(f"there is no place to continue from: {at:.40}", hint="begin again without it")
    return int(after), int(until)


def _terms(where: Selection, lanes: Sequence[int]) -> list[str]:
    terms = ["true"]
    if where.ids:
        terms.append("d.id IN (SELECT value FROM json_each(:ids))")
    if where.webhooks:
        one = f"d.lane_id = {int(lanes[0])}" if len(lanes) == 1 else ""
        terms.append(one or "+d.lane_id IN (SELECT value FROM json_each(:lanes))")
    if where.states:  # spelt out, so that the partial indexes apply; they are ours, not the caller's text
        terms.append(_one_of("d.state", [State(state).value for state in where.states]))
    if where.reasons:
        terms.append(_one_of("d.reason", [Reason(reason).value for reason in where.reasons]))
    if where.event_id is not None:
        terms.append("d.event_seq = (SELECT seq FROM events WHERE id = :event_id)")
    if where.event_types:
        kind = "SELECT event_type FROM events WHERE seq = d.event_seq"
        terms.append(f"({kind}) IN (SELECT value FROM json_each(:types))")
    if where.accepted_since is not None:
        terms.append("d.accepted_at >= :since")
    if where.accepted_before is not None:
        terms.append("d.accepted_at < :before")
    return terms


def _one_of(column: str, values: Sequence[str]) -> str:
    quoted = [f"'{item}'" for item in values]
    return f"{column} = {quoted[0]}" if len(quoted) == 1 else f"{column} IN ({', '.join(quoted)})"


def _lanes_named(db: apsw.Connection, globs: Sequence[str]) -> list[int]:
    """The lanes of live webhooks with these names."""
    if not globs:
        return []
    live = array(
        db,
        "SELECT json_group_array(json_array(w.name, l.id)) FROM live_webhooks w JOIN lanes l ON l.webhook_uid = w.uid",
    )
    return [lane for name, lane in live if any(fnmatchcase(name, glob) for glob in globs)]


def _rows(db: apsw.Connection, seqs: Sequence[int], *, key: str) -> tuple[list[Row], dict[int, tuple[str, str | None]]]:
    """The deliveries of a portion, and of each lane its webhook's name and why nothing of it can be replayed."""
    found = array(db, _ROWS, seqs=pack(seqs), key=key)
    rows = [Row(seq, id_, lane, State(state), bool(has), bool(was)) for seq, id_, lane, state, has, was in found]
    lanes = array(db, _LANES, lanes=pack(list({row.lane_id for row in rows})))
    return rows, {lane_id: (name, obstacle) for lane_id, name, obstacle in lanes}


def _verdicts(
    rows: Sequence[Row], lanes: Mapping[int, tuple[str, str | None]], action: Action, terms: Terms
) -> list[Verdict]:
    if action is Action.CANCEL:
        return [_cancel_verdict(row) for row in rows]
    return [_replay_verdict(row, lanes[row.lane_id][1], terms) for row in rows]


def _replay_verdict(row: Row, obstacle: str | None, terms: Terms) -> Verdict:
    if row.is_repeated:
        return Verdict.REPEATED
    if row.state is State.IN_FLIGHT:
        return Verdict.IN_FLIGHT
    if row.state is State.PENDING or (terms.is_new_id and row.has_replay):
        return Verdict.PENDING
    return Verdict.DONE if obstacle is None else Verdict(obstacle)


def _cancel_verdict(row: Row) -> Verdict:
    if row.is_repeated:
        return Verdict.REPEATED
    match row.state:
        case State.PENDING:
            return Verdict.DONE
        case State.IN_FLIGHT:
            return Verdict.WHEN_BACK
        case _:
            return Verdict.FINISHED


def _note(db: apsw.Connection, how: Intervention, rows: Sequence[Row]) -> None:
    run(
        db,
        _INTERVENTION,
        key=storable(how.key),
        action=how.action.value,
        given_at=how.given_at,
        given_by=storable(how.given_by),
        reason=storable(how.reason),
    )
    run(db, _NOTE, key=storable(how.key), seqs=pack([row.seq for row in rows]))


def _replay(db: apsw.Connection, rows: Sequence[Row], how: Intervention, terms: Terms) -> None:
    pace = {"rank": REPLAY_RANK, "due_at": how.given_at + terms.delay_ms, "interval_us": terms.interval_us}
    run(db, _RANK_LANES, rank=REPLAY_RANK, lanes=pack(list({row.lane_id for row in rows})))
    if not terms.is_new_id:
        run(db, _REPLAY, seqs=pack([row.seq for row in rows]), **pace)
        return
    ids = [replay_id(row.id, how.key) for row in rows]
    pairs = pack([[row.seq, id_] for row, id_ in zip(rows, ids, strict=True)])
    run(db, _REPLAY_AS, ids=pairs, given_at=how.given_at, **pace)
    run(db, _NOTE, key=storable(how.key), seqs=value(db, _SEQS_OF, ids=pack(ids)))


def _cancel(db: apsw.Connection, rows: Sequence[Row], how: Intervention) -> None:
    pending = pack([row.seq for row in rows if row.state is State.PENDING])
    heads = value(db, _HEADS, seqs=pending, now=how.given_at)
    run(db, _CANCEL, seqs=pending, reason=Reason.OPERATOR.value)
    run(db, NEXT_HEADS, seqs=heads)
    run(db, _LEAVE_ORDER, seqs=pending)
    in_flight = pack([row.seq for row in rows if row.state is State.IN_FLIGHT])
    run(db, _CANCEL_WHEN_BACK, seqs=in_flight, reason=Reason.OPERATOR.value)


def _portion(
    rows: Sequence[Row],
    lanes: Mapping[int, tuple[str, str | None]],
    verdicts: Sequence[Verdict],
    following: str | None,
) -> Portion:
    counts: dict[str, dict[Verdict, int]] = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        of = counts.setdefault(lanes[row.lane_id][0], {})
        of[verdict] = of.get(verdict, 0) + 1
    done = (DeliveryId(row.id) for row, verdict in zip(rows, verdicts, strict=True) if verdict.is_done)
    return Portion(counts, tuple(id_ for id_, _ in zip(done, range(FIRST_IDS), strict=False)), following)
