"""The API's page in docs/: it lists what is served, with the role each wants."""

import re
from pathlib import Path

from served import Room
from starlette.routing import Route

from reconciler.web.access import role_for
from reconciler.web.app import build_app
from reconciler.web.token import Role

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


async def test_the_page_lists_every_endpoint_with_its_role(room: Room) -> None:
    """Neither more nor less; HEAD goes with GET."""
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict)
    while not hasattr(app, "routes"):
        app = app._app  # type: ignore[attr-defined]  # the layers of middleware
    served = {
        (method, re.sub(r":\w+", "", route.path), role_for(method, route.path))
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith(("/v1/", "/healthz", "/readyz"))
        for method in route.methods or ()
        if method != "HEAD"
    }

    rows = re.findall(r"^\| `(\w+) (/\S+)` \| (\S+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert {(method, path, None if role == "–" else Role(role)) for method, path, role in rows} == served
