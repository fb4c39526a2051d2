"""Every endpoint with every role: who gets in, as a table."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import Room, running
from starlette.routing import Route
from web_token import ROLES, bearer, guarded_app

from reconciler.web.access import OPEN_PATHS, role_for
from reconciler.web.token import Role

CHANGING = {
    ("POST", "/v1/events"): Role.INGEST,
    ("POST", "/v1/revisions"): Role.APPLY,
    ("POST", "/v1/holds"): Role.APPLY,
    ("DELETE", "/v1/holds"): Role.APPLY,
    ("POST", "/v1/audit/verifications"): Role.APPLY,
    ("POST", "/v1/audit/tests"): Role.OPERATE,
    ("POST", "/v1/deliveries/survey"): Role.READ,
    ("POST", "/v1/deliveries/replay"): Role.OPERATE,
    ("POST", "/v1/deliveries/cancel"): Role.OPERATE,
    ("POST", "/v1/webhooks/{name}/pause"): Role.OPERATE,
    ("POST", "/v1/webhooks/{name}/resume"): Role.OPERATE,
    ("POST", "/v1/webhooks/{name}/compact"): Role.OPERATE,
    ("POST", "/v1/webhooks/{name}/trigger"): Role.OPERATE,
    ("POST", "/v1/events/replay"): Role.OPERATE,
}
HELD = {  # what each token of `web_token` may, with what that implies
    "reader": {Role.READ},
    "pipeline": {Role.READ, Role.APPLY},
    "operator": {Role.READ, Role.OPERATE},
    "apono": {Role.INGEST},
    "all": set(Role),
}


def routes(app: object) -> Iterator[tuple[str, str]]:
    """Method and path of every endpoint behind the roles, as the application has them."""
    inner = app
    while not hasattr(inner, "routes"):
        inner = inner._app  # type: ignore[attr-defined]  # the layers of middleware
    for route in inner.routes:
        if isinstance(route, Route):
            for method in sorted(route.methods or ()):
                yield method, route.path


def wanted(method: str, path: str) -> Role | None:
    """The role by the table above; reading wants `read`."""
    if method in ("GET", "HEAD"):
        return None if path in OPEN_PATHS else Role.READ
    return CHANGING.get((method, path), role_for(method, path))


def test_the_table_is_the_daemons() -> None:
    """What changes something has the role that stands here."""
    assert {key: role_for(*key) for key in CHANGING} == CHANGING


@pytest.mark.parametrize("name", [None, *ROLES])
async def test_each_endpoint_lets_in_whom_the_table_says(room: Room, tmp_path: Path, name: str | None) -> None:
    """Without a token 401, without the role 403, with it whatever the endpoint says: never one of these two."""
    app = guarded_app(room, tmp_path / "tokens.yaml")
    held = HELD[name] if name is not None else set()
    wrong: list[tuple[str, str, int]] = []
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        for method, path in routes(app):
            filled = path.replace("{name}", "created").replace("{id:path}", "x").replace("{number}", "1")
            role = wanted(method, path)
            headers = bearer(name) if name is not None else {}
            status = (await client.request(method, filled, headers=headers)).status_code
            expected = None if role is None or role in held else (401 if name is None else 403)
            if (status if status in (401, 403) else None) != expected:
                wrong.append((method, path, status))

    assert wrong == []
