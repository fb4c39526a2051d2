"""Daemons and what is none, served for the tests of this folder."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trustme
from served import Room, running, webhook
from served import open_room as open_served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.web.app import build_app


@contextlib.asynccontextmanager
async def open_room(folder: Path) -> AsyncIterator[Room]:
    """A store at revision 1 with one webhook."""
    async with open_served(folder, webhook("created")) as room:
        yield room


@contextlib.asynccontextmanager
async def answering(response: Response) -> AsyncIterator[str]:
    """A server that gives this answer to whatever is asked."""

    async def answer(request: Request) -> Response:
        return response

    methods = ["GET", "POST", "DELETE"]
    async with running(Starlette(routes=[Route("/{path:path}", answer, methods=methods)])) as url:
        yield url


@contextlib.asynccontextmanager
async def serving_tls(room: Room, certificate: trustme.LeafCert, **facts: Any) -> AsyncIterator[str]:
    """The daemon's application by TLS; yields its base URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict, **facts)
    async with running(app, tls=context) as url:
        yield url
