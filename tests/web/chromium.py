"""A real browser, and pages of strangers, for the tests of this folder.

Debian's Chromium without a window (`apt-get install chromium`), driven by playwright. Where there is none the tests say
so; in CI that is a failure.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright
from served import running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("chromium", "chromium-browser", "google-chrome")
EVIL = "evil.test"  # resolves to loopback, as a name does that somebody has rebound
REACHED_SECONDS = 30.0  # until a request of the browser is at the daemon
FLAGS = (
    "--no-sandbox",  # CI runs as root
    f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
    # the daemon must refuse by itself, whatever a browser keeps back already
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,HttpsUpgrades",
)


def chromium() -> str:
    """Where the browser is; without one the test is skipped with the reason, in CI it fails."""
    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            return found
    missing = "no Chromium: `apt-get install chromium` brings the browser that these tests drive"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@contextlib.asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """The browser, to whom `evil.test` is this machine."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Witness:
    """ASGI layer that notes what reaches a daemon, and what it answers: method, path, status."""

    app: ASGIApp
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.seen.append((scope["method"], scope["path"], message["status"]))
                self._news.set()
            await send(message)

        await self.app(scope, receive, noted)

    async def answers(self, method: str, path: str) -> list[int]:
        """What such requests were answered, once there is one; none where none comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REACHED_SECONDS):
                while (method, path) not in {found[:2] for found in self.seen}:
                    self._news.clear()
                    await self._news.wait()
        return [status for *what, status in self.seen if what == [method, path]]


@contextlib.asynccontextmanager
async def stranger(page: Callable[[str], str]) -> AsyncIterator[str]:
    """Somebody else's site on a port of its own: each path is the page that `page` makes of it; yields the port."""

    async def show(request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>evil</title>" + page(request.path_params["path"]))

    app: Any = Starlette(routes=[Route("/{path:path}", show)])
    async with running(app) as url:
        yield url.rpartition(":")[2]
