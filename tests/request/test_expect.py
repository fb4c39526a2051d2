"""What tests may expect of a webhook and an event: the match that is meant, secrets by their names, parts of bodies."""

from typing import Any

import pytest

from reconciler import jsontext
from reconciler.models.corpus import complete_event
from reconciler.models.event import make_event
from reconciler.models.webhook import Trigger, Webhook
from reconciler.models.webhook_test import Expectation
from reconciler.request.difference import differences
from reconciler.request.expect import Finding, judge_expectation


def judge(
    expect: dict[str, Any],
    *,
    trigger: Trigger = Trigger.REQUEST_APPROVED,
    data: dict[str, Any] | None = None,
    **spec: Any,
) -> tuple[Finding, ...]:
    spec = {"url": "https://example.com/", "triggers": ["RequestApproved"], **spec}
    webhook = Webhook.model_validate({"metadata": {"name": "hook"}, "spec": spec}, strict=False)
    payload = complete_event(trigger)
    payload["data"].update(data or {})
    event = make_event(payload, jsontext.dumps(payload).encode())
    return judge_expectation(webhook, event, Expectation.model_validate(expect))


BODY = {"body_template": {"id": "{{data.friendly_id}}"}}
RIGHT = {"body": {"id": "AR-123"}}


def test_who_expects_a_body_expects_a_match() -> None:
    """Else a filter that lets nothing through would go unnoticed."""
    (finding,) = judge(RIGHT, **BODY, filters={"requester": ["nobody"]})

    assert finding.message == "the webhook does not want the event, so nothing is sent"
    assert finding.source == ("spec", "filters", "requester")
    assert "nobody" in finding.notes[0]
    assert judge(RIGHT, **BODY) == ()


@pytest.mark.parametrize(
    "spec", [{"status": "inactive"}, {"triggers": ["Manual"]}, {"triggers": ["Manual", "RequestCreated"]}]
)
def test_a_test_of_the_body_looks_past_a_status_and_a_manual_trigger(spec: dict[str, Any]) -> None:
    """A webhook may rest for a while, a Manual one is fired by hand; whoever writes `match` is taken at his word."""
    assert judge(RIGHT, **BODY, **spec) == ()

    (finding,) = judge({"match": True, **RIGHT}, **BODY, **spec)

    assert (finding.keys, finding.expected, finding.actual) == (("match",), True, False)
    assert judge({"match": False}, **spec) == ()


def test_a_filter_is_not_looked_past_on_a_manual_webhook() -> None:
    (finding,) = judge(RIGHT, **BODY, triggers=["Manual"], filters={"requester": ["nobody"]})

    assert [note.split(" wants")[0] for note in finding.notes] == ["filters.requester"]


def test_a_condition_that_cannot_be_told_is_an_error_not_a_no() -> None:
    """`match: false` does not pass for it; `match: error` does."""
    spec = {"when": "data.access_bundle.name == 'x'"}
    data = {"access_bundle": None}

    (wanted,), (unwanted,) = judge({"match": True}, **spec, data=data), judge({"match": False}, **spec, data=data)

    assert wanted.actual == unwanted.actual == "error"
    assert wanted.source == ("spec", "when")
    assert wanted.notes[0].startswith("when cannot be told: ")
    assert judge({"match": "error"}, **spec, data=data) == ()
    assert judge({"match": False}, **spec) == ()


def test_a_when_that_does_not_hold_is_a_no() -> None:
    spec = {"when": "data.friendly_id == 'AR-1'"}

    assert judge({"match": False}, **spec) == ()
    assert [finding.actual for finding in judge({"match": True}, **spec)] == [False]


def test_a_secret_stands_by_its_name_everywhere() -> None:
    """In a URL unencoded, or nobody could write it down; two secrets are told apart."""
    spec = {
        "url": "https://example.com/${secret:path}/x",
        "query": {"token": "${secret:one}", "a": "b c"},
        "headers": {"x-key": "Bearer ${secret:two}"},
        "body_template": '{"a": "${secret:one}", "{{data.friendly_id}}": "$${secret:one}"}',
    }
    expect = {
        "url": "https://example.com/${secret:path}/x?token=${secret:one}&a=b%20c",
        "headers": {"X-Key": "Bearer ${secret:two}"},
        "body": {"a": "${secret:one}", "AR-123": "${secret:one}"},
    }

    assert judge(expect, **spec) == ()
    (finding,) = judge({"headers": {"x-key": "Bearer ${secret:one}"}}, **spec)
    assert finding.actual == "Bearer ${secret:two}"


def test_a_webhook_without_a_template_sends_the_event() -> None:
    payload = complete_event(Trigger.REQUEST_APPROVED)

    assert judge({"body": payload}) == judge({"body_contains": {"data": {"friendly_id": "AR-123"}}}) == ()


def test_a_template_that_cannot_be_rendered_is_told_with_its_place() -> None:
    """As the daemon would have it: dead, and nothing is sent."""
    template = '{\n  "day": "{{date data.revocation_date}}"\n}'

    (finding,) = judge({"body": {}}, body_template=template, data={"revocation_date": "tomorrow"})

    assert finding.message.startswith("cannot be rendered: ")
    assert (finding.line, finding.column) == (2, 13)


@pytest.mark.parametrize(
    ("part", "whole", "holds"),
    [
        ({}, {"a": 1}, True),
        ({"a": {}}, {"a": {"b": 1}}, True),
        ({"a": None}, {"b": 1}, False),
        ({"a": None}, {"a": None}, True),
        ([], [1, 2], True),
        ([2], [1, 2, 3], True),
        ([1, 3], [1, 2, 3], True),
        ([3, 1], [1, 2, 3], False),
        ([1, 1], [1, 2], False),
        ([{"a": 1}], [{"b": 1}, {"a": 1, "b": 2}], True),
        ([[2]], [[1], [1, 2]], True),
        ({"a": 1}, [{"a": 1}], False),
        (True, 1, False),
        (0, False, False),
        ("1", 1, False),
        (1, 1.0, False),
    ],
)
def test_a_part_is_found_item_by_item_in_order(part: Any, whole: Any, *, holds: bool) -> None:
    assert (differences(part, whole, is_part=True) == ()) is holds


def test_an_item_that_is_not_found_is_compared_with_the_nearest() -> None:
    """So that a reader sees the one letter, not two objects."""
    whole = [{"name": "orders", "type": "x"}, {"name": "billing", "type": "y"}]

    (found,) = differences([{"name": "biling", "type": "y"}], whole, is_part=True)

    assert (found.keys, found.body_keys, found.actual) == ((0, "name"), (1, "name"), "billing")


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb", "", "\n\n"])
def test_a_text_body_is_the_same_to_the_last_line_feed(text: str) -> None:
    spec = {"content_type": "text/plain", "body_template": "a\nb\n"}

    assert (judge({"body": text}, **spec) == ()) is (text == "a\nb\n")


def test_a_line_too_many_is_one_difference() -> None:
    spec = {"content_type": "text/plain", "body_template": "a\nb\nc\n"}

    (finding,) = judge({"body": "a\nx\nb\nc\n"}, **spec)

    assert (finding.where, finding.expected, finding.message) == ("line 2", "x\n", "it is missing")


def test_a_text_that_is_no_json_is_looked_for_in_the_body_as_it_is_sent() -> None:
    spec = {"body_template": '{"a": "x {{data.friendly_id}}"}'}

    assert judge({"body_contains": '"x AR-123"'}, **spec) == ()
    assert judge({"body_contains": '{"a": "x AR-123"}'}, **spec) == ()
    assert [finding.message for finding in judge({"body_contains": "y"}, **spec)] == ["the body does not hold it"]
    assert len(judge({"body": "x AR-123"}, **spec)) == 1
