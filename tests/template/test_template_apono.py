"""Apono's own templates over every sample event, the hostile ones included."""

from typing import Any

import pytest
from template_sample import INNER_PATHS, JSON, OKTA, STRING_KEY, TEMPLATES, as_utf16, find, text_in_string

from reconciler import jsontext
from reconciler.template import check_body, compile_body


def test_the_okta_template_has_no_fault(schema: dict[str, Any]) -> None:
    """The template of Apono's page works as it stands."""
    assert check_body(OKTA, content_type=JSON, schema=schema) == ()


def test_the_okta_template_carries_every_value_unchanged(events: dict[str, Any]) -> None:
    """The body parses, and each field equals the event's, whatever stands in it."""
    template = compile_body(OKTA, content_type=JSON)
    assert len(events) >= 16

    for event in events.values():
        fields = jsontext.loads(template.render(event))["fields"]

        for key, path in {
            "event type": "event_type",
            "event time": "event_time",
            "requestor email": "data.requester.email",
            "integration name": "data.access_groups.[0].integration.name",
            "resource type": "data.access_groups.[0].resource_types.[0].name",
            "access units": "data.access_groups.[0].access_units.[0].resource.name",
        }.items():
            assert as_utf16(fields[key]) == as_utf16(text_in_string(find(event, path)))


@pytest.mark.parametrize("tool", sorted(TEMPLATES))
def test_a_json_in_string_template_has_no_fault(tool: str, schema: dict[str, Any]) -> None:
    """The form that Datadog, Logz.io, Coralogix and ServiceNow are sent is understood."""
    assert check_body(TEMPLATES[tool], content_type=JSON, schema=schema) == ()


@pytest.mark.parametrize("tool", sorted(TEMPLATES))
def test_json_in_a_string_decodes_at_both_levels(tool: str, events: dict[str, Any]) -> None:
    """The outer body parses, the string in it parses, and every value arrives unchanged."""
    template = compile_body(TEMPLATES[tool], content_type=JSON)

    for event in events.values():
        outer = jsontext.loads(template.render(event))
        inner = jsontext.loads(outer[STRING_KEY[tool]])

        assert {key: as_utf16(text) for key, text in inner.items()} == {
            key: as_utf16(text_in_string(find(event, path))) for key, path in INNER_PATHS.items()
        }


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('{"event": "{{event_type}} by {{data.requester.name}}"}', "event"),  # Torq
        ('{"title": "{{ event_type }} by {{ data.requester.name }}", "type": "TextBlock"}', "title"),  # Teams
    ],
)
def test_a_sentence_holds_the_texts_unchanged(
    body: str, key: str, events: dict[str, Any], schema: dict[str, Any]
) -> None:
    """The forms that Torq and Teams are sent: several values in one string."""
    template = compile_body(body, content_type=JSON)

    assert check_body(body, content_type=JSON, schema=schema) == ()
    for event in events.values():
        sentence = f"{event['event_type']} by {text_in_string(find(event, 'data.requester.name'))}"
        assert as_utf16(jsontext.loads(template.render(event))[key]) == as_utf16(sentence)
