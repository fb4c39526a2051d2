"""States and their revisions, for commands: what a plan compares with, and the compare-and-set that an apply ends in.

Mounted by `web.app`. The store decides whether a plan is stale, `web.change_set` whether its documents are valid; who
applied is said by the token, where there is one, and when by the daemon's clock.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from reconciler.dispatch.garbage import set_apart
from reconciler.errors import NotInStoreError, RefusedError, StalePlanError
from reconciler.models.revision import LiveState
from reconciler.observe.log import log
from reconciler.source.body import Body
from reconciler.source.problem import problem_response
from reconciler.store.base import RevisionStore
from reconciler.store.wire import (
    CHANGE_SET_MAX_BYTES,
    CHANGE_SET_TYPE,
    HoldOrder,
    dumps,
    line,
    live_webhook_json,
    state_head,
)
from reconciler.web.access import token_of
from reconciler.web.api import BadQueryError
from reconciler.web.change_set import ChangeSetError, Slices, read_change_set, said_by
from reconciler.web.content import CLOSE, content_of, token_name, too_large, warrant_of
from reconciler.web.owner import refused_change_set, refused_owner

PIECE_BYTES: Final = 64 * 1024  # of a state, sent at a time
PUBLISHING_MAX: Final = 2  # change sets held at once: each may be CHANGE_SET_MAX_BYTES, and several times that parsed
LARGE_BYTES: Final = 1024 * 1024  # of a change set, of which some million objects are made
HOLD_MAX_BYTES: Final = 16 * 1024
NUMBER_MAX_DIGITS: Final = 18
SMALLER: Final = "apply a part of it first, with `--target`"


class StateApi:
    """The endpoints over one store. `now` gives milliseconds since the epoch; `on_publish` is called when a revision
    was set."""

    def __init__(self, *, store: RevisionStore, now: Callable[[], int], on_publish: Callable[[], None]) -> None:
        self._store = store
        self._now = now
        self._on_publish = on_publish
        self._room = asyncio.Semaphore(PUBLISHING_MAX)
        self._lineage = ""  # made with the store, so it need not be asked for again

    def routes(self) -> list[Route]:
        """What to mount."""
        return [
            Route("/v1/state", self.state, methods=["GET"]),
            Route("/v1/revisions/{number}", self.revision, methods=["GET"]),
            Route("/v1/revisions", self.publish, methods=["POST"]),
            Route("/v1/holds", self.holds, methods=["GET"]),
            Route("/v1/holds", self.hold, methods=["POST"]),
            Route("/v1/holds", self.release, methods=["DELETE"]),
        ]

    async def state(self, request: Request) -> Response:
        """The live state, or that of `revision`; 304 for one that the client has (RFC 9110, section 13.1.2)."""
        text = request.query_params.get("revision")
        wanted = None if text is None else _number(text.removeprefix("-"))
        if text is not None and wanted is None:
            raise BadQueryError(f"`revision` must be a whole number: {text:.40}")
        if wanted is not None and text is not None and text.startswith("-"):
            wanted = -wanted  # there is none; which there are, the store says
        number = await self._store.live_revision() if wanted is None else wanted
        if self._lineage and _is_known(request, _tag(self._lineage, number)):
            return Response(status_code=304, headers={"etag": _tag(self._lineage, number)})
        state = await self._store.live_state(wanted)
        self._lineage = state.lineage
        headers = {"etag": _tag(state.lineage, state.revision)}
        return StreamingResponse(_pieces(state), media_type="application/json", headers=headers)

    async def revision(self, request: Request) -> Response:
        """One revision with its changes."""
        number = _number(request.path_params["number"])
        found = None if number is None else await self._store.revision(number)
        if found is None:
            return problem_response(404, "no such revision", code="missing")
        return _document({**found.to_json(), "changes": found.changes})

    async def publish(self, request: Request) -> Response:
        """Set a new revision: 201 with it, 403 where it is not for the token's owners, 409 where the plan is stale, 422
        where the change set is not valid."""
        body = Body(request)
        refusal = _head_refusal(request)
        if refusal is not None:
            await body.discard()
            return refusal
        began = time.monotonic()
        async with self._room:
            content = await content_of(body, max_bytes=CHANGE_SET_MAX_BYTES, hint=SMALLER)
            if isinstance(content, Response):
                return content
            with set_apart() if len(content) >= LARGE_BYTES else contextlib.nullcontext():
                return await self._publish(request, content, began)

    async def _publish(self, request: Request, content: bytes, began: float) -> Response:
        try:
            change_set = await read_change_set(content, applied_at=self._now(), token=token_name(request))
            if refusal := await refused_change_set(token_of(request), change_set, self._store):
                return refusal
            by = warrant_of(request, at=self._now(), behalf=said_by(content), reason=change_set.reason)
            revision = await self._store.publish(change_set, warrant=by)
        except ChangeSetError as exc:
            return problem_response(422, exc.message, hint=exc.hint, code="invalid", problems=exc.problems)
        except StalePlanError as exc:
            return problem_response(
                409,
                exc.message,
                hint=exc.hint,
                code="stale",
                base_revision=exc.base_revision,
                live_revision=exc.live_revision,
                used=exc.is_used,
            )
        except RefusedError as exc:
            return problem_response(409, exc.message, hint=exc.hint, code="refused")
        except NotInStoreError as exc:
            return problem_response(422, exc.message, hint=exc.hint, code="not_in_store")
        self._on_publish()
        log(
            "revision.published",
            revision=revision.number,
            by=revision.applied_by,
            commit=revision.commit,
            owner=revision.owner,
            created=revision.created,
            updated=revision.updated,
            renamed=revision.renamed,
            deleted=revision.deleted,
            bytes=len(content),
            duration_ms=round((time.monotonic() - began) * 1000, 1),
        )
        return _document(revision.to_json(), status=201, location=f"/v1/revisions/{revision.number}")

    async def holds(self, request: Request) -> Response:
        """The owners whose applies are refused."""
        return _document([hold.to_json() for hold in await self._store.holds()])

    async def hold(self, request: Request) -> Response:
        """Refuse an owner's applies from now on."""
        content = await content_of(Body(request), max_bytes=HOLD_MAX_BYTES)
        if isinstance(content, Response):
            return content
        try:
            order = HoldOrder.model_validate_json(content)
        except ValidationError:
            hint = "send {owner, held_by, reason}, each a text"
            return problem_response(422, "this is no hold", hint=hint, headers=CLOSE, code="invalid")
        if refusal := refused_owner(token_of(request), order.owner):
            return refusal
        hold = order.hold(held_at=self._now(), held_by=token_name(request))
        by = warrant_of(request, at=hold.held_at, behalf=order.held_by, reason=order.reason)
        await self._store.set_hold(hold.owner, hold, warrant=by)
        log("apply.held", owner=hold.owner, by=hold.held_by)
        return _document(hold.to_json(), status=201)

    async def release(self, request: Request) -> Response:
        """Take an owner's applies again; the owner is in the query, so that it may be empty."""
        owner = request.query_params.get("owner")
        if owner is None:
            raise BadQueryError("`owner` is missing")
        if refusal := refused_owner(token_of(request), owner):
            return refusal
        said = {key: line(request.query_params.get(key, "")) for key in ("behalf", "reason")}
        await self._store.set_hold(owner, None, warrant=warrant_of(request, at=self._now(), **said))
        log("apply.released", owner=owner, by=token_name(request))
        return Response(status_code=204)


async def _pieces(state: LiveState) -> AsyncIterator[bytes]:
    """The state as one JSON document, a webhook a line, written as it is sent: as a whole, ten thousand webhooks would
    hold up the loop for a second."""
    slices = Slices()
    piece = bytearray(dumps(state_head(state))[:-1] + b',"webhooks":[')
    for index, live in enumerate(state.webhooks):
        piece += (b",\n" if index else b"\n") + dumps(live_webhook_json(live))
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
        await slices.breathe()
    yield bytes(piece + b"]}")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= NUMBER_MAX_DIGITS else None


def _tag(lineage: str, revision: int) -> str:
    """Weak: another version of the daemon may write the same state otherwise."""
    return f'W/"{lineage}-{revision}"'


def _is_known(request: Request, tag: str) -> bool:
    known = (item.strip() for item in request.headers.get("if-none-match", "").split(","))
    return any(item in (tag, tag.removeprefix("W/")) for item in known)


def _document(value: object, *, status: int = 200, location: str | None = None) -> Response:
    headers = None if location is None else {"location": location}
    return Response(dumps(value), status, media_type="application/json", headers=headers)


def _head_refusal(request: Request) -> Response | None:
    """The answer where the headers say already that the body will not be taken."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != CHANGE_SET_TYPE or encoding != "identity":
        hint = f"send lines of JSON as they are, as {CHANGE_SET_TYPE}"
        return problem_response(415, "a change set is lines of JSON", hint=hint, headers=CLOSE)
    length = request.headers.get("content-length", "")
    is_too_large = length.isascii() and length.isdigit() and int(length[:20]) > CHANGE_SET_MAX_BYTES
    return too_large(CHANGE_SET_MAX_BYTES, hint=SMALLER) if is_too_large else None
