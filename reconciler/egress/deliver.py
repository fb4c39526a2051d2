"""One HTTP try: a prepared request in, an `AttemptResult` out, whatever the receiver or the network does.

Called by the worker for deliveries and by the probe for `test`. It classifies by exception type and phase, never by
text; what an attempt means for its delivery is decided in `dispatch.retry`.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Final, Self

import httpx

from reconciler import VERSION
from reconciler.egress.auth import Answered, OAuthClient, Tokens, Trouble, client_of
from reconciler.egress.client import DeliveryClient
from reconciler.egress.dial import RefusedAddressError, ResolveError, TlsError
from reconciler.egress.exchange import Exchange, Phase
from reconciler.egress.identity import Identities, Identity
from reconciler.egress.mask import MASK, Masker
from reconciler.egress.received import Received, one_line
from reconciler.egress.resolve import Resolve
from reconciler.egress.retry_after import retry_after_seconds
from reconciler.egress.transport import make_transport
from reconciler.models.delivery import AttemptResult, Fault, SentRequest, Timings
from reconciler.models.webhook import ResponseValidator, Webhook
from reconciler.request.answer import ANSWER_MAX_BYTES
from reconciler.request.authorize import HEADER, authorization, with_access_token
from reconciler.request.render import Prepared
from reconciler.settings import EgressSettings

_ADDED_HEADERS: Final = (
    ("accept", "*/*"),
    ("accept-encoding", "identity"),  # nothing is decompressed here, so nothing can blow up
    ("user-agent", f"reconciler/{VERSION}"),
)
_FAULTS: Final[tuple[tuple[type[Exception], Fault], ...]] = (  # the first that matches, so subclasses come first
    (RefusedAddressError, Fault.REFUSED_ADDRESS),
    (ResolveError, Fault.DNS),
    (TlsError, Fault.TLS),
    (httpx.ConnectTimeout, Fault.CONNECT_TIMEOUT),
    (httpx.ConnectError, Fault.CONNECT),
    (httpx.TimeoutException, Fault.TIMEOUT),
    (httpx.NetworkError, Fault.RESET),
    (httpx.LocalProtocolError, Fault.RENDER),  # a header or a target that HTTP cannot carry
    (httpx.UnsupportedProtocol, Fault.RENDER),
    (httpx.TransportError, Fault.PROTOCOL),
)
ANOTHER_TRY_SECONDS: Final = 1.0  # at least, for the request with a new access token; else what is left of the timeout
_TIMEOUTS: Final = {
    Phase.RESOLVE: (Fault.DNS, "the name server did not answer"),
    Phase.CONNECT: (Fault.CONNECT_TIMEOUT, "no connection"),
    Phase.HANDSHAKE: (Fault.CONNECT_TIMEOUT, "no TLS handshake"),
    Phase.EXCHANGE: (Fault.TIMEOUT, "no complete answer"),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a webhook's requests are known by, beside what stands in them; empty for most."""

    client: OAuthClient | None = None
    identity: Identity | None = None


ANONYMOUS: Final = Credentials()


class Deliverer:
    """The door out. An async context manager; `send` may be called by many tasks at once.

    `now` is the wall clock in seconds since the epoch, for answers that name a date. `transport` replaces the network,
    and with it the deadlines, which are the transport's to keep.
    """

    def __init__(
        self,
        settings: EgressSettings,
        *,
        masker: Masker,
        resolve: Resolve | None = None,
        now: Callable[[], float] = time.time,  # noqa: TID251  the default of an injected clock
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._masker = masker
        self._now = now
        self._client = DeliveryClient(transport or make_transport(settings, resolve=resolve))
        self._identities = Identities(settings.ca_file)
        self.tokens = Tokens(self._ask, masker=masker, now=now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tokens.aclose()
        await self._client.aclose()

    def credentials(self, webhook: Webhook, secrets: Mapping[str, str]) -> Credentials:
        """What the webhook's requests are sent with. Raises SecretError for a key, certificate or name of no use."""
        spec = webhook.spec
        if spec.auth is None and spec.tls is None:
            return ANONYMOUS
        authorization(spec.auth, secrets, mask=MASK)  # so that whoever asks beforehand learns what sending would
        oauth2 = spec.auth.oauth2 if spec.auth is not None else None
        client = client_of(oauth2, secrets) if oauth2 is not None else None
        return Credentials(client, self._identities.of(webhook, secrets))

    async def send(
        self,
        prepared: Prepared,
        shown: Prepared,
        *,
        timeout_seconds: float,
        validators: Sequence[ResponseValidator] = (),
        credentials: Credentials = ANONYMOUS,
        before_write: Callable[[], Awaitable[None]] | None = None,
    ) -> AttemptResult:
        """Send `prepared` once and tell what came of it, with `shown` as its request; `outcome` stays None.

        Where it wants an access token, one is had first; a receiver that answers 401 to it is sent the request once
        more, with a new one. `validators` judge the body of a 2xx, of which up to ANSWER_MAX_BYTES are then read.
        `before_write` is awaited when the connection stands and nothing has been written; the time it takes counts
        neither toward the timeout nor in the timings. What it raises, and cancellation, pass through and close the
        connection.
        """
        client, identity = credentials.client, credentials.identity
        send = partial(self._send, shown=shown, identity=identity, validators=validators, before_write=before_write)
        if client is None:
            if credentials is not ANONYMOUS:
                self._hide_credential(prepared)
            return await send(prepared, timeout_seconds=timeout_seconds)
        token = await self.tokens.token(client)
        if isinstance(token, Trouble):
            return self._without_token(token, shown, is_attempt=token.is_first)
        result = await send(with_access_token(prepared, token.value), timeout_seconds=timeout_seconds)
        if result.status != 401:
            return result
        left = max(timeout_seconds - result.timings.total_ms / 1000, ANOTHER_TRY_SECONDS)
        renewed = await self.tokens.token(client, refused=token)
        if isinstance(renewed, Trouble):
            return self._without_token(renewed, shown, is_attempt=True)
        result = await send(with_access_token(prepared, renewed.value), timeout_seconds=left)
        fact = "also to a new access token" if result.status == 401 else "with a new access token, after a 401"
        return replace(result, detail=one_line(f"{result.detail}, {fact}" if result.detail else f"sent {fact}"))

    async def _send(
        self,
        prepared: Prepared,
        *,
        shown: Prepared,
        timeout_seconds: float,
        identity: Identity | None,
        validators: Sequence[ResponseValidator],
        before_write: Callable[[], Awaitable[None]] | None,
    ) -> AttemptResult:
        exchange = Exchange(before_write, identity)
        exchange.ends_at = exchange.started_at + timeout_seconds
        response = Received(self._masker, judged_max=ANSWER_MAX_BYTES if validators else 0)
        fault, detail = await self._try(prepared, exchange, response, timeout_seconds)
        if response.status is not None and not 200 <= response.status < 300:
            fault, detail = Fault.STATUS, f"the receiver answered {response.status} {response.reason_phrase}".rstrip()
        elif validators and fault is None and (miss := response.miss_of(validators)):
            fault, detail = Fault.VALIDATOR, miss
        return AttemptResult(
            fault=fault,
            detail=self._one_line(detail),
            status=response.status,
            retry_after_seconds=retry_after_seconds(response.status, response.telling, now=self._now()),
            wrote=exchange.wrote,
            control=response.control(),
            sent_bytes=len(prepared.body or b"") if exchange.wrote else 0,
            request=self.shown(shown),
            response=response.to_received(),
            timings=_timings(exchange),
            address=exchange.address,
            tls=exchange.tls,
            connect_to=exchange.connect_to,
            proxy=exchange.proxy,
        )

    async def _ask(self, prepared: Prepared, *, timeout_seconds: float) -> Answered:
        """Send a request for an access token, as `send` does any other; its answer as it came."""
        exchange = Exchange()
        exchange.ends_at = exchange.started_at + timeout_seconds
        response = Received(self._masker, judged_max=ANSWER_MAX_BYTES)
        fault, detail = await self._try(prepared, exchange, response, timeout_seconds)
        is_whole = fault is None
        return Answered(
            status=response.status if is_whole else None,
            reason_phrase=response.reason_phrase,
            body=response.raw if is_whole else b"",
            detail=self._one_line(detail),
            retry_after_seconds=retry_after_seconds(response.status, response.telling, now=self._now()),
            address=exchange.address,
            tls=exchange.tls,
            connect_to=exchange.connect_to,
            timings=_timings(exchange),
        )

    def _one_line(self, detail: str) -> str:
        """A detail as people are shown it. What it quotes at its end may have been cut in the midst of a secret."""
        quote = "`" if detail.endswith("`") else ""
        return one_line(self._masker.mask(detail.removesuffix("`"), is_cut=True) + quote)

    def _without_token(self, trouble: Trouble, shown: Prepared, *, is_attempt: bool) -> AttemptResult:
        return AttemptResult(
            fault=Fault.TOKEN,
            detail=trouble.detail,
            retry_after_seconds=max(0.0, trouble.retry_at - self._now()),
            request=self.shown(shown),
            is_attempt=is_attempt,
            checks=trouble.checks,
        )

    def _hide_credential(self, prepared: Prepared) -> None:
        """Have a basic credential, which the secrets in it do not show, masked in what comes back."""
        for name, value in prepared.headers:
            if name == HEADER and value.startswith("Basic "):
                self._masker.add(value.removeprefix("Basic "))

    def shown(self, prepared: Prepared) -> SentRequest:
        """A request as people are shown it, with the headers that every request of ours has; masked."""
        headers = complete_headers(prepared.headers)
        body = (prepared.body or b"").decode("utf-8", "replace")
        # one look at all of it, since nearly always there is nothing to hide
        whole = "\n".join([prepared.url, *[f"{name}\n{value}" for name, value in headers], body])
        if _is_utf8(whole) and self._masker.is_clean(whole):
            return SentRequest(prepared.method, prepared.url, headers, body)
        hide = self._masker.mask_header
        return SentRequest(
            method=prepared.method,
            url=self._masker.mask(prepared.url.encode("utf-8", "replace").decode("utf-8")),
            headers=tuple([hide(header) for header in headers]),
            body=self._masker.mask(body),
        )

    async def _try(
        self,
        prepared: Prepared,
        exchange: Exchange,
        response: Received,
        timeout_seconds: float,
    ) -> tuple[Fault | None, str]:
        """Fills in `exchange` and `response` as far as it comes; the fault with a line on it, or (None, "")."""
        try:
            request = _to_request(prepared, exchange)
        except httpx.InvalidURL as exc:
            return Fault.RENDER, f"the request cannot be sent: {exc}"
        except UnicodeError:
            return Fault.RENDER, "the request cannot be sent: a header holds characters that HTTP cannot carry"
        try:
            await response.read(await self._client.send(request, stream=True))
        except httpx.TransportError as exc:
            if exchange.is_late:
                fault, text = _TIMEOUTS[exchange.phase]
                return fault, f"{text} within {timeout_seconds:g} s"
            return _classify(exc, exchange)
        return None, ""


def _is_utf8(text: str) -> bool:
    """Whether the text holds no lone surrogate, which no store takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def complete_headers(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The headers with those that every request of ours carries, where the webhook does not set them."""
    return headers + _added_headers(tuple([name for name, _ in headers]))


@lru_cache(maxsize=1024)
def _added_headers(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    set_ones = {name.lower() for name in names}
    return tuple(item for item in _ADDED_HEADERS if item[0] not in set_ones)


def _to_request(prepared: Prepared, exchange: Exchange) -> httpx.Request:
    """Raises httpx.InvalidURL and UnicodeError."""
    url, host = _parse_url(prepared.url)
    # the characters of Latin-1 as one byte each (RFC 9110, section 5.5), which is how receivers read them
    headers = [(b"Host", host)]
    headers += [(name.encode("ascii"), value.encode("latin-1")) for name, value in complete_headers(prepared.headers)]
    if prepared.body is not None:
        headers.append((b"Content-Length", b"%d" % len(prepared.body)))
    stream = httpx.ByteStream(prepared.body or b"")
    return httpx.Request(prepared.method, url, headers=headers, stream=stream, extensions={"exchange": exchange})


@lru_cache(maxsize=1024)
def _parse_url(text: str) -> tuple[httpx.URL, bytes]:
    """The URL and what Host says. Raises httpx.InvalidURL. A webhook's URL comes with each of its deliveries."""
    url = httpx.URL(text)
    if url.raw_host.endswith(b"."):  # neither certificates nor virtual hosts know a name by its absolute form
        url = url.copy_with(host=url.raw_host[:-1].decode("ascii"))
    return url, url.netloc


def _classify(exc: httpx.TransportError, exchange: Exchange) -> tuple[Fault, str]:
    fault = next(fault for kind, fault in _FAULTS if isinstance(exc, kind))
    if fault is Fault.PROTOCOL and exchange.was_closed:
        fault = Fault.RESET
    match fault:
        case Fault.RESET:
            return fault, "the receiver closed the connection before its answer was complete"
        case Fault.PROTOCOL:
            return fault, f"the answer is not HTTP/1.1: {exc}"
        case Fault.RENDER:
            return fault, f"the request cannot be sent: {exc}"  # h11 quotes the header it refuses; masked like all
        case _:
            return fault, str(exc)


def _timings(exchange: Exchange) -> Timings:
    return Timings(
        dns_ms=exchange.resolved_ms,
        connect_ms=exchange.connected_ms,
        tls_ms=exchange.secured_ms,
        first_byte_ms=exchange.first_byte_ms,
        total_ms=exchange.mark(),
    )
