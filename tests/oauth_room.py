"""OAuth for tests: keys, a sandbox with a token endpoint, webhooks known by it, and the way there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.delivery import AttemptResult
from reconciler.models.webhook import Webhook
from reconciler.request.render import Prepared, blank_secrets, render_request
from reconciler.sandbox.flow import Flow
from reconciler.sandbox.oauth import DEFAULT_ORG, DEFAULT_SCOPE, OAuthClient, parse_client
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.settings import EgressSettings, TransportKind

HOST = "acme.workflows.okta.com"
ALIAS = "0123456789abcdef0123456789abcdef"
URL = f"https://{HOST}/api/flo/{ALIAS}/invoke"
TOKEN_URL = f"https://{DEFAULT_ORG}/oauth2/v1/token"
CLIENT = "0oa1"
SECRET = "a client: secret of 100 % + more"
START = 1_800_000_000.0


@cache
def private_pem(kind: str = "RSA", which: int = 0) -> str:
    """A private key, made once a run: RSA, or the name of a curve; `which` tells keys of one kind apart."""
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(curves[kind])
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(private: str) -> str:
    """The public half of a private key."""
    key = serialization.load_pem_private_key(private.encode(), None)
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def oauth2(**given: Any) -> dict[str, Any]:
    """`auth.oauth2` by private key; None takes a field out."""
    fields = {
        "token_url": TOKEN_URL,
        "client_id": CLIENT,
        "scopes": [DEFAULT_SCOPE],
        "private_key": "${secret:okta_key}",
        "key_id": "k1",
        "algorithm": "RS256",
        **given,
    }
    return {name: value for name, value in fields.items() if value is not None}


def by_secret(**given: Any) -> dict[str, Any]:
    """`auth.oauth2` by client secret."""
    return oauth2(client_secret="${secret:client_secret}", private_key=None, key_id=None, algorithm=None, **given)


def webhook(name: str = "okta", *, auth: dict[str, Any] | None = None, **spec: Any) -> Webhook:
    """A webhook for the flow ALIAS."""
    given = {"url": URL, "triggers": ["RequestCreated"], "auth": auth or {"oauth2": oauth2()}, **spec}
    return Webhook.model_validate({"metadata": {"name": name}, "spec": given}, strict=False)


class Clock:
    """Seconds since the epoch, turned by hand."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at


@dataclass
class OAuthRoom:
    """A sandbox with a token endpoint and a deliverer that reaches it."""

    folder: Path
    sandbox: OktaSandbox
    clock: Clock
    deliverer: Deliverer
    secrets: dict[str, str]

    async def send(self, hook: Webhook | None = None, **more: Any) -> AttemptResult:
        """One event, as the worker sends it."""
        hook = hook or webhook()
        prepared, shown = self.prepared(hook)
        credentials = self.deliverer.credentials(hook, self.secrets)
        return await self.deliverer.send(prepared, shown, timeout_seconds=10, credentials=credentials, **more)

    def prepared(self, hook: Webhook) -> tuple[Prepared, Prepared]:
        """The request, and as people see it."""
        made = [
            render_request(hook, {}, b'{"a": 1}', secrets=secrets, delivery_id="dlv_1")
            for secrets in (self.secrets, blank_secrets(hook))
        ]
        return made[0], made[1]

    @property
    def token_requests(self) -> list[str]:
        """The forms that came to the token endpoint, without secrets."""
        return [item.body for item in self.sandbox.requests if item.path == "/oauth2/v1/token"]

    @property
    def invocations(self) -> list[int | None]:
        """What the flow answered, in order."""
        return [item.status for item in self.sandbox.requests if item.path != "/oauth2/v1/token"]


def clients(folder: Path, *, needs_dpop: bool = False, key: str | None = None) -> tuple[OAuthClient, ...]:
    """One client by key, one by secret."""
    file = folder / "public.pem"
    file.write_text(key or public_pem(private_pem()))
    by_key = parse_client(f"{CLIENT}={file}", needs_dpop=[CLIENT] if needs_dpop else [], scopes=(DEFAULT_SCOPE,))
    return by_key, OAuthClient("with-secret", secret=SECRET)


@asynccontextmanager
async def oauth_room(
    folder: Path,
    *,
    transport: TransportKind = TransportKind.FAST,
    is_reachable: bool = True,
    **settings: Any,
) -> AsyncIterator[OAuthRoom]:
    """The room; `settings` are those of the sandbox. Unreachable: nobody listens where the org's name leads."""
    clock = Clock()
    given = SandboxSettings(
        hosts=(HOST, DEFAULT_ORG),
        rate=None,
        **{"flows": (Flow(ALIAS, is_oauth=True),), "oauth_clients": clients(folder), **settings},
    )
    async with OktaSandbox(given, epoch=clock) as sandbox:
        ca_file = folder / "ca.pem"
        ca_file.write_bytes(sandbox.ca_pem)
        ways = sandbox.connect_to if is_reachable else sandbox.connect_to[:1]
        egress = EgressSettings(ca_file=ca_file, connect_to=ways, transport=transport)
        masker = SecretResolver.load(None).masker
        resolve = None if is_reachable else nowhere
        secrets = {"okta_key": private_pem(), "client_secret": SECRET}
        async with Deliverer(egress, masker=masker, now=clock, resolve=resolve) as deliverer:
            yield OAuthRoom(folder, sandbox, clock, deliverer, secrets)


async def nowhere(host: str, port: int) -> list[str]:
    """A resolver that knows no name."""
    raise OSError(f"no such name: {host}")


def jwk_text(private: str, kind: type[Any], **more: str) -> str:
    """A private key as a JWK."""
    return json.dumps({**kind.import_key(private).as_dict(private=True), **more})
