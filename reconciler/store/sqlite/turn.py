"""A turn of the worker: what has ended is written, and what takes its place is claimed, by one program.

It does what `finish` and then `claim` do, for the usual case: every receiver is well, no lease is lost, no hold and no
pause ends. In any other it does nothing, and they do it. By themselves they are five statements at least, after each of
which the store's thread queues for the interpreter's lock beside a busy event loop, which stands still while the lock
changes hands; here they are one, and more only where one look at the lanes does not use up the limit.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import apsw
import orjson

from reconciler.store.base import Claimed, Finished, Turned
from reconciler.store.sqlite import claim, finish
from reconciler.store.sqlite.claim import PICKED, Lease, taking
from reconciler.store.sqlite.connection import row, run, slices
from reconciler.store.sqlite.finish import FINISHING, TAKE_IN
from reconciler.store.sqlite.health import IS_TOLD, is_troubled
from reconciler.store.sqlite.lane import refreshing
from reconciler.store.sqlite.program import Program, call_of, of_table
from reconciler.store.sqlite.ready import HAS_ENDED, HAS_HELD, LANES

# What a turn works with, anew in each: its parameters, the lanes that have something due in their order, how many each
# of them may give, and what they give.
_TABLES: Final = (
    'CREATE TEMP TABLE turn_args (now INTEGER, "limit" INTEGER, claimed TEXT, raws BLOB)',
    "INSERT INTO turn_args VALUES (0, 0, NULL, NULL)",
    """CREATE TEMP TABLE turn_ready (place INTEGER PRIMARY KEY, pace_id INTEGER, pace_key TEXT, tokens INTEGER,
    is_probed INTEGER, is_last INTEGER, lane_id INTEGER, webhook_uid TEXT, free INTEGER)""",
    """CREATE TEMP TABLE turn_allowed (lane_id INTEGER, position INTEGER, is_probed INTEGER,
    allowance INTEGER)""",
    "CREATE TEMP TABLE turn_picked (seq INTEGER, position INTEGER, n INTEGER, lane_id INTEGER)",
)
# As `ready.allot`: one each in their order, again and again, until the limit, the tokens of a pace or a lane's free
# concurrency are used up; but no more rounds than fill the limit where every lane gives one in each.
_ALLOWED: Final = """
WITH RECURSIVE rounds (number, last) AS (
    SELECT 1, (:limit + count(lane_id) - 1) / max(1, count(lane_id)) FROM turn_ready
    UNION ALL SELECT number + 1, last FROM rounds WHERE number < last
),
of_paces AS (
    SELECT number, place, lane_id, is_probed, tokens,
        row_number() OVER (PARTITION BY pace_id ORDER BY number, place) AS of_pace
    FROM turn_ready CROSS JOIN rounds WHERE lane_id IS NOT NULL AND number <= min(free, tokens)
),
given AS (SELECT * FROM of_paces WHERE of_pace <= tokens ORDER BY number, place LIMIT :limit)
SELECT lane_id, min(place) AS position, is_probed, count(*) AS allowance FROM given GROUP BY lane_id
"""
_VIEWS: Final = (
    f"CREATE TEMP VIEW turn_lanes AS {of_table(LANES, 'turn_args')}",
    f"CREATE TEMP VIEW turn_allot AS {of_table(_ALLOWED, 'turn_args')}",
    f"CREATE TEMP VIEW turn_heads AS {of_table(PICKED.format(allowed='turn_allowed'), 'turn_args')}"
    " SELECT seq, position, n, lane_id FROM picked",
    """CREATE TEMP VIEW turn_claimed AS
    SELECT json_group_array(json_array(h.position, h.n, length(e.raw), d.id, d.seq, d.attempts, d.counted,
        r.webhook_uid, r.pace_key, e.id, d.accepted_at, d.give_up_at, r.is_probed)),
        CAST(group_concat(e.raw, '') AS BLOB)
    FROM turn_picked h CROSS JOIN turn_ready r ON r.lane_id = h.lane_id CROSS JOIN deliveries d ON d.seq = h.seq
    CROSS JOIN events e ON e.seq = d.event_seq""",
)
_IS_UNUSUAL: Final = f"""{HAS_HELD} OR {HAS_ENDED} OR EXISTS (
    SELECT 1 FROM finishing f LEFT JOIN deliveries d ON d.seq = f.seq AND d.token = f.token
    LEFT JOIN lanes l ON l.id = d.lane_id LEFT JOIN paces p ON p.id = d.pace_id
    WHERE d.seq IS NULL OR {IS_TOLD.format(is_troubled="false")})"""
_TURN: Final = Program(
    "turn",
    (
        'UPDATE turn_args SET now = :now, "limit" = :limit',
        *TAKE_IN,
        f"SELECT RAISE(IGNORE) WHERE {_IS_UNUSUAL}",
        *FINISHING,
        *refreshing("SELECT lane_id FROM deliveries WHERE seq IN (SELECT seq FROM finishing)"),
        "DELETE FROM turn_ready",
        "DELETE FROM turn_allowed",
        "DELETE FROM turn_picked",
        """INSERT INTO turn_ready SELECT row_number() OVER (ORDER BY n, position), pace_id, pace_key, tokens, is_probed,
            is_last, lane_id, webhook_uid, free FROM turn_lanes""",
        "INSERT INTO turn_allowed SELECT lane_id, position, is_probed, allowance FROM turn_allot",
        "INSERT INTO turn_picked SELECT seq, position, n, lane_id FROM turn_heads",
        "UPDATE store SET last_token = last_token + 1 WHERE EXISTS (SELECT 1 FROM turn_picked)",
        *taking(
            token="(SELECT last_token FROM store)",
            seqs="SELECT seq FROM turn_picked",
            probes="SELECT r.pace_id, h.seq FROM turn_picked h JOIN turn_ready r USING (lane_id) WHERE r.is_probed",
            served="SELECT lane_id FROM turn_picked",
            taken="""SELECT r.pace_id, count(*) AS number FROM turn_picked h JOIN turn_ready r USING (lane_id)
                GROUP BY r.pace_id""",
            lanes="SELECT lane_id FROM turn_picked",
        ),
        "UPDATE turn_args SET (claimed, raws) = (SELECT * FROM turn_claimed)",
    ),
)
# SQLite evaluates what is returned when the program has run: the claim's token; whether nothing else can be claimed;
# what was claimed, and the events' bytes. Nothing is returned where nothing was done.
_CALL_TURN: Final = f"""
{call_of(_TURN)} RETURNING (SELECT last_token FROM store),
    (SELECT count(*) = 0 OR (count(DISTINCT pace_id) < (SELECT "limit" FROM turn_args) AND NOT max(is_last)
        AND (SELECT count(*) FROM turn_picked) = (SELECT sum(allowance) FROM turn_allowed)
        AND NOT EXISTS (SELECT 1 FROM turn_allowed g CROSS JOIN turn_ready r ON r.lane_id = g.lane_id
            WHERE g.allowance < min(r.free, r.tokens))) FROM turn_ready),
    (SELECT claimed FROM turn_args), (SELECT raws FROM turn_args)
"""


def install(db: apsw.Connection) -> None:
    """Make `turn` known to a writing connection."""
    for statement in (*_TABLES, *_VIEWS):
        run(db, statement)
    _TURN.install(db)


def turn(
    db: apsw.Connection,
    finished: Sequence[Finished],
    *,
    now: int,
    lease_until: int,
    limit: int,
    revision: int,
    commit: str | None,
) -> Turned:
    """Record finished attempts and lease what is due, as `finish.finish` and then `claim.claim` do; of each lane in the
    same order."""
    terms = Lease(now, lease_until, 0, revision, commit)  # the token is the store's to say
    done = None if any(_is_unusual(item) for item in finished) else _turned(db, finished, terms, limit)
    if done is None:
        lost = finish.finish(db, finished)
        return Turned(
            lost, claim.claim(db, now=now, lease_until=lease_until, limit=limit, revision=revision, commit=commit)
        )
    lease, claimed, is_over = done
    if not is_over and len(claimed) < limit:
        claimed += claim.go_on(db, lease, limit - len(claimed))
    return Turned((), tuple(claimed))


def _is_unusual(item: Finished) -> bool:
    return item.blocked_until is not None or is_troubled(item)


def _turned(
    db: apsw.Connection, finished: Sequence[Finished], terms: Lease, limit: int
) -> tuple[Lease, list[Claimed], bool] | None:
    """The lease, on these terms, what was claimed by it, and whether there can be no more; None if nothing was done."""
    rows, results = finish.packed(finished)
    done = row(
        db,
        _CALL_TURN,
        now=terms.now,
        limit=limit,
        lease_until=terms.lease_until,
        revision=terms.revision,
        git_commit=terms.commit,
        finished=rows,
        results=results,
    )
    if done is None:
        return None
    token, is_over, packed, raws = done
    found = orjson.loads(packed)
    lease = replace(terms, token=token if found else token + 1)
    return lease, _claimed(lease, found, raws), bool(is_over)


def _claimed(lease: Lease, found: list[list[Any]], raws: bytes) -> list[Claimed]:
    claimed = []
    for item, raw in zip(found, slices(raws, [item[2] for item in found]), strict=True):
        position, n, _, id_, seq, number, counted, uid, key, event_id, accepted_at, give_up_at, is_probed = item
        one = lease.claimed(id_, seq, number, counted, uid, key, event_id, raw, accepted_at, give_up_at, is_probed)
        claimed.append((position, n, one))
    claimed.sort(key=_in_order)
    return [one for _, _, one in claimed]


def _in_order(item: tuple[int, int, Claimed]) -> tuple[int, int]:
    return item[:2]
