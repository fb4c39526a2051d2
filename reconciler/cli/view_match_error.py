"""Match errors as people and programs read them: of which event a webhook's `when` could not be told, and why."""

from collections.abc import Sequence
from typing import Final

from reconciler.cli import view
from reconciler.cli.view_table import Table, out_table, short_id, to_seconds, without_year
from reconciler.models.delivery import iso_time
from reconciler.store.match_error import MatchError

MATCH_ERRORS: Final = Table(
    ("EVENT", "TYPE", "WEBHOOK", "REVISION", "JUDGED", "ERROR"),
    frozenset(("REVISION",)),
    (("EVENT", short_id), ("JUDGED", to_seconds), ("JUDGED", without_year), ("REVISION", None), ("TYPE", None)),
)


def out_match_errors(errors: Sequence[MatchError], output_format: str, limit: int) -> None:
    """The match errors on stdout, as a table or as JSON; that there may be more on stderr."""
    if output_format == "json":
        view.out_json([error.to_json() for error in errors])
        return
    if errors:
        out_table(MATCH_ERRORS, [_row(error) for error in errors])
    else:
        view.say("no match errors")
    if len(errors) == limit:
        view.say(f"\nthere may be more match errors than {limit}: --limit")


def _row(error: MatchError) -> list[str]:
    return [
        view.visible(error.event_id),
        view.visible(error.event_type),
        error.webhook or "deleted",
        str(error.revision),
        iso_time(error.judged_at) or "",
        view.visible(error.error),
    ]
