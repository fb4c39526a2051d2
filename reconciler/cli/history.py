"""`history`: which revisions were applied, by whom, when, and from which commit."""

import asyncio
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, store_option, store_url
from reconciler.cli.state import reading
from reconciler.cli.view_table import Table, out_table, say_if_incomplete, short_commit, to_seconds
from reconciler.models.delivery import iso_time
from reconciler.models.revision import Hold, Revision
from reconciler.store.base import Page

TABLE: Final = Table(
    ("REVISION", "APPLIED AT", "BY", "COMMIT", "OWNER", "ADDED", "CHANGED", "RENAMED", "DESTROYED", "NOTE"),
    frozenset(("REVISION", "ADDED", "CHANGED", "RENAMED", "DESTROYED")),
    (("COMMIT", short_commit), ("APPLIED AT", to_seconds), ("RENAMED", None), ("OWNER", None)),
    footnote=("REVISION", "NOTE"),
)


@click.command()
@store_option
@format_option()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many.")
@click.option("--before", metavar="REVISION", help="Only those older than this revision, for the next page.")
@click.pass_context
def history(ctx: click.Context, /, output_format: str, limit: int, before: str | None, **_: Any) -> None:
    """List applied revisions, newest first."""
    revisions, holds = asyncio.run(_revisions(store_url(ctx), Page(limit, before)))
    if output_format == "json":
        view.out_json([revision.to_json() for revision in revisions])
        return
    out_table(TABLE, [_row(revision) for revision in revisions])
    say_if_incomplete([str(revision.number) for revision in revisions], limit, noun="revisions")
    for hold in holds:
        view.say(f"\n{view.visible(hold.fact)}\n{view.visible(hold.way_out)}")


async def _revisions(url: str, page: Page) -> tuple[tuple[Revision, ...], tuple[Hold, ...]]:
    async with reading(url) as store:
        return await store.revisions(page), await store.holds()


def _row(revision: Revision) -> list[str]:
    return [
        str(revision.number),
        iso_time(revision.applied_at) or "",
        view.visible(revision.applied_by),
        view.visible(revision.commit or ""),
        view.visible(revision.owner),
        str(revision.created),
        str(revision.updated),
        str(revision.renamed),
        str(revision.deleted),
        view.visible(_note(revision)),
    ]


def _note(revision: Revision) -> str:
    """What the numbers do not say: that it was a rollback, what it did beside them, and why."""
    facts = (
        "" if revision.restores is None else f"rollback to {revision.restores}",
        _beside(revision),
        revision.reason,
    )
    return ": ".join(fact for fact in facts if fact)


def _beside(revision: Revision) -> str:
    """What has no column of its own. A revision that touches no webhook is one of the policy."""
    counts = (revision.created, revision.updated, revision.renamed, revision.deleted)
    others = {"adopted": revision.adopted, "forgotten": revision.forgotten}
    if not any((*counts, *others.values())):
        return "policy changed"
    return ", ".join(f"{count} {word}" for word, count in others.items() if count)
