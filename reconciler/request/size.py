"""The last look at a request before it leaves `request.render`: whether its parts are of a size to send. Pure.

No message holds a value: secrets are filled in by now.
"""

from reconciler.errors import TemplateError
from reconciler.models.size import BODY_MAX, HEADER_MAX, HEADERS_MAX, URL_MAX

_HINT = {False: "send long values in the body", True: "send less of the event, by `body_template`"}


def check_size(url: str, headers: tuple[tuple[str, str], ...], body: bytes | None) -> None:
    """Raise TemplateError for a URL, a header, all headers or a body beyond its limit."""
    total = size_of(headers)
    if len(url) <= URL_MAX // 4 and total <= min(HEADER_MAX, HEADERS_MAX) and len(body or b"") <= BODY_MAX:
        return  # as nearly all requests are, told without a look at each part
    _check("the URL", len(url.encode("utf-8", "replace")), URL_MAX)
    total = 0
    for name, value in headers:
        size = len(name) + len(value)  # Latin-1 at most: a byte each
        _check(f"the header {name[:100]}", size, HEADER_MAX)
        total += size
    _check("the headers together", total, HEADERS_MAX)
    check_body(body or b"")


def size_of(headers: tuple[tuple[str, str], ...]) -> int:
    """Bytes of names and values together."""
    return sum([len(name) + len(value) for name, value in headers])


def check_body(body: bytes) -> None:
    """Raise TemplateError for a body beyond its limit."""
    _check("the body", len(body), BODY_MAX)


def _check(what: str, size: int, limit: int) -> None:
    if size > limit:
        verb = "have" if what.endswith("together") else "has"
        raise TemplateError(f"{what} {verb} {size:,} bytes, the limit is {limit:,}", hint=_HINT[limit == BODY_MAX])
