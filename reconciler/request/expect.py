"""What a test expects of a webhook and an event, beside what would be sent: every difference, with its place. Pure.

Called by `manifest.check`, which finds the lines in the files. Everything is the daemon's own code, `match` and
`render_request`; only secrets have no value here: each stands as ${secret:NAME}.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.jsontext import JsonValue
from reconciler.models.delivery import delivery_id
from reconciler.models.event import Event
from reconciler.models.fault import Path
from reconciler.models.webhook import Trigger, Webhook
from reconciler.models.webhook_test import MATCH_ERROR, Expectation
from reconciler.request.condition import MatchState
from reconciler.request.difference import ABSENT, Absent, differences, differing_lines, fact_of, json_path, type_name
from reconciler.request.match import Condition, judge_match, state_of
from reconciler.request.render import Prepared, render_request
from reconciler.template import is_json_type

BODY: Final[Path] = ("spec", "body_template")  # where the body comes from

_WORDS: Final[dict[MatchState, bool | str]] = {
    MatchState.YES: True,
    MatchState.NO: False,
    MatchState.ERROR: MATCH_ERROR,
}
_STAND_IN: Final = "reconciler-secret-"  # unreserved in a URL, harmless in a header, no escape in JSON


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as expected.

    `keys` lead from `expect` to what expects it, `text_keys` from there on where that is JSON text. `where` says which
    part of the request it is (`$.fields[0]`, a header's name, `line 3`). `expected` and `actual` are values of JSON or
    ABSENT; where there is nothing to compare, both are, and `message` tells. `source` leads to what wrote it in the
    webhook's document, `body_keys` from there to a part of a body. `line` and `column` are those of a template's fault,
    inside its text; `expected_line` is the line of an expected text. All count from 1."""

    keys: Path
    message: str
    where: str = ""
    expected: JsonValue | Absent = ABSENT
    actual: JsonValue | Absent = ABSENT
    notes: tuple[str, ...] = ()
    source: Path = ()
    body_keys: Path = ()
    line: int | None = None
    column: int | None = None
    text_keys: Path = ()
    expected_line: int | None = None

    @property
    def compares(self) -> bool:
        """Whether there are two values to be shown."""
        return self.expected is not ABSENT or self.actual is not ABSENT


def judge_expectation(webhook: Webhook, event: Event, expect: Expectation) -> tuple[Finding, ...]:
    """Everything that does not come of an event as it is expected; nothing where the test passes."""
    return tuple(_findings(webhook, event, expect))


def _findings(webhook: Webhook, event: Event, expect: Expectation) -> Iterator[Finding]:
    conditions = judge_match(webhook, event)
    unheld = [condition for condition in conditions if condition.state is not MatchState.YES]
    asked = [name for name in expect.said if name != "match"]
    if "match" in expect.said:
        yield from _judge_match(expect.match, _WORDS[state_of(conditions)], unheld)
    elif missing := [condition for condition in unheld if not _is_forgiven(condition, webhook)]:
        message = "the webhook does not want the event, so nothing is sent"
        yield Finding((asked[0],), message, notes=_told(missing), source=_condition_path(missing[0]))
    if not asked:
        return
    try:
        prepared = _prepare(webhook, event)
    except TemplateError as exc:
        message = f"cannot be rendered: {exc.message}"
        yield Finding((asked[0],), message, source=BODY, line=exc.line, column=exc.column)
        return
    yield from _judge_request(prepared, expect, asked)
    if "body" in asked or "body_contains" in asked:
        yield from _judge_body(prepared, webhook, expect, asked)


# Match


def _judge_match(wanted: bool | str | None, actual: bool | str, unheld: Sequence[Condition]) -> Iterator[Finding]:
    if wanted == actual:
        return
    if actual == MATCH_ERROR:
        message = "whether the webhook wants the event cannot be told"
    else:
        message = f"the webhook {'wants' if actual else 'does not want'} the event"
    source = _condition_path(unheld[0]) if unheld else ("spec", "triggers")
    yield Finding(("match",), message, expected=wanted, actual=actual, notes=_told(unheld), source=source)


def _is_forgiven(condition: Condition, webhook: Webhook) -> bool:
    """Whether a test of the request looks past it: the webhook may be inactive for a while, and a Manual one is fired
    by hand, at any event."""
    is_manual = Trigger.MANUAL in webhook.spec.triggers
    return condition.name == "status" or (condition.name == "triggers" and is_manual)


def _told(conditions: Sequence[Condition]) -> tuple[str, ...]:
    return tuple(_told_of(condition) for condition in conditions)


def _told_of(condition: Condition) -> str:
    if condition.is_error:
        return f"{condition.name} cannot be told: {condition.actual}"
    if condition.name == "triggers" and condition.wanted == Trigger.MANUAL.value:
        return "triggers is Manual alone, which no event fires"
    return f"{condition.name} wants {condition.wanted}, is {condition.actual or 'absent'}"


def _condition_path(condition: Condition) -> Path:
    """Where a condition stands in the webhook's document; a custom field's name may hold dots."""
    prefix = "filters.custom_fields."
    if condition.name.startswith(prefix):
        return ("spec", "filters", "custom_fields", condition.name.removeprefix(prefix))
    return ("spec", *condition.name.split("."))


# The request


def _prepare(webhook: Webhook, event: Event) -> Prepared:
    """The request with every secret as ${secret:NAME}, in a URL too, where a value would be percent-encoded."""
    names = {_STAND_IN + hashlib.sha256(name.encode()).hexdigest(): name for name, _ in webhook.secret_hosts()}
    identity = delivery_id(event.id, webhook.name)
    secrets = {name: stand_in for stand_in, name in names.items()}
    prepared = render_request(webhook, event.payload, event.raw, secrets=secrets, delivery_id=identity)
    if not names:
        return prepared
    pattern = re.compile("|".join(map(re.escape, names)))

    def named(text: str) -> str:
        return pattern.sub(lambda match: f"${{secret:{names[match[0]]}}}", text)

    headers = tuple((name, named(value)) for name, value in prepared.headers)
    body = prepared.body
    if body is not None:
        body = named(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return Prepared(prepared.method, named(prepared.url), headers, body)


def _judge_request(prepared: Prepared, expect: Expectation, asked: Sequence[str]) -> Iterator[Finding]:
    if "method" in asked and expect.method is not None and expect.method.value != prepared.method:
        yield _compared(("method",), "method", expect.method.value, prepared.method, ("spec", "method"))
    if "url" in asked and expect.url != prepared.url:
        yield _compared(("url",), "url", expect.url, prepared.url, ("spec", "url"))
    sent = {name.lower(): (name, value) for name, value in prepared.headers}
    for name, value in expect.headers.items():
        source, actual = sent.get(name.lower(), (name, ABSENT))
        if value != actual:
            yield _compared(("headers", name), name, value, actual, ("spec", "headers", source))


def _compared(keys: Path, where: str, expected: Any, actual: Any, source: Path) -> Finding:
    return Finding(keys, fact_of(expected, actual), where, expected, actual, source=source)


# The body


def _judge_body(prepared: Prepared, webhook: Webhook, expect: Expectation, asked: Sequence[str]) -> Iterator[Finding]:
    names = [name for name in ("body", "body_contains") if name in asked]
    if prepared.body is None:
        yield Finding((names[0],), f"a {prepared.method} request has no body", source=("spec", "method"))
        return
    text = prepared.body.decode("utf-8", "replace")
    content_type = webhook.spec.content_type
    for name in names:
        value, is_part = getattr(expect, name), name == "body_contains"
        # 1. text: of a body that is no JSON, or a part of any, 2. values where there are none, 3. values
        if isinstance(value, str) and (not is_json_type(content_type) or (is_part and not _is_json(value))):
            yield from _judge_text(value, text, name, is_part=is_part)
        elif not is_json_type(content_type):
            message = f"a {type_name(value)} is expected, but the body is no JSON: {content_type}"
            yield Finding((name,), message, source=("spec", "content_type"))
        elif isinstance(value, str) and not _is_json(value):
            yield Finding((name,), "the expected text is no JSON object or list, but the body is", source=BODY)
        else:
            yield from _judge_values(value, jsontext.loads(text), name, is_part=is_part)


def _judge_values(expected: Any, actual: JsonValue, name: str, *, is_part: bool) -> Iterator[Finding]:
    """What differs in JSON; what is expected may be JSON text."""
    is_text = isinstance(expected, str)
    for found in differences(jsontext.loads(expected) if is_text else expected, actual, is_part=is_part):
        keys = (name,) if is_text else (name, *found.keys)
        yield Finding(
            keys,
            fact_of(found.expected, found.actual),
            json_path(found.body_keys),
            found.expected,
            found.actual,
            source=BODY,
            body_keys=found.body_keys,
            text_keys=found.keys if is_text else (),
        )


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or list, as bodies are."""
    try:
        return text.lstrip(" \t\r\n")[:1] in ("{", "[") and jsontext.loads(text) is not None
    except ValueError:
        return False


def _judge_text(wanted: str, text: str, name: str, *, is_part: bool) -> Iterator[Finding]:
    if is_part:
        if wanted not in text:
            yield Finding((name,), "the body does not hold it", "", wanted, text, source=BODY)
        return
    for number, (line, other) in enumerate(differing_lines(wanted, text), start=1):
        if line != other:
            fact = fact_of(line, other) if ABSENT in (line, other) else "another line"
            yield Finding((name,), fact, f"line {number}", line, other, source=BODY, expected_line=number)
