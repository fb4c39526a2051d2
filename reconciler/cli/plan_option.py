"""Options of the commands that make or show a plan. Imported before a command has read its options: keep it light.

What they ask for is done by `cli.planning`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from reconciler.cli.option import secrets_option, store_option, var_options

Command = TypeVar("Command", bound=Callable[..., Any])

CONTEXT_LINES: Final = 3  # unchanged ones around a changed one, as in a unified diff
DEFAULT_DAYS: Final = 7  # of recorded events that an impact is measured with

_MARKDOWN_ONLY = ("marker", "max_bytes")


def planning_options(command: Command) -> Command:
    """What `plan` and `apply` need to make a plan."""
    for option in (
        click.option(
            "--target", "targets", metavar="GLOB", multiple=True, help="Only webhooks of these names. Repeatable."
        ),
        click.option(
            "--adopt", is_flag=True, help="Take over declared webhooks that belong to another owner, or to nobody."
        ),
        click.option(
            "--keep",
            is_flag=True,
            help="Release webhooks that are no longer declared instead of destroying them: they stay live and belong "
            "to nobody.",
        ),
        click.option("--allow-empty", is_flag=True, help="Accept manifests that declare no webhook at all."),
        click.option(
            "--allow-deletes",
            metavar="N",
            type=click.IntRange(min=0),
            help="Accept a plan beyond the limit that deletes exactly N webhooks.",
        ),
        click.option("--commit", metavar="SHA", help="The manifests' commit.  [default: git's, or the pipeline's]"),
    ):
        command = option(command)
    return store_option(var_options(secrets_option(command)))


def view_options(command: Command) -> Command:
    """How much of a plan is shown; read them with `plan_view`."""
    for option in (
        click.option("--concise", is_flag=True, help="Only what changes, long values clipped to size and hash."),
        click.option("--full", is_flag=True, help="Also what stays as it is, and defaults."),
        click.option(
            "--context",
            metavar="N",
            type=click.IntRange(0, 100_000),
            help=f"Unchanged lines, keys and elements around a changed one.  [default: {CONTEXT_LINES}]",
        ),
    ):
        command = option(command)
    return command


def markdown_options(command: Command) -> Command:
    """`--max-bytes` and `--marker`, for `--format markdown`."""
    for option in (
        click.option(
            "--max-bytes",
            metavar="N",
            type=click.IntRange(min=2_000),
            help="The longest Markdown; less detail is shown to stay below.  [default: 65000, a GitHub comment]",
        ),
        click.option(
            "--marker", metavar="NAME", help="Of the hidden marker by which a comment is found.  [default: the owner]"
        ),
    ):
        command = option(command)
    return command


def json_into_option(command: Command) -> Command:
    """`--json-into FILE`."""
    return click.option(
        "--json-into",
        "json_file",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Also write the JSON document to FILE, whatever --format prints.",
    )(command)


def impact_options(command: Command) -> Command:
    """`--impact`, `--impact-days` and `--events`."""
    for option in (
        click.option(
            "--events",
            "impact_file",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="With --impact: the events of this JSONL file, one a line, instead of the store's.",
        ),
        click.option(
            "--impact-days",
            metavar="N",
            type=click.IntRange(1, 36_500),
            help=f"With --impact: the events that the store received in the last N days.  [default: {DEFAULT_DAYS}]",
        ),
        click.option(
            "--impact",
            "has_impact",
            is_flag=True,
            help="Replay recorded events: which deliveries would be added, lost, or sent otherwise, with an example.",
        ),
    ):
        command = option(command)
    return command


def check_impact(options: Mapping[str, Any]) -> None:
    """Raise click.UsageError for options that say nothing together."""
    days, file = options["impact_days"], options["impact_file"]
    if not options["has_impact"] and (days is not None or file is not None):
        raise click.UsageError("--impact-days and --events go with --impact.")
    if days is not None and file is not None:
        raise click.UsageError("--impact-days is about the store's events; --events FILE takes others.")


def check_view(output_format: str, options: Mapping[str, Any]) -> None:
    """Raise click.UsageError for options that say nothing about this format, before anything is done."""
    if options["concise"] and options["full"]:
        raise click.UsageError("--concise and --full contradict each other.")
    if output_format != "markdown" and any(options.get(name) is not None for name in _MARKDOWN_ONLY):
        raise click.UsageError("--max-bytes and --marker go with --format markdown.")
