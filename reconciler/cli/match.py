"""`match`: which webhooks want an event, and which of their conditions held."""

import asyncio
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from reconciler.cli import view
from reconciler.cli.option import (
    chosen_paths,
    format_option,
    manifest_cache,
    paths_argument,
    store_option,
    store_url,
    var_options,
)
from reconciler.errors import EXIT_FAILED, EXIT_OK, ReconcilerError
from reconciler.models.event import Event
from reconciler.models.webhook import Webhook


@click.command()
@store_option
@var_options
@format_option()
@click.option(
    "--event",
    "event_file",
    metavar="FILE",
    required=True,
    help="The event, a JSON file; also several, as an array or one a line. - is standard input.",
)
@click.option("--webhook", "names", metavar="NAME", multiple=True, help="Only the webhook of this name. Repeatable.")
@click.option("--target", "targets", metavar="GLOB", multiple=True, help="Only webhooks of these names. Repeatable.")
@click.option(
    "--live", "is_live", is_flag=True, help="The webhooks that are live in the store, not those of manifests."
)
@paths_argument
@click.pass_context
def match(
    ctx: click.Context,
    /,
    output_format: str,
    event_file: str,
    names: tuple[str, ...],
    targets: tuple[str, ...],
    is_live: bool,
    paths: tuple[str, ...],
    **options: Any,
) -> int:
    """Explain which webhooks want an event: each condition that held, and each that did not.

    The webhooks are those that the manifests say, or with --live those of the store or daemon. Nothing is sent or
    stored. Exits 1 if a `when` cannot be told.
    """
    from reconciler.cli.view_match import match_json, match_lines
    from reconciler.request.condition import MatchState

    if is_live and paths:
        raise click.UsageError("--live and a PATH say different webhooks.", ctx)
    events = read_events(event_file)
    webhooks = _chosen(_live(store_url(ctx)) if is_live else _declared(paths, options), names, targets)
    found = [(event, explain(webhooks, event)) for event in events]
    if output_format == "json":
        view.out_json(match_json(found))
    else:
        for number, (event, explained) in enumerate(found):
            for line in ([""] if number else []) + list(match_lines(event, explained)):
                view.out(line)
    is_told = all(item.state is not MatchState.ERROR for _, explained in found for item in explained)
    return EXIT_OK if is_told else EXIT_FAILED


def explain(webhooks: tuple[Webhook, ...], event: Event) -> list[Any]:
    """Each webhook's verdict on an event with its conditions."""
    from reconciler.cli.view_match import Explained
    from reconciler.request.match import judge_match, state_of

    judged = [(webhook, judge_match(webhook, event)) for webhook in webhooks]
    return [Explained(webhook, state_of(conditions), conditions) for webhook, conditions in judged]


def read_events(name: str) -> list[Event]:
    """The events of a file as intake would take them. Raises ReconcilerError for the first that is none."""
    from reconciler.dispatch.item import parse_items
    from reconciler.dispatch.judge import judge_items

    raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    events = []
    judged = judge_items(parse_items(raw), source="file", now=0, given_id=None, is_outside=False)
    if not judged:
        raise ReconcilerError(f"{name} holds no event", hint="one as JSON, several as an array or one a line")
    for number, item in enumerate(judged, 1):
        if item.event is None:
            which = f"event {number} of {len(judged)} in {name}" if len(judged) > 1 else name
            hint = "`reconciler explain event` shows the schema"
            raise ReconcilerError(f"{which} is not an event: {item.row.problem}", hint=hint)
        events.append(item.event)
    return events


def _declared(paths: tuple[str, ...], options: Mapping[str, Any]) -> tuple[Webhook, ...]:
    """The webhooks of the manifests. Raises ManifestError for faults in them."""
    from reconciler.manifest.load import load_manifests, read_variables

    variables = read_variables(options["variables"], tuple(Path(file) for file in options["var_files"]))
    manifests = load_manifests(chosen_paths(paths), variables=variables, cache=manifest_cache())
    manifests.require_valid()
    return manifests.webhooks


def _live(url: str) -> tuple[Webhook, ...]:
    from reconciler.cli.state import reading

    async def read() -> tuple[Webhook, ...]:
        async with reading(url) as store:
            return tuple(live.webhook for live in (await store.live_state()).webhooks)

    return asyncio.run(read())


def _chosen(webhooks: tuple[Webhook, ...], names: tuple[str, ...], targets: tuple[str, ...]) -> tuple[Webhook, ...]:
    """Those that are named; all if none is. Raises ReconcilerError for a name or globs that name none."""
    from reconciler.manifest.field import did_you_mean

    known = {webhook.name for webhook in webhooks}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or "without `--webhook` all are explained"
            raise ReconcilerError(f"no webhook has this name: {name}", hint=hint)
    chosen = [webhook for webhook in webhooks if not names or webhook.name in names]
    if targets:
        chosen = [webhook for webhook in chosen if any(fnmatchcase(webhook.name, glob) for glob in targets)]
    if targets and not chosen:
        raise ReconcilerError(
            f"no webhook has such a name: {', '.join(targets)}", hint="`--target` takes globs over names"
        )
    return tuple(sorted(chosen, key=lambda webhook: webhook.name))
