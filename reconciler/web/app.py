"""The daemon's HTTP side as one ASGI application: intake, reading API, health, the page, behind the guard.

Built by the daemon and served by uvicorn in its loop; opens nothing and owns nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from reconciler.dispatch.doctor import Doctor
from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.dispatch.replay import Replayer
from reconciler.errors import NotInStoreError, StoreError
from reconciler.observe.log import log
from reconciler.settings import EgressSettings
from reconciler.source.http import HttpLimits, HttpSource
from reconciler.source.problem import problem_response
from reconciler.store.base import Store
from reconciler.web.access import Access
from reconciler.web.act import Acts
from reconciler.web.api import Api, BadQueryError
from reconciler.web.audit import AuditApi
from reconciler.web.describe import DescribeApi
from reconciler.web.doctor import DoctorApi
from reconciler.web.express import Express
from reconciler.web.flow import FlowApi
from reconciler.web.guard import Guard
from reconciler.web.login import Login
from reconciler.web.operate import OperateApi
from reconciler.web.pages import Pages
from reconciler.web.session import Sessions, session_of
from reconciler.web.state import StateApi
from reconciler.web.strict import strict
from reconciler.web.token import Tokens

READY_SECONDS: Final = 2.0  # a store that takes longer is not ready
HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Security:
    """Who may ask: without `tokens` whoever reaches us. `names` are those that the daemon's certificate has. `clock`
    gives the seconds by which people's sessions end."""

    tokens: Tokens | None = None
    names: tuple[str, ...] = ()
    clock: Callable[[], float] = time.monotonic


Status = Callable[[], Mapping[str, Any]]


def build_app(
    *,
    store: Store,
    live: Live,
    intake: Intake,
    status: Status,
    listen: str = "",
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    limits: HttpLimits | None = None,
    security: Security = Security(),
    doctor: Doctor | None = None,
    on_publish: Callable[[], None] = lambda: None,
    on_operate: Callable[[], None] = lambda: None,
) -> ASGIApp:
    """The application. `status` gives the daemon's own numbers for /readyz, `listen` is its base URL, `now` gives
    milliseconds since the epoch; `doctor` looks with the daemon's secrets; `on_publish` is called when a revision was
    set through the API, `on_operate` when an operator has made something due."""
    health = Health(store=store, live=live, intake=intake, status=status, now=now)
    pages = Pages(store=store, live=live, now=now, has_tokens=security.tokens is not None)
    replayer = Replayer(store, live, intake, now=now)
    source = HttpSource(intake, limits=limits or HttpLimits())
    routes: list[BaseRoute] = [
        *source.routes(),
        *Api(store=store, live=live, now=now).routes(),
        *StateApi(store=store, now=now, on_publish=on_publish).routes(),
        *OperateApi(store=store, live=live, replayer=replayer, now=now, on_operate=on_operate).routes(),
        *FlowApi(store=store, now=now, on_flow=on_operate).routes(),
        *AuditApi(store=store, now=now).routes(),
        *DoctorApi(doctor or Doctor(store, settings=EgressSettings(), resolver=None, now=now)).routes(),
        *DescribeApi().routes(),
        *health.routes(),
        *pages.routes(),
        Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
    ]
    login, sessions = None, None
    if security.tokens is not None:  # without them nobody is known, and the page changes nothing
        sessions = Sessions(security.tokens, clock=security.clock)
        login = Login(tokens=security.tokens, sessions=sessions, pages=pages, clock=security.clock)
        acts = Acts(store=store, live=live, pages=pages, now=now, on_operate=on_operate)
        routes = [*login.routes(), *acts.routes(), *routes]
    routes = [*strict(routes)]
    faults = Faults(routes, pages)
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: faults.on_http,
            BadQueryError: faults.on_bad_query,
            NotInStoreError: faults.on_not_in_store,
            StoreError: faults.on_store,
            Exception: faults.on_bug,
        },
    )
    inner: ASGIApp = app
    if security.tokens is not None and sessions is not None and login is not None:
        inner = Access(app, tokens=security.tokens, sessions=sessions, doorway=login, now=now)
    # around everything, so that even the answer to a bug carries its headers
    guard = Guard(inner, listen=listen, names=security.names, has_forms=login is not None)
    return Express(guard, guard=guard, source=source, tokens=security.tokens)


class Health:
    """Two answers for whoever watches over the daemon: it lives; it can take and deliver."""

    def __init__(self, *, store: Store, live: Live, intake: Intake, status: Status, now: Callable[[], int]) -> None:
        self._store = store
        self._live = live
        self._intake = intake
        self._status = status
        self._now = now

    def routes(self) -> list[Route]:
        """What to mount."""
        return [Route("/healthz", self.alive, methods=["GET"]), Route("/readyz", self.ready, methods=["GET"])]

    async def alive(self, request: Request) -> Response:
        """200 while the loop turns."""
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """200 with revision and lag (seconds that the most overdue delivery has been waiting to be claimed), or 503."""
        if self._intake.is_closed:
            return problem_response(503, "the daemon is draining")
        try:
            async with asyncio.timeout(READY_SECONDS):
                revision = await self._store.live_revision()
                due_at = await self._store.next_wake_at()
        except (StoreError, TimeoutError):
            return problem_response(503, "the store does not answer")
        lag_seconds = 0.0 if due_at is None else max(0, self._now() - due_at) / 1000
        facts = {"revision": revision, "matched_revision": self._live.snapshot.revision, "lag_seconds": lag_seconds}
        return JSONResponse({"status": "ready", **facts, **self._status()})


class Faults:
    """What is answered when no endpoint could: problem details to programs, a page to people."""

    def __init__(self, routes: list[BaseRoute], pages: Pages) -> None:
        self._routes = routes
        self._pages = pages

    async def on_http(self, request: Request, exc: Exception) -> Response:
        """404 and 405."""
        assert isinstance(exc, HTTPException)
        if exc.status_code == 405:
            return self._answer(request, 405, f"not for {request.method}", {"allow": self._allowed(request)})
        return self._answer(request, exc.status_code, "there is nothing here", exc.headers)

    async def on_bad_query(self, request: Request, exc: Exception) -> Response:
        """A parameter that cannot be read."""
        return self._answer(request, 400, f"{exc}")

    async def on_not_in_store(self, request: Request, exc: Exception) -> Response:
        """What the caller named is not there."""
        assert isinstance(exc, NotInStoreError)
        if request.url.path.startswith("/v1/"):
            return problem_response(404, exc.message, hint=exc.hint, code="not_in_store")
        return self._answer(request, 404, exc.message)

    async def on_store(self, request: Request, exc: Exception) -> Response:
        """The store is away; what it said goes to the log only."""
        log("web.failed", path=request.url.path, error=f"{exc}")
        return self._answer(request, 503, "the store does not answer", {"retry-after": "5"})

    async def on_bug(self, request: Request, exc: Exception) -> Response:
        """Our own fault."""
        log("web.failed", path=request.url.path, error=f"{type(exc).__name__}: {exc}")
        return self._answer(request, 500, "the daemon has a fault; its log says more")

    def _answer(self, request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
        is_page = request.method in ("GET", "HEAD") or session_of(request) is not None
        if request.url.path.startswith(("/v1/", "/healthz", "/readyz")) or not is_page:
            return problem_response(status, detail, headers=headers)
        return self._pages.error(request, status, detail, headers=headers)

    def _allowed(self, request: Request) -> str:
        """Every method that the path takes (RFC 9110, section 15.5.6)."""
        methods = {
            method
            for route in self._routes
            if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }
        return ", ".join(sorted(methods))
