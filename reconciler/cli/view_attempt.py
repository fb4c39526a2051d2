"""Invocation data as people read it: what was sent, what came back, how long it took, over which connection."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from reconciler import jsontext
from reconciler.cli import view
from reconciler.models.delivery import Attempt, Delivery, State, iso_time

STATE_COLOURS: Final = {
    State.PENDING: "yellow",
    State.IN_FLIGHT: "cyan",
    State.DELIVERED: "green",
    State.DEAD: "red",
    State.CANCELLED: "bright_black",
}
OUTCOME_COLOURS: Final = {"delivered": "green", "retryable": "yellow", "unknown": "yellow", "permanent": "red"}
PHASES: Final = (("dns", "dns_ms"), ("connect", "connect_ms"), ("TLS", "tls_ms"), ("first byte", "first_byte_ms"))


def delivery_row(delivery: Delivery) -> list[str]:
    """The cells of `deliveries list`."""
    return [
        delivery.id,
        view.visible(delivery.webhook),
        view.visible(delivery.event_id),
        state_text(delivery),
        str(delivery.attempts),
        outcome_text(delivery.outcome.value if delivery.outcome else None),
        iso_time(delivery.next_attempt_at) or "",
        str(delivery.revision),
    ]


def state_text(delivery: Delivery) -> str:
    """The state with its reason, coloured."""
    text = f"{delivery.state.value} ({delivery.reason.value})" if delivery.reason else delivery.state.value
    return click.style(text, fg=STATE_COLOURS[delivery.state])


def outcome_text(outcome: str | None) -> str:
    """An outcome, coloured; a dash while there is none."""
    return click.style(outcome, fg=OUTCOME_COLOURS.get(outcome)) if outcome else "-"


def out_delivery(delivery: Delivery, attempts: Sequence[Attempt]) -> None:
    """`deliveries show`: the delivery, then every attempt."""
    facts = {
        "webhook": delivery.webhook,
        "event": delivery.event_id,
        "state": state_text(delivery),
        "accepted": iso_time(delivery.accepted_at) or "",
        "next attempt": iso_time(delivery.next_attempt_at) or "",
        "waits because": delivery.note or "",
        "revision": f"{delivery.revision}" + (f" (commit {delivery.commit[:12]})" if delivery.commit else ""),
    }
    view.out(click.style(f"delivery {delivery.id}", bold=True))
    for line in fact_lines(facts):
        view.out(line)
    for attempt in attempts:
        view.out("")
        view.out(click.style(f"attempt {attempt.number}", bold=True) + f"  {iso_time(attempt.started_at)}")
        if attempt.result is None:
            view.out("  under way")
            continue
        for line in invocation_lines(attempt.result):
            view.out(line)


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
        yield from (f"    {line}" for line in request_lines(request))
    if response:
        yield ""
        yield click.style("  response", bold=True)
        yield from (f"    {line}" for line in _response_lines(response))
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
    parts = [outcome_text(result.get("outcome"))]
    if result.get("fault"):
        parts.append(f"({result['fault']})")
    if result.get("detail"):
        parts.append(view.visible(result["detail"]))
    return " ".join(parts)


def _status(response: Mapping[str, Any]) -> str:
    colour = "green" if 200 <= response["status"] < 300 else "red"
    return click.style(f"{response['status']} {view.visible(response['reason_phrase'])}".rstrip(), fg=colour)


def _message(headers: Mapping[str, str], body: str) -> Iterator[str]:
    for name, value in headers.items():
        yield f"{click.style(view.visible(name), fg='bright_black')}: {view.visible(value)}"
    if body:
        yield ""
        yield from (view.visible(line) for line in _pretty(body).split("\n"))


def _pretty(body: str) -> str:
    """JSON indented where it reads back the same, anything else as it is."""
    try:
        return jsontext.pretty(jsontext.loads(body))
    except ValueError:
        return body


def _connection(result: Mapping[str, Any]) -> dict[str, str]:
    timings = result.get("timings") or {}
    phases = [f"{name} {timings[key]:.1f} ms" for name, key in PHASES if timings.get(key) is not None]
    total = timings.get("total_ms")
    retry_after = result.get("retry_after_seconds")
    return {
        "timings": ", ".join([*phases, f"total {total:.1f} ms"] if total else phases),
        "address": result.get("address") or "",
        "TLS": result.get("tls") or "",
        "connect to": result.get("connect_to") or "",
        "retry after": f"{retry_after:g} s" if retry_after is not None else "",
    }
