"""Invocation data as people read it: what was sent, what came back, how long it took, over which connection."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from reconciler import jsontext
from reconciler.cli import view
from reconciler.cli.view_table import Table, short_id, to_seconds, without_year
from reconciler.models.delivery import Action, Attempt, Delivery, Fault, State, iso_time

STATE_COLOURS: Final = {
    State.PENDING: "yellow",
    State.IN_FLIGHT: "cyan",
    State.DELIVERED: "green",
    State.DEAD: "red",
    State.CANCELLED: "bright_black",
}
PAST: Final = {Action.REPLAY: "replayed", Action.CANCEL: "cancelled"}
OUTCOME_COLOURS: Final = {"delivered": "green", "retryable": "yellow", "unknown": "yellow", "permanent": "red"}
PHASES: Final = (
    ("DNS", "dns_ms"),
    ("connect", "connect_ms"),
    ("TLS", "tls_ms"),
    ("first byte", "first_byte_ms"),
    ("total", "total_ms"),
)


DELIVERIES: Final = Table(
    ("ID", "WEBHOOK", "EVENT", "STATE", "ATTEMPTS", "OUTCOME", "NEXT ATTEMPT", "REVISION", "NOTE"),
    frozenset(("ATTEMPTS", "REVISION")),
    (
        ("EVENT", short_id),
        ("ID", short_id),
        ("NEXT ATTEMPT", to_seconds),
        ("REVISION", None),
        ("NEXT ATTEMPT", without_year),
        ("OUTCOME", None),
        ("EVENT", None),
    ),
    footnote=("ID", "NOTE"),
)


def delivery_row(delivery: Delivery) -> list[str]:
    """The cells of DELIVERIES."""
    return [
        delivery.id,
        view.visible(delivery.webhook),
        view.visible(delivery.event_id),
        state_text(delivery),
        str(delivery.attempts),
        outcome_text(delivery.outcome.value) if delivery.outcome else "",
        iso_time(delivery.next_attempt_at) or "",
        str(delivery.revision),
        view.visible(delivery.note or ""),
    ]


def state_text(delivery: Delivery) -> str:
    """The state with its reason, coloured; a replay that is not over says that it is one."""
    why = delivery.reason.value if delivery.reason else ""
    if delivery.replays and not delivery.state.is_finished:
        why = "replayed"
    text = f"{delivery.state.value} ({why})" if why else delivery.state.value
    return click.style(text, fg=STATE_COLOURS[delivery.state])


def outcome_text(outcome: str) -> str:
    """An outcome, coloured."""
    return click.style(outcome, fg=OUTCOME_COLOURS.get(outcome))


def out_delivery(delivery: Delivery, attempts: Sequence[Attempt]) -> None:
    """`deliveries show`: the delivery, then every attempt."""
    facts = {
        "webhook": view.visible(delivery.webhook),
        "event": view.visible(delivery.event_id),
        "state": state_text(delivery),
        "accepted": iso_time(delivery.accepted_at) or "",
        "next attempt": iso_time(delivery.next_attempt_at) or "",
        "waits because": view.visible(delivery.note or ""),
        "revision": f"{delivery.revision}" + (f" (commit {delivery.commit[:12]})" if delivery.commit else ""),
        "replay of": delivery.replay_of or "",
    }
    view.out(click.style(f"delivery {delivery.id}", bold=True))
    for line in fact_lines(facts):
        view.out(line)
    _out_interventions(delivery, 0)
    for attempt in attempts:
        view.out("")
        view.out(click.style(f"attempt {attempt.number}", bold=True) + f"  {iso_time(attempt.started_at)}")
        if attempt.result is None:
            view.out("  under way")
        else:
            for line in invocation_lines(attempt.result):
                view.out(line)
        _out_interventions(delivery, attempt.number)


def _out_interventions(delivery: Delivery, after_attempt: int) -> None:
    """The replays and cancels that came after an attempt."""
    for item in delivery.interventions:
        if item.after_attempt == after_attempt:
            why = f": {view.visible(item.reason)}" if item.reason else ""
            deed = click.style(PAST[item.action], bold=True)
            view.out("")
            view.out(f"{deed}  {iso_time(item.given_at)} by {view.visible(item.given_by)}{why}")


def fact_lines(facts: Mapping[str, str]) -> Iterator[str]:
    """`name  value` lines, aligned, without those that are empty."""
    present = {name: value for name, value in facts.items() if value}
    width = max(map(len, present), default=0)
    for name, value in present.items():
        yield f"  {click.style(name.ljust(width), fg='bright_black')}  {value}"


def invocation_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The invocation data of one attempt (`AttemptResult.to_json()`) as indented lines."""
    request, response = result.get("request"), result.get("response")
    yield f"  {_verdict(result)}"
    if request:
        yield ""
        yield click.style("  request", bold=True)
        yield from (f"    {line}".rstrip(" ") for line in request_lines(request))
    if response:
        yield ""
        yield click.style("  response", bold=True)
        yield from (f"    {line}".rstrip(" ") for line in _response_lines(response))
    yield ""
    yield from fact_lines(_connection(result))


def request_lines(request: Mapping[str, Any]) -> Iterator[str]:
    """A request (`SentRequest.to_json()`) as it goes over the wire, JSON bodies indented."""
    yield f"{click.style(request['method'], fg='cyan')} {view.visible(request['url'])}"
    yield from _message(request["headers"], request["body"])


def _response_lines(response: Mapping[str, Any]) -> Iterator[str]:
    yield _status(response)
    yield from _message(response["headers"], response["body"])
    if response["truncated"]:
        yield click.style(f"… cut: {response['body_bytes']} bytes or more", fg="yellow")


def _verdict(result: Mapping[str, Any]) -> str:
    """`retryable (connect): connection refused`; that an answer's status is the fault, the detail says itself."""
    outcome, fault, detail = result.get("outcome"), result.get("fault"), result.get("detail")
    kind = f" ({fault})" if fault and fault != Fault.STATUS else ""
    return outcome_text(outcome or "not sent") + kind + (f": {view.visible(detail)}" if detail else "")


def _status(response: Mapping[str, Any]) -> str:
    colour = "green" if 200 <= response["status"] < 300 else "red"
    return click.style(f"{response['status']} {view.visible(response['reason_phrase'])}".rstrip(), fg=colour)


def _message(headers: Mapping[str, str], body: str) -> Iterator[str]:
    for name, value in headers.items():
        yield f"{click.style(view.visible(name), fg='bright_black')}: {view.visible(value)}"
    if body:
        yield ""
        yield from (view.visible(line) for line in jsontext.pretty_text(body).split("\n"))


def _connection(result: Mapping[str, Any]) -> dict[str, str]:
    timings = result.get("timings") or {}
    phases = [f"{name} {timings[key]:.1f}" for name, key in PHASES if timings.get(key) is not None]
    retry_after = result.get("retry_after_seconds")
    return {
        "timings": f"{', '.join(phases)} ms" if phases else "",
        "address": result.get("address") or "",
        "TLS": result.get("tls") or "",
        "connect to": result.get("connect_to") or "",
        "proxy": result.get("proxy") or "",
        "retry after": f"{retry_after:g} s" if retry_after is not None else "",
    }
