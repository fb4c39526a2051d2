"""A form that a page of ours sent: its fields, bounded, and the proof that it is ours. For `web.login` and `web.act`.

The guard has judged where it comes from (`Origin`, `Sec-Fetch-Site`) before. Nothing here is logged: a field may be a
token.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from reconciler.source.body import Body
from reconciler.source.problem import problem_response
from reconciler.web.content import CLOSE, content_of
from reconciler.web.session import Session, session_of

FORM_TYPE: Final = "application/x-www-form-urlencoded"
FORM_MAX_BYTES: Final = 16 * 1024
FIELDS_MAX: Final = 16
FORM_TOKEN: Final = "form_token"  # the field
STALE: Final = "this form is not of your session; load the page again"


@dataclass(frozen=True, slots=True)
class Form:
    """What a logged-in person sent."""

    session: Session
    fields: Mapping[str, str]

    def text(self, name: str) -> str:
        """A field; empty where it is missing."""
        return self.fields.get(name, "")


async def fields_of(request: Request) -> dict[str, str] | Response:
    """The fields of a form, each at most once; or the answer to what is no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        await Body(request).discard()
        return problem_response(415, f"a form must be {FORM_TYPE}", headers=CLOSE)
    content = await content_of(Body(request), max_bytes=FORM_MAX_BYTES)
    if isinstance(content, Response):
        return content
    try:
        pairs = parse_qsl(content.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        return problem_response(400, "this form cannot be read", headers=CLOSE)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        return problem_response(400, "a field of this form stands twice", headers=CLOSE)
    return fields


async def form_of(request: Request) -> Form | Response:
    """A form of a session's page, which its token proves; or the answer to any other."""
    fields = await fields_of(request)
    if isinstance(fields, Response):
        return fields
    session = session_of(request)
    if session is None:
        hint = "programs send a token to /v1/, which does the same"
        return problem_response(400, "forms are for people who logged in to the page", hint=hint, headers=CLOSE)
    given = fields.get(FORM_TOKEN, "").encode("utf-8")
    if not hmac.compare_digest(given, session.form_token.encode("ascii")):
        return problem_response(403, STALE, headers=CLOSE)
    return Form(session, fields)
