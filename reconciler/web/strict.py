"""Parameters of a query that an endpoint does not know are refused: a misspelt filter would otherwise narrow nothing.

Put around the API's routes by `web.app`. Intake and health are left alone: what senders and probes hang at a URL is not
ours to judge.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.source.answer import EVENTS_PATH
from reconciler.web.api import BadQueryError
from reconciler.web.openapi.document import OPERATIONS, described_path

Endpoint = Callable[[Request], Awaitable[Response]]


def strict(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """The same routes; those that the API's description tells of raise BadQueryError for what it does not tell of."""
    for route in routes:
        known = _known(route) if isinstance(route, Route) else None
        if isinstance(route, Route) and known is not None:
            yield Route(route.path, _checked(route.endpoint, known), methods=sorted(route.methods or ()))
        else:
            yield route


def _known(route: Route) -> frozenset[str] | None:
    """The parameters of a route; None where any is taken."""
    methods = route.methods or set()
    found = [
        OPERATIONS[key] for key in ((method, described_path(route.path)) for method in methods) if key in OPERATIONS
    ]
    is_intake = route.path == EVENTS_PATH and "POST" in methods
    if not found or is_intake or not route.path.startswith("/v1/"):
        return None
    return frozenset(item.name for operation in found for item in operation.parameters if item.place == "query")


def _checked(endpoint: Endpoint, known: frozenset[str]) -> Endpoint:
    async def checked(request: Request) -> Response:
        for name in request.query_params:
            if name not in known:
                told = f"those here are {', '.join(sorted(known))}" if known else "there are none here"
                raise BadQueryError(f"unknown parameter: {name:.40}; {told}")
        return await endpoint(request)

    return checked
