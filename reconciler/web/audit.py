"""The audit log, for commands and auditors: entries as people see them, as they are kept, and the head of the chain.

Mounted by `web.app`. Reads, but for the tests that a client has sent: those it has recorded, under its token's name.
"""

from collections.abc import Callable

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.source.body import Body
from reconciler.source.problem import problem_response
from reconciler.store.audit import AuditLog
from reconciler.store.wire import dumps
from reconciler.store.wire_audit import TEST_MAX_BYTES, TestBody
from reconciler.web.api import BadQueryError, next_query, page_of
from reconciler.web.content import CLOSE, content_of, warrant_of


class AuditApi:
    """The endpoints over one store. `now` gives milliseconds since the epoch."""

    def __init__(self, *, store: AuditLog, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    def routes(self) -> list[Route]:
        """What to mount."""
        return [
            Route("/v1/audit", self.entries, methods=["GET"]),
            Route("/v1/audit/rows", self.rows, methods=["GET"]),
            Route("/v1/audit/head", self.head, methods=["GET"]),
            Route("/v1/audit/tests", self.record, methods=["POST"]),
            Route("/v1/audit/verifications", self.record, methods=["POST"]),
        ]

    async def entries(self, request: Request) -> Response:
        """Entries, newest first."""
        page = page_of(request.query_params)
        told = request.query_params.get("before")
        before = None if told is None else _number("before", told)
        found = [entry.to_json() for entry in await self._store.audit(limit=page.limit, before=before)]
        following = next_query(request.query_params, page, found, f"{found[-1]['number']}") if found else None
        return _json(found, {} if following is None else {"link": f'</v1/audit?{following}>; rel="next"'})

    async def rows(self, request: Request) -> Response:
        """Entries as they are kept, oldest first, behind the number `after`: what a verification walks along."""
        limit = page_of(request.query_params).limit
        after = _number("after", request.query_params.get("after", "0"))
        return _json([row.to_json() for row in await self._store.audit_rows(after=after, limit=limit)])

    async def head(self, request: Request) -> Response:
        """The end of the log."""
        return _json((await self._store.audit_head()).to_json())

    async def record(self, request: Request) -> Response:
        """Keep that a test event was sent: by `test`, or by `apply --verify`, whose token may only apply."""
        content = await content_of(Body(request), max_bytes=TEST_MAX_BYTES)
        if isinstance(content, Response):
            return content
        try:
            told = TestBody.model_validate_json(content)
        except ValidationError:
            hint = "send {webhook, successful, outcome, status, delivery_id, digest, verifies, by, reason}"
            return problem_response(422, "this is no test", hint=hint, headers=CLOSE, code="invalid")
        by = warrant_of(request, at=self._now(), behalf=told.by, reason=told.reason)
        await self._store.record(told.deed(by))
        return Response(status_code=204)


def _number(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadQueryError(f"`{key}` must be a whole number: {text:.40}")
    return int(text)


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(dumps(value), media_type="application/json", headers=headers)
