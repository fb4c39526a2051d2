"""A request's body as it arrives, and what is done with one that is refused. Used by `source.http` and by `web`."""

import asyncio
import contextlib
from typing import Final

from starlette.requests import ClientDisconnect, Request

from reconciler.dispatch.item import REQUEST_MAX_BYTES

DISCARD_SECONDS: Final = 5.0  # how long a refused body is read on, and how much of it
DISCARD_MAX_BYTES: Final = 4 * REQUEST_MAX_BYTES


class Body:
    """A request's body, chunk by chunk."""

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        # A sender that expects "100 Continue" sends nothing before we read.
        self._is_lingering = "expect" not in request.headers
        self.is_over = False

    async def chunk(self) -> bytes:
        """The next bytes. Raises ClientDisconnect."""
        message = await self._receive()
        self.is_over = not message.get("more_body", False)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        content: bytes = message.get("body", b"")
        return content

    async def whole(self, *, max_bytes: int) -> bytes | None:
        """All of it; None once it is larger than `max_bytes`, the rest unread. Raises ClientDisconnect."""
        content = bytearray()
        while not self.is_over:
            content += await self.chunk()
            if len(content) > max_bytes:
                return None
        return bytes(content)

    async def discard(self) -> None:
        """Read on for a while without keeping anything: closing while a sender is still sending would reset the
        connection, and many senders would never see the answer (RFC 9112, section 9.6)."""
        size = 0
        with contextlib.suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(DISCARD_SECONDS):
                while self._is_lingering and not self.is_over and size < DISCARD_MAX_BYTES:
                    size += len(await self.chunk())
