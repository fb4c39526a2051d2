"""A webhook's flow, for commands and programs: what holds it back, its backlog; pause, resume, compact.

Mounted by `web.app`. Who paused is said by the token, where there is one, and when by the daemon's clock.
"""

from collections.abc import Callable
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.observe.log import log
from reconciler.source.body import Body
from reconciler.source.problem import problem_response
from reconciler.store.flow import FlowStore
from reconciler.store.wire import dumps
from reconciler.store.wire_flow import FLOW_MAX_BYTES, CompactBody, PauseBody, ResumeBody, flow_json
from reconciler.web.content import CLOSE, content_of, token_name, warrant_of
from reconciler.web.query import current_halts

PAUSE_HINT: Final = "send {reason, until}: a text, and perhaps a time like 2026-11-24T12:00:00Z"


class FlowApi:
    """The endpoints over one store. `now` gives milliseconds since the epoch; `on_flow` is called when something may
    have become due."""

    def __init__(self, *, store: FlowStore, now: Callable[[], int], on_flow: Callable[[], None]) -> None:
        self._store = store
        self._now = now
        self._on_flow = on_flow

    def routes(self) -> list[Route]:
        """What to mount."""
        return [
            Route("/v1/halts", self.halts, methods=["GET"]),
            Route("/v1/webhooks/{name}/flow", self.flow, methods=["GET"]),
            Route("/v1/webhooks/{name}/backlog", self.backlog, methods=["GET"]),
            Route("/v1/webhooks/{name}/pause", self.pause, methods=["POST"]),
            Route("/v1/webhooks/{name}/resume", self.resume, methods=["POST"]),
            Route("/v1/webhooks/{name}/compact", self.compact, methods=["POST"]),
        ]

    async def halts(self, request: Request) -> Response:
        """What holds webhooks back, by their uid."""
        halts = await current_halts(self._store, self._now())
        return _json({uid: halt.to_json() for uid, halt in halts.items()})

    async def flow(self, request: Request) -> Response:
        """A webhook's backlog, rate and what holds it back."""
        return _json(flow_json(await self._store.flow(request.path_params["name"])))

    async def backlog(self, request: Request) -> Response:
        """What a compaction would cancel."""
        found = await self._store.backlog(request.path_params["name"])
        return _json({"pending": found.pending, "superseded": found.superseded})

    async def pause(self, request: Request) -> Response:
        """Send the webhook nothing from now on."""
        content = await content_of(Body(request), max_bytes=FLOW_MAX_BYTES)
        if isinstance(content, Response):
            return content
        try:
            order = PauseBody.model_validate_json(content)
        except ValidationError:
            return problem_response(422, "this is no pause", hint=PAUSE_HINT, headers=CLOSE, code="invalid")
        now, name = self._now(), request.path_params["name"]
        pause = order.pause(paused_at=now, by=token_name(request))
        if pause.is_over(now):
            return problem_response(422, "`until` is past", hint=PAUSE_HINT, headers=CLOSE, code="invalid")
        by = warrant_of(request, at=now, behalf=order.by, reason=order.reason)
        await self._store.pause(name, pause, warrant=by)
        self._on_flow()
        return _json(pause.to_json())

    async def resume(self, request: Request) -> Response:
        """Send the webhook again; with `fresh_first` what is accepted from now on goes before its backlog."""
        content = await content_of(Body(request), max_bytes=FLOW_MAX_BYTES)
        if isinstance(content, Response):
            return content
        try:
            order = ResumeBody.read(content)
        except ValidationError:
            hint = "send {fresh_first, by, reason}: true or false, and texts, or nothing"
            return problem_response(422, "this is no resumption", hint=hint, headers=CLOSE, code="invalid")
        name = request.path_params["name"]
        by = warrant_of(request, at=self._now(), behalf=order.by, reason=order.reason)
        ended = await self._store.resume(name, fresh_first=order.fresh_first, warrant=by)
        self._on_flow()
        log("flow.resumed", webhook=name, by=token_name(request), fresh_first=order.fresh_first)
        return _json({"paused": None if ended is None else ended.to_json()})

    async def compact(self, request: Request) -> Response:
        """Cancel what later states of the same access requests supersede."""
        content = await content_of(Body(request), max_bytes=FLOW_MAX_BYTES)
        if isinstance(content, Response):
            return content
        try:
            order = CompactBody.read(content)
        except ValidationError:
            hint = "send {by, reason}, each a text, or nothing"
            return problem_response(422, "this is no compaction", hint=hint, headers=CLOSE, code="invalid")
        name = request.path_params["name"]
        by = warrant_of(request, at=self._now(), behalf=order.by, reason=order.reason)
        cancelled = await self._store.compact(name, warrant=by)
        self._on_flow()
        log("flow.compacted", webhook=name, by=token_name(request), cancelled=cancelled)
        return _json({"cancelled": cancelled})


def _json(value: object) -> Response:
    return Response(dumps(value), media_type="application/json")
