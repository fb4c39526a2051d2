"""The built-in operational events: for each such trigger what a template must get along with. Pure.

Part of `models.corpus`. All are events as the daemon makes them: complete, with texts that receivers and people chose,
and with null where something is not known.
"""

from typing import Any

from reconciler.jsontext import Number
from reconciler.models.webhook import Trigger

_UID = "0193a1f2-7c4e-7a6e-9b1b-0d7c5f3e2a11"
_SECONDS = Number("1795424400.851000000")
_BEGAN = Number("1795424095.120000000")


def complete(trigger: Trigger) -> dict[str, Any]:
    """An event with every field that its kind has."""
    failed = trigger is not Trigger.WEBHOOK_RECOVERED
    data: dict[str, Any] = {
        "id": _UID,
        "webhook": {
            "name": "okta-access-requests",
            "uid": _UID,
            "title": "Okta access requests",
            "host": "acme.workflows.okta.com",
            "labels": {"team": "iam", "environment": "prod"},
        },
        "reason": _REASONS[trigger],
        "count": 1,
        "since": _BEGAN,
        "last_at": _SECONDS,
        "failures": 3 if trigger in (Trigger.WEBHOOK_FAILING, Trigger.WEBHOOK_PAUSED) else None,
        "last_attempt": {
            "delivery_id": "dlv_5e884898da28047151d0e56f8dc62927",
            "event_id": "evt_6b86b273ff34fce19d6b804eff5a3f57",
            "number": 3,
            "outcome": "retryable" if failed else "delivered",
            "status": 503 if failed else 200,
            "fault": "status" if failed else None,
            "detail": "the receiver answered 503 Service Unavailable" if failed else "",
            "finished_at": _SECONDS,
        },
        "pause": None,
        "reasons": None,
        "deliveries": None,
    }
    if trigger is Trigger.WEBHOOK_PAUSED:
        data["pause"] = {"by": "reconciler", "reason": _REASONS[trigger], "until": None}
    if trigger is Trigger.DELIVERY_DEAD:
        data |= {"count": 2, "reasons": {"exhausted": 1, "permanent": 1}, "deliveries": _dead()}
    return {"event_type": trigger.value, "event_time": _SECONDS, "data": data}


def _dead() -> list[dict[str, Any]]:
    reasons = (("exhausted", 10), ("permanent", 1))
    return [
        {"id": f"dlv_{number}", "event_id": f"evt_{number}", "reason": reason, "attempts": attempts}
        for number, (reason, attempts) in enumerate(reasons, 1)
    ]


def hostile(trigger: Trigger, text: str) -> dict[str, Any]:
    """Every text that a receiver or a person can choose."""
    event = complete(trigger)
    data = event["data"]
    webhook = {**data["webhook"], "title": text, "labels": {text: text}}
    attempt = {**data["last_attempt"], "event_id": text, "detail": text}
    pause = None if data["pause"] is None else {**data["pause"], "by": text, "reason": text}
    dead = [{**item, "event_id": text} for item in data["deliveries"] or ()] or None
    changed = {"webhook": webhook, "reason": text, "last_attempt": attempt, "pause": pause, "deliveries": dead}
    return {**event, "data": {**data, **changed}}


def sparse(trigger: Trigger) -> dict[str, Any]:
    """Null wherever it may be: a webhook that is deleted by now, no attempt, no answer."""
    event = complete(trigger)
    data = event["data"]
    webhook = {**data["webhook"], "title": None, "host": None, "labels": None}
    gone = dict.fromkeys(("failures", "last_attempt", "pause", "reasons", "deliveries"))
    return {**event, "data": {**data, **gone, "webhook": webhook}}


def unanswered(trigger: Trigger) -> dict[str, Any]:
    """An attempt without an answer."""
    event = complete(trigger)
    attempt = {**event["data"]["last_attempt"], "outcome": "unknown", "status": None, "fault": "timeout"}
    return {**event, "data": {**event["data"], "last_attempt": attempt}}


_REASONS = {
    Trigger.WEBHOOK_FAILING: "3 attempts in a row failed: the receiver answered 503 Service Unavailable",
    Trigger.WEBHOOK_PAUSED: "the destination refused 5 attempts in a row: the receiver answered 404 Not Found",
    Trigger.WEBHOOK_RECOVERED: "a delivery arrived again",
    Trigger.DELIVERY_DEAD: "2 deliveries were given up",
}
