"""A daemon's application with tokens, for the tests of this folder."""

import json
from pathlib import Path
from typing import Any

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


def write_tokens(path: Path) -> Path:
    """A tokens file with one token for each role."""
    path.write_text(json.dumps({name: {"token": TOKENS[name], "roles": roles} for name, roles in ROLES.items()}))
    path.chmod(0o600)
    return path


def guarded_app(room: Room, file: Path, **facts: Any) -> Any:
    """The application over a room, for whoever has a token."""
    return build_app(
        store=room.store,
        live=room.live,
        intake=room.intake,
        status=dict,
        now=lambda: room.now,
        security=Security(Tokens.load(write_tokens(file))),
        **facts,
    )


def bearer(name: str) -> dict[str, str]:
    """The header that presents a token."""
    return {"authorization": f"Bearer {TOKENS[name]}"}
