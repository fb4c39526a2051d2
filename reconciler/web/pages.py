"""The page people look at: webhooks with their dots, deliveries with their invocation data, events, revisions.

Mounted by `web.app`, which has `web.act` for the buttons. Reads only; plain HTML and one style sheet, no script,
everything escaped.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from reconciler import jsontext
from reconciler.dispatch.live import Live
from reconciler.models.delivery import State
from reconciler.models.flow import NO_HALT
from reconciler.models.revision import LiveWebhook
from reconciler.store.base import DeliveryFilter, EventStatus, Page, Store
from reconciler.store.match_error import MatchErrorFilter
from reconciler.web.access import token_of
from reconciler.web.api import choice_of, filter_of, next_query, page_of
from reconciler.web.present import environment
from reconciler.web.query import current_halts, waiting_notes
from reconciler.web.session import session_of

RECENT: Final = 15
WEBHOOKS_A_PAGE: Final = 100
REFRESH_SECONDS: Final = 5
LIMIT: Final = 50
# `no-referrer` would make browsers say `Origin: null` of our own forms (Fetch, "append a request Origin header")
REFERRER: Final = {"referrer-policy": "same-origin"}


class Pages:
    """The pages over one store; `now` gives milliseconds since the epoch. `has_tokens`: the daemon knows who asks."""

    def __init__(self, *, store: Store, live: Live, now: Callable[[], int], has_tokens: bool = False) -> None:
        self._store = store
        self._live = live
        self._now = now
        self._has_tokens = has_tokens
        self._templates = environment(Path(__file__).parent / "templates")

    def routes(self) -> list[Route]:
        """What to mount."""
        endpoints: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/": self.webhooks,
            "/webhooks/{name}": self.webhook,
            "/deliveries": self.deliveries,
            "/deliveries/{id:path}": self.delivery,
            "/events": self.events,
            "/events/{id:path}": self.event,
            "/revisions": self.revisions,
        }
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()]

    async def webhooks(self, request: Request) -> Response:
        """The Webhooks table, and what was delivered last."""
        await self._live.refresh()
        wanted = request.query_params.get("q", "").strip().lower()
        after = request.query_params.get("after", "")
        found = [
            live
            for live in self._live.snapshot.webhooks.values()
            if live.webhook.name > after and wanted in f"{live.webhook.name} {live.webhook.metadata.title}".lower()
        ]
        shown = found[:WEBHOOKS_A_PAGE]
        counts, halts = await self._store.counts(), await current_halts(self._store, self._now())
        failed = await self._store.match_error_counts()
        return self.render(
            request,
            "webhooks.html",
            lives=shown,
            counts=counts,
            notes=await waiting_notes(self._store, shown, counts, halts, failed),
            halts=halts,
            totals={state: sum(of.get(state, 0) for of in counts.values()) for state in State},
            live_count=len(self._live.snapshot.webhooks),
            wanted=request.query_params.get("q", ""),
            after=shown[-1].webhook.name if len(found) > len(shown) else None,
            recent=await self._store.deliveries(Page(RECENT)),
        )

    async def webhook(self, request: Request) -> Response:
        """One webhook as it is applied."""
        await self._live.refresh()
        live = self.find(request.path_params["name"])
        counts, halts = await self._store.counts(), await current_halts(self._store, self._now())
        failed = await self._store.match_error_counts()
        recent = await self._store.deliveries(Page(RECENT), where=DeliveryFilter(webhook=live.webhook.name))
        return self.render(
            request,
            "webhook.html",
            live=live,
            counts=counts.get(live.uid, {}),
            note=(await waiting_notes(self._store, (live,), counts, halts, failed)).get(live.uid),
            halt=halts.get(live.uid, NO_HALT),
            backlog=(await self._store.flow(live.webhook.name)).expected(live.webhook).estimate(),
            document=jsontext.pretty(live.webhook.document()),
            recent=recent,
        )

    def find(self, name: str) -> LiveWebhook:
        """The live webhook of this name. Raises HTTPException 404."""
        for live in self._live.snapshot.webhooks.values():
            if live.webhook.name == name:
                return live
        raise HTTPException(404)

    async def deliveries(self, request: Request) -> Response:
        """Deliveries, newest first."""
        page = page_of(request.query_params, limit=LIMIT)
        where = filter_of(request.query_params)
        found = await self._store.deliveries(page, where=where)
        following = next_query(request.query_params, page, found, found[-1].id) if found else None
        return self.render(request, "deliveries.html", found=found, where=where, following=following)

    async def delivery(self, request: Request) -> Response:
        """One delivery with the invocation data of its attempts, the last one first."""
        found = await self._store.delivery(request.path_params["id"])
        if found is None:
            raise HTTPException(404)
        return self.render(request, "delivery.html", delivery=found[0], attempts=tuple(reversed(found[1])))

    async def events(self, request: Request) -> Response:
        """Events, newest first."""
        page = page_of(request.query_params, limit=LIMIT)
        status = choice_of(request.query_params, "status", EventStatus)
        found = await self._store.events(page, status=status)
        following = next_query(request.query_params, page, found, found[-1].id) if found else None
        return self.render(request, "events.html", found=found, status=status, following=following)

    async def event(self, request: Request) -> Response:
        """One event: what was received, and what became of it."""
        event = await self._store.event(request.path_params["id"])
        if event is None:
            raise HTTPException(404)
        return self.render(
            request,
            "event.html",
            event=event,
            text=event.text if event.text is not None else event.raw.decode("utf-8", "backslashreplace"),
            found=await self._store.deliveries(Page(LIMIT), where=DeliveryFilter(event_id=event.id)),
            errors=await self._store.match_errors(where=MatchErrorFilter(event_id=event.id), limit=LIMIT),
        )

    async def revisions(self, request: Request) -> Response:
        """Who applied what, when, from which commit."""
        page = page_of(request.query_params, limit=LIMIT)
        found = await self._store.revisions(page)
        following = next_query(request.query_params, page, found, f"{found[-1].number}") if found else None
        return self.render(request, "revisions.html", found=found, following=following)

    def error(
        self, request: Request, status: int, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> Response:
        """A page that says what went wrong, without our insides."""
        return self.render(request, "error.html", status, headers, status=status, detail=detail)

    def render(
        self,
        request: Request,
        template: str,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        /,
        **context: Any,
    ) -> Response:
        """A page by its template. Who may not read gets it without what surrounds it; the session's notice is told."""
        session = session_of(request)
        html = self._templates.get_template(template).render(
            **context,
            now=self._now(),
            snapshot=self._live.snapshot,
            path=request.url.path,
            refresh=REFRESH_SECONDS if request.query_params.get("refresh") else None,
            session=session,
            notice=session.take_notice() if session is not None else "",
            is_bare=self._has_tokens and session is None and token_of(request) is None,
        )
        return HTMLResponse(html, status_code, headers={**(REFERRER if self._has_tokens else {}), **(headers or {})})
