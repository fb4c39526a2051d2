"""Partials are part of what a webhook sends, so a plan shows their changes as it shows those of a body."""

from plan_samples import desired, hook, live_hook, live_state

from reconciler.cli.view_plan import plan_lines
from reconciler.plan.change import Action
from reconciler.plan.plan import make_plan

BODY = "[{{> who}}]"


def text_of(before: str, after: str) -> str:
    """The plan of a webhook whose partial changes."""
    live = live_state(live_hook(hook("w", body_template=BODY, partials={"who": before})))
    plan = make_plan(desired(hook("w", body_template=BODY, partials={"who": after})), live, unfinished={})
    return "\n".join(line.plain for line in plan_lines(plan))


def test_a_changed_partial_is_a_change_shown_by_its_keys() -> None:
    """Where it is JSON on both sides."""
    text = text_of('{"id": "{{id}}", "name": "{{name}}"}\n', '{"id": "{{id}}", "mail": "{{email}}"}\n')

    assert "# webhook.w will be updated in-place" in text
    assert "~ spec.partials.who = {" in text
    assert '- "name": "{{name}}"' in text
    assert '+ "mail": "{{email}}"' in text


def test_a_changed_partial_that_is_no_json_is_shown_by_its_lines() -> None:
    """As a body is."""
    text = text_of("{{#if name}}\n{{name}}\n{{/if}}\n", "{{#if name}}\n{{upper name}}\n{{/if}}\n")

    assert "~ spec.partials.who = <<-EOT" in text
    assert "- {{name}}" in text
    assert "+ {{upper name}}" in text


def test_the_same_partial_is_no_change() -> None:
    """Whatever the folder it came from."""
    live = live_state(live_hook(hook("w", body_template=BODY, partials={"who": "1"})))

    plan = make_plan(desired(hook("w", body_template=BODY, partials={"who": "1"})), live, unfinished={})

    assert [change.action for change in plan.changes if change.action is not Action.NO_OP] == []
