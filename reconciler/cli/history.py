"""`history`: which revisions were applied, by whom, when, and from which commit."""

import asyncio
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, store_option, store_url
from reconciler.cli.state import reading
from reconciler.cli.view_table import Table, out_table, say_if_incomplete, short_commit, to_seconds
from reconciler.models.delivery import iso_time
from reconciler.models.revision import Revision
from reconciler.store.base import Page

TABLE: Final = Table(
    ("REVISION", "APPLIED AT", "BY", "COMMIT", "OWNER", "ADDED", "CHANGED", "RENAMED", "DESTROYED"),
    frozenset(("REVISION", "ADDED", "CHANGED", "RENAMED", "DESTROYED")),
    (("COMMIT", short_commit), ("APPLIED AT", to_seconds), ("RENAMED", None), ("OWNER", None)),
)


@click.command()
@store_option
@format_option()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many.")
@click.option("--before", metavar="REVISION", help="Only those older than this revision, for the next page.")
@click.pass_context
def history(ctx: click.Context, /, output_format: str, limit: int, before: str | None, **_: Any) -> None:
    """List applied revisions, newest first."""
    revisions = asyncio.run(_revisions(store_url(ctx), Page(limit, before)))
    if output_format == "json":
        view.out_json([revision.to_json() for revision in revisions])
        return
    out_table(TABLE, [_row(revision) for revision in revisions])
    say_if_incomplete([str(revision.number) for revision in revisions], limit, noun="revisions")


async def _revisions(url: str, page: Page) -> tuple[Revision, ...]:
    async with reading(url) as store:
        return await store.revisions(page)


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
    ]
