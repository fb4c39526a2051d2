"""Laws of what tests expect, over JSON of every shape, and over bodies that templates make of events."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler import jsontext
from reconciler.jsontext import JsonValue, Number
from reconciler.models.corpus import complete_event
from reconciler.models.event import make_event
from reconciler.models.fault import Path
from reconciler.models.webhook import Trigger, Webhook
from reconciler.models.webhook_test import Expectation
from reconciler.request.difference import ABSENT, differences, json_path
from reconciler.request.expect import judge_expectation
from reconciler.template.whence import place_in_json, place_in_template

numbers = st.one_of(
    st.integers(-(2**63), 2**63),
    st.builds(
        lambda whole, digits: Number(f"{whole}.{digits}"),
        st.integers(0, 99),
        st.text("0123456789", min_size=1, max_size=9),
    ),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=6))
keys = st.text(max_size=4)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
objects = st.dictionaries(keys, values, min_size=1, max_size=4)
CHANGED = "changed by the test"


def leaves(value: JsonValue, path: Path = ()) -> list[Path]:
    """The paths to what holds nothing."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [path]


def changed(value: JsonValue, path: Path, to: JsonValue = CHANGED) -> JsonValue:
    if not path:
        return to
    first, *rest = path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    pairs = [(key, changed(item, tuple(rest), to) if key == first else item) for key, item in items]
    return dict(pairs) if isinstance(value, dict) else [item for _, item in pairs]


@given(values)
def test_a_value_is_as_expected_and_a_part_of_itself(value: JsonValue) -> None:
    again = jsontext.loads(jsontext.dumps(value))

    assert differences(value, again) == ()
    assert differences(value, again, is_part=True) == ()


@given(objects, st.data())
def test_one_changed_leaf_is_the_one_difference(value: JsonValue, data: st.DataObject) -> None:
    """Whichever of the two was changed, the difference leads there and shows both."""
    path = data.draw(st.sampled_from(leaves(value)))
    other = changed(value, path)

    (one,), (back,) = differences(value, other), differences(other, value)

    assert one.keys == one.body_keys == back.keys == path
    assert (one.actual, back.expected) == (CHANGED, CHANGED)


@given(objects, st.data())
def test_a_number_with_other_digits_is_another(value: JsonValue, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(leaves(value)))

    (one,) = differences(changed(value, path, Number("1.0")), changed(value, path, Number("1.00")))

    assert one.keys == path


@st.composite
def parts(draw: st.DrawFn, whole: JsonValue) -> JsonValue:
    """A value from which keys and items were taken at any depth."""
    if isinstance(whole, dict):
        return {key: draw(parts(item)) for key, item in whole.items() if draw(st.booleans())}
    if isinstance(whole, list):
        return [draw(parts(item)) for item in whole if draw(st.booleans())]
    return whole


@given(values, st.data())
def test_what_is_left_after_taking_something_away_is_a_part(value: JsonValue, data: st.DataObject) -> None:
    """At any depth, in objects and in lists, other items between."""
    assert differences(data.draw(parts(value)), value, is_part=True) == ()


@given(objects, st.data())
def test_a_part_with_a_changed_leaf_is_none(value: JsonValue, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(leaves(value)))

    found = differences(changed(value, path), value, is_part=True)

    assert any(one.keys == path[: len(one.keys)] for one in found)
    assert all(one.expected is not ABSENT for one in found)


def test_lists_in_lists_cost_what_their_items_do() -> None:
    """Items are looked for at every depth; the time must not double with each."""
    one: JsonValue = 1
    other: JsonValue = 2
    for _ in range(90):
        one, other = [one], [other]

    (found,) = differences(one, other, is_part=True)

    assert len(found.keys) == 90


EVENT = complete_event(Trigger.REQUEST_APPROVED)
LEAVES = (
    "{{data.requester.email}}",
    "{{data.revocation_date}}",
    "{{data.approvals}}",
    "a {{data.friendly_id}}",
    "{{x}}",
)
bodies = st.dictionaries(
    st.text("ab c'é\u202e", max_size=3),
    st.recursive(
        st.one_of(st.sampled_from(LEAVES), st.integers(-9, 9), st.booleans(), st.none()),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=2), inner)),
        max_leaves=6,
    ),
    min_size=1,
    max_size=3,
)


def judge(template: Any, **expect: Any) -> Any:
    spec = {"url": "https://example.com/", "triggers": ["RequestApproved"], "body_template": template}
    webhook = Webhook.model_validate({"metadata": {"name": "hook"}, "spec": spec}, strict=False)
    event = make_event(EVENT, jsontext.dumps(EVENT).encode())
    return judge_expectation(webhook, event, Expectation.model_validate(expect))


def rendered(body: Any) -> JsonValue:
    """What is sent, found out through the tests themselves: all of it is unexpected."""
    return {finding.body_keys[0]: finding.actual for finding in judge(body, body={})}


@given(bodies, st.data())
def test_a_test_that_expects_the_rendered_body_passes_and_one_changed_leaf_fails_it(
    body: dict[str, Any], data: st.DataObject
) -> None:
    """As values, as a part and as JSON text; the failure names the leaf."""
    sent = rendered(body)
    path = data.draw(st.sampled_from(leaves(sent)))
    text = jsontext.dumps(changed(sent, path))

    (finding,) = judge(body, body=changed(sent, path))
    (in_text,) = judge(body, body=text)

    assert judge(body, body=sent, body_contains=sent, match=True) == judge(body, body=jsontext.dumps(sent)) == ()
    assert finding.keys == ("body", *path)
    assert finding.where == in_text.where == json_path(path)
    assert in_text.text_keys == path


@given(objects, st.data(), st.sampled_from([None, 1, 3]))
def test_the_place_of_a_value_is_where_it_is_written(value: JsonValue, data: st.DataObject, indent: int | None) -> None:
    """In a JSON text, and in a template of the same text: line and column lead to the value's first character."""
    path = data.draw(st.sampled_from(leaves(value)))
    text = json.dumps(changed(value, path), indent=indent)

    line, column, end_column = place_in_json(text, path)
    row = text.split("\n")[line - 1]

    assert row[column - 1 : end_column - 1] == json.dumps(CHANGED)
    if "{{" not in text and "${" not in text:
        assert place_in_template(text, path) == (line, column, end_column)
