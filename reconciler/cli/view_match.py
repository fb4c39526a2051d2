"""What `match` found, as text and as JSON: for each event every webhook's verdict with all of its conditions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.view_table import pad, width_of
from reconciler.models.event import Event
from reconciler.models.webhook import Webhook
from reconciler.request.condition import MatchState
from reconciler.request.match import Condition

FORMAT_VERSION: Final = "1.0"  # of the JSON; the first number changes when a reader would break
WANTED_COLUMNS: Final = 40  # a longer wish pushes only its own line to the right

MARKS: Final = {MatchState.YES: ("✓", "green"), MatchState.NO: ("✗", "yellow"), MatchState.ERROR: ("!", "red")}
VERDICTS: Final = {MatchState.YES: "wanted", MatchState.NO: "not wanted", MatchState.ERROR: "cannot be told"}


@dataclass(frozen=True, slots=True)
class Explained:
    """One webhook and one event: the verdict and the conditions that it comes from."""

    webhook: Webhook
    state: MatchState
    conditions: tuple[Condition, ...]

    def to_json(self) -> dict[str, Any]:
        """The shape in `match --format json`."""
        return {
            "name": self.webhook.name,
            "state": self.state.value,
            "conditions": [
                {
                    "name": condition.name,
                    "state": condition.state.value,
                    "wanted": condition.wanted,
                    "actual": condition.actual,
                }
                for condition in self.conditions
            ],
        }


def match_json(found: Sequence[tuple[Event, Sequence[Explained]]]) -> dict[str, Any]:
    """Everything, as JSON."""
    return {
        "format_version": FORMAT_VERSION,
        "events": [
            {
                "id": event.id,
                "event_type": event.event_type,
                "trigger": None if event.trigger is None else event.trigger.value,
                "data_id": event.data_id,
                "counts": _counts(explained),
                "webhooks": [item.to_json() for item in explained],
            }
            for event, explained in found
        ],
    }


def match_lines(event: Event, explained: Sequence[Explained]) -> Iterator[str]:
    """One event: the webhooks by name, each with its conditions, then the sum."""
    request = f"  {view.visible(event.data_id)}" if event.data_id else ""
    yield click.style(f"event {view.visible(event.id)}", bold=True) + f"  {view.visible(event.event_type)}{request}"
    for item in explained:
        yield ""
        yield from _webhook_lines(item)
    yield ""
    yield _sum(explained)


def _webhook_lines(item: Explained) -> Iterator[str]:
    _, colour = MARKS[item.state]
    yield f"{click.style(item.webhook.name, bold=True)}: {click.style(VERDICTS[item.state], fg=colour)}"
    names = max(width_of(condition.name) for condition in item.conditions)
    wishes = [view.visible(" ".join(condition.wanted.split())) for condition in item.conditions]
    width = max((width_of(wish) for wish in wishes if width_of(wish) <= WANTED_COLUMNS), default=0)
    for condition, wish in zip(item.conditions, wishes, strict=True):
        mark, colour = MARKS[condition.state]
        name = pad(view.visible(condition.name), names)
        actual = view.visible(condition.actual)
        said = f"error: {actual}" if condition.is_error else f"is {actual}"
        yield f"  {click.style(mark, fg=colour)} {name}  wants {pad(wish, width)}  {said}"


def _sum(explained: Sequence[Explained]) -> str:
    """`wanted by 2 of 5 webhooks; 1 cannot be told`."""
    counts, total = _counts(explained), len(explained)
    wanting = f"wanted by {counts['yes']} of {total} webhook{'' if total == 1 else 's'}"
    return f"{wanting}; {counts['error']} cannot be told" if counts["error"] else wanting


def _counts(explained: Sequence[Explained]) -> dict[str, int]:
    counted = Counter(item.state.value for item in explained)
    return {state.value: counted[state.value] for state in MatchState}
