"""Parameters of a query that an endpoint does not know are refused: a misspelt filter would otherwise narrow nothing.

Put around the API's routes by `web.app`. Intake is left alone: what a sender hangs at its URL is the sender's affair.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.source.http import EVENTS_PATH
from reconciler.web.api import BadQueryError
from reconciler.web.openapi.document import OPERATIONS, described_path

Endpoint = Callable[[Request], Awaitable[Response]]


def strict(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """The same routes; those that the API's description tells of raise BadQueryError for what it does not tell of."""
    for route in routes:
        known = _known(route) if isinstance(route, Route) else None
        if known is None or not isinstance(route, Route):
            yield route
        else:
            yield Route(route.path, _checked(route.endpoint, known), methods=sorted(route.methods or ()))


def _known(route: Route) -> frozenset[str] | None:
    """The parameters of a route; None where any is taken."""
    operations = [OPERATIONS.get((method, described_path(route.path))) for method in route.methods or ()]
    found = [operation for operation in operations if operation is not None]
    if not found or ("POST" in (route.methods or ()) and route.path == EVENTS_PATH):
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
