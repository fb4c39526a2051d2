"""The HTTP client that deliveries go through: httpx's, without what a delivery never uses. Called by `egress.deliver`.

It knows no authentication, no redirects, no cookies, no event hooks, no proxies and no environment, and says so rather
than leave them out in silence. What sends is the transport: ours, httpx's own, or a mock such as respx's.
"""

from collections.abc import Callable
from typing import Any

import httpx

Begin = Callable[..., Callable[[], None] | None]  # `egress.fast.FastTransport.begin`


class DeliveryClient(httpx.AsyncClient):
    """`httpx.AsyncClient` whose `send` goes straight to the transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__(transport=transport, trust_env=False)

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: Any = httpx.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx.USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        """The response; with `stream` its body is unread, and closing it is the caller's. Raises httpx.TransportError,
        and NotImplementedError for `auth` and `follow_redirects`."""
        if auth is not httpx.USE_CLIENT_DEFAULT or follow_redirects not in (httpx.USE_CLIENT_DEFAULT, False):
            raise NotImplementedError("a delivery neither authenticates by itself nor follows redirects")
        # the hook that httpx's mounts and respx's `using="httpx"` work through
        response = await self._transport_for_url(request.url).handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

    def begin_of(self, url: httpx.URL) -> Begin | None:
        """How the transport writes bytes at once over an idle connection; None where it knows no such way: `send` then
        does all there is."""
        begin: Begin | None = getattr(self._transport_for_url(url), "begin", None)
        return begin
