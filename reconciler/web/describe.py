"""The API's own description, for programs: `GET /v1/openapi.json`, the same bytes as `schemas/openapi.json`.

Mounted by `web.app`. Made when it is asked for first, in a thread: it takes a tenth of a second.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.web.openapi.document import openapi_text


class DescribeApi:
    """The endpoint. It tells nothing about this daemon, but wants the role `read` like whatever is not needed without
    a token."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._text: bytes | None = None

    def routes(self) -> list[Route]:
        """What to mount."""
        return [Route("/v1/openapi.json", self.openapi, methods=["GET"])]

    async def openapi(self, request: Request) -> Response:
        """OpenAPI 3.1 of every endpoint under /v1 and of health."""
        async with self._turn:
            if self._text is None:
                self._text = (await asyncio.to_thread(openapi_text)).encode()
        return Response(self._text, media_type="application/json")
