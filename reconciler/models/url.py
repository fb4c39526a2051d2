"""What a URL may say, and what tells a secret in plain text: rules of `models.rule` on their own page. Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_plus

from reconciler.address import judge_host
from reconciler.errors import Severity
from reconciler.models.fault import Fault, Faults, Path, show
from reconciler.models.homograph import judge_homograph
from reconciler.models.size import URL_MAX
from reconciler.models.webhook import SECRET_REFERENCE, host_of, is_okta_host, secret_names

TOKEN_HEADER: Final = "x-api-client-token"  # Okta's client token, where it is safest
TOKEN_PARAMETER: Final = "clienttoken"  # Okta's `clientToken`, in lower case
BIND_HINT: Final = "write ${secret:NAME} and let the operator bind NAME"
PLACEHOLDER: Final = re.compile(r"<(?:your[_ -])?(?:domain|client[_ -]?token|alias|token)>", re.IGNORECASE)

_URL: Final = re.compile(r"([^:/?#]*):(//)?([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_BAD_URL_CHARACTER: Final = re.compile(r"[^!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]")  # RFC 3986, section 2
_HEX_TOKEN: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")  # how Okta's client tokens look
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_NAMES: Final = frozenset(("authorization", "cookie", "token", "secret", "apikey"))
_SECRET_ENDINGS: Final = ("-key", "-token", "-secret", "-apikey", "password", "-authorization")


def check_url(path: Path, url: object) -> Faults:
    """HTTPS to a host that may be reached, without port, user info and fragment (RFC 3986, section 3)."""
    if not isinstance(url, str) or not url:
        return
    field = f"`{show(path)}`"
    if placeholder := PLACEHOLDER.search(url):
        hint = "copy the invoke URL from Okta Workflows; it has placeholders until the flow is saved"
        yield Fault("secret.placeholder", path, f"{field} still holds a placeholder: {placeholder[0]}", hint)
        return
    match = _URL.fullmatch(url)
    if match is None or not match[2] or not match[3]:
        yield Fault("url.scheme", path, f"{field} is not an absolute URL", "write https://HOST/PATH")
        return
    scheme, _, authority, *rest = match.groups()
    if scheme.lower() != "https":
        yield Fault("url.scheme", path, f"{field} must begin with https://: {scheme[:20]}", "only HTTPS is sent to")
    yield from _authority_faults(path, authority)
    if len(url) > URL_MAX:
        hint = "send long values in the body"
        yield Fault("url.length", path, f"{field} has {len(url):,} characters, more than {URL_MAX:,}", hint)
    if bad := _BAD_URL_CHARACTER.search(without_references("".join(part or "" for part in rest))):
        hint = "remove it" if bad[0] <= " " else "percent-encode it; a URL is no template"
        yield Fault("url.character", path, f"{field} holds a character that URLs cannot: {bad[0]!a}", hint)
    if match[6] is not None:
        yield Fault("url.fragment", path, f"{field} has a fragment, which is never sent", "remove what begins at `#`")
    yield from _check_url_parameters(path, match[5] or "")


@lru_cache(maxsize=1024)
def _authority_faults(path: Path, authority: str) -> tuple[Fault, ...]:
    """Many webhooks of a set have the same host."""
    return tuple(_check_authority(path, authority))


def _check_authority(path: Path, authority: str) -> Faults:
    field = f"`{show(path)}`"
    if secret_names(authority):
        hint = "the host decides whether a secret may be sent, so it must stand in the manifest"
        yield Fault("secret.misplaced", path, f"{field} has a secret before its path", hint)
        return
    _, at, host_port = authority.rpartition("@")
    if at:
        hint = "use `auth.basic` with ${secret:NAME}"
        yield Fault("url.user_info", path, f"{field} holds a user name or password", hint)
    host, colon, port = host_port, "", ""
    if not host_port.startswith("["):
        host, colon, port = host_port.partition(":")
    elif "]:" in host_port:
        host, _, port = host_port.rpartition(":")
        colon = ":"
    if colon:
        hint = "webhooks are sent to port 443; remove it"
        yield Fault(
            "url.port", path, f"{field} names a port: {port if port.isdigit() else 'what follows the colon'}", hint
        )
    if reason := judge_host(host):
        hint = "name a public host; a receiver inside is reached by the operator's --connect-to"
        yield Fault("url.host", path, reason.replace("the host", f"the host of {field}", 1), hint)
    elif reason := judge_homograph(host):
        hint = "look at the name in a browser; is it the one that is meant?"
        yield Fault("url.homograph", path, f"the host of {field} has {reason}", hint, Severity.WARNING)


def _check_url_parameters(path: Path, query: str) -> Faults:
    for part in query[1:].split("&"):
        name, equals, value = part.partition("=")
        if equals and not secret_names(value) and is_secret_name(unquote_plus(name)):
            parameter = unquote_plus(name)
            message = f"`{show(path)}` holds a secret in plain text: the parameter {ascii(parameter[:80])[1:-1]}"
            yield Fault("secret.literal", path, message, BIND_HINT)


def check_okta(spec: Mapping[str, Any]) -> Faults:
    """What Okta Workflows' API endpoints ask beyond that; nothing for other hosts."""
    url = spec.get("url")
    if not isinstance(url, str) or not is_okta_host(host_of(url)) or PLACEHOLDER.search(url):
        return
    method = spec.get("method", "POST")
    if method in ("PUT", "DELETE", "PATCH"):
        message = f"`method` must be GET or POST on an Okta Workflows host: {method}"
        yield Fault("okta.method", ("spec", "method"), message, "an API endpoint flow takes no other")
    match = _URL.fullmatch(url)
    if match is None:
        return
    path, query = match[4], match[5] or ""
    if not path.rstrip("/").endswith("/invoke"):
        hint = "append /invoke, as Okta's own invoke URLs do"
        yield Fault("okta.invoke", ("spec", "url"), "`url` does not end in /invoke", hint, Severity.WARNING)
    literal = any(True for _ in _check_url_parameters(("spec", "url"), query))
    if _HEX_TOKEN.search(path) or (not literal and _HEX_TOKEN.search(query)):
        message = "`url` holds a client token in plain text"
        yield Fault("secret.literal", ("spec", "url"), message, BIND_HINT)
    parameters = mapping_at(spec, "query")
    for name, value in parameters.items():
        if isinstance(value, str) and not is_secret_name(name) and _HEX_TOKEN.search(value):
            yield plain_secret(("spec", "query", name))
    names = {unquote_plus(part.partition("=")[0]).lower() for part in query[1:].split("&")}
    names |= {name.lower() for name in parameters}
    header = next((name for name in mapping_at(spec, "headers") if name.lower() == TOKEN_HEADER), None)
    if header is not None and TOKEN_PARAMETER in names:
        message = "the client token is sent twice: in the header x-api-client-token and in the query as clientToken"
        yield Fault("okta.token_twice", ("spec", "headers", header), message, "keep the header", on_key=True)


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether a header or parameter of this name carries a secret: `authorization`, `clientToken`, `dd-api-key`…"""
    kebab = _CAMEL.sub("-", name).lower().replace("_", "-")
    return kebab in _SECRET_NAMES or kebab.endswith(_SECRET_ENDINGS)


def mapping_at(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under a key; empty where there is none."""
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def without_references(text: str) -> str:
    """The text without its `${secret:…}`, `$${` being the `${` it stands for."""
    return SECRET_REFERENCE.sub(lambda match: "" if match[1] else "${", text)


def plain_secret(path: Path) -> Fault:
    """The fault of a secret that stands in the manifest itself; never says the value."""
    return Fault("secret.literal", path, f"`{show(path)}` holds a secret in plain text", BIND_HINT)
