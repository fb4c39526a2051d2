"""A plan's impact on recorded events as lines: the counts of each webhook, and one delivery before and after.

Called by the plan's views in text and Markdown; counts nothing itself. Bodies come from events: all of it is made
harmless for a terminal.
"""

from collections.abc import Iterator
from typing import Final

from reconciler import jsontext
from reconciler.cli import view
from reconciler.cli.view_field import PlanView
from reconciler.cli.view_line import Line
from reconciler.cli.view_tree import TreeView, entry_lines
from reconciler.cli.view_value import clipped
from reconciler.plan.impact import Example, Impact, Rendering, WebhookImpact
from reconciler.plan.tree import Node, compare, text_tree

EXAMPLE_LINES: Final = 60  # of an example; a whole event pretty-printed is about as long
TITLE: Final = "Impact"


def impact_title(impact: Impact) -> str:
    """`Impact on 1,234 events of the last 7 days`."""
    events = f"{impact.events:,} event{'' if impact.events == 1 else 's'}"
    skipped = f" ({impact.skipped:,} more are no events)" if impact.skipped else ""
    return f"{TITLE} on {events} {impact.source}{skipped}"


def impact_lines(impact: Impact, how: PlanView) -> Iterator[Line]:
    """The section of a plan: every webhook that the plan changes, by address, also one whose deliveries stay."""
    yield Line(f"{impact_title(impact)}:", is_bold=True)
    yield Line("")
    if not impact.webhooks:
        yield Line("No webhook changes in what it wants or sends.", indent=2)
        yield Line("")
    for webhook in impact.webhooks:
        yield Line(f"# {view.visible(webhook.address)}: {counts_text(webhook)}", indent=2, is_bold=webhook.is_felt)
        yield from example_lines(webhook.example, how)
        yield Line("")


def counts_text(webhook: WebhookImpact) -> str:
    """`2 deliveries added, 1 lost, 3 changed (3 in body, 1 in destination), 10 unchanged`."""
    where = ", ".join(
        f"{count:,} in {name}"
        for count, name in ((webhook.body, "body"), (webhook.destination, "destination"))
        if count
    )
    words = [
        f"{webhook.added:,} added" if webhook.added else "",
        f"{webhook.lost:,} lost" if webhook.lost else "",
        f"{webhook.changed:,} changed ({where})" if webhook.changed else "",
        f"{webhook.unchanged:,} unchanged" if webhook.unchanged else "",
    ]
    said = ", ".join(word for word in words if word)
    broken = f"; {webhook.broken:,} cannot be rendered and would end dead" if webhook.broken else ""
    errors = f"; of {webhook.match_errors:,} its `when` cannot tell" if webhook.match_errors else ""
    return f"deliveries: {said or 'none before and after'}{broken}{errors}"


def example_lines(example: Example | None, how: PlanView) -> Iterator[Line]:
    """One delivery as a diff of what is sent."""
    if example is None:
        return
    name, kind = view.visible(example.event_id), view.visible(example.event_type)
    yield Line(f"# {example.kind.value}, for example {name} ({kind}):", indent=6)
    shown = TreeView(how.context, how.counts_hidden, "line")
    lines = list(entry_lines(compare(_text(example.before), _text(example.after)).children, shown))
    for line in lines[:EXAMPLE_LINES]:
        yield Line(clipped(line.text, line.text) if how.clips else line.text, line.indent - 2, line.mark)
    if len(lines) > EXAMPLE_LINES:
        yield Line(f"# ({len(lines) - EXAMPLE_LINES} more lines)", indent=10)


def _text(rendering: Rendering | None) -> Node:
    """What is sent, as a list of lines: the destination, then the body, JSON laid out."""
    if rendering is None:
        return Node("[]", ())
    head = f"{rendering.method} {rendering.url}"
    if rendering.problem:
        return text_tree(f"{head}\n# cannot be rendered: {rendering.problem}")
    return text_tree(head if rendering.body is None else f"{head}\n{jsontext.pretty_text(rendering.body)}")
