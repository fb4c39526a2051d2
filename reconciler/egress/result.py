"""What an attempt came to, from what was met on the wire: by exception type and phase, never by text.

Called by `egress.deliver` and `egress.flight` when an exchange is over. What it means for its delivery is decided in
`dispatch.retry`.
"""

from collections.abc import Sequence
from typing import Final

import httpx

from reconciler.egress.dial import RefusedAddressError, ResolveError, TlsError
from reconciler.egress.exchange import Exchange, Phase
from reconciler.egress.mask import Masker
from reconciler.egress.received import Received, one_line
from reconciler.egress.retry_after import retry_after_seconds
from reconciler.models.delivery import AttemptResult, Fault, SentRequest, Timings
from reconciler.models.webhook import ResponseValidator

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
_TIMEOUTS: Final = {
    Phase.RESOLVE: (Fault.DNS, "the name server did not answer"),
    Phase.CONNECT: (Fault.CONNECT_TIMEOUT, "no connection"),
    Phase.HANDSHAKE: (Fault.CONNECT_TIMEOUT, "no TLS handshake"),
    Phase.EXCHANGE: (Fault.TIMEOUT, "no complete answer"),
}

Met = tuple[Fault | None, str]  # what went wrong, with a line on it; (None, "") where nothing did
WELL: Final[Met] = (None, "")


def classify(exc: httpx.TransportError, exchange: Exchange, timeout_seconds: float) -> Met:
    """What an exception of the transport says."""
    if exchange.is_late:
        fault, text = _TIMEOUTS[exchange.phase]
        return fault, f"{text} within {timeout_seconds:g} s"
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


def result_of(
    met: Met,
    exchange: Exchange,
    received: Received,
    *,
    request: SentRequest,
    body_bytes: int,
    validators: Sequence[ResponseValidator],
    masker: Masker,
    now: float,
) -> AttemptResult:
    """The result, its `outcome` None; `request` is what people are shown of the request, `body_bytes` the size of its
    body, `now` the wall clock in seconds since the epoch."""
    fault, detail = met
    status = received.status
    if status is not None and not 200 <= status < 300:
        fault, detail = Fault.STATUS, f"the receiver answered {status} {received.reason_phrase}".rstrip()
    elif validators and fault is None and (miss := received.miss_of(validators)):
        fault, detail = Fault.VALIDATOR, miss
    telling, wrote = received.telling, exchange.wrote
    return AttemptResult(  # by place, in half the time that names take
        None,  # its outcome
        fault,
        detail_of(detail, masker) if detail else "",
        status,
        retry_after_seconds(status, telling, now=now) if telling else None,
        wrote,
        received.control() if telling else None,
        body_bytes if wrote else 0,
        request,
        received.to_received(),
        timings_of(exchange),
        exchange.address,
        exchange.tls,
        exchange.connect_to,
        exchange.proxy,
    )


def detail_of(text: str, masker: Masker) -> str:
    """A detail as people are shown it. What it quotes at its end may have been cut in the midst of a secret."""
    quote = "`" if text.endswith("`") else ""
    return one_line(masker.mask(text.removesuffix("`"), is_cut=True) + quote)


def timings_of(exchange: Exchange) -> Timings:
    """How long each phase took."""
    return Timings(
        exchange.resolved_ms, exchange.connected_ms, exchange.secured_ms, exchange.first_byte_ms, exchange.mark()
    )
