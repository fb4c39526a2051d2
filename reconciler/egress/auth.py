"""Access tokens: asked for once for all webhooks of a client, renewed before they expire, kept in memory alone.

Owned by `egress.deliver`, which asks before it sends. One task fetches, however many wait. Where there is no token the
client is in trouble for a while: then nobody asks, and the lanes are told why nothing is sent.
"""

import asyncio
import hashlib
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol
from urllib.parse import quote_plus, urlencode

from reconciler.egress.assertion import (
    KeyUnusableError,
    assertion_claims,
    assertion_header,
    load_key,
    private_parts,
)
from reconciler.egress.mask import Masker
from reconciler.egress.received import one_line
from reconciler.egress.token import CHECKS, LASTING, REMEDIES, Cause, Refusal, Token, read_answer
from reconciler.errors import SecretError
from reconciler.models.credential import OAuth2
from reconciler.models.delivery import Timings
from reconciler.models.webhook import fill_secrets, host_of, secret_names
from reconciler.request.authorize import basic
from reconciler.request.render import Prepared, fill_url

FETCH_SECONDS: Final = 10.0  # for the endpoint's whole answer: an attempt and two of these fit into a lease
AWAY_SECONDS: Final = (5.0, 300.0)  # how long nobody asks after the first failure, doubling, and at most
LASTING_SECONDS: Final = (30.0, 600.0)  # the same where somebody must change something first
THROTTLED_SECONDS: Final = 5.0  # after a 429 that names no time
CLIENTS_MAX: Final = 4096
OLD_TOKENS_KEPT: Final = 16  # of a client, hidden in what people see though they have expired
SIGNATURES_HIDDEN: Final = 64  # of the assertions made last
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client with the value of its secret or key; equal for all webhooks that can share a token."""

    oauth2: OAuth2
    token_url: str
    credential: str = field(repr=False)

    @property
    def key(self) -> str:
        """What tokens are shared by, as a digest."""
        oauth2 = self.oauth2
        how = (oauth2.key_id, oauth2.algorithm, oauth2.client_secret_in, oauth2.private_key is None)
        parts = (self.token_url, oauth2.client_id, " ".join(sorted(oauth2.scopes)), repr(how), self.credential)
        return hashlib.sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request for a token; `body` is as it came, for nobody to see."""

    status: int | None
    reason_phrase: str
    body: bytes
    detail: str  # masked, where no answer came
    retry_after_seconds: float | None
    address: str | None
    tls: str | None
    connect_to: str | None
    timings: Timings


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no token: `detail` on one line, masked; nobody asks again before `retry_at`, in seconds since the
    epoch. `is_first`: told to the one whose request it was."""

    cause: Cause
    detail: str
    retry_at: float
    is_first: bool = False

    @property
    def checks(self) -> tuple[str, ...]:
        """What a person should look at."""
        return CHECKS[self.cause]

    @property
    def is_lasting(self) -> bool:
        """Whether time alone does not mend it."""
        return self.cause in LASTING


class Asker(Protocol):
    """Who sends the request for a token."""

    async def __call__(self, prepared: Prepared, *, timeout_seconds: float) -> Answered:
        """Send it once; never raises for what the network or the endpoint does."""


@dataclass(slots=True)
class _Client:
    token: Token | None = None
    trouble: Trouble | None = None
    failures: int = 0
    fetching: "asyncio.Task[Token | Trouble] | None" = None
    old: "deque[Token]" = field(default_factory=deque)
    last: Answered | None = None


class Tokens:
    """The tokens of every client. `now` gives seconds since the epoch."""

    def __init__(self, ask: Asker, *, masker: Masker, now: Callable[[], float]) -> None:
        self._ask = ask
        self._masker = masker
        self._now = now
        self._clients: dict[str, _Client] = {}
        self._signatures: deque[str] = deque()  # of assertions, hidden while they may still be of use

    async def aclose(self) -> None:
        """Give up what is being asked."""
        fetching = [client.fetching for client in self._clients.values() if client.fetching is not None]
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)

    async def token(self, client: OAuthClient, *, refused: Token | None = None) -> Token | Trouble:
        """A token that may be sent now, other than the one that a receiver has `refused`.

        One that nears its end is renewed meanwhile and still given; who asks while there is none waits for the one
        request that is under way.
        """
        state = self._state(client)
        if refused is not None and state.token is not None and state.token.value == refused.value:
            state.old.append(state.token)
            state.token = None
        now = self._now()
        is_first = self._begin(client, state, now)
        if state.token is not None and now < state.token.ends_at:
            return state.token
        # what the fetch came to, not what the state is by then: it may have moved on before we are woken
        found = state.trouble if state.fetching is None else await asyncio.shield(state.fetching)
        assert found is not None, "without a fetch there is a token that serves, or trouble"
        return found if isinstance(found, Token) else replace(found, is_first=is_first)

    def trouble(self, client: OAuthClient) -> Trouble | None:
        """Why nothing can be sent for the client for a while; None where it may be tried."""
        state = self._clients.get(client.key)
        if state is None or state.trouble is None or self._now() >= state.trouble.retry_at:
            return None
        is_served = state.token is not None and self._now() < state.token.ends_at
        return None if is_served else state.trouble

    def next_turn(self) -> float | None:
        """When the first trouble is over, in seconds since the epoch; None where there is none."""
        now = self._now()
        ends = [client.trouble.retry_at for client in self._clients.values() if client.trouble is not None]
        return min((at for at in ends if at > now), default=None)

    def last_answer(self, client: OAuthClient) -> Answered | None:
        """What the endpoint last answered, for `auth test`."""
        state = self._clients.get(client.key)
        return None if state is None else state.last

    def _state(self, client: OAuthClient) -> _Client:
        state = self._clients.get(client.key)
        if state is None:
            self._forget_idle()
            state = self._clients[client.key] = _Client()
        return state

    def _forget_idle(self) -> None:
        if len(self._clients) < CLIENTS_MAX:
            return
        now = self._now()
        for key, state in list(self._clients.items()):
            is_of_use = state.token is not None and now < state.token.ends_at
            is_held = state.trouble is not None and now < state.trouble.retry_at  # forgotten, it would be asked at once
            if state.fetching is None and not is_of_use and not is_held:
                del self._clients[key]

    def _begin(self, client: OAuthClient, state: _Client, now: float) -> bool:
        """Ask for a token if it is time to and nobody does; whether this call did."""
        is_fresh = state.token is not None and now < state.token.refresh_at
        is_held = state.trouble is not None and now < state.trouble.retry_at
        if is_fresh or is_held or state.fetching is not None:
            return False
        state.fetching = asyncio.create_task(self._fetch(client, state))
        return True

    async def _fetch(self, client: OAuthClient, state: _Client) -> Token | Trouble:
        try:
            found, state.last = await self._obtain(client)
        finally:
            state.fetching = None
        if isinstance(found, Token):
            self._keep(state, found)
            return found
        state.failures += 1
        asked = state.last.retry_after_seconds if state.last is not None else None
        retry_at = self._now() + _wait_seconds(found.cause, state.failures, asked)
        host = host_of(client.token_url)
        remedy = f" ({REMEDIES[found.cause]})" if found.cause in REMEDIES else ""
        detail = one_line(self._masker.mask(f"no access token: {host} {found.fact}")) + remedy
        if found.cause is Cause.KEY:
            detail = f"no access token: {found.fact}"
        state.trouble = Trouble(found.cause, detail, retry_at)
        return state.trouble

    def _keep(self, state: _Client, token: Token) -> None:
        self._masker.add(token.value)
        if state.token is not None:
            state.old.append(state.token)
        while len(state.old) > OLD_TOKENS_KEPT and state.old[0].ends_at < self._now():
            self._masker.remove(state.old.popleft().value)
        state.token, state.trouble, state.failures = token, None, 0

    async def _obtain(self, client: OAuthClient) -> tuple[Token | Refusal, Answered | None]:
        try:
            prepared = await asyncio.to_thread(self.request, client)  # a key is read and signs: some milliseconds
        except KeyUnusableError as exc:
            return Refusal(Cause.KEY, str(exc)), None
        answered = await self._ask(prepared, timeout_seconds=FETCH_SECONDS)
        if answered.status is None:
            return Refusal(Cause.AWAY, f"gave no answer: {answered.detail}"), answered
        found = read_answer(answered.status, answered.reason_phrase, answered.body, client.oauth2, now=self._now())
        return found, answered

    def request(self, client: OAuthClient) -> Prepared:
        """The request for a token (RFC 6749, section 4.4.2). Raises KeyUnusableError."""
        oauth2 = client.oauth2
        form = {"grant_type": "client_credentials"}
        if oauth2.scopes:
            form["scope"] = " ".join(oauth2.scopes)
        headers = [("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")]
        if oauth2.private_key is not None:
            for part in private_parts(client.credential):
                self._masker.add(part)
            key = load_key(client.credential, oauth2.algorithm or "")
            claims = self.claims(client)
            form["client_assertion_type"] = ASSERTION_TYPE
            form["client_assertion"] = key.sign(assertion_header(oauth2), claims)
            self._hide_signature(form["client_assertion"].rpartition(".")[2])
        elif oauth2.client_secret_in == "body":
            form |= {"client_id": oauth2.client_id, "client_secret": client.credential}
        else:  # both parts form-encoded before they are joined (RFC 6749, section 2.3.1)
            credential = basic(quote_plus(oauth2.client_id), quote_plus(client.credential))
            self._masker.add(credential)
            headers.append(("authorization", f"Basic {credential}"))
        return Prepared("POST", client.token_url, tuple(headers), urlencode(form).encode("ascii"))

    def claims(self, client: OAuthClient) -> dict[str, Any]:
        """What an assertion made now claims."""
        audience, unique = client.token_url, str(uuid.uuid4())
        return assertion_claims(client.oauth2, audience=audience, now=int(self._now()), unique=unique)

    def _hide_signature(self, signature: str) -> None:
        self._masker.add(signature)
        self._signatures.append(signature)
        while len(self._signatures) > SIGNATURES_HIDDEN:
            self._masker.remove(self._signatures.popleft())


def client_of(oauth2: OAuth2, secrets: Mapping[str, str]) -> OAuthClient:
    """The client with the values of its secrets. Raises SecretError for a key that cannot sign."""
    reference = oauth2.private_key if oauth2.private_key is not None else oauth2.client_secret or ""
    credential = fill_secrets(reference, secrets)
    if oauth2.private_key is not None:
        try:
            load_key(credential, oauth2.algorithm or "")
        except KeyUnusableError as exc:
            name = min(secret_names(reference), default="")
            hint = f"`reconciler auth test NAME` shows how it is read; {CHECKS[Cause.KEY][0].partition(';')[0]}"
            message = f"secret `{name}` cannot sign for {oauth2.algorithm}: {exc}"
            raise SecretError(message, name=name, hint=hint) from None
    return OAuthClient(oauth2, fill_url(oauth2.token_url, {}, secrets), credential)


def _wait_seconds(cause: Cause, failures: int, asked: float | None) -> float:
    """How long nobody asks after so many failures in a row; `asked` is what the endpoint wants."""
    first, longest = LASTING_SECONDS if cause in LASTING else AWAY_SECONDS
    if cause is Cause.THROTTLED:
        return asked if asked is not None else THROTTLED_SECONDS
    doubled: float = min(first * 2 ** min(failures - 1, 20), longest)
    return max(doubled, asked or 0.0)
