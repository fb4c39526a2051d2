"""The reading API under /v1: what the reading commands print with `--format json`, for programs.

Mounted by `web.app`. Lists are JSON arrays, newest first, with `limit` and `before`; where there may be more, a `Link`
header (RFC 8288) leads to the next page. Errors are problem details.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import jsontext
from reconciler.dispatch.live import Live
from reconciler.errors import ReconcilerError
from reconciler.models.delivery import State
from reconciler.models.flow import NO_HALT, Halt
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.source.problem import problem_response
from reconciler.store.base import DeliveryFilter, EventStatus, Page, Store, StoredEvent
from reconciler.store.match_error import MatchErrorFilter
from reconciler.store.wire import event_json
from reconciler.web.query import Counts, current_halts, waiting_notes

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 1000
DETAIL_DELIVERIES_MAX: Final = 1000  # of one event, in its detail

E = TypeVar("E", bound=StrEnum)


class View(StrEnum):
    """How much of an event is told."""

    STORED = "stored"


class BadQueryError(ReconcilerError):
    """A query parameter cannot be read."""


class Api:
    """The endpoints over one store; `now` gives milliseconds since the epoch."""

    def __init__(self, *, store: Store, live: Live, now: Callable[[], int]) -> None:
        self._store = store
        self._live = live
        self._now = now

    def routes(self) -> list[Route]:
        """What to mount; each answers GET and HEAD."""
        endpoints: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/v1/webhooks": self.webhooks,
            "/v1/webhooks/{name}": self.webhook,
            "/v1/events": self.events,
            "/v1/events/{id:path}": self.event,
            "/v1/deliveries": self.deliveries,
            "/v1/deliveries/{id:path}": self.delivery,
            "/v1/revisions": self.revisions,
            "/v1/event-ids": self.event_ids,
            "/v1/delivery-ids": self.delivery_ids,
            "/v1/counts": self.counts,
            "/v1/match-errors": self.match_errors,
            "/v1/match-error-counts": self.match_error_counts,
            "/v1/unfinished": self.unfinished,
        }
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()]

    async def webhooks(self, request: Request) -> Response:
        """Every live webhook, by name."""
        await self._live.refresh()
        lives = tuple(self._live.snapshot.webhooks.values())
        counts, halts = await self._store.counts(), await current_halts(self._store, self._now())
        errors = await self._store.match_error_counts()
        notes = await waiting_notes(self._store, lives, counts, halts, errors)
        return _json([_webhook_json(live, counts, notes, halts, errors) for live in lives])

    async def webhook(self, request: Request) -> Response:
        """One live webhook."""
        await self._live.refresh()
        for live in self._live.snapshot.webhooks.values():
            if live.webhook.name == request.path_params["name"]:
                counts, halts = await self._store.counts(), await current_halts(self._store, self._now())
                errors = await self._store.match_error_counts()
                notes = await waiting_notes(self._store, (live,), counts, halts, errors)
                flow = (await self._store.flow(live.webhook.name)).expected(live.webhook)
                return _json({**_webhook_json(live, counts, notes, halts, errors), "backlog": flow.to_json()})
        return _missing("webhook")

    async def events(self, request: Request) -> Response:
        """Events, newest first; `status` accepted or quarantined; with `view=stored` also what was received."""
        page = page_of(request.query_params)
        status = choice_of(request.query_params, "status", EventStatus)
        shape = event_json if choice_of(request.query_params, "view", View) else StoredEvent.to_json
        found = await self._store.events(page, status=status)
        return _listed(request, page, [shape(event) for event in found], key="id")

    async def event(self, request: Request) -> Response:
        """One event: as received, parsed, and with its deliveries; with `view=stored` as received only."""
        is_stored = choice_of(request.query_params, "view", View)
        event = await self._store.event(request.path_params["id"])
        if event is None:
            return _missing("event")
        if is_stored:
            return _json(event_json(event))
        where = DeliveryFilter(event_id=event.id)
        errors = await self._store.match_errors(where=MatchErrorFilter(event_id=event.id), limit=DETAIL_DELIVERIES_MAX)
        return _json(event.in_full(await self._store.deliveries(Page(DETAIL_DELIVERIES_MAX), where=where), errors))

    async def match_errors(self, request: Request) -> Response:
        """Match errors, oldest first, behind `after`; of one `webhook`, of one `event`."""
        query = request.query_params
        where = MatchErrorFilter(webhook=query.get("webhook") or None, event_id=query.get("event") or None)
        limit = page_of(query).limit
        found = await self._store.match_errors(where=where, limit=limit, after=query.get("after") or None)
        return _json([error.to_json() for error in found])

    async def match_error_counts(self, request: Request) -> Response:
        """How many match errors each webhook, by its uid, has."""
        return JSONResponse(await self._store.match_error_counts())

    async def deliveries(self, request: Request) -> Response:
        """Deliveries, newest first; of one `webhook`, in one `state`, of one `event`."""
        page = page_of(request.query_params)
        found = await self._store.deliveries(page, where=filter_of(request.query_params))
        return _listed(request, page, [delivery.to_json() for delivery in found], key="id")

    async def delivery(self, request: Request) -> Response:
        """One delivery with the invocation data of every attempt."""
        found = await self._store.delivery(request.path_params["id"])
        return _missing("delivery") if found is None else _json(found[0].in_full(found[1]))

    async def revisions(self, request: Request) -> Response:
        """The history, newest first."""
        page = page_of(request.query_params)
        found = await self._store.revisions(page)
        return _listed(request, page, [revision.to_json() for revision in found], key="revision")

    async def event_ids(self, request: Request) -> Response:
        """The first ids of events that begin with `prefix`."""
        page = page_of(request.query_params)
        return _json(await self._store.event_ids(request.query_params.get("prefix", ""), limit=page.limit))

    async def delivery_ids(self, request: Request) -> Response:
        """The first ids of deliveries that begin with `prefix`."""
        page = page_of(request.query_params)
        return _json(await self._store.delivery_ids(request.query_params.get("prefix", ""), limit=page.limit))

    async def counts(self, request: Request) -> Response:
        """How many deliveries each webhook, by its uid, has in each state."""
        return JSONResponse(await self._store.counts())

    async def unfinished(self, request: Request) -> Response:
        """How many deliveries of each webhook, by its uid, are pending or in flight."""
        return JSONResponse(await self._store.unfinished())


def _webhook_json(
    live: LiveWebhook,
    counts: Counts,
    notes: Mapping[WebhookUid, str],
    halts: Mapping[WebhookUid, Halt],
    errors: Mapping[WebhookUid, int],
) -> dict[str, Any]:
    uid = live.uid
    note, failed = notes.get(uid), errors.get(uid, 0)
    return live.to_json(counts.get(uid, {}), note=note, match_errors=failed, halt=halts.get(uid, NO_HALT))


def page_of(query: Mapping[str, str], *, limit: int = LIMIT_DEFAULT) -> Page:
    """`limit` and `before`. Raises BadQueryError."""
    text = query.get("limit", f"{limit}")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise BadQueryError(f"`limit` must be a whole number from 1 to {LIMIT_MAX}: {text:.40}")
    return Page(int(text), query.get("before") or None)


def filter_of(query: Mapping[str, str]) -> DeliveryFilter:
    """`webhook`, `state` and `event`. Raises BadQueryError."""
    return DeliveryFilter(
        webhook=query.get("webhook") or None,
        state=choice_of(query, "state", State),
        event_id=query.get("event") or None,
    )


def choice_of(query: Mapping[str, str], key: str, choices: type[E]) -> E | None:
    """A parameter that is one of a closed set, or absent. Raises BadQueryError."""
    text = query.get(key)
    if not text:
        return None
    try:
        return choices(text)
    except ValueError:
        known = ", ".join(choice.value for choice in choices)
        raise BadQueryError(f"`{key}` must be one of {known}: {text:.40}") from None


def next_query(query: Mapping[str, str], page: Page, rows: Sequence[Any], before: str) -> str | None:
    """The query string of the next page, or None where this one is not full."""
    if len(rows) < page.limit:
        return None
    return urlencode({**query, "limit": page.limit, "before": before}, errors="replace")


def _listed(request: Request, page: Page, rows: list[dict[str, Any]], *, key: str) -> Response:
    following = next_query(request.query_params, page, rows, f"{rows[-1][key]}") if rows else None
    return _json(rows, {} if following is None else {"link": f'<{request.url.path}?{following}>; rel="next"'})


def _json(value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Through jsontext, which keeps digits and survives what UTF-8 cannot carry."""
    return Response(jsontext.dumps(value).encode("utf-8"), media_type="application/json", headers=headers)


def _missing(kind: str) -> Response:
    return problem_response(404, f"no such {kind}", code="missing")
