"""One `kind: WebhookTest` document to a test that can be run, and every fault of it: shape, event, expectations.

Called by `manifest.load` where tests are asked for, with what the rest of the set says. Reads the event's file, and
nothing outside of the folders that were given, whatever links lead there: a pull request could name any file else.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import ValidationError

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.manifest.event_path import PathProblem, check_path, read_path, replace_at
from reconciler.manifest.field import did_you_mean, field_faults
from reconciler.manifest.file import read_bytes
from reconciler.manifest.validate import literal
from reconciler.models.corpus import complete_event
from reconciler.models.event import Event, EventProblem, judge_payload, make_event, read_event
from reconciler.models.fault import Fault, Path
from reconciler.models.url import check_okta, check_url, is_secret_name, mapping_at, plain_secret
from reconciler.models.webhook import SECRET_REFERENCE, secret_names
from reconciler.models.webhook_test import EVENT_KEYS, WebhookTest, WebhookTestSpec

EVENT_MAX_BYTES: Final = 256 * 1024  # what intake takes

_SENT: Final = ("url", "headers", "body", "body_contains")  # of expect: where ${secret:NAME} stands for what is sent
_INSIDE: Final = "name a JSON file beside or below the manifests, not a link that leads elsewhere"


@dataclass(frozen=True, slots=True)
class ReadyTest:
    """A test without a fault, and its event."""

    test: WebhookTest
    event: Event


@dataclass(frozen=True, slots=True)
class Around:
    """What a test is judged by beside its document: the file it stands in, the names of all webhooks, and the folders
    that hold the manifests."""

    file: str
    webhooks: Sequence[str]
    folders: Sequence[FilePath]


def judge_test(document: Mapping[str, Any], around: Around) -> tuple[ReadyTest | None, list[Fault]]:
    """The test of a document with a sound head, if it is one, and its faults."""
    faults: list[Fault] = []
    raw = _unescaped(document, faults)
    test = event = None
    try:
        test = WebhookTest.model_validate(raw)
    except ValidationError as exc:
        faults.extend(fault for fault in field_faults(exc, WebhookTest, raw) if not _is_told(fault, document))
    faults += _check_raw(raw["spec"], around)
    if test is not None:
        faults += _check_expectation(test.spec)
        if len(_given(raw["spec"])) == 1:
            event, more = _event(test.spec, around)
            faults += more
    ready = ReadyTest(test, event) if test is not None and event is not None and not faults else None
    return ready, faults


def _is_told(fault: Fault, document: Mapping[str, Any]) -> bool:
    """Whether the document's head is at fault already: it has no spec, or one that is no mapping."""
    key = str(fault.path[0])
    return key in ("metadata", "spec") and not isinstance(document.get(key, {} if key == "metadata" else None), Mapping)


def _unescaped(document: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """The document with `$${` as the `${` it stands for. Secrets stand only in what is expected of a request."""
    metadata, spec = document.get("metadata"), document.get("spec")
    raw: dict[str, Any] = {"spec": {}}
    if metadata is not None:
        raw["metadata"] = literal(metadata, ("metadata",), faults)
    for key, value in (spec if isinstance(spec, Mapping) else {}).items():
        path: Path = ("spec", key)
        if key == "expect" and isinstance(value, Mapping):
            raw["spec"][key] = {
                name: _sent(item) if name in _SENT else literal(item, (*path, name), faults)
                for name, item in value.items()
            }
        else:
            raw["spec"][key] = literal(value, path, faults)
    return raw


def _sent(value: Any) -> Any:
    if isinstance(value, str):
        return SECRET_REFERENCE.sub(lambda match: match[0] if match[1] else "${", value) if "${" in value else value
    if isinstance(value, Mapping):
        return {_sent(key): _sent(item) for key, item in value.items()}
    return [_sent(item) for item in value] if isinstance(value, list) else value


def _check_raw(spec: Mapping[str, Any], around: Around) -> Iterator[Fault]:
    """What can be told of a spec even where some of its fields are at fault."""
    name = spec.get("webhook")
    if isinstance(name, str) and name and name not in around.webhooks:
        known = f"known are: {', '.join(sorted(around.webhooks)[:10])}" if around.webhooks else ""
        hint = did_you_mean(name, around.webhooks) or known or "give the PATH of the webhook's manifest too"
        yield Fault("test.webhook", ("spec", "webhook"), f"no webhook has this name: {name[:80]}", hint)
    given = _given(spec)
    if spec and not given:
        hint = "write `sample: RequestApproved`, `event: {…}` or `event_file: PATH`"
        yield Fault("test.event", ("spec",), "the test has no event", hint, on_key=True)
    for key in given[1:]:
        message = f"the test has a second event: `{key}` beside `{given[0]}`"
        yield Fault("test.event", ("spec", key), message, "keep one of them", on_key=True)
    yield from _check_secrets(mapping_at(spec, "expect"))


def _check_secrets(expect: Mapping[str, Any]) -> Iterator[Fault]:
    """What no webhook could send: a URL that is none, a secret in plain text."""
    path: Path = ("spec", "expect", "url")
    url = expect.get("url")
    if isinstance(url, str) and url:
        found = {fault.code: fault for fault in check_okta({"url": url}) if fault.code == "secret.literal"}
        found |= {fault.code: fault for fault in check_url(path, url)}
        yield from (replace(fault, path=path) for fault in found.values())
    for name, value in mapping_at(expect, "headers").items():
        if isinstance(value, str) and value and is_secret_name(name) and not secret_names(value):
            yield plain_secret(("spec", "expect", "headers", name))


def _given(spec: Mapping[str, Any]) -> list[str]:
    """The keys that give an event."""
    return [key for key in EVENT_KEYS if spec.get(key) is not None]


def _check_expectation(spec: WebhookTestSpec) -> Iterator[Fault]:
    path: Path = ("spec", "expect")
    said = spec.expect.said
    if not said:
        hint = "write match, method, url, headers, body or body_contains"
        yield Fault("test.expect", path, "`expect` expects nothing", hint, on_key=True)
    if "match" in said and spec.expect.match is not True:
        word = str(spec.expect.match).lower()
        for name in said[1:]:
            message = f"`expect.{name}` cannot be beside `match: {word}`, where nothing is sent"
            yield Fault("test.expect", (*path, name), message, "keep one of them", on_key=True)


# The event


def _event(spec: WebhookTestSpec, around: Around) -> tuple[Event | None, list[Fault]]:
    """The event, its fields replaced; None, and faults, where it is none."""
    # 1. built in, 2. in the manifest, 3. in a file of its own
    faults: list[Fault] = []
    raw: bytes | None = None
    if spec.sample is not None:
        key, payload = "sample", complete_event(spec.sample)
    elif spec.event is not None:
        key, payload = "event", jsontext.loads(jsontext.dumps(spec.event))
    else:
        key = "event_file"
        payload, raw, faults = _read(spec.event_file or "", around)
    if not faults:
        faults += _replaced(payload, spec.set)
    if not faults:
        faults += _check_event(key, payload, spec.set)
    if faults:
        return None, faults
    if raw is None or spec.set:
        raw = jsontext.dumps(payload).encode("utf-8")
    return make_event(payload, raw), []


def _check_event(key: str, payload: JsonValue, replaced: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        judge_payload(payload)
    except EventProblem as exc:
        path: Path = ("spec", key, *(exc.keys if key == "event" else ()))
        for text in replaced:
            keys = read_path(text)
            if keys == exc.keys[: len(keys)]:
                path = ("spec", "set", text)
        hint = "`reconciler explain event` shows the schema"
        yield Fault("test.event", path, f"this is not an event: {exc}", hint)


def _replaced(payload: JsonValue, values: Mapping[str, Any]) -> Iterator[Fault]:
    """Replace fields of an event; a fault for each path that leads to none."""
    for text, value in values.items() if isinstance(payload, dict) else ():
        try:
            keys = read_path(text)
            check_path(keys, payload.get("event_type"))
            replace_at(payload, keys, value)
        except PathProblem as exc:
            yield Fault("test.set", ("spec", "set", text), f"`{text[:80]}` {exc}", exc.hint, on_key=True)


def _read(name: str, around: Around) -> tuple[JsonValue, bytes | None, list[Fault]]:
    """The event in a file and its bytes, or a fault."""
    path = FilePath(around.file).parent / name
    raw: bytes | None = None
    # 1. elsewhere, 2. unreadable, 3. too large, 4. no JSON
    if not _is_inside(name, path, around.folders):
        reason, hint = f"`event_file` leaves the manifests: {name[:80]}", _INSIDE
    else:
        raw, problem = read_bytes(str(path))
        if problem is not None:
            reason, hint = f"`event_file` {problem.message}: {name[:80]}", "it is relative to this file"
        elif len(raw) > EVENT_MAX_BYTES:
            reason, hint = f"`event_file` has {len(raw):,} bytes", f"an event may have {EVENT_MAX_BYTES:,}"
        else:
            try:
                return *read_event(raw), []
            except ValueError as exc:
                fact = str(exc)
                reason = f"`event_file` is not JSON: {fact[:1].lower()}{fact[1:]}"
                hint = "the file must hold one event"
    return None, None, [Fault("test.event_file", ("spec", "event_file"), reason, hint)]


def _is_inside(name: str, path: FilePath, folders: Iterable[FilePath]) -> bool:
    """Whether a file lies in one of the folders, links followed."""
    try:
        real = path.resolve()
        return not os.path.isabs(name) and any(real.is_relative_to(folder.resolve()) for folder in folders)  # noqa: PTH117
    except (OSError, RuntimeError, ValueError):  # a circle of links, a NUL
        return False
