"""What a replay or a cancel would do and has done, as people and programs read it."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.view_attempt import PAST
from reconciler.cli.view_table import Table, table_lines, terminal_columns
from reconciler.models.delivery import Action, Intervention
from reconciler.store.operate import FIRST_IDS, Portion, Terms, Verdict

LABELS: Final = {Action.REPLAY: "replaying", Action.CANCEL: "cancelling"}
WORDS: Final = {
    Verdict.WHEN_BACK: "in flight, cancelled if undelivered",
    Verdict.PENDING: "pending already",
    Verdict.IN_FLIGHT: "in flight",
    Verdict.FINISHED: "finished already",
    Verdict.WEBHOOK_DELETED: "webhook deleted",
    Verdict.WEBHOOK_INACTIVE: "webhook inactive",
    Verdict.REPEATED: "done before",
}
FINE: Final = frozenset({Verdict.DONE, Verdict.WHEN_BACK, Verdict.PENDING, Verdict.REPEATED})
UNITS: Final = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True, slots=True)
class Tally:
    """Portions added up: verdicts by webhook, and the first ids that something is done to."""

    webhooks: Mapping[str, Mapping[Verdict, int]] = field(default_factory=dict)
    first: tuple[str, ...] = ()

    def plus(self, portion: Portion) -> "Tally":
        """With one more portion."""
        webhooks = {name: dict(of) for name, of in self.webhooks.items()}
        for name, of in portion.counts.items():
            known = webhooks.setdefault(name, {})
            for verdict, number in of.items():
                known[verdict] = known.get(verdict, 0) + number
        return Tally(webhooks, (*self.first, *portion.first)[:FIRST_IDS])

    def verdicts(self) -> dict[Verdict, int]:
        """Over all webhooks."""
        counts = dict.fromkeys(Verdict, 0)
        for of in self.webhooks.values():
            for verdict, number in of.items():
                counts[verdict] += number
        return {verdict: number for verdict, number in counts.items() if number}

    @property
    def total(self) -> int:
        """How many deliveries are meant."""
        return sum(self.verdicts().values())

    @property
    def done(self) -> int:
        """On how many of them there is an effect."""
        return sum(number for verdict, number in self.verdicts().items() if verdict.is_done)

    @property
    def refused(self) -> int:
        """How many are left otherwise than wished."""
        return sum(number for verdict, number in self.verdicts().items() if verdict not in FINE)


def out_tally(tally: Tally, action: Action, *, err: bool = False) -> None:
    """By webhook how many deliveries are meant, and what is passed over; then the first few."""
    if not tally.total:
        view.say("no deliveries are meant")
        return
    table = Table(("WEBHOOK", f"TO {action.value.upper()}", "OTHERS"), frozenset((f"TO {action.value.upper()}",)))
    rows = [
        [view.visible(name), f"{_done(of):,}", _others(of)]
        for name, of in sorted(tally.webhooks.items(), key=lambda item: (-_done(item[1]), item[0]))
    ]
    for line in table_lines(table, rows, width=None if err else terminal_columns()):
        view.say(line, err=err)
    if tally.first:
        more = ", …" if tally.done > len(tally.first) else ""
        view.say(f"\nthe first: {', '.join(tally.first)}{more}", err=err)


def _done(of: Mapping[Verdict, int]) -> int:
    return sum(number for verdict, number in of.items() if verdict.is_done)


def _others(of: Mapping[Verdict, int]) -> str:
    return ", ".join(f"{of[verdict]:,} {words}" for verdict, words in WORDS.items() if of.get(verdict))


def summary_text(tally: Tally, action: Action, terms: Terms, *, is_dry: bool) -> str:
    """One line: `replayed 3 deliveries; 1 in flight`."""
    verdicts = tally.verdicts()
    done = f"{tally.done:,} {'delivery' if tally.done == 1 else 'deliveries'}"
    said = f"would {action.value} {done}" if is_dry else f"{PAST[action]} {done}"
    others = _others(verdicts)
    return f"{said}{how_long(tally.done, terms)}" + (f"; {others}" if others else "")


def how_long(number: int, terms: Terms) -> str:
    """Over what time replays are spread; nothing where they are not."""
    seconds = number * terms.interval_us / 1_000_000
    if not seconds:
        return ""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    return f" over {seconds / size:.3g} {unit}"


def report_json(tally: Tally, how: Intervention, *, is_dry: bool) -> dict[str, Any]:
    """The shape of `--format json`."""
    return {
        "action": how.action.value,
        "key": how.key,
        "dry_run": is_dry,
        "done": tally.done,
        "verdicts": {verdict.value: number for verdict, number in tally.verdicts().items()},
        "webhooks": {
            name: {verdict.value: number for verdict, number in of.items()} for name, of in tally.webhooks.items()
        },
        "first": list(tally.first),
    }


def progress(expected: int, action: Action) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """A bar for a replay or a cancel."""
    return counting(expected, LABELS[action])


@contextlib.contextmanager
def counting(expected: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr, to be advanced; nothing elsewhere, nor for what is done at once."""
    if not sys.stderr.isatty() or expected <= 1:
        yield lambda _: None
        return
    with click.progressbar(length=expected, label=label, file=sys.stderr) as bar:
        yield bar.update
