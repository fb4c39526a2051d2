"""`reconciler auth test`: each step on the way to what a webhook's requests are known by; then, if asked, one send."""

import asyncio
import time
from collections.abc import Iterator, Mapping
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
from reconciler.errors import EXIT_FAILED, EXIT_OK
from reconciler.models.webhook import Webhook

if TYPE_CHECKING:
    from reconciler.dispatch.credential import CredentialReport, Step
    from reconciler.dispatch.probe import ProbeReport

KINDS: Final = {
    "oauth2": "OAuth 2.0 client credentials",
    "bearer": "a bearer token",
    "basic": "user name and password",
    "mtls": "a client certificate",
    None: "no `auth`: what stands in headers and query",
}


@click.group()
def auth() -> None:
    """Test what webhooks are known to their receivers by."""


@auth.command()
@store_option
@var_options
@egress_options
@format_option()
@click.option("--send", is_flag=True, help="Then send one test event to the receiver, as `reconciler test` does.")
@warrant_options
@click.argument("name", metavar="NAME")
@paths_argument
@click.pass_context
def test(
    ctx: click.Context, /, output_format: str, send: bool, name: str, paths: tuple[str, ...], **options: Any
) -> int:
    """Show how webhook NAME is known to its receiver, the live one or with PATH the one about to be saved.

    Takes each step that a delivery takes: secrets, key, assertion, token endpoint, access token; with --send also the
    request itself. Says at the first step that fails what to check. Shows no secret, no token and no signature.
    """
    from reconciler.cli.webhook import choose_webhook

    webhook = choose_webhook(store_url(ctx), name, paths, options, may_fall_back=False)
    report, sent = asyncio.run(_check(store_url(ctx), webhook, options, send=send))
    if output_format == "json":
        view.out_json(_to_json(report, sent))
    else:
        _out(report, sent)
    return EXIT_OK if report.is_successful and (sent is None or sent.is_successful) else EXIT_FAILED


async def _check(
    url: str, webhook: Webhook, options: Mapping[str, Any], *, send: bool
) -> tuple["CredentialReport", "ProbeReport | None"]:
    from reconciler.cli.provenance import warrant
    from reconciler.cli.record import record_tests
    from reconciler.dispatch.credential import check_credentials
    from reconciler.dispatch.probe import probe
    from reconciler.dispatch.sample import sample_event
    from reconciler.egress.deliver import Deliverer
    from reconciler.egress.secrets import SecretResolver

    settings = egress_settings(options)
    resolver = SecretResolver.load(settings.secrets_file)
    async with Deliverer(settings, masker=resolver.masker) as deliverer:
        now = time.time()
        report = await check_credentials(webhook, deliverer=deliverer, resolver=resolver, now=round(now * 1000))
        if not send or not report.is_successful:
            return report, None
        payload = sample_event(webhook.spec.triggers[0], now_seconds=now)
        sent = await probe(webhook, payload, deliverer=deliverer, resolver=resolver, now=round(now * 1000))
    await record_tests(url, [(webhook, sent)], warrant(options["given_by"], options["reason"]))
    return report, sent


def _to_json(report: "CredentialReport", sent: "ProbeReport | None") -> dict[str, Any]:
    is_successful = report.is_successful and (sent is None or sent.is_successful)
    return {
        "webhook": report.webhook,
        "kind": report.kind,
        "successful": is_successful,
        "steps": [step.to_json() for step in report.steps],
        "sent": None if sent is None else sent.to_json(),
    }


def _out(report: "CredentialReport", sent: "ProbeReport | None") -> None:
    """The kind, a paragraph for each step, the verdict; then the report of the send."""
    view.out(click.style(f"auth of {view.visible(report.webhook)}", bold=True) + f"  {KINDS[report.kind]}")
    for step in report.steps:
        view.out("")
        for line in _step_lines(step):
            view.out(line)
    if sent is not None:
        from reconciler.cli.view_webhook import out_report

        view.out("")
        out_report(sent)


def _step_lines(step: "Step") -> Iterator[str]:
    from reconciler.cli.view_attempt import fact_lines

    is_good = step.problem is None
    mark = click.style("ok", fg="green") if is_good else click.style("failed", fg="red", bold=True)
    yield f"{click.style(step.name, bold=True)}  {mark}" + ("" if is_good else f"  {view.visible(step.problem or '')}")
    yield from fact_lines({name: view.visible(value) for name, value in step.facts})
    if step.note is not None:
        yield f"  {click.style('note', fg='yellow')}: {view.visible(step.note)}"
    if step.checks:
        yield click.style("  what to check", bold=True)
        for check in step.checks:
            yield f"  - {view.visible(check)}"
