"""OpenAPI 3.1 of the daemon's API, written from what `reading` and `changing` say of each endpoint and from the types
they name. Published as `schemas/openapi.json` by `reconciler schema` and served by `web.describe`.

Roles are those that `web.access` gives. Says nothing about one daemon: the same bytes for the same code.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from reconciler.manifest.schema import DIALECT, schema_text, tidy
from reconciler.models.event import event_schema
from reconciler.store.wire import API_HEADER, API_NUMBER, ChangeSetHead, Upsert
from reconciler.web.access import role_for
from reconciler.web.openapi.changing import CHANGING
from reconciler.web.openapi.operation import Answer, Body, Key, Operation, Parameter, Schema, Tag, problem
from reconciler.web.openapi.reading import READING
from reconciler.web.token import Role

OPERATIONS: Final[Mapping[Key, Operation]] = {**READING, **CHANGING}
REFS: Final = "#/components/schemas/{model}"
EVENT: Final = "AccessRequestEvent"
SIGNATURE: Final = ("webhookId", "webhookTimestamp", "webhookSignature")

ABOUT: Final = """\
What `reconciler run` serves to pipelines, senders and programs beside its page.

A daemon with `--tokens` wants a bearer token with the role that stands beside each endpoint; without tokens it \
listens on loopback only and takes no change from a browser. Whatever answers GET answers HEAD. Lists lead on by \
`before` and by their `Link`. A parameter that an endpoint does not know is refused, except by intake and health. New \
members of an answer do not move the version: pass over what you do not know."""
TAGS: Final = {
    Tag.INTAKE: "Events in.",
    Tag.EVENTS: "What was received.",
    Tag.DELIVERIES: "What is sent, and what became of it.",
    Tag.WEBHOOKS: "The live webhooks, and what holds them back.",
    Tag.REVISIONS: "States of the store, and how a new one is set.",
    Tag.AUDIT: "Who did what.",
    Tag.DAEMON: "The daemon itself.",
}
ROLES: Final = {
    Role.READ: "read everything here, and the page",
    Role.APPLY: "publish revisions, hold and release applies; and `read`",
    Role.OPERATE: "whatever else changes something; and `read`",
    Role.INGEST: "send events, and nothing else",
}
HEADERS: Final = {
    API_HEADER: (f"The version of the API: {API_NUMBER}.", {"const": API_NUMBER}),
    "Link": ("`rel=next`: the next page, where there may be one (RFC 8288).", {"type": "string"}),
    "ETag": ("Names this state.", {"type": "string"}),
    "Location": ("The path of what was made.", {"type": "string"}),
    "Retry-After": ("Seconds to wait before the next try.", {"type": "integer", "minimum": 0}),
    "Accept-Encoding": ("What is taken.", {"const": "identity"}),
    "WWW-Authenticate": ("How to present a token (RFC 6750).", {"type": "string"}),
}
ALWAYS: Final = {  # what any endpoint may refuse with
    400: problem("A parameter or header cannot be read, or the client speaks another version of the API."),
    408: problem("The head of the request did not arrive in time."),
    421: problem("The daemon does not answer to the name in `Host`."),
    431: problem("The head of the request, or the framing of its body, is too long."),
    503: problem("The store does not answer, the daemon is draining, or it has too many connections."),
}
BEHIND_TOKENS: Final = {
    401: problem("The daemon wants a token that it knows, or a signature that fits.", headers=("WWW-Authenticate",)),
    403: problem("The token has not the role, or a browser wants to change something."),
}


def openapi_text() -> str:
    """The description of every endpoint, as it is published."""
    return schema_text(document())


def described_path(path: str) -> str:
    """A route's path as the description has it, without converters."""
    return re.sub(r":\w+", "", path)


def document(keys: Iterable[Key] = OPERATIONS) -> Schema:
    """The description of these endpoints. Raises KeyError for one that nobody has described."""
    described = {key: OPERATIONS[key] for key in sorted(keys, key=lambda key: (key[1], key[0]))}
    types = _Types(described.values())
    paths: dict[str, Schema] = {}
    for (method, path), operation in described.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation, types)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {"title": "reconciler", "version": API_NUMBER, "description": ABOUT, "license": _LICENSE},
        "servers": [{"url": "/", "description": "The daemon that serves this."}],
        "tags": [{"name": tag.value, "description": text} for tag, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": types.definitions,
            "responses": {_shared(status): _answer(answer, types) for status, answer in _SHARED.items()},
            "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in HEADERS.items()},
            "parameters": {"ApiVersion": _parameter(_API_VERSION)},
            "securitySchemes": _security_schemes(),
        },
    }


_LICENSE: Final = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
_API_VERSION: Final = Parameter(
    API_HEADER, "The version of the API that the client speaks.", {"const": API_NUMBER}, place="header"
)
_SHARED: Final = {**ALWAYS, **BEHIND_TOKENS}


class _Types:
    """The schemas of all types that operations name, their definitions shared."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted: list[Any] = [ChangeSetHead, Upsert, *(answer.type_ for answer in _SHARED.values())]
        for operation in operations:
            answers = (*operation.answers.values(), *operation.problems.values())
            wanted += [answer.type_ for answer in answers if answer.type_ is not None]
            wanted += [] if operation.body is None else [*operation.body.content.values()]
        types = [item for item in wanted if not isinstance(item, dict)]
        made, rest = TypeAdapter.json_schemas(
            [(number, "validation", TypeAdapter(type_)) for number, type_ in enumerate(types)], ref_template=REFS
        )
        definitions: dict[str, Schema] = rest["$defs"]
        for schema in (*definitions.values(), *made.values()):
            tidy(schema)
        definitions |= _event_definitions()
        self.definitions = dict(sorted(definitions.items()))
        self._named = [(type_, made[number, "validation"]) for number, type_ in enumerate(types)]

    def schema(self, type_: Any) -> Schema:
        """The schema of a type; one that is a schema already is left as it is."""
        if isinstance(type_, dict):
            return type_
        return next(schema for named, schema in self._named if named == type_)


def _event_definitions() -> dict[str, Schema]:
    """The event's schema and those it is made of, as published in `event.schema.json`."""
    schema = event_schema()
    event = {key: value for key, value in schema.items() if not key.startswith("$")}
    return {name: _hoisted(definition) for name, definition in {**schema["$defs"], EVENT: event}.items()}


def _hoisted(node: Any) -> Any:
    """The same with its references to definitions leading to the document's."""
    if isinstance(node, list):
        return [_hoisted(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value.replace("#/$defs/", REFS.format(model="")) if key == "$ref" else _hoisted(value)
        for key, value in node.items()
    }


def _operation(method: str, path: str, operation: Operation, types: _Types) -> Schema:
    role = role_for(method, path)
    said: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag.value],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [*map(_parameter, operation.parameters), {"$ref": "#/components/parameters/ApiVersion"}],
        "requestBody": None if operation.body is None else _body(operation.body, types),
        "responses": _answers(operation, role, types),
        "security": [] if role is None else _security(role),
    }
    return {key: value for key, value in said.items() if value not in (None, "")}


def _answers(operation: Operation, role: Role | None, types: _Types) -> Schema:
    own = {**operation.answers, **operation.problems}
    refusals = ALWAYS if role is None else {**ALWAYS, **BEHIND_TOKENS}
    shared = {status: {"$ref": f"#/components/responses/{_shared(status)}"} for status in refusals}
    said = {**shared, **{status: _answer(answer, types) for status, answer in own.items()}}
    return {f"{status}": said[status] for status in sorted(said)}


def _answer(answer: Answer, types: _Types) -> Schema:
    said: Schema = {
        "description": answer.description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in (API_HEADER, *answer.headers)},
    }
    if answer.type_ is not None:
        said["content"] = {answer.media_type: {"schema": types.schema(answer.type_)}}
    return said


def _body(body: Body, types: _Types) -> Schema:
    content: dict[str, Schema] = {media: {"schema": types.schema(type_)} for media, type_ in body.content.items()}
    next(iter(content.values()))["example"] = body.example
    said = {"description": body.description, "required": body.is_required, "content": content}
    return {key: value for key, value in said.items() if value != ""}


def _parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.is_required,
        "schema": dict(parameter.schema),
    }


def _shared(status: int) -> str:
    return f"Refused{status}"


def _security(role: Role) -> list[Schema]:
    """A token with the role (OpenAPI 3.1 lets any scheme name roles); events may be signed instead."""
    signed: list[Schema] = [{name: [] for name in SIGNATURE}] if role is Role.INGEST else []
    return [{"token": [role.value]}, *signed]


def _security_schemes() -> Schema:
    roles = "\n".join(f"- `{role.value}`: {may}" for role, may in ROLES.items())
    said = ("names the message", "seconds since 1970, within five minutes of now", "one `v1,…` or `v1a,…` or several")
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    signed = {
        scheme: {"type": "apiKey", "in": "header", "name": name, "description": f"Standard Webhooks: {text}."}
        for scheme, name, text in zip(SIGNATURE, headers, said, strict=True)
    }
    token = {"type": "http", "scheme": "bearer", "description": f"From the tokens file. Its roles:\n\n{roles}"}
    return {"token": token, **signed}
