"""`webhooks list|show`, `render` and `test`: what is live, what would be sent, and one send to see it work."""

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli import view
from reconciler.cli.option import (
    egress_options,
    egress_settings,
    format_option,
    paths_argument,
    store_option,
    store_url,
    var_options,
    warrant_options,
)
from reconciler.cli.pause import pause, resume
from reconciler.cli.state import reading
from reconciler.cli.view_table import Table, first_and_count, host_of, out_table, short_url
from reconciler.errors import EXIT_FAILED, EXIT_OK, NotInStoreError, ReconcilerError, StoreError
from reconciler.models.delivery import State
from reconciler.models.flow import NO_HALT, Flow, Halt
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import Status, Webhook, WebhookUid

if TYPE_CHECKING:
    from reconciler.manifest.load import Manifests

WEBHOOKS: Final = Table(
    ("", "NAME", "METHOD", "URL", "TRIGGERS", "PENDING", "DELIVERED", "DEAD", "NOTE"),
    frozenset(("PENDING", "DELIVERED", "DEAD")),
    (
        ("URL", short_url),
        ("TRIGGERS", first_and_count),
        ("METHOD", None),
        ("URL", host_of),
        ("TRIGGERS", None),
    ),
    footnote=("NAME", "NOTE"),
)
Counts = Mapping[WebhookUid, Mapping[State, int]]
Notes = Mapping[WebhookUid, str]
Errors = Mapping[WebhookUid, int]  # match errors
Halts = Mapping[WebhookUid, Halt]
UNAPPLIED: Final = "for a webhook that is not applied yet, give the manifests' PATH"
UNFINISHED: Final = (State.PENDING, State.IN_FLIGHT)


@click.group()
def webhooks() -> None:
    """List and show live webhooks; pause and resume what they are sent."""


webhooks.add_command(pause)
webhooks.add_command(resume)


@webhooks.command("list")
@store_option
@format_option()
@click.pass_context
def list_(ctx: click.Context, /, output_format: str, **_: Any) -> None:
    """List live webhooks: a green dot is active, a white one inactive."""
    state, counts, notes, errors, halts = asyncio.run(_live(store_url(ctx)))
    if output_format == "json":
        view.out_json([_to_json(live, counts, notes, errors, halts) for live in state.webhooks])
        return
    if not state.webhooks:
        view.say("no webhooks")
    out_table(WEBHOOKS, [_row(live, counts.get(live.uid, {}), notes.get(live.uid, "")) for live in state.webhooks])


@webhooks.command()
@store_option
@format_option()
@click.argument("name", metavar="NAME")
@click.pass_context
def show(ctx: click.Context, /, output_format: str, name: str, **_: Any) -> None:
    """Show one live webhook as it is applied, with its deliveries counted."""
    state, counts, notes, errors, halts = asyncio.run(_live(store_url(ctx), name))
    live = find_live(state, name)
    flow = asyncio.run(_flow(store_url(ctx), name)).expected(live.webhook)
    if output_format == "json":
        shown = _to_json(live, counts, notes, errors, halts)
        view.out_json({**shown, "backlog": flow.to_json()})
        return
    from reconciler.cli.view_webhook import out_webhook

    out_webhook(live, counts.get(live.uid, {}), note=notes.get(live.uid), backlog=flow.estimate())


@click.command()
@store_option
@var_options
@format_option()
@click.option(
    "--event", "event_file", metavar="FILE", required=True, help="The event, a JSON file; - is standard input."
)
@click.argument("name", metavar="NAME")
@paths_argument
@click.pass_context
def render(
    ctx: click.Context, /, output_format: str, event_file: str, name: str, paths: tuple[str, ...], **options: Any
) -> None:
    """Show the request that webhook NAME would send for an event, secrets masked.

    NAME is the live webhook, or with PATH the one that the manifests say. Nothing is sent.
    """
    from reconciler.cli.render import render_event

    webhook = choose_webhook(store_url(ctx), name, paths, options, may_fall_back=True)
    shown, notes = render_event(webhook, read_event(event_file))
    for note in notes:
        view.say(f"{click.style('note', fg='cyan', bold=True)}: {note}")
    if output_format == "json":
        view.out_json(shown.to_json())
        return
    from reconciler.cli.view_attempt import request_lines

    for line in request_lines(shown.to_json()):
        view.out(line)


@click.command()
@store_option
@var_options
@egress_options
@format_option()
@click.option(
    "--event", "event_file", metavar="FILE", help="Send this event instead of a mock one; - is standard input."
)
@warrant_options
@click.argument("name", metavar="NAME")
@paths_argument
@click.pass_context
def test(
    ctx: click.Context, /, output_format: str, event_file: str | None, name: str, paths: tuple[str, ...], **options: Any
) -> int:
    """Send one test event through webhook NAME, the live one or with PATH the one about to be saved.

    The same code as in production sends it, once; nothing is stored but an entry in the audit log. The request carries
    `x-reconciler-test: 1` and a request id that begins with `test-`. Prints the invocation data and, on failure, what
    to check.
    """
    from reconciler.dispatch.sample import as_test_event, sample_event

    webhook = choose_webhook(store_url(ctx), name, paths, options, may_fall_back=False)
    if event_file is None:
        payload = sample_event(webhook.spec.triggers[0], now_seconds=time.time())
    else:
        payload = as_test_event(read_event(event_file).payload)
    report = asyncio.run(_probe(store_url(ctx), webhook, payload, options))
    if output_format == "json":
        view.out_json(report.to_json())
    else:
        from reconciler.cli.view_webhook import out_report

        out_report(report)
    return EXIT_OK if report.is_successful else EXIT_FAILED


def read_event(name: str) -> Any:
    """The event in a JSON file. Raises ReconcilerError saying what is wrong with it."""
    from reconciler.models import event

    raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        payload, own = event.read_event(raw)
        return event.make_event(event.judge_payload(payload), own)
    except event.EventProblem as exc:
        raise ReconcilerError(
            f"{name} is not an event: {exc}", hint="`reconciler explain event` shows the schema"
        ) from exc
    except ValueError as exc:
        fact = f"{exc}"
        raise ReconcilerError(
            f"{name} is not JSON: {fact[:1].lower()}{fact[1:]}", hint="the file must hold one event"
        ) from exc


def choose_webhook(
    url: str, name: str, paths: tuple[str, ...], options: Mapping[str, Any], *, may_fall_back: bool
) -> Webhook:
    """Webhook NAME of the manifests if PATHs are given, else the live one, else (if allowed) that of `manifests/`."""
    if paths:
        return _from_manifests(name, paths, options)
    try:
        return find_live(asyncio.run(_live_state(url)), name).webhook
    except ReconcilerError as exc:
        is_unknown = isinstance(exc, StoreError) and not isinstance(exc, NotInStoreError)  # what is live there
        if may_fall_back and not is_unknown and Path("manifests").is_dir():
            return _from_manifests(name, ("manifests/",), options)
        exc.hint = "\n".join(filter(None, (exc.hint, UNAPPLIED)))
        raise


def _from_manifests(name: str, paths: tuple[str, ...], options: Mapping[str, Any]) -> Webhook:
    from reconciler.manifest.load import load_manifests, read_variables

    variables = read_variables(options["variables"], tuple(Path(file) for file in options["var_files"]))
    manifests = load_manifests(tuple(Path(path) for path in paths), variables=variables)
    _require_valid(manifests, name)
    for webhook in manifests.webhooks:
        if webhook.name == name:
            return webhook
    raise _no_such(name, [webhook.name for webhook in manifests.webhooks], "declared")


def _require_valid(manifests: "Manifests", name: str) -> None:
    """Raise ManifestError for errors; where they are all in other files than webhook NAME's, with the way around."""
    source = next((source for other, source in manifests.sources.items() if other == name), None)
    own = {place.file for place in (manifests.project_source, source) if place is not None}
    if source is None or any(problem.is_error and problem.file in own for problem in manifests.problems):
        manifests.require_valid()
    elif not manifests.is_valid:
        view.say_problems(manifests.problems)
        hint = f"{name} has none of them; to look at it alone, give as PATH only: {' '.join(sorted(own))}"
        raise ReconcilerError("there are errors in other manifests", hint=hint)


def find_live(state: LiveState, name: str) -> LiveWebhook:
    """The live webhook NAME. Raises ReconcilerError with a near name."""
    for live in state.webhooks:
        if live.webhook.name == name:
            return live
    raise _no_such(name, [live.webhook.name for live in state.webhooks], "live")


def _no_such(name: str, names: list[str], kind: str) -> ReconcilerError:
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"{kind} are: {', '.join(names) or 'none'}"
    return ReconcilerError(f"no webhook of this name is {kind}: {name}", hint=hint)


async def _probe(url: str, webhook: Webhook, payload: dict[str, Any], options: Mapping[str, Any]) -> Any:
    from reconciler.cli.provenance import warrant
    from reconciler.cli.record import record_tests
    from reconciler.dispatch.probe import probe
    from reconciler.egress.deliver import Deliverer
    from reconciler.egress.secrets import SecretResolver

    settings = egress_settings(options)
    resolver = SecretResolver.load(settings.secrets_file)
    async with Deliverer(settings, masker=resolver.masker) as deliverer:
        now = round(time.time() * 1000)
        report = await probe(webhook, payload, deliverer=deliverer, resolver=resolver, now=now)
    await record_tests(url, [(webhook, report)], warrant(options["given_by"], options["reason"]))
    return report


async def _live_state(url: str) -> LiveState:
    async with reading(url) as store:
        return await store.live_state()


def _to_json(live: LiveWebhook, counts: Counts, notes: Notes, errors: Errors, halts: Halts) -> dict[str, Any]:
    uid = live.uid
    note, failed = notes.get(uid), errors.get(uid, 0)
    return live.to_json(counts.get(uid, {}), note=note, match_errors=failed, halt=halts.get(uid, NO_HALT))


async def _live(url: str, name: str | None = None) -> tuple[LiveState, Counts, Notes, Errors, Halts]:
    """What is live, its deliveries counted, why webhooks (all, or the one of this name) wait, their match errors
    counted, and what holds them back."""
    from reconciler.web.query import current_halts, waiting_notes

    async with reading(url) as store:
        state, counts = await store.live_state(), await store.counts()
        lives = [live for live in state.webhooks if name in (None, live.webhook.name)]
        halts, errors = await current_halts(store), await store.match_error_counts()
        return state, counts, await waiting_notes(store, lives, counts, halts, errors), errors, halts


async def _flow(url: str, name: str) -> Flow:
    async with reading(url) as store:
        return await store.flow(name)


def dot(webhook: Webhook) -> str:
    """The green and the white dot of the vendor's table, told apart without colour too."""
    return click.style("●", fg="green") if webhook.spec.status is Status.ACTIVE else "○"


def _row(live: LiveWebhook, counts: Mapping[State, int], note: str) -> list[str]:
    webhook = live.webhook
    return [
        dot(webhook),
        webhook.name,
        webhook.spec.method.value,
        view.visible(webhook.spec.url),
        ",".join(trigger.value.removeprefix("Request") for trigger in webhook.spec.triggers),
        str(sum(counts.get(state, 0) for state in UNFINISHED)),
        str(counts.get(State.DELIVERED, 0)),
        str(counts.get(State.DEAD, 0)),
        view.visible(note),
    ]
