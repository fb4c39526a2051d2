"""A webhook as applied and a test's report, as people read them."""

from collections.abc import Mapping

import click

from reconciler.cli import view
from reconciler.cli.view_attempt import fact_lines, invocation_lines
from reconciler.dispatch.probe import ProbeReport
from reconciler.models.delivery import State
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import Status


def out_webhook(live: LiveWebhook, counts: Mapping[State, int], *, note: str | None, backlog: str) -> None:
    """`webhooks show`: the facts of the store, then the manifest that would make it."""
    webhook = live.webhook
    is_active = webhook.spec.status is Status.ACTIVE
    mark = click.style("● active", fg="green") if is_active else "○ inactive"
    view.out(f"{click.style(webhook.name, bold=True)}  {mark}")
    facts = {
        "title": view.visible(webhook.metadata.title or ""),
        "owner": view.visible(live.owner),
        "uid": live.uid,
        "revision": str(live.revision),
        "protected": "yes" if live.is_protected else "",
        "signed by": view.visible(webhook.spec.signing.fact if webhook.spec.signing is not None else ""),
        "note": view.visible(note or ""),
        "backlog": backlog,
        "deliveries": ", ".join(f"{counts.get(state, 0)} {state.value.replace('_', ' ')}" for state in State),
    }
    for line in fact_lines(facts):
        view.out(line)
    view.out("")
    for line in document_lines(webhook.document()):
        view.out(line)


def document_lines(document: Mapping[str, object]) -> list[str]:
    """A stored document as YAML lines, long texts as literal blocks."""
    from reconciler.manifest.format import dump_document

    return [f"  {view.visible(line)}".rstrip(" ") for line in dump_document(document).rstrip("\n").split("\n")]


def out_report(report: ProbeReport) -> None:
    """`test`: the verdict first, as the vendor's page words it, then the invocation data and what to check."""
    verdict = "Test successful" if report.is_successful else "Test failed"
    view.out(click.style(verdict, fg="green" if report.is_successful else "red", bold=True) + f"  {report.webhook}")
    view.out("")
    for line in invocation_lines(report.result.to_json()):
        view.out(line)
    if report.checks:
        view.out("")
        view.out(click.style("  what to check", bold=True))
        for check in report.checks:
            view.out(f"  - {view.visible(check)}")
