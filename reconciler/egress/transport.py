"""Which transport deliveries go through; called by `egress.deliver`. The stack that is not chosen is not imported."""

from typing import assert_never

import httpx

from reconciler.egress.dial import Dialer
from reconciler.egress.resolve import Resolve
from reconciler.settings import EgressSettings, TransportKind


def make_transport(settings: EgressSettings, *, resolve: Resolve | None = None) -> httpx.AsyncBaseTransport:
    """The operator's choice, over connections dialled as the operator says. Raises ReconcilerError (`--ca`)."""
    dialer = Dialer(settings, resolve=resolve)
    match settings.transport:
        case TransportKind.FAST:
            from reconciler.egress.fast import FastTransport

            return FastTransport(dialer)
        case TransportKind.HTTPX:
            from reconciler.egress.stock import StockTransport

            return StockTransport(dialer)
        case _:
            assert_never(settings.transport)
