"""What the texts of a manifest may say: URLs, headers, tokens, globs, credentials. Pure, one document at a time.

Called by `manifest.validate` with the mappings as written, defaults merged, so that every rule speaks even where other
fields are ill-typed; a rule passes over what is not of its type, since `models.webhook` reports that. Stored webhooks
are not judged again.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.address import judge_host
from reconciler.models.fault import Fault, Faults, Path, show
from reconciler.models.revision import NOBODY
from reconciler.models.rule_credential import check_auth, check_tls
from reconciler.models.rule_signing import check_signing
from reconciler.models.rule_trigger import check_triggers
from reconciler.models.size import HEADER_MAX, HEADERS_MAX
from reconciler.models.url import (
    BIND_HINT,
    PLACEHOLDER,
    check_okta,
    check_url,
    is_secret_name,
    mapping_at,
    plain_secret,
    without_references,
)
from reconciler.models.webhook import secret_names

FRAMING_HEADERS: Final = frozenset(  # RFC 9110, sections 7.2, 7.6.1, 7.8, 8.6, 10.1.1 and 11.7; RFC 9112, section 6
    (
        *("connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-authenticate"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
DAEMON_HEADERS: Final = frozenset(("webhook-id", "webhook-signature", "webhook-timestamp"))

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110, section 5.6.2
_BAD_HEADER_VALUE: Final = re.compile(r"[^\t\x20-\x7e]")
_MEDIA_TYPE: Final = re.compile(
    r"{token}/{token}(?:[ \t]*;[ \t]*{token}=(?:{token}|\"[^\"\\\x00-\x1f\x7f]*\"))*".replace(
        "{token}", _HEADER_NAME.pattern
    )
)
_CHARSET: Final = re.compile(r";[ \t]*charset=\"?([^\s;\"]*)", re.IGNORECASE)


def check_spec(spec: Mapping[str, Any]) -> Faults:
    """The faults of a webhook's spec as written, defaults merged; paths begin with `spec`."""
    yield from check_url(("spec", "url"), spec.get("url"))
    yield from check_okta(spec)
    yield from _check_headers(mapping_at(spec, "headers"))
    yield from _check_query(mapping_at(spec, "query"))
    yield from _check_body(spec)
    yield from _check_globs(("spec", "filters"), spec.get("filters"))
    yield from check_triggers(spec)
    yield from check_auth(spec)
    yield from check_tls(spec)
    yield from check_signing(spec)


def check_project(spec: Mapping[str, Any]) -> Faults:
    """The faults of a project's spec as written, apart from those of its defaults; paths begin with `spec`."""
    if spec.get("owner") == NOBODY:
        hint = "released webhooks belong to it; choose another name"
        yield Fault("project.owner", ("spec", "owner"), f"`owner` is reserved: {NOBODY}", hint)
    hosts = mapping_at(spec, "policy").get("allowed_hosts")
    for index, host in enumerate(hosts if isinstance(hosts, list) else ()):
        if not isinstance(host, str) or not host:
            continue
        path = ("spec", "policy", "allowed_hosts", index)
        if "/" in host:
            yield Fault(
                "url.host", path, f"`{show(path)}` must be a host, not a URL: {host[:80]}", "write the name only"
            )
        elif reason := judge_host(host.removeprefix("*.")):
            message = reason.replace("the host", f"the host `{show(path)}`", 1)
            yield Fault("url.host", path, message, "write a name, or *.DOMAIN for all names below it")
    partials = spec.get("partials")
    if isinstance(partials, str) and (partials.startswith("/") or ".." in partials.split("/")):
        hint = "name a folder beside or below the project's file"
        yield Fault("project.partials", ("spec", "partials"), f"`partials` leaves the manifests: {partials}", hint)


# Headers and query


def _check_headers(headers: Mapping[str, Any]) -> Faults:
    seen: dict[str, str] = {}
    for name, value in headers.items():
        path = ("spec", "headers", name)
        yield from _check_header_name(path, name)
        if (first := seen.setdefault(name.lower(), name)) != name:
            message = f"`{show(path)}` is there twice, since names are compared without case: {ascii(first)[1:-1]}"
            yield Fault("header.duplicate", path, message, "keep one of them", on_key=True)
        if isinstance(value, str):
            yield from _check_header_value(path, name, value)
    size = sum(len(name) + len(value) for name, value in headers.items() if isinstance(value, str))
    if size > HEADERS_MAX:
        message = f"`headers` have {size:,} characters together, more than {HEADERS_MAX:,}"
        yield Fault("header.length", ("spec", "headers"), message, "send long values in the body")


def _check_header_name(path: Path, name: str) -> Faults:
    if not _HEADER_NAME.fullmatch(name):
        hint = "letters, digits and !#$%&'*+-.^_`|~ (RFC 9110, section 5.6.2)"
        yield Fault("header.name", path, f"not a header name: {ascii(name[:80])[1:-1]}", hint, on_key=True)
    elif name.lower() in FRAMING_HEADERS:
        hint = "it belongs to the connection, which the daemon makes"
        yield Fault("header.reserved", path, f"`{show(path)}` cannot be set: {name}", hint, on_key=True)
    elif name.lower() in DAEMON_HEADERS or name.lower().startswith("x-reconciler-"):
        hint = "the daemon sends it with every request"
        yield Fault("header.reserved", path, f"`{show(path)}` cannot be set: {name}", hint, on_key=True)
    elif name.lower() == "content-type":
        hint = "write it as `content_type`, which also decides how the template escapes"
        yield Fault("header.reserved", path, f"`{show(path)}` cannot be set: {name}", hint, on_key=True)


def _check_header_value(path: Path, name: str, value: str) -> Faults:
    if placeholder := PLACEHOLDER.search(value):
        message = f"`{show(path)}` still holds a placeholder: {placeholder[0]}"
        yield Fault("secret.placeholder", path, message, BIND_HINT)
    elif is_secret_name(name) and not secret_names(value):
        yield plain_secret(path)
    if bad := _BAD_HEADER_VALUE.search(without_references(value)):
        kind = "a line break" if bad[0] in "\r\n" else f"a character that headers cannot: {bad[0]!a}"
        hint = "a block scalar ends in one; write `|-` or quote the value" if bad[0] == "\n" else "remove it"
        yield Fault("header.value", path, f"`{show(path)}` holds {kind}", hint)
    elif value != value.strip(" \t"):
        yield Fault("header.value", path, f"`{show(path)}` begins or ends with a space", "remove it")
    if (size := len(name) + len(value)) > HEADER_MAX:
        message = f"`{show((*path[:-1], name[:80]))}` has {size:,} characters, more than {HEADER_MAX:,}"
        yield Fault("header.length", path, message, "send long values in the body")


def _check_query(query: Mapping[str, Any]) -> Faults:
    for name, value in query.items():
        path = ("spec", "query", name)
        if not name:
            yield Fault("query.name", path, "a query parameter has no name", on_key=True)
        if isinstance(value, str):
            if placeholder := PLACEHOLDER.search(value):
                message = f"`{show(path)}` still holds a placeholder: {placeholder[0]}"
                yield Fault("secret.placeholder", path, message, BIND_HINT)
            elif is_secret_name(name) and not secret_names(value):
                yield plain_secret(path)


# Body and filters


def _check_body(spec: Mapping[str, Any]) -> Faults:
    method = spec.get("method", "POST")
    if method in ("GET", "DELETE") and spec.get("body_template") is not None:
        message = f"`body_template` cannot be sent: {method} has no body"
        yield Fault("body.not_allowed", ("spec", "body_template"), message, "use POST, or `query`", on_key=True)
    content_type = spec.get("content_type")
    if not isinstance(content_type, str) or not content_type:
        return
    path = ("spec", "content_type")
    if not _MEDIA_TYPE.fullmatch(content_type):
        message = f"`content_type` is not a media type: {ascii(content_type[:80])[1:-1]}"
        yield Fault("body.content_type", path, message, "write TYPE/SUBTYPE, like application/json")
    elif (charset := _CHARSET.search(content_type)) and charset[1].lower() not in ("utf-8", "utf8"):
        message = f"`content_type` names another charset than UTF-8: {charset[1]}"
        yield Fault("body.content_type", path, message, "bodies are sent in UTF-8")


def _check_globs(path: Path, value: object) -> Faults:
    """Every text in a list below `filters` is a glob."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _check_globs((*path, key), item)
    elif isinstance(value, list):
        for index, glob in enumerate(value):
            if glob == "!":
                message = f"`{show((*path, index))}` excludes nothing: !"
                yield Fault("filter.glob", (*path, index), message, "write a glob after the !")
