"""Errors of the daemon's HTTP side as problem details (RFC 9457), without a word about its insides.

Used by `source.http` and by `web`.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

PROBLEM_TYPE = "application/problem+json"


def problem_response(
    status: int, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """An `application/problem+json` answer; `members` that are not None are extension members (section 3.2)."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    members = {"hint": hint or None, **members}
    document |= {key: value for key, value in members.items() if value is not None}
    return Response(orjson.dumps(document), status, media_type=PROBLEM_TYPE, headers=headers)
