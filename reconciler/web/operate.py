"""What operators do to deliveries and events, for commands: surveys, replays and cancels, portion by portion; triggers.

Mounted by `web.app`; the store decides what can be done to deliveries, `dispatch.replay` what events are. Who did it is
said by the token, where there is one, and when by the daemon's clock.
"""

import uuid
from collections.abc import Callable
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.dispatch.item import EVENT_MAX_BYTES, REQUEST_MAX_BYTES
from reconciler.dispatch.judge import BadIdError, check_id
from reconciler.dispatch.live import Live
from reconciler.dispatch.replay import Replayer, ReplayError
from reconciler.dispatch.trigger import TriggerError, fire
from reconciler.models.delivery import Action
from reconciler.observe.log import log
from reconciler.source.body import Body
from reconciler.source.problem import problem_response
from reconciler.store.base import Store
from reconciler.store.operate import Portion
from reconciler.store.wire import dumps, line
from reconciler.store.wire_operate import ORDER_MAX_BYTES, EventReplayBody, OperateBody, portion_json
from reconciler.web.content import CLOSE, content_of, token_name, warrant_of

MENDED_MAX_BYTES: Final = 4 * REQUEST_MAX_BYTES  # as JSON text, or in base 64
FAULTS_MAX: Final = 3  # of a body, told at once


class OperateApi:
    """The endpoints over one store. `now` gives milliseconds since the epoch; `on_operate` is called when deliveries
    may have become due."""

    def __init__(
        self, *, store: Store, live: Live, replayer: Replayer, now: Callable[[], int], on_operate: Callable[[], None]
    ) -> None:
        self._store = store
        self._live = live
        self._replayer = replayer
        self._now = now
        self._on_operate = on_operate

    def routes(self) -> list[Route]:
        """What to mount."""
        return [
            Route("/v1/deliveries/survey", self.survey, methods=["POST"]),
            Route("/v1/deliveries/replay", self.replay, methods=["POST"]),
            Route("/v1/deliveries/cancel", self.cancel, methods=["POST"]),
            Route("/v1/events/replay", self.replay_event, methods=["POST"]),
            Route("/v1/webhooks/{name}/trigger", self.trigger, methods=["POST"]),
        ]

    async def survey(self, request: Request) -> Response:
        """What a replay or a cancel would do to the next portion of a selection."""
        order = await _order(request)
        if isinstance(order, Response):
            return order
        where = order.where.selection()
        return _portion(await self._store.survey(where, order.action, terms=order.terms(), at=order.at))

    async def replay(self, request: Request) -> Response:
        """Make the next portion of a selection due again."""
        return await self._intervene(request, Action.REPLAY)

    async def cancel(self, request: Request) -> Response:
        """Cancel the next portion of a selection."""
        return await self._intervene(request, Action.CANCEL)

    async def _intervene(self, request: Request, action: Action) -> Response:
        order = await _order(request)
        if isinstance(order, Response):
            return order
        if order.action is not action or not order.key:
            fact = "`key` is missing" if not order.key else f"`action` must be `{action.value}` here"
            return problem_response(422, fact, code="invalid")
        how = order.intervention(given_at=self._now(), by=token_name(request))
        by = warrant_of(request, at=how.given_at, behalf=order.by, reason=order.reason)
        where, terms = order.where.selection(), order.terms()
        portion = await self._store.intervene(where, how, terms=terms, at=order.at, warrant=by)
        if portion.done:
            self._on_operate()
        log("delivery.intervened", action=action.value, done=portion.done, by=how.given_by, why=how.reason, key=how.key)
        return _portion(portion)

    async def replay_event(self, request: Request) -> Response:
        """Judge an event again, as mended bytes where they are sent: what it is now, or why it is none."""
        content = await content_of(Body(request), max_bytes=MENDED_MAX_BYTES)
        if isinstance(content, Response):
            return content
        try:
            order = EventReplayBody.model_validate_json(content)
        except ValidationError as exc:
            return _invalid(exc, hint="send {id}, and where it was mended {raw} or {raw_base64}")
        try:
            by = warrant_of(request, at=self._now(), behalf=order.by, reason=order.reason)
            replayed = await self._replayer.replay(order.id, order.mended, by)
        except ReplayError as exc:
            return problem_response(422, exc.message, hint=exc.hint, code="invalid")
        log("event.replayed", event_id=order.id, by=token_name(request), **replayed.answer.counts())
        return Response(dumps(replayed.to_json()), media_type="application/json")

    async def trigger(self, request: Request) -> Response:
        """Fire a Manual webhook with the event that is sent; `id` names one that brings no id of its own."""
        content = await content_of(Body(request), max_bytes=EVENT_MAX_BYTES)
        if isinstance(content, Response):
            return content
        name, given_id = request.path_params["name"], request.query_params.get("id")
        try:
            fallback_id = check_id(given_id) or f"trg_{uuid.uuid4().hex}"
            said = {key: line(request.query_params.get(key, "")) for key in ("behalf", "reason")}
            by = warrant_of(request, at=self._now(), **said)
            fired = await fire(
                self._store, self._live, name, content, fallback_id=fallback_id, now=self._now, warrant=by
            )
        except (TriggerError, BadIdError) as exc:
            return problem_response(422, exc.message, hint=exc.hint, code="invalid")
        self._on_operate()
        log("webhook.fired", webhook=name, delivery=fired.delivery_id, by=token_name(request), status=fired.status)
        return Response(dumps(fired.to_json()), 202, media_type="application/json")


async def _order(request: Request) -> OperateBody | Response:
    content = await content_of(Body(request), max_bytes=ORDER_MAX_BYTES, hint="name fewer deliveries at a time")
    if isinstance(content, Response):
        return content
    try:
        return OperateBody.of(content)
    except ValidationError as exc:
        return _invalid(exc, hint="send {action, where, at, key, by, reason, new_id, delay_ms, interval_us}")


def _invalid(exc: ValidationError, *, hint: str) -> Response:
    faults = [
        f"`{'.'.join(str(part) for part in fault['loc'])}`: {fault['msg']}"
        for fault in exc.errors(include_url=False, include_input=False)[:FAULTS_MAX]
    ]
    detail = f"this is no order: {'; '.join(faults)}"
    return problem_response(422, detail, hint=hint, headers=CLOSE, code="invalid")


def _portion(portion: Portion) -> Response:
    return Response(dumps(portion_json(portion)), media_type="application/json")
