"""A test of a webhook as its author declares it: an event, and what must come of it. Read by `check` alone. Pure.

Built by `manifest.webhook_test`; judged by `request.expect`. Shapes and the texts of the JSON Schema live here.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from reconciler.models.field import Line, Model
from reconciler.models.webhook import Method, Name, Trigger

MATCH_ERROR: Final = "error"
EVENT_KEYS: Final = ("sample", "event", "event_file")  # of spec: one of them is there

_MAY_BE_NULL: Final = frozenset({"body", "body_contains"})  # null is a value of JSON, for the others it says nothing


def _match(value: object) -> object:
    if value is None or isinstance(value, bool) or value == MATCH_ERROR:
        return value
    raise PydanticCustomError("match", "must be true, false or error")


class Expectation(Model):
    """What must come of the event. Each is optional, one at least is there. Whoever expects something of the request
    expects that it is sent, unless the webhook is inactive or Manual."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    match: Annotated[bool | Literal["error"] | None, BeforeValidator(_match)] = Field(
        None,
        description="Whether the webhook wants the event: true, false, or error, where its condition cannot be told.",
    )
    method: Annotated[Method, Field(strict=False)] | None = Field(None, description="The request's method.")
    url: Line | None = Field(
        None, description="The whole URL with its query; a secret stands in it as ${secret:NAME}, unencoded."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Headers that must be sent, among others; a secret stands in a value as ${secret:NAME}.",
    )
    body: Any = Field(
        None,
        description="The whole body. Of JSON, as a mapping, a list or JSON text: the same values, keys in any order, "
        "numbers with the same digits. Of other types, as text: the same characters.",
    )
    body_contains: Any = Field(
        None,
        description="A part of the body. A mapping: these keys with these values, others aside; a list: these items, "
        "each found in the body's list, in this order, others aside; both at any depth. A text: it stands in the body.",
    )

    @property
    def said(self) -> tuple[str, ...]:
        """The names of what is expected, in the order of the fields."""
        return tuple(
            name
            for name in type(self).model_fields
            if name in self.model_fields_set
            and (name in _MAY_BE_NULL or getattr(self, name) is not None)
            and (name != "headers" or self.headers)
        )


class WebhookTestSpec(Model):
    """The webhook, the event and what must come of it."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in EVENT_KEYS]})

    webhook: Name = Field(description="The name of the webhook that is tested.")
    sample: Annotated[Trigger, Field(strict=False)] | None = Field(
        None,
        description="The built-in event of this trigger; docs/testing.md shows it. One of sample, event and "
        "event_file is there.",
    )
    event: dict[str, Any] | None = Field(None, description="The event itself.")
    event_file: Line | None = Field(
        None, description="A JSON file with the event, relative to this file, within the folder of the manifests."
    )
    set: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of the event to be replaced, by their path, like `data.access_groups[0].integration.name`; "
        "null stands for itself. Default: none.",
    )
    expect: Expectation = Field(description="What must come of the event, one thing at least.")


class WebhookTestMetadata(Model):
    """Who the test is."""

    name: Name = Field(description="The test's name: unique among tests; 1 to 63 of a-z, 0-9 and inner hyphens.")
    title: str | None = Field(None, description="Free text for people: what is tested, and why.")
    labels: dict[str, str] = Field(default_factory=dict, description="Free texts for people.")


class WebhookTest(Model):
    """One declared test."""

    metadata: WebhookTestMetadata
    spec: WebhookTestSpec
