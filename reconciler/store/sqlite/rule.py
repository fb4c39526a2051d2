"""The rules that the rows of a store keep among each other, beyond what constraints can say: read by `examine`.

Each is a query for the rows that break it, with the column `found` naming one; none writes. Whatever breaks a rule is a
fault of this program, or of somebody who has edited the file.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in words, and the query for what breaks it."""

    code: str
    fact: str
    sql: str


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "counters",
        "the counts of each webhook's deliveries are those of its rows",
        """
        SELECT l.webhook_uid AS found FROM lanes l LEFT JOIN (
            SELECT lane_id, sum(state = 'pending') AS pending, sum(state = 'in_flight') AS in_flight,
                sum(state = 'delivered') AS delivered, sum(state = 'dead') AS dead,
                sum(state = 'cancelled') AS cancelled
            FROM deliveries GROUP BY lane_id) d ON d.lane_id = l.id
        WHERE (l.pending, l.in_flight, l.delivered, l.dead, l.cancelled) IS NOT (coalesce(d.pending, 0),
            coalesce(d.in_flight, 0), coalesce(d.delivered, 0), coalesce(d.dead, 0), coalesce(d.cancelled, 0))
        """,
    ),
    Rule(
        "cancelling",
        "the counts of deliveries that a revision has cancelled are those of its rows",
        """
        SELECT l.webhook_uid AS found FROM (SELECT * FROM lanes WHERE doomed > 0 OR cancel_through IS NOT NULL) l
        WHERE l.doomed <> (SELECT count(*) FROM deliveries d
            WHERE d.lane_id = l.id AND d.state = 'pending' AND d.seq <= coalesce(l.cancel_through, 0))
        """,
    ),
    Rule(
        "heads",
        "each access request has a delivery whose turn it is",
        """
        SELECT d.id AS found FROM deliveries d JOIN lanes l ON l.id = d.lane_id
        WHERE d.state = 'pending' AND d.is_head = 0 AND l.cancel_reason IS NULL AND NOT EXISTS (
            SELECT 1 FROM deliveries p WHERE p.lane_id = d.lane_id AND p.order_key = d.order_key AND p.seq < d.seq
                AND p.state IN ('pending', 'in_flight'))
        """,
    ),
    Rule(
        "attempts",
        "each delivery has started the attempts that are recorded of it",
        """
        SELECT d.id AS found FROM deliveries d
        WHERE d.attempts < (SELECT coalesce(max(number), 0) FROM attempts WHERE delivery_seq = d.seq)
            + (d.state = 'in_flight')
        """,
    ),
    Rule(
        "probes",
        "the probe of each open breaker is under way",
        """
        SELECT p.key AS found FROM paces p WHERE p.probe_seq IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM deliveries WHERE seq = p.probe_seq AND state = 'in_flight')
        """,
    ),
    Rule(
        "asleep",
        "each webhook that can be sent something will be asked for it",
        """
        SELECT l.webhook_uid AS found FROM lanes l
        WHERE l.pace_id IS NOT NULL AND l.is_open = 1 AND l.cancel_reason IS NULL AND l.wake_at IS NULL
            AND l.in_flight < l.max_concurrency AND (l.paused_at IS NULL OR l.paused_until IS NOT NULL)
            AND EXISTS (SELECT 1 FROM deliveries WHERE lane_id = l.id AND state = 'pending' AND is_head = 1)
        UNION ALL
        SELECT p.key FROM paces p WHERE p.wake_at IS NULL AND p.probe_seq IS NULL
            AND EXISTS (SELECT 1 FROM lanes WHERE pace_id = p.id AND wake_at IS NOT NULL)
        """,
    ),
    Rule(
        "revisions",
        "the live revision is the newest one",
        """
        SELECT live_revision AS found FROM store
        WHERE live_revision <> (SELECT coalesce(max(number), 0) FROM revisions)
        """,
    ),
    Rule(
        "audited",
        "the audit log tells of each revision since it began",
        """
        WITH told AS (SELECT CAST(body ->> '$.details.revision' AS INTEGER) AS number FROM audit_entries
            WHERE json_valid(body) AND body ->> '$.action' IN ('apply', 'rollback'))
        SELECT number AS found FROM revisions
        WHERE number >= (SELECT min(number) FROM told) AND number NOT IN (SELECT number FROM told)
        UNION ALL
        SELECT number FROM told WHERE number NOT IN (SELECT number FROM revisions)
        """,
    ),
)
