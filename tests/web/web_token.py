"""A daemon's application with tokens, for the tests of this folder."""

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
from served import Room

from reconciler.web.app import Security, build_app
from reconciler.web.token import Tokens

ROLES = {
    "reader": ["read"],
    "pipeline": ["apply"],
    "operator": ["operate"],
    "apono": ["ingest"],
    "all": ["read", "apply", "operate", "ingest"],
}
TOKENS = {name: f"{name}-" + "0123456789abcdef" * 2 for name in ROLES}


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def write_tokens(path: Path) -> Path:
    """A tokens file with one token for each role."""
    path.write_text(json.dumps({name: {"token": TOKENS[name], "roles": roles} for name, roles in ROLES.items()}))
    path.chmod(0o600)
    return path


def guarded_app(room: Room, file: Path, *, clock: Any = time.monotonic, **facts: Any) -> Any:
    """The application over a room, for whoever has a token; sessions end by `clock`."""
    return build_app(
        store=room.store,
        live=room.live,
        intake=room.intake,
        status=dict,
        now=lambda: room.now,
        security=Security(Tokens.load(write_tokens(file)), clock=clock),
        **facts,
    )


def bearer(name: str) -> dict[str, str]:
    """The header that presents a token."""
    return {"authorization": f"Bearer {TOKENS[name]}"}


def as_browser(client: httpx.AsyncClient, **changes: str) -> dict[str, str]:
    """What a browser says of a form that a page of ours sends."""
    origin = str(client.base_url).rstrip("/")
    return {"accept": "text/html,*/*", "origin": origin, "sec-fetch-site": "same-origin", **changes}


async def log_in(client: httpx.AsyncClient, name: str, following: str = "/") -> httpx.Response:
    """Send the form of the login with a token; the client keeps the cookie."""
    fields = {"token": TOKENS.get(name, name), "next": following}
    return await client.post("/login", data=fields, headers=as_browser(client))


async def form_token(client: httpx.AsyncClient, path: str = "/") -> str:
    """The token that stands in the forms of a page."""
    found = re.search(r'name="form_token" value="([^"]+)"', (await client.get(path)).text)
    assert found is not None, path
    return found[1]


async def send_form(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """What a person's browser sends whose page is `path`."""
    fields.setdefault("form_token", await form_token(client, path))
    return await client.post(path, data=fields, headers=as_browser(client))
