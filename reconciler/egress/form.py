"""A webhook's requests as bytes and as people are shown them, with blanks for what each delivery has of its own.

Made by `egress.deliver` from an example by the code that makes any request, so that both are the same, or by another
form for the same host; filled in by `egress.flight`. What stands in it was checked once; what is filled in cannot break
it.
"""

import re
from collections.abc import Sequence
from typing import Final

import httpx

from reconciler.egress.identity import Identity
from reconciler.egress.mask import Masker
from reconciler.egress.pool import origin_of
from reconciler.models.delivery import SentRequest
from reconciler.models.webhook import ResponseValidator
from reconciler.request.answer import ANSWER_MAX_BYTES
from reconciler.request.draft import Draft

EXAMPLE: Final = Draft("{an id}", "{a timestamp}", "{a signature}", b"", b"")  # no value of a header that people write
UNSIGNED: Final = EXAMPLE._replace(timestamp="", signature="")

# A path that every client sends as it is written: no escape, and no segment that begins with a dot
_TARGET: Final = r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,255}+){1,8}+/?"
_PLAIN_TARGET: Final = re.compile(_TARGET)
PLAIN_URL: Final = re.compile(rf"(https://[a-z0-9.-]+)({_TARGET})")
_NO_LENGTH: Final = b"Content-Length: 0\r\n\r\n"


class Form:
    """All requests of one webhook while its revision and its secrets stay, and how they are sent and judged."""

    def __init__(
        self,
        url: httpx.URL,
        head: bytes,
        example: SentRequest,
        *,
        masker: Masker,
        identity: Identity | None,
        timeout_seconds: float,
        validators: Sequence[ResponseValidator],
        is_signed: bool,
    ) -> None:
        """`url` tells scheme, host and port; `head` (of a request with no body, or an empty one) and `example` (not
        masked) are the request of EXAMPLE, or of UNSIGNED. Raises ValueError where a blank is not to be told from the
        rest, and httpx.UnsupportedProtocol for what is not https."""
        blanks = EXAMPLE.own if is_signed else UNSIGNED.own
        self.url = url
        self._plain_origin = f"https://{url.netloc.decode('ascii')}"
        self.origin = origin_of(url, identity)
        self.timeout_seconds = timeout_seconds
        self.validators = validators
        self.judged_max = ANSWER_MAX_BYTES if validators else 0  # bytes of an answer's body
        self.masker = masker
        self._head = _with_blanks(head, blanks)
        self._has_body = head.endswith(_NO_LENGTH)
        self._example = self._shown = example
        self._masked_at = -1  # the masker's version
        values = [value for _, value in example.headers]
        self._places = tuple([values.index(blank) for blank in blanks])
        self._names = tuple([example.headers[place][0] for place in self._places])

    def elsewhere(self, url: str) -> "Form | None":
        """The form of requests that differ in their URL alone; None where that takes a look at all of it: it has
        another host, or what is perhaps not sent as it is written."""
        start = len(self._plain_origin)
        if not url.startswith(self._plain_origin) or _PLAIN_TARGET.fullmatch(url, start) is None:
            return None
        if self._masked_at != self.masker.version:
            self._mask()
        form = Form.__new__(Form)
        form.__dict__.update(self.__dict__)
        head = self._head
        target_at, version_at = head.index(b" ") + 1, head.index(b" HTTP/1.1\r\n")
        form._head = b"%b%b%b" % (head[:target_at], url[start:].encode("ascii"), head[version_at:])
        form._example = SentRequest(self._example.method, url, self._example.headers, "")
        form._shown = SentRequest(self._shown.method, self.masker.mask(url), self._shown.headers, "")
        return form

    def fill(self, draft: Draft) -> bytes:
        """The request's bytes."""
        own = [value.encode("ascii") for value in draft.own]
        if draft.body is None or not self._has_body:
            return self._head % tuple(own)
        return b"%b%b" % (self._head % (*own, len(draft.body)), draft.body)

    def show(self, draft: Draft) -> SentRequest:
        """The request as people are shown it, masked."""
        masker = self.masker
        if self._masked_at != masker.version:
            self._mask()
        own = draft.own
        body = (draft.shown_body or b"").decode("utf-8", "replace")
        if not masker.is_clean("\n".join((*own, body))):
            own, body = tuple([masker.mask(value) for value in own]), masker.mask(body)
        headers = list(self._shown.headers)
        for place, name, value in zip(self._places, self._names, own, strict=True):
            headers[place] = (name, value)
        return SentRequest(self._shown.method, self._shown.url, tuple(headers), body)

    def _mask(self) -> None:
        """Mask what all requests have in common: it is looked at once, until another secret is known."""
        masker, example = self.masker, self._example
        self._masked_at = masker.version
        headers = tuple([masker.mask_header(header) for header in example.headers])
        self._shown = SentRequest(example.method, masker.mask(example.url), headers, "")


def _with_blanks(head: bytes, blanks: tuple[str, ...]) -> bytes:
    """The head as a format: each blank once, in the order of EXAMPLE, and the body's length at the end."""
    head = head.replace(b"%", b"%%")
    at = 0
    for blank in blanks:
        mark = blank.encode("ascii")
        if head.count(mark) != 1 or head.index(mark) < at:
            raise ValueError("a blank is not to be told from the rest")
        at = head.index(mark)
        head = head.replace(mark, b"%b")
    return head.removesuffix(_NO_LENGTH) + b"Content-Length: %d\r\n\r\n" if head.endswith(_NO_LENGTH) else head
