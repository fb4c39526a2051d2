"""One HTTP try: a prepared request in, an `AttemptResult` out, whatever the receiver or the network does.

Called by the worker for deliveries and by the probe for `test`. `send` does it all; `begin` is the short way of most
deliveries: over an idle connection, without a task. What came of it is told by `egress.result` for both.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Self

import httpx

from reconciler import VERSION
from reconciler.egress.auth import Answered, OAuthClient, Tokens, Trouble, client_of
from reconciler.egress.client import DeliveryClient
from reconciler.egress.exchange import Exchange
from reconciler.egress.flight import Flight, OnEnd
from reconciler.egress.form import PLAIN_URL, Form
from reconciler.egress.http1 import head_bytes, request_bytes
from reconciler.egress.identity import Identities, Identity
from reconciler.egress.mask import MASK, Masker
from reconciler.egress.received import Answers, Received, one_line
from reconciler.egress.resolve import Resolve
from reconciler.egress.result import WELL, Met, classify, detail_of, result_of, timings_of
from reconciler.egress.retry_after import retry_after_seconds
from reconciler.egress.transport import make_transport
from reconciler.models.delivery import AttemptResult, Fault, SentRequest
from reconciler.models.webhook import ResponseValidator, Webhook
from reconciler.request.answer import ANSWER_MAX_BYTES
from reconciler.request.authorize import HEADER, authorization, with_access_token
from reconciler.request.draft import Draft
from reconciler.request.render import Prepared
from reconciler.settings import EgressSettings

_ADDED_HEADERS: Final = (
    ("accept", "*/*"),
    ("accept-encoding", "identity"),  # nothing is decompressed here, so nothing can blow up
    ("user-agent", f"reconciler/{VERSION}"),
)
ANOTHER_TRY_SECONDS: Final = 1.0  # at least, for the request with a new access token; else what is left of the timeout


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
        self._answers = Answers(masker)
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
        return result._replace(detail=one_line(f"{result.detail}, {fact}" if result.detail else f"sent {fact}"))

    def form(
        self,
        sent: Prepared,
        shown: Prepared,
        *,
        timeout_seconds: float,
        validators: Sequence[ResponseValidator],
        credentials: Credentials,
        is_signed: bool,
    ) -> Form | None:
        """What `begin` fills in, from the request of `form.EXAMPLE` (or UNSIGNED) and the same as people are shown it;
        the rest as for `send`.

        None where a webhook's requests have no form: they want an access token, which only sending obtains, or `send`
        is to say what is wrong with them.
        """
        if credentials.client is not None:
            return None
        if credentials is not ANONYMOUS:
            self._hide_credential(sent)
        example = SentRequest(shown.method, shown.url, complete_headers(shown.headers), "")
        try:
            url, head = _on_wire(sent)
            return Form(
                url,
                head,
                example,
                masker=self._masker,
                identity=credentials.identity,
                timeout_seconds=timeout_seconds,
                validators=validators,
                is_signed=is_signed,
            )
        except (httpx.InvalidURL, httpx.TransportError, ValueError):  # a UnicodeError is a ValueError
            return None

    def begin(self, form: Form, draft: Draft, *, on_end: OnEnd) -> Flight | None:
        """Send a draft at once, as `send` does; None, nothing being written, where that cannot be: there is no idle
        connection, or the transport knows no such way. `on_end` gets the result, or a bug, after this has returned."""
        begin = self._client.begin_of(form.url)
        if begin is None:
            return None
        flight = Flight(form, draft, answers=self._answers, now=self._now, on_end=on_end)
        return flight if flight.is_begun(begin) else None

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
        exchange = Exchange(before_write, identity, seconds=timeout_seconds)
        response = Received(self._masker, judged_max=ANSWER_MAX_BYTES if validators else 0)
        met = await self._try(prepared, exchange, response, timeout_seconds)
        return result_of(
            met,
            exchange,
            response,
            request=self.shown(shown),
            body_bytes=len(prepared.body or b""),
            validators=validators,
            masker=self._masker,
            now=self._now(),
        )

    async def _ask(self, prepared: Prepared, *, timeout_seconds: float) -> Answered:
        """Send a request for an access token, as `send` does any other; its answer as it came."""
        exchange = Exchange(seconds=timeout_seconds)
        response = Received(self._masker, judged_max=ANSWER_MAX_BYTES)
        fault, detail = await self._try(prepared, exchange, response, timeout_seconds)
        is_whole = fault is None
        return Answered(
            status=response.status if is_whole else None,
            reason_phrase=response.reason_phrase,
            body=response.raw if is_whole else b"",
            detail=detail_of(detail, self._masker),
            retry_after_seconds=retry_after_seconds(response.status, response.telling, now=self._now()),
            address=exchange.address,
            tls=exchange.tls,
            connect_to=exchange.connect_to,
            timings=timings_of(exchange),
        )

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
    ) -> Met:
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
            return classify(exc, exchange, timeout_seconds)
        return WELL


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


def _to_request(prepared: Prepared, exchange: Exchange | None = None) -> httpx.Request:
    """Raises httpx.InvalidURL and UnicodeError."""
    url, host = _parse_url(prepared.url)
    headers, stream = _wire_headers(prepared, host), httpx.ByteStream(prepared.body or b"")
    return httpx.Request(prepared.method, url, headers=headers, stream=stream, extensions={"exchange": exchange})


def _wire_headers(prepared: Prepared, host: bytes) -> list[tuple[bytes, bytes]]:
    """All that a request has. The characters of Latin-1 are one byte each (RFC 9110, section 5.5), which is how
    receivers read them. Raises UnicodeError."""
    headers = [(b"Host", host)]
    headers += [(name.encode("ascii"), value.encode("latin-1")) for name, value in complete_headers(prepared.headers)]
    if prepared.body is not None:
        headers.append((b"Content-Length", b"%d" % len(prepared.body)))
    return headers


def _on_wire(prepared: Prepared) -> tuple[httpx.URL, bytes]:
    """A URL with the scheme, host and port of the request's own, and the bytes of the request, which has no body or an
    empty one. Raises httpx.InvalidURL, httpx.TransportError and UnicodeError.

    Of a plain URL only the origin is parsed, which many webhooks have in common, and no httpx.Request is made."""
    plain = PLAIN_URL.fullmatch(prepared.url)
    if plain is not None:
        url, host = _parse_url(plain[1])
        head, is_plain = head_bytes(prepared.method, plain[2].encode("ascii"), _wire_headers(prepared, host), 0)
        if is_plain:
            return url, head
    request = _to_request(prepared)
    return request.url, request_bytes(request)


@lru_cache(maxsize=1024)
def _parse_url(text: str) -> tuple[httpx.URL, bytes]:
    """The URL and what Host says. Raises httpx.InvalidURL. A webhook's URL comes with each of its deliveries."""
    url = httpx.URL(text)
    if url.raw_host.endswith(b"."):  # neither certificates nor virtual hosts know a name by its absolute form
        url = url.copy_with(host=url.raw_host[:-1].decode("ascii"))
    return url, url.netloc
