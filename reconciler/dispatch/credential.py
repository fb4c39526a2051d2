"""What a webhook's requests are known by, step by step: secrets, key, assertion, token endpoint, access token.

For `reconciler auth test`. Goes the way that deliveries go, through the same code, as far as the first step that fails;
sends nothing to the receiver and shows nothing that opens a door.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.dispatch.ready import secrets_of
from reconciler.egress.assertion import ASSERTION_SECONDS, AssertionKey, assertion_header, load_key
from reconciler.egress.auth import Answered, OAuthClient, Trouble
from reconciler.egress.certificate import Certificate, certificates_of
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.egress.token import Cause, Token
from reconciler.errors import SecretError
from reconciler.models.credential import OAuth2
from reconciler.models.delivery import iso_time
from reconciler.models.webhook import Webhook, fill_secrets

KINDS: Final = ("oauth2", "bearer", "basic", "mtls")


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `facts` are (name, value) for people and hold no secret, `problem` says why it is the last one."""

    name: str
    facts: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    checks: tuple[str, ...] = ()
    note: str | None = None  # what is likely to be wrong, though the step was taken

    def to_json(self) -> dict[str, Any]:
        """The shape of `auth test --format json`."""
        return {
            "step": self.name,
            "ok": self.problem is None,
            "facts": dict(self.facts),
            "problem": self.problem,
            "note": self.note,
            "check": list(self.checks),
        }


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """How far it came."""

    webhook: str
    kind: str | None
    steps: tuple[Step, ...]

    @property
    def is_successful(self) -> bool:
        """Whether a delivery would be sent with what it must be known by."""
        return all(step.problem is None for step in self.steps)


async def check_credentials(
    webhook: Webhook, *, deliverer: Deliverer, resolver: SecretResolver, now: int
) -> CredentialReport:
    """Take the steps; `now` in milliseconds since the epoch. Never raises for what a person can mend."""
    auth = webhook.spec.auth
    kind = next((kind for kind in KINDS if auth is not None and getattr(auth, kind) is not None), None)
    steps: list[Step] = []
    async for step in _steps(webhook, deliverer, resolver, now):
        steps.append(step)
        if step.problem is not None:
            break
    return CredentialReport(webhook.name, kind, tuple(steps))


async def _steps(webhook: Webhook, deliverer: Deliverer, resolver: SecretResolver, now: int) -> Any:
    bound = tuple((name, f"bound to {host}") for name, host in webhook.secret_hosts())
    try:
        secrets = secrets_of(webhook, resolver, now=now)
    except SecretError as exc:
        yield _failed("secrets", exc)
        return
    yield Step("secrets", bound)
    try:
        credentials = await asyncio.to_thread(deliverer.credentials, webhook, secrets)
    except SecretError as exc:
        yield _failed("key", exc)
        return
    for step in _own_steps(webhook, secrets, now):
        yield step
    if credentials.client is not None:
        async for step in _token_steps(credentials.client, deliverer):
            yield replace(step, facts=tuple((name, resolver.masker.mask(value)) for name, value in step.facts))


def _failed(name: str, exc: SecretError) -> Step:
    return Step(name, problem=exc.message, checks=(exc.hint,) if exc.hint else ())


def _own_steps(webhook: Webhook, secrets: Mapping[str, str], now: int) -> Iterator[Step]:
    """The steps that need nobody else."""
    auth, tls = webhook.spec.auth, webhook.spec.tls
    if tls is not None:
        authorities = certificates_of(fill_secrets(tls.ca, secrets))
        yield Step("authorities", tuple((item.subject, _until(item)) for item in authorities))
    if auth is None:
        return
    if auth.bearer is not None or auth.basic is not None:
        name = "Bearer" if auth.bearer is not None else "Basic"
        yield Step("header", (("authorization", f"{name} ***"),))
    if auth.mtls is not None:
        yield _certificate_step(certificates_of(fill_secrets(auth.mtls.certificate, secrets)), now)


def _certificate_step(chain: tuple[Certificate, ...], now: int) -> Step:
    own = chain[0]
    facts = (("subject", own.subject), ("issuer", own.issuer), ("valid", _until(own)), ("chain", str(len(chain))))
    at = datetime.fromtimestamp(now / 1000, UTC)
    if own.ends_at <= at:
        return Step("certificate", facts, "the certificate has expired", ("get a new one, and bind it",))
    if own.begins_at > at:
        return Step("certificate", facts, "the certificate does not hold yet", ("is the clock right?",))
    return Step("certificate", facts)


def _until(certificate: Certificate) -> str:
    return f"from {certificate.begins_at:%Y-%m-%d} until {certificate.ends_at:%Y-%m-%d}"


async def _token_steps(client: OAuthClient, deliverer: Deliverer) -> Any:
    oauth2 = client.oauth2
    if oauth2.private_key is not None:
        key = load_key(client.credential, oauth2.algorithm or "")
        yield _key_step(key, oauth2)
        yield _assertion_step(client, deliverer)
    else:
        where = "body (client_secret_post)" if oauth2.client_secret_in == "body" else "header (client_secret_basic)"
        yield Step("client secret", (("client_id", oauth2.client_id), ("sent in the", where)))
    found = await deliverer.tokens.token(client)
    if isinstance(found, Trouble):
        is_asked = found.cause is not Cause.KEY
        facts = _answer_facts(client, deliverer.tokens.last_answer(client)) if is_asked else ()
        yield Step("token endpoint", facts, found.detail, found.checks)
        return
    yield Step("token endpoint", _answer_facts(client, deliverer.tokens.last_answer(client)))
    yield _access_step(found, oauth2)


def _key_step(key: AssertionKey, oauth2: OAuth2) -> Step:
    facts = (("kind", key.fact), ("thumbprint", key.thumbprint), ("key_id", oauth2.key_id or ""))
    note = None
    if key.own_id is not None and key.own_id != oauth2.key_id:
        note = f"the key calls itself {key.own_id}, `key_id` says {oauth2.key_id}"
    return Step("key", facts, note=note)


def _assertion_step(client: OAuthClient, deliverer: Deliverer) -> Step:
    """What is signed, for the reader to compare; the assertion itself, which would open the door, is not shown."""
    claims = deliverer.tokens.claims(client)
    shown = {**claims, "iat": iso_time(claims["iat"] * 1000), "exp": f"{ASSERTION_SECONDS} s later"}
    header = assertion_header(client.oauth2)
    facts = [(name, str(value)) for name, value in (*header.items(), *shown.items()) if name != "jti"]
    return Step("assertion", (*facts, ("jti", "another one each time")))


def _answer_facts(client: OAuthClient, answered: Answered | None) -> tuple[tuple[str, str], ...]:
    if answered is None:
        return ()
    status = "no answer" if answered.status is None else f"{answered.status} {answered.reason_phrase}".rstrip()
    facts = (
        ("request", f"POST {client.oauth2.token_url}"),
        ("answer", status),
        ("time", f"{answered.timings.total_ms:.1f} ms"),
        ("address", answered.address or ""),
        ("TLS", answered.tls or ""),
        ("connect to", answered.connect_to or ""),
    )
    return tuple((name, value) for name, value in facts if value)


def _access_step(token: Token, oauth2: OAuth2) -> Step:
    granted = " ".join(token.scopes) if token.scopes is not None else "not told"
    facts = (("type", "Bearer"), ("scopes", granted), ("expires", f"in {token.life_seconds:g} s"))
    missing = [scope for scope in oauth2.scopes if token.scopes is not None and scope not in token.scopes]
    note = f"asked for and not granted: {' '.join(missing)}" if missing else None
    return Step("access token", facts, note=note)
