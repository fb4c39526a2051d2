"""A webhook and an event into the request that is sent; what people are shown is the same with every secret as `***`.

Called by `dispatch` when an attempt is made and by the commands that show or test a webhook. Pure and deterministic:
the values of secrets change nothing but where they stand.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import quote

from reconciler import VERSION, jsontext
from reconciler.errors import SecretError, TemplateError
from reconciler.jsontext import JsonValue
from reconciler.models.webhook import SECRET_REFERENCE, Spec, Webhook, fill_secrets, secret_names
from reconciler.request.authorize import HEADER, authorization
from reconciler.request.draft import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Draft
from reconciler.request.size import check_size
from reconciler.template import Template, compile_body, is_json_type
from reconciler.template.output import SURROGATE

MASK: Final = "***"  # stays as it is in a URL: an asterisk needs no percent-encoding (RFC 3986, section 2.2)

TEST_HEADER: Final = "x-reconciler-test"

MakeBody = Callable[[JsonValue, Mapping[str, str]], bytes]

_UNENCODED: Final = "*"
_RESERVED: Final = frozenset({ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER, "accept-encoding", TEST_HEADER})


class Prepared(NamedTuple):
    """A request ready to be sent. Header values are Latin-1 at most and are sent as such; `body` is None where the
    method has none."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all requests of a webhook have in common while its secrets keep their values: where they go, and their
    headers before and after the one that names the delivery."""

    method: str
    url: str
    before: tuple[tuple[str, str], ...]
    after: tuple[tuple[str, str], ...]

    def around(self, body: bytes | None, delivery_id: str) -> Prepared:
        """The request of one delivery, unsigned. Raises TemplateError for one that is too large."""
        headers = (*self.before, (ID_HEADER, delivery_id), *self.after)
        check_size(self.url, headers, body)
        return Prepared(self.method, self.url, headers, body)

    def of(self, draft: Draft, body: bytes | None) -> Prepared:
        """The request that a draft makes, with this body. Raises TemplateError for one that is too large."""
        unsigned = self.around(body, draft.id)
        if not draft.signature:
            return unsigned
        signature = ((TIMESTAMP_HEADER, draft.timestamp), (SIGNATURE_HEADER, draft.signature))
        return Prepared(self.method, self.url, unsigned.headers + signature, body)


def render_request(
    webhook: Webhook,
    payload: JsonValue,
    raw: bytes,
    *,
    secrets: Mapping[str, str],
    delivery_id: str,
    is_test: bool = False,
) -> Prepared:
    """The request for one event: `payload` is what templates see, `raw` what is sent where there is no template.

    Of an access token, which only sending obtains, the place is kept: see `request.authorize`.

    Raises SecretError for a secret without a value and TemplateError where no valid request comes of it; neither
    carries a value.
    """
    envelope = envelope_of(webhook, secrets, is_test=is_test)
    spec = webhook.spec
    body = render_body(spec, payload, raw, secrets=secrets) if spec.method.has_body else None
    return envelope.around(body, delivery_id)


def envelope_of(webhook: Webhook, secrets: Mapping[str, str], *, is_test: bool = False) -> Envelope:
    """The envelope of a webhook's requests. Raises SecretError and TemplateError, neither of which carries a value."""
    spec = webhook.spec
    try:
        url = fill_url(spec.url, spec.query, secrets)
        declared = [(name, _header(name, fill_secrets(value, secrets))) for name, value in spec.headers.items()]
        known_by = authorization(spec.auth, secrets, mask=MASK)
    except KeyError as exc:
        name = str(exc.args[0])
        raise SecretError(f"the secret has no value: {name}", name=name) from None
    except UnicodeEncodeError:
        raise TemplateError("a secret in the URL holds what UTF-8 cannot carry") from None
    if known_by is not None:
        declared = [item for item in declared if item[0].lower() != HEADER]
        declared.append((HEADER, _header(HEADER, known_by)))
    before, after = _headers(declared, spec.content_type if spec.method.has_body else None, is_test=is_test)
    return Envelope(spec.method.value, url, before, after)


def shows_secrets(spec: Spec) -> bool:
    """Whether the body holds a secret, so that people are shown another one than is sent."""
    return bool(secret_names([spec.body_template, spec.partials]))


def blank_secrets(webhook: Webhook) -> dict[str, str]:
    """Every secret that the webhook names, as MASK: the `secrets` of the rendering that people are shown."""
    return dict.fromkeys((name for name, _ in webhook.secret_hosts()), MASK)


def fill_url(url: str, query: Mapping[str, str], secrets: Mapping[str, str]) -> str:
    """The URL with its secrets filled in, percent-encoded, and the query's pairs appended. Raises KeyError,
    UnicodeEncodeError and TemplateError."""
    if not query and "${" not in url:
        return url
    scheme, separator, rest = url.partition("://")
    path_start = min((index for index in map(rest.find, "/?") if index >= 0), default=len(rest))
    host, tail = rest[:path_start], rest[path_start:]
    if "${" in host:
        raise TemplateError("the host cannot hold a secret", hint="secrets may stand in the path and the query")
    filled = f"{scheme}{separator}{host}{_fill_encoded(tail, secrets)}"
    pairs = "&".join(
        f"{quote(fill_secrets(name, secrets), safe=_UNENCODED)}={quote(fill_secrets(value, secrets), safe=_UNENCODED)}"
        for name, value in query.items()
    )
    if not pairs or filled.endswith(("?", "&")):
        return f"{filled}{pairs}"
    return f"{filled}{'&' if '?' in tail else '?'}{pairs}"


def _fill_encoded(text: str, secrets: Mapping[str, str]) -> str:
    """`fill_secrets` inside a URL; the rest of the URL is left as it was written."""
    return SECRET_REFERENCE.sub(lambda match: quote(secrets[match[1]], safe=_UNENCODED) if match[1] else "$%7B", text)


def _header(name: str, value: str) -> str:
    """A header's value, checked: the message never shows it, since secrets are filled in."""
    if value.isascii() and value.isprintable():
        return value.strip(" ")
    if any(character < " " or character == "\x7f" for character in value):
        raise TemplateError(f"a header value holds a control character: {name}", hint="RFC 9110 allows none")
    if not value.isascii() and max(value) > "\xff":
        hint = "header values are Latin-1 (RFC 9110, section 5.5); send other text in the body"
        raise TemplateError(f"a header value holds a character beyond Latin-1: {name}", hint=hint)
    return value.strip(" ")  # surrounding blanks are no part of a value (RFC 9110, section 5.5)


def _headers(
    declared: list[tuple[str, str]], content_type: str | None, *, is_test: bool
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """The webhook's own headers, and ours; those that name the delivery and the encoding are ours alone."""
    ours = {"accept-encoding": "identity"}
    if is_test:
        ours[TEST_HEADER] = "1"
    kept = [(name, value) for name, value in declared if name.lower() not in _RESERVED]
    names = {name.lower() for name, _ in kept}
    if content_type is not None and "content-type" not in names:
        ours["content-type"] = _header("content-type", content_type)
    if "user-agent" not in names:
        ours["user-agent"] = f"reconciler/{VERSION}"
    return tuple(kept), tuple(ours.items())


def render_body(spec: Spec, payload: JsonValue, raw: bytes, *, secrets: Mapping[str, str]) -> bytes:
    """The body's bytes: the event as it came, or what the template makes of it. Raises SecretError and
    TemplateError."""
    make_body = body_maker(spec)
    return raw if make_body is None else make_body(payload, secrets)


def body_maker(spec: Spec) -> MakeBody | None:
    """What makes bodies of payloads, and the values of secrets: it raises SecretError and TemplateError. None where
    there is no template. Raises TemplateError for one that cannot be compiled.

    Outside JSON, which has escapes for it, a lone surrogate becomes U+FFFD, as where JavaScript encodes text (WHATWG
    Encoding, section 4.3).
    """
    if spec.body_template is None:
        return None
    template = compile_body(spec.body_template, content_type=spec.content_type, partials=spec.partials)
    if not is_json_type(spec.content_type):
        return partial(_body_of_text, template)
    return template.encode if template.is_surely_json and template.is_in_utf8 else partial(_body_of_json, template)


def _body_of_text(template: Template, payload: JsonValue, secrets: Mapping[str, str]) -> bytes:
    return SURROGATE.sub("\ufffd", template.render(payload, secrets)).encode()


def _body_of_json(template: Template, payload: JsonValue, secrets: Mapping[str, str]) -> bytes:
    text = template.render(payload, secrets)
    if not template.is_surely_json:
        _check_json(text)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise TemplateError("the body holds a lone surrogate, which UTF-8 cannot carry") from None


def _check_json(text: str) -> None:
    """Raise TemplateError if the body is not JSON; what stands in it is not shown."""
    try:
        jsontext.loads(text)
    except json.JSONDecodeError as exc:
        message = f"the body is not JSON: {exc.msg[:1].lower()}{exc.msg[1:]} at line {exc.lineno}, column {exc.colno}"
        raise TemplateError(message) from None
    except jsontext.DuplicateKeyError:
        raise TemplateError("the body is not JSON: an object has the same key twice") from None
    except ValueError:
        raise TemplateError(f"the body is not JSON: nested deeper than {jsontext.DEPTH_MAX} levels") from None
