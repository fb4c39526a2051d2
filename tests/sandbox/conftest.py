"""Sandboxes in this process, and a client that reaches them by TLS under the names they serve."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from reconciler.sandbox.okta import OktaSandbox

ALIAS = "0123456789abcdef0123456789abcdef"
OTHER_ALIAS = "fedcba9876543210fedcba9876543210"
TOKEN = "5ec7e7" * 10 + "abcd"


class Client:
    """httpx with the sandbox's authority as the only one trusted, dialling its port for each host."""

    def __init__(self, http: httpx.AsyncClient, sandbox: OktaSandbox) -> None:
        self.http = http
        self._sandbox = sandbox

    async def send(
        self, method: str = "POST", path: str = f"/api/flo/{ALIAS}/invoke", *, host: str | None = None, **more: Any
    ) -> httpx.Response:
        """One request; TLS checks the first of the sandbox's names, `host` is what the Host header says."""
        name = self._sandbox.settings.hosts[0]
        headers = {"host": host or name, **more.pop("headers", {})}
        return await self.http.request(
            method, f"{self._sandbox.url}{path}", headers=headers, extensions={"sni_hostname": name}, **more
        )


@asynccontextmanager
async def connected(sandbox: OktaSandbox) -> AsyncIterator[Client]:
    """A client of the sandbox."""
    context = ssl.create_default_context(cadata=sandbox.ca_pem.decode("ascii"))
    async with httpx.AsyncClient(verify=context, trust_env=False) as http:
        yield Client(http, sandbox)


@pytest.fixture
async def sandbox() -> AsyncIterator[OktaSandbox]:
    """A sandbox on a free port of 127.0.0.1 in which every alias of 32 hex digits is a public flow."""
    async with OktaSandbox() as started:
        yield started


@pytest.fixture
async def client(sandbox: OktaSandbox) -> AsyncIterator[Client]:
    """A client of `sandbox`."""
    async with connected(sandbox) as made:
        yield made


@pytest.fixture
def connect() -> Any:
    """`connected`, for tests that start their own sandbox."""
    return connected
