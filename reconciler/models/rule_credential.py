"""What a manifest may say of how a receiver knows us and we know it: `auth` and `tls`. Pure, one document at a time.

Called by `models.rule`. What the secrets hold is judged where they are read, by `egress`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from reconciler.errors import Severity
from reconciler.models.fault import Fault, Faults, Path, show
from reconciler.models.url import check_url, mapping_at, plain_secret
from reconciler.models.webhook import SECRET_REFERENCE, host_of, is_okta_host, secret_names

OKTA_SCOPE: Final = "okta.workflows.invoke.manage"
OKTA_TOKEN_PATH: Final = "/oauth2/v1/token"

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 3.3


def check_auth(spec: Mapping[str, Any]) -> Faults:
    auth = spec.get("auth")
    if not isinstance(auth, Mapping):
        return
    kinds = [kind for kind in ("oauth2", "bearer", "basic", "mtls") if auth.get(kind) is not None]
    if len(kinds) != 1:
        message = f"`auth` must have exactly one kind: {', '.join(kinds) or 'none'}"
        yield Fault("auth.kind", ("spec", "auth"), message, "choose one of oauth2, bearer, basic, mtls", on_key=True)
    yield from _check_bearer(mapping_at(auth, "bearer").get("token"))
    for kind, field in (("bearer", "token"), ("basic", "password"), ("mtls", "private_key")):
        yield from _check_credential(("spec", "auth", kind, field), mapping_at(auth, kind).get(field))
    username = mapping_at(auth, "basic").get("username")
    if isinstance(username, str) and ":" in SECRET_REFERENCE.sub("", username):
        message = "`auth.basic.username` holds a colon, which ends it (RFC 7617, section 2)"
        yield Fault("auth.basic", ("spec", "auth", "basic", "username"), message)
    if isinstance(auth.get("oauth2"), Mapping):
        yield from _check_oauth2(auth["oauth2"])
        yield from _check_okta(spec, auth["oauth2"])
    header = next((name for name in mapping_at(spec, "headers") if name.lower() == "authorization"), None)
    if header is not None and any(kind != "mtls" for kind in kinds):
        message = f"`{show(('spec', 'headers', header))}` is set by `auth` too"
        yield Fault("auth.header", ("spec", "headers", header), message, "keep one of them", on_key=True)


def _check_bearer(token: object) -> Faults:
    path = ("spec", "auth", "bearer", "token")
    if isinstance(token, str) and token[:7].lower() == "bearer ":
        yield Fault("auth.bearer", path, f"`{show(path)}` begins with Bearer, which is put before it", "remove it")


def _check_oauth2(oauth2: Mapping[str, Any]) -> Faults:
    path = ("spec", "auth", "oauth2")
    yield from check_url((*path, "token_url"), oauth2.get("token_url"))
    has_secret, has_key = (oauth2.get(field) is not None for field in ("client_secret", "private_key"))
    if has_secret == has_key:
        fact = "both a client_secret and a private_key" if has_key else "neither a client_secret nor a private_key"
        yield Fault("auth.oauth2", path, f"`auth.oauth2` has {fact}", "give one of them", on_key=True)
    for field in ("key_id", "algorithm"):
        has_field = oauth2.get(field) is not None
        if has_key and not has_field:
            message = f"`auth.oauth2.{field}` is missing; `private_key` needs it"
            yield Fault("auth.oauth2", path, message, on_key=True)
        elif has_field and has_secret and not has_key:
            message = f"`auth.oauth2.{field}` belongs to a private_key, not to a client_secret"
            yield Fault("auth.oauth2", (*path, field), message, "remove it", on_key=True)
    if oauth2.get("client_secret_in") is not None and has_key and not has_secret:
        message = "`auth.oauth2.client_secret_in` belongs to a client_secret, not to a private_key"
        yield Fault("auth.oauth2", (*path, "client_secret_in"), message, "remove it", on_key=True)
    scopes = oauth2.get("scopes")
    for index, scope in enumerate(scopes if isinstance(scopes, list | tuple) else ()):
        if isinstance(scope, str) and scope and not _SCOPE.fullmatch(scope):
            message = f"`{show((*path, 'scopes', index))}` is not one scope: {ascii(scope[:80])[1:-1]}"
            yield Fault("auth.scope", (*path, "scopes", index), message, "write each scope as an item of its own")
    for field in ("client_secret", "private_key"):
        yield from _check_credential((*path, field), oauth2.get(field))


def _check_okta(spec: Mapping[str, Any], oauth2: Mapping[str, Any]) -> Faults:
    """Warnings on what Okta's help says against tokens for flows: they come from the org's own authorization server, to
    a private key, for one scope."""
    url, token_url = spec.get("url"), oauth2.get("token_url")
    if not isinstance(url, str) or not is_okta_host(host_of(url)):
        return
    path = ("spec", "auth", "oauth2")
    if oauth2.get("client_secret") is not None:
        message, hint = "Okta gives no token for its own scopes to a client secret", "use a private key"
        yield Fault("okta.oauth", (*path, "client_secret"), message, hint, Severity.WARNING, on_key=True)
    scopes = oauth2.get("scopes")
    if OKTA_SCOPE not in (scopes if isinstance(scopes, list | tuple) else ()):
        message = f"`auth.oauth2` does not ask for the scope that flows want: {OKTA_SCOPE}"
        yield Fault("okta.oauth", path, message, "add it to `scopes`", Severity.WARNING, on_key=True)
    if isinstance(token_url, str) and host_of(token_url) and urlsplit(token_url).path != OKTA_TOKEN_PATH:
        message = "`auth.oauth2.token_url` is not that of Okta's org authorization server"
        hint = f"write https://ORG.okta.com{OKTA_TOKEN_PATH}; tokens of others do not open flows"
        yield Fault("okta.oauth", (*path, "token_url"), message, hint, Severity.WARNING)


def _check_credential(path: Path, value: object) -> Faults:
    if isinstance(value, str) and value and not secret_names(value):
        yield plain_secret(path)


def check_tls(spec: Mapping[str, Any]) -> Faults:
    """An authority is named, never given: what a pull request trusts is the operator's to say."""
    path = ("spec", "tls", "ca")
    ca = mapping_at(spec, "tls").get("ca")
    if isinstance(ca, str) and ca and not ((match := SECRET_REFERENCE.fullmatch(ca)) and match[1]):
        hint = "bind a name to the PEM file of the authority in the binding file, and write ${secret:NAME}"
        yield Fault("tls.ca", path, f"`{show(path)}` is not one ${{secret:NAME}}", hint)
