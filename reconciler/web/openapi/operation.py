"""What is said of one endpoint: its id, parameters, body and answers, each with the type its schema is generated from.

The vocabulary of `web.openapi.reading` and `web.openapi.changing`; `web.openapi.document` turns it into OpenAPI. Says
nothing about roles: those are `web.access`'s to give.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from reconciler.web.api import LIMIT_DEFAULT, LIMIT_MAX
from reconciler.web.openapi.answer_state import Problem

JSON: Final = "application/json"
Key = tuple[str, str]  # method, and path as the route has it, without converters
Schema = dict[str, Any]


class Tag(StrEnum):
    """What an endpoint is about."""

    INTAKE = "intake"
    EVENTS = "events"
    DELIVERIES = "deliveries"
    WEBHOOKS = "webhooks"
    REVISIONS = "revisions"
    AUDIT = "audit"
    DAEMON = "daemon"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `schema` is JSON Schema. Those of a path are always required."""

    name: str
    description: str
    schema: Mapping[str, Any]
    place: str = "query"
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `type_` is what its JSON is generated from, None where there is no body; `headers` are names of the
    document's shared headers."""

    description: str
    type_: Any = None
    headers: tuple[str, ...] = ()
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brings, by media type: a type, or a schema as it is. `example` is of the first media type."""

    content: Mapping[str, Any]
    example: Any
    description: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint. `answers` by status; `problems` are its refusals beyond those of every endpoint, each with what it
    means, and a type where the problem details have members of their own."""

    id: str
    tag: Tag
    summary: str
    answers: Mapping[int, Answer]
    problems: Mapping[int, Answer] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    description: str = ""


def problem(description: str, type_: Any = Problem, headers: tuple[str, ...] = ()) -> Answer:
    """A refusal."""
    return Answer(description, type_, headers, "application/problem+json")


def text(name: str, description: str, *, is_required: bool = False, **schema: Any) -> Parameter:
    """A parameter of a query that is text."""
    return Parameter(name, description, {"type": "string", **schema}, is_required=is_required)


def choice(name: str, description: str, choices: type[StrEnum]) -> Parameter:
    """A parameter of a query that is one of a closed set; empty, it is none, as a form sends it."""
    words = [item.value for item in choices]
    return Parameter(name, description, {"enum": [*words, ""]})


def in_path(name: str, description: str) -> Parameter:
    """A part of the path."""
    return Parameter(name, description, {"type": "string", "minLength": 1}, place="path", is_required=True)


LIMIT: Final = Parameter(
    "limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
)
BEFORE: Final = text("before", "The id of the last one seen: what follows it is listed.")
PAGE: Final = (LIMIT, BEFORE)
NO_SUCH_BEFORE: Final = problem("`before` names nothing that is there.")
BEHALF: Final = (
    text("behalf", "Who asks, for the audit log, beside the token's name."),
    text("reason", "Why, for the audit log."),
)
LISTED: Final = ("Link",)
