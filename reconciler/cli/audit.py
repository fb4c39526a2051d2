"""`audit list|verify`: who did what to the store, and whether the log of it is whole."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.option import format_option, store_option, store_url
from reconciler.cli.state import reading
from reconciler.cli.view_table import Table, out_table, say_if_incomplete, to_seconds
from reconciler.errors import EXIT_FAILED, EXIT_OK, ReconcilerError
from reconciler.models.audit import AuditAction, AuditEntry, Chain
from reconciler.store.audit import walked

TABLE: Final = Table(
    ("NUMBER", "AT", "BY", "FOR", "ACTION", "SUBJECT", "WHAT", "REASON"),
    frozenset(("NUMBER",)),
    (("AT", to_seconds), ("FOR", None)),
    footnote=("NUMBER", "REASON"),
)
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
ANCHOR: Final = (
    "note the head where nobody who can write the store can write; `audit verify --expect DIGEST` asks for it"
)


@click.group()
def audit() -> None:
    """List who did what to the store, and verify the log of it."""


@audit.command("list")
@store_option
@format_option()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many.")
@click.option("--before", metavar="NUMBER", type=click.IntRange(1), help="Only those older than this entry.")
@click.pass_context
def list_(ctx: click.Context, /, output_format: str, limit: int, before: int | None, **_: Any) -> None:
    """List who did what, newest first: applies, rollbacks, holds, pauses, replays, cancels, triggers, tests.

    BY is who is known to have done it: the name of a token, or the system's user on this machine. FOR is what he said
    of himself, by --as or a pipeline's variables.
    """
    entries = asyncio.run(_entries(store_url(ctx), limit, before))
    if output_format == "json":
        view.out_json([entry.to_json() for entry in entries])
        return
    out_table(TABLE, [_row(entry) for entry in entries])
    say_if_incomplete([str(entry.number) for entry in entries], limit, noun="entries")


def _digest(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    digests = tuple(text.strip().lower() for text in value)
    for text in digests:
        if not DIGEST.fullmatch(text):
            raise click.BadParameter(f"a digest has 64 hex digits: {text:.80}", ctx, param)
    return digests


@audit.command()
@store_option
@format_option()
@click.option(
    "--expect",
    "expected",
    metavar="DIGEST",
    multiple=True,
    callback=_digest,
    help="A head that was noted before: the log must have it still. Repeatable.",
)
@click.option(
    "--from", "start", metavar="NUMBER", type=click.IntRange(1), default=1, help="Begin at this entry.  [default: 1]"
)
@click.pass_context
def verify(ctx: click.Context, /, output_format: str, expected: tuple[str, ...], start: int, **_: Any) -> int:
    """Verify that no entry of the audit log was edited, removed, moved or cut off; exits 1 if one was.

    Each entry names the digest of the one before, so the last one's digest, the head, stands for the whole log. It is
    printed: noted elsewhere, it proves later, by --expect, that what was in the log then is in it still. With --from
    the entries before are taken on trust, unless --expect has the digest of the one before.
    """
    chain = asyncio.run(_verified(store_url(ctx), start, expected))
    if output_format == "json":
        view.out_json(_report(chain, start))
    else:
        _out(chain, start)
    return EXIT_FAILED if chain.problems else EXIT_OK


async def _entries(url: str, limit: int, before: int | None) -> tuple[AuditEntry, ...]:
    async with reading(url) as store:
        return await store.audit(limit=limit, before=before)


async def _verified(url: str, start: int, expected: Sequence[str]) -> Chain:
    async with reading(url) as store:
        last = (await store.audit_head()).number
        if start > max(last, 1):
            raise ReconcilerError(f"there is no entry {start}: the log has {last}", hint="begin earlier, by `--from`")
        return await walked(store, start=start, expected=expected)


def _report(chain: Chain, start: int) -> dict[str, Any]:
    return {
        "valid": not chain.problems,
        "from": start,
        "entries": chain.number,
        "checked": chain.checked,
        "head": chain.digest,
        "anchors": [{"number": number, "digest": digest} for digest, number in chain.anchors.items()],
        "problems": chain.problems,
    }


def _out(chain: Chain, start: int) -> None:
    if chain.problems:
        view.out(click.style("The audit log was tampered with.", fg="red", bold=True))
        for problem in chain.problems:
            view.out(f"  {click.style('✗', fg='red')} {view.visible(problem)}")
    else:
        view.out(click.style("The audit log is whole.", fg="green", bold=True))
    view.out(f"  entries  {chain.number:,}{'' if start == 1 else f', verified from {start:,}'}")
    for digest, number in chain.anchors.items():
        view.out(f"  noted    {digest} is entry {number:,}")
    view.out(f"  head     {chain.digest}")
    if not chain.problems and not chain.anchors:
        view.say(f"\n{click.style('hint', fg='cyan', bold=True)}: {ANCHOR}")


def _row(entry: AuditEntry) -> list[str]:
    return [
        str(entry.number),
        entry.time or "",
        view.visible(entry.principal),
        view.visible(entry.behalf),
        view.visible(entry.action),
        view.visible(entry.subject),
        view.visible(_what(entry.action, entry.details)),
        view.visible(entry.reason),
    ]


def _what(action: str, details: Mapping[str, Any]) -> str:
    """The details that matter most, in words; JSON has all. Of an entry that somebody wrote, what can be told."""
    told = {key: value for key, value in details.items() if isinstance(value, str | int)}
    match action:
        case AuditAction.APPLY | AuditAction.ROLLBACK:
            commit = f" at {told['commit']:.12}" if isinstance(told.get("commit"), str) else ""
            back = f", back to {told['restores']}" if "restores" in told else ""
            return f"revision {told.get('revision', '?')}{back}{commit}"
        case AuditAction.REPLAY | AuditAction.CANCEL:
            return f"{told.get('done', '?')} deliveries"
        case AuditAction.COMPACT:
            return f"{told.get('cancelled', '?')} cancelled"
        case AuditAction.PAUSE:
            return f"until {told['until']}" if "until" in told else ""
        case AuditAction.TRIGGER:
            return str(told.get("delivery_id", ""))
        case AuditAction.TEST:
            verdict = "delivered" if details.get("successful") is True else f"not delivered: {told.get('outcome', '?')}"
            return f"{verdict} (HTTP {told['status']})" if "status" in told else verdict
        case _:
            return ""
