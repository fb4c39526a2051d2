"""Templates as Apono's pages show them, and the rules of values and paths apart from the implementation."""

from typing import Any, Final

from reconciler import jsontext

JSON: Final = "application/json"

OKTA: Final = """{
  "fields": {
    "event type": "{{event_type}}",
    "event time": "{{event_time}}",
    "requestor email": "{{data.requester.email}}",
    "integration name": "{{data.access_groups.[0].integration.name}}",
    "resource type": "{{data.access_groups.[0].[resource_types].[0].name}}",
    "access units": "{{ data.access_groups.[0].access_units.[0].resource.name }}"
  }
}
"""

# what Datadog, Logz.io, Coralogix and ServiceNow are sent as JSON inside a string
INNER_PATHS: Final = {
    "event_type": "event_type",
    "event_time": "event_time",
    "id": "data.id",
    "friendly_id": "data.friendly_id",
    "requester_id": "data.requester.id",
    "requester_name": "data.requester.name",
    "requester_email": "data.requester.email",
    "justification": "data.justification",
    "creation_date": "data.creation_date",
    "access_flow_id": "data.access_flow.id",
    "access_flow_name": "data.access_flow.name",
    "access_bundle_id": "data.access_bundle.id",
    "access_bundle_name": "data.access_bundle.name",
    "access_groups_integration_name": "data.access_groups.[0].[integration].name",
    "access_groups_integration_type": "data.access_groups.[0].integration.type",
}


def inner_json() -> str:
    """The inner document as it stands between the quotes of the outer string."""
    return "{" + ", ".join(f'\\"{key}\\": \\"{{{{{path}}}}}\\"' for key, path in INNER_PATHS.items()) + "}"


TEMPLATES: Final = {
    "datadog": f'{{"ddsource": "apono", "hostname": "apono", "message": "{inner_json()}", "alert_type": "info"}}',
    "logzio": f'{{"message": "{inner_json()}", "type": "Apono"}}',
    "coralogix": f'{{"alias": "apono-webhook", "integration_type_fields": "{inner_json()}"}}',
    "servicenow": '{"caused_by": "{{data.requester.name}}", "cause": "{{event_type}}", '
    f'"short_description": "{{{{data.access_groups.[0].integration.name}}}}", "description": "{inner_json()}"}}',
}
STRING_KEY: Final = {
    "datadog": "message",
    "logzio": "message",
    "coralogix": "integration_type_fields",
    "servicenow": "description",
}


def text_in_string(value: Any) -> str:
    """What a value of an event is as text: the rule, apart from the implementation."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, jsontext.Number):
        return value.text
    return str(value) if isinstance(value, int) else jsontext.dumps(value)


def find(value: Any, path: str) -> Any:
    """The value at a path, or None: the rule, apart from the implementation."""
    for name in path.replace("[", "").replace("]", "").split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, str) and name.isdigit():
            unit = as_utf16(value)[2 * int(name) : 2 * int(name) + 2]
            value = unit.decode("utf-16-le", "surrogatepass") if unit else None
        else:
            return None
    return value


def as_utf16(text: str) -> bytes:
    """Text as JavaScript compares it: two lone surrogates that meet are one character."""
    return text.encode("utf-16-le", "surrogatepass")
