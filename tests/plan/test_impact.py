"""What a plan does to recorded events: counted as the dispatcher matches and renders, with one example each."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from plan_samples import Case, desired, hook, live_hook, live_state

from reconciler.cli.view_field import NORMAL
from reconciler.cli.view_impact import impact_lines
from reconciler.cli.view_markdown import plan_markdown
from reconciler.models.event import Event, make_event
from reconciler.models.webhook import Webhook
from reconciler.plan.document import plan_schema
from reconciler.plan.impact import Impact, Kind, WebhookImpact, measure_impact
from reconciler.plan.plan import Plan
from reconciler.plan.schema import plan_digest, plan_json


def event(number: int = 1, event_type: str = "AccessRequestCreated", **data: Any) -> Event:
    """An event of one access request."""
    payload: dict[str, Any] = {
        "event_type": event_type,
        "event_time": "2026-01-01",
        "data": {"id": f"r-{number}", **data},
    }
    return make_event(payload, json.dumps(payload).encode())


EVENTS = (
    event(1, requester={"email": "ann@example.com"}),
    event(2, requester={"email": "bob@example.com"}),
    event(3, "AccessRequestGranted", requester={"email": "ann@example.com"}),
)


def planned(live: Webhook | None, wanted: Webhook | None) -> Plan:
    """The plan from one live webhook to one desired."""
    before = live_state(*([live_hook(live)] if live else []))
    return Case(desired(*([wanted] if wanted else [])), before).plan()


def measured(live: Webhook | None, wanted: Webhook | None, *events: Event) -> Impact:
    """The impact of that plan."""
    return measure_impact(planned(live, wanted).changes, events or EVENTS, source="of a test")


def only(impact: Impact) -> WebhookImpact:
    """The one webhook that is judged."""
    (webhook,) = impact.webhooks
    return webhook


def counts(webhook: WebhookImpact) -> Mapping[str, int]:
    """What is not zero."""
    names = ("added", "lost", "changed", "unchanged", "body", "destination", "broken", "match_errors")
    return {name: getattr(webhook, name) for name in names if getattr(webhook, name)}


def test_a_created_webhook_adds_what_it_matches() -> None:
    """The example is what would be sent; nothing was sent before."""
    webhook = only(measured(None, hook("audit", body_template='{"id": "{{data.id}}"}')))

    assert counts(webhook) == {"added": 2}
    assert webhook.example is not None
    assert (webhook.example.kind, webhook.example.event_id) == (Kind.ADDED, EVENTS[0].id)
    assert webhook.example.before is None
    assert webhook.example.after is not None
    assert (webhook.example.after.method, webhook.example.after.body) == ("POST", '{"id": "r-1"}')


def test_a_deleted_webhook_loses_what_it_matched() -> None:
    """Without a body template the event itself was sent."""
    webhook = only(measured(hook("audit"), None))

    assert counts(webhook) == {"lost": 2}
    assert webhook.example is not None
    assert webhook.example.after is None
    assert webhook.example.before is not None
    assert webhook.example.before.body == EVENTS[0].raw.decode()


def test_an_inactivated_webhook_loses_all_and_an_activated_one_adds_all() -> None:
    """The status is a change like others."""
    active, inactive = hook("audit"), hook("audit", status="inactive")

    assert counts(only(measured(active, inactive))) == {"lost": 2}
    assert counts(only(measured(inactive, active))) == {"added": 2}


def test_other_triggers_and_filters_add_and_lose() -> None:
    """What both sides match stays as it is."""
    live = hook("audit", filters={"requester": ["ann@*"]})
    wanted = hook("audit", triggers=["RequestCreated", "RequestGranted"], filters={"requester": ["ann@*"]})
    narrowed = hook("audit", filters={"requester": ["bob@*"]})

    assert counts(only(measured(live, wanted))) == {"added": 1, "unchanged": 1}
    assert counts(only(measured(live, narrowed))) == {"added": 1, "lost": 1}


def test_another_template_changes_only_the_bodies_that_come_out_otherwise() -> None:
    """Two templates may make the same of one event and not of another."""
    live = hook("audit", body_template='{"who": "{{data.requester.email}}"}')
    wanted = hook("audit", body_template='{"who": "{{data.requester.email}}{{data.justification}}"}')
    told = event(4, requester={"email": "ann@example.com"}, justification="!")

    webhook = only(measured(live, wanted, *EVENTS, told))

    assert counts(webhook) == {"changed": 1, "body": 1, "unchanged": 2}
    assert webhook.example is not None
    assert (webhook.example.kind, webhook.example.event_id) == (Kind.CHANGED, told.id)
    assert webhook.example.before is not None
    assert webhook.example.after is not None
    assert (webhook.example.before.body, webhook.example.after.body) == (
        '{"who": "ann@example.com"}',
        '{"who": "ann@example.com!"}',
    )


@pytest.mark.parametrize("spec", [{"url": "https://b.example.com/"}, {"method": "PUT"}, {"query": {"a": "1"}}])
def test_another_destination_changes_every_delivery(spec: dict[str, Any]) -> None:
    """Method, URL and query; the body stays."""
    assert counts(only(measured(hook("audit"), hook("audit", **spec)))) == {"changed": 2, "destination": 2}


def test_a_method_without_body_changes_both() -> None:
    """GET sends none."""
    webhook = only(measured(hook("audit"), hook("audit", method="GET")))

    assert counts(webhook) == {"changed": 2, "body": 2, "destination": 2}
    assert webhook.example is not None
    assert webhook.example.after is not None
    assert webhook.example.after.body is None


def test_what_is_not_about_the_request_changes_no_delivery() -> None:
    """The webhook changed, so it is judged; a webhook without a change is not."""
    assert counts(only(measured(hook("audit"), hook("audit", max_concurrency=2)))) == {"unchanged": 2}
    assert measured(hook("audit"), hook("audit")).webhooks == ()


def test_a_new_name_alone_is_not_judged() -> None:
    """Nothing that is sent depends on it."""
    renamed = hook("audit-2", {"renamed_from": "audit"}, url="https://hooks.example.com/audit")

    assert measured(hook("audit"), renamed).webhooks == ()


def test_a_condition_chooses_as_in_the_fan_out() -> None:
    """Of two created events one is lost; the granted one was never wanted."""
    wanted = hook("audit", when="data.requester.email == 'ann@example.com'")

    assert counts(only(measured(hook("audit"), wanted))) == {"lost": 1, "unchanged": 1}


def test_what_the_desired_condition_cannot_tell_is_counted_and_said() -> None:
    """It is no delivery and no silent loss; a mended condition brings the delivery."""
    failing, mended = hook("audit", when="data.grantee.name == 'x'"), hook("audit", when="true")

    impact = measured(hook("audit"), failing)

    webhook = only(impact)
    assert counts(webhook) == {"lost": 2, "match_errors": 2}
    assert webhook.is_felt
    text = "\n".join(line.plain for line in impact_lines(impact, NORMAL))
    assert "2 lost; of 2 its `when` cannot tell" in text
    assert counts(only(measured(failing, mended))) == {"added": 2}
    assert counts(only(measured(failing, hook("audit", when="1 +")))) == {"match_errors": 2}


def test_what_cannot_be_rendered_is_counted_and_shown_first() -> None:
    """A body that comes out as no JSON would end its delivery dead; the example says why."""
    live = hook("audit", body_template='{"a": "{{data.id}}", "b": 1}')
    wanted = hook("audit", body_template='{"{{data.justification}}": 1, "b": 2}')
    broken = event(5, justification="b")

    webhook = only(measured(live, wanted, EVENTS[0], broken))

    assert counts(webhook) == {"changed": 2, "body": 2, "broken": 1}
    assert webhook.example is not None
    assert (webhook.example.kind, webhook.example.event_id) == (Kind.BROKEN, broken.id)
    assert webhook.example.after is not None
    assert webhook.example.after.body is None
    assert webhook.example.after.problem == "the body is not JSON: an object has the same key twice"
    text = "\n".join(line.plain for line in impact_lines(measured(live, wanted, EVENTS[0], broken), NORMAL))
    assert "1 cannot be rendered and would end dead" in text
    assert "+ # cannot be rendered: the body is not JSON" in text


def test_secrets_are_masked_in_every_format() -> None:
    """References as `***`, literals that a store may hold as what Terraform calls them."""
    literal = "0123456789abcdef" * 4
    live = hook("audit", url=f"https://a.example.com/?clientToken={literal}", body_template=f'{{"t": "{literal}"}}')
    wanted = hook(
        "audit", url="https://a.example.com/?clientToken=${secret:token}", body_template='{"t": "${secret:token}"}'
    )
    impact = measured(live, wanted)
    plan = replace(planned(live, wanted), impact=impact)
    example = only(impact).example

    assert example is not None
    assert example.after is not None
    assert (example.after.url, example.after.body) == (
        "https://a.example.com/?clientToken=(sensitive value)",
        '{"t": "***"}',
    )
    text = "\n".join(line.plain for line in impact_lines(impact, NORMAL))
    for shown in (text, json.dumps(plan_json(plan)), plan_markdown(plan)):
        assert literal not in shown
        assert "***" in shown


def test_json_and_markdown_tell_it_and_the_digest_stays() -> None:
    """The same plan is the same plan, whatever has happened lately."""
    live, wanted = hook("audit"), hook("audit", body_template='{"id": "{{data.id}}"}')
    plan = planned(live, wanted)
    told = replace(plan, impact=measured(live, wanted))

    document = json.loads(json.dumps(plan_json(told)))

    Draft202012Validator(plan_schema()).validate(document)
    assert "impact" not in plan_json(plan)
    assert document["impact"]["events"] == 3
    assert document["impact"]["webhooks"][0]["changed_body"] == 2
    assert document["impact"]["webhooks"][0]["example"]["after"]["body"] == '{"id": "r-1"}'
    assert plan_digest(told) == plan_digest(plan)
    assert "**Impact on 3 events of a test:** 1 of 1 changed webhooks affected" in plan_markdown(told)


def test_a_hostile_event_cannot_break_out_of_the_comment() -> None:
    """Fences, tags and controls of a body are spelt out, and the comment keeps to its size."""
    nasty = event(6, justification="```\n</details>\x1b[31m::error::x" + "y" * 100_000)
    wanted = hook("audit", content_type="text/plain", body_template="{{{data.justification}}}")
    plan = replace(planned(None, wanted), impact=measured(None, wanted, nasty))

    comment = plan_markdown(plan)

    assert len(comment.encode()) <= 65_000
    assert comment.count("</details>") == comment.count("<details>")
    assert "\x1b" not in comment
