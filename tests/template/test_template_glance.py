"""What is told of a template at a glance is what reading it in full says."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from template_sample import JSON, TEMPLATES

from reconciler.models.event import event_schema
from reconciler.template import check_body
from reconciler.template.body import is_json_type, outline
from reconciler.template.check import read_text, told_at_a_glance
from reconciler.template.fault import FAULTS_MAX

FIELDS = (
    "event_type",
    "data.grantee.name",
    "data.id",
    "data.requester.email",
    "data.access_groups.[0].integration.name",
    "data.typo",
    "x",
)
TAG = st.builds(
    str.replace,
    st.sampled_from(
        ["{{x}}", "{{ x }}", "{{{x}}}", "{{&x}}", "{{~x}}", "\\{{x}}", "${{x}}", "{{x}}}", "{{x y}}", "{{#x}}", "{{x."]
    ),
    st.just("x"),
    st.sampled_from([*FIELDS, "else", "this", "true", "null", "1", "data.[0]", "data.access_groups.name"]),
)
TEXT = st.text(st.sampled_from(' ab"\\{}[]:,$\n\t1-é\ud800\u2028'), max_size=4)
WORDS = st.lists(st.one_of(TEXT, TAG, st.sampled_from(["NaN", "true", "null", '"a"', "${secret:s}", "{}", "[]"])))
VALUE = st.recursive(
    st.one_of(
        st.builds('"{}{}{}"'.format, TEXT, TAG, TEXT),
        st.sampled_from(['"a"', "1", "null", "NaN", '"\\"{{event_type}}\\""', '"{\\"a\\": \\"{{data.id}}\\"}"']),
        TAG,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(
            st.tuples(st.sampled_from(['"a"', '"b"', '"{{data.id}}"', '"{{event_type}}"']), inner), max_size=3
        ).map(lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(VALUE, WORDS.map("".join)), st.booleans())
@example('{"a": "{{data.id}}", "a": 1}', True)
@example('{"a": "\\{{data.id}}"}', True)
@example('{"a": "{ \\"{{data.id}}\\": "}', True)
@example('{"a": NaN, "b": "{{data.id}}"}', True)
@example('{"a": "' + "1" * 5000 + '", "b": "{{data.id}}"}', True)
@example("[" * 101 + "]" * 101, True)
def test_what_is_told_at_a_glance_of_a_template_is_what_reading_says(text: str, is_json: bool) -> None:
    told = told_at_a_glance(text, event_schema(), is_json=is_json, is_leaf=False)

    assert told is None or read_text(text, event_schema(), is_json=is_json) == told


@settings(max_examples=200, deadline=None)
@given(WORDS.map("".join))
@example('{"a": "{{data.id}}"')
@example(' ["{{data.id}}"]')
def test_what_is_told_at_a_glance_of_a_leaf_is_what_reading_says(text: str) -> None:
    (leaf,) = outline(text)

    told = told_at_a_glance(text, event_schema(), is_json=True, is_leaf=True)

    assert (
        told is None
        or [replace(fault, path=()) for fault in read_text(text, event_schema(), is_json=True, leaf=leaf)] == told
    )


@pytest.mark.parametrize(
    "field", ("event_type", "data.id", "data.requester.email", "data.access_groups.[0].integration.name")
)
def test_the_common_template_is_told_at_a_glance(field: str) -> None:
    text = f'{{"fields": {{"a b": "{{{{{field}}}}}", "c": [1, "x {{{{ {field} }}}}"]}}}}\n'

    assert told_at_a_glance(text, event_schema(), is_json=is_json_type(JSON), is_leaf=False) == []
    assert told_at_a_glance(f"of {{{{{field}}}}}", event_schema(), is_json=True, is_leaf=True) == []


def test_a_field_that_older_payloads_lack_is_told_at_a_glance_too() -> None:
    text = '{"a": "{{data.id}}",\n "é": "x {{ data.grantee.name }} {{data.grantee}}"}'

    faults = check_body(text, content_type=JSON, schema=event_schema())

    assert [(fault.code, fault.line, fault.column, fault.end_column) for fault in faults] == [
        ("template.newer_field", 2, 18, 25),
        ("template.newer_field", 2, 41, 48),
    ]
    assert faults == tuple(read_text(text, event_schema(), is_json=True))


@pytest.mark.parametrize("field", ["data.typo", "data.access_groups.name", "event_type.x"])
def test_an_unknown_field_is_reported_whatever_stands_around_it(field: str) -> None:
    faults = check_body(f'{{"a": "{{{{{field}}}}}"}}', content_type=JSON, schema=event_schema())

    assert [(fault.line, fault.column > 7) for fault in faults] == [(1, True)]


def test_templates_of_vendors_have_no_fault() -> None:
    assert all(check_body(text, content_type=JSON, schema=event_schema()) == () for text in TEMPLATES.values())


def test_no_more_is_told_at_a_glance_than_by_reading() -> None:
    """A long template is not answered by a thousand warnings."""
    text = "{{data.grantee.id}} " * 150

    told = told_at_a_glance(text, event_schema(), is_json=False, is_leaf=False)

    assert told is not None
    assert len(told) == FAULTS_MAX
