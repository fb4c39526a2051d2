"""What arrived of one answer, bounded, judged and shown masked; filled in by `egress.deliver` and `egress.flight`.

It never decompresses, and what it hands out for people holds no secret.
"""

from collections.abc import Sequence
from typing import Final

import httpx

from reconciler.egress.http1 import REMEMBERED_MAX, Answer
from reconciler.egress.mask import Masker
from reconciler.models.delivery import DeliveryControl, ReceivedResponse
from reconciler.models.webhook import ResponseValidator
from reconciler.request.answer import Miss, miss_of

BODY_KEPT_MAX: Final = 16 * 1024  # of a response, as shown to people
HEADERS_KEPT_MAX: Final = 16 * 1024  # bytes of names and values together
DETAIL_MAX: Final = 256
JUDGED_SHOWN_MAX: Final = 48  # characters of what an answer says, and of what was expected, in a detail

_TELLING: Final = frozenset(
    {b"retry-after", b"x-rate-limit-reset", b"x-ratelimit-reset", b"webhook-delivery", b"content-encoding"}
)
_TELLING_SIZES: Final = frozenset(map(len, _TELLING))


class Received:
    """What arrived of a response, bounded; still of use when the connection broke on the way."""

    def __init__(self, masker: Masker, *, judged_max: int) -> None:
        """`judged_max` is how many bytes of a 2xx are wanted whole, beside what is shown."""
        self._masker = masker
        self._judged_max = judged_max
        self._body = b""
        self._is_truncated = False
        self.status: int | None = None
        self.reason_phrase = ""
        self.telling: tuple[tuple[str, str], ...] = ()  # the headers that mean something to us, names in lower case
        self._headers: list[tuple[bytes, bytes]] = []
        self._shown: ReceivedResponse | None = None
        self._shown_at = -1  # the masker's version, since when nothing more was taken

    async def read(self, response: httpx.Response) -> None:
        """Take a response as httpx has it, and close it."""
        self.take_head(response.status_code, response.reason_phrase, response.headers.raw)
        if isinstance(response.stream, httpx.ByteStream):  # all of it is here, and nothing is left to be closed
            self.take_body(b"".join(response.stream))
            return
        try:
            await self.read_body(response.stream)
        finally:
            await response.aclose()

    def take_head(self, status: int, reason_phrase: str, headers: list[tuple[bytes, bytes]]) -> None:
        """Take what stands before the body."""
        self.status = status
        self.reason_phrase = reason_phrase
        self._headers = headers
        self._is_truncated = True  # until the body is here
        self._shown_at = -1
        for name, value in headers:
            if len(name) in _TELLING_SIZES and name.lower() in _TELLING:
                said = (name.lower().decode("ascii"), value.decode("utf-8", "replace"))
                self.telling = (*self.telling, said)

    def take_body(self, body: bytes) -> None:
        """Take a body that is here as a whole."""
        self._shown_at = -1
        self._body = body[: self._enough() + 1] if len(body) > BODY_KEPT_MAX else body
        self._is_truncated = len(self._body) > BODY_KEPT_MAX

    async def read_body(self, stream: object) -> None:
        """Take up to BODY_KEPT_MAX of a body as it arrives, more where it is judged; what is longer is cut and its
        connection closed."""
        body, enough = bytearray(), self._enough()
        try:
            if isinstance(stream, httpx.AsyncByteStream):
                async for part in stream:
                    body += part[: enough + 1 - len(body)]
                    if len(body) > enough:
                        break
        finally:
            self._body = bytes(body)
            self._shown_at = -1
        self._is_truncated = len(body) > BODY_KEPT_MAX

    def _enough(self) -> int:
        """How much of the body is wanted: a secret that begins before the cut must be seen whole to be masked."""
        is_judged = self.status is not None and 200 <= self.status < 300
        return max(BODY_KEPT_MAX + self._masker.longest, self._judged_max if is_judged else 0)

    @property
    def raw(self) -> bytes:
        """The body as far as it was read, unmasked."""
        return self._body

    def miss_of(self, validators: Sequence[ResponseValidator]) -> str | None:
        """Why the answer is not what they want, masked; None if it is."""
        encoding = self._encoding()
        miss = Miss(f"its content-encoding is {encoding}") if encoding else miss_of(validators, self._body)
        if miss is None:
            return None
        actual = "" if miss.actual is None else f" {self._masker.mask(miss.actual, limit=JUDGED_SHOWN_MAX)}"
        cut = "…" if len(miss.actual or "") > JUDGED_SHOWN_MAX else ""
        wanted = f", expected {_cut(miss.wanted, JUDGED_SHOWN_MAX)}" if miss.wanted else ""
        return f"the answer does not count as delivered: {miss.fact}{actual}{cut}{wanted}"

    def _encoding(self) -> str | None:
        """The content-encoding of a body that has one."""
        encoding = next((value for name, value in self.telling if name == "content-encoding"), "identity")
        return encoding if encoding.lower() != "identity" and self._body else None

    def control(self) -> DeliveryControl | None:
        """What the receiver asks by `webhook-delivery`; None for what is unknown, or said in two ways."""
        said = {value.strip().lower() for name, value in self.telling if name == "webhook-delivery"}
        return next((control for control in DeliveryControl if said == {control.value}), None) if said else None

    def to_received(self) -> ReceivedResponse | None:
        """The response as shown to people, masked before it is cut; None if none came. Made once, until more is taken
        or another secret is known."""
        if self.status is None:
            return None
        version = self._masker.version  # before it is masked, which another thread may outrun
        if self._shown is None or self._shown_at != version:
            self._shown = ReceivedResponse(
                status=self.status,
                reason_phrase=one_line(self._masker.mask(self.reason_phrase)),
                headers=self._shown_headers(),
                body=self._shown_body(),
                body_bytes=len(self._body),
                truncated=self._is_truncated,
            )
            self._shown_at = version
        return self._shown

    def _shown_headers(self) -> tuple[tuple[str, str], ...]:
        """Those that fit into HEADERS_KEPT_MAX, from the first on."""
        count, left = 0, HEADERS_KEPT_MAX
        for name, value in self._headers:
            left -= len(name) + len(value) + 2  # for the colon and the blank
            if left < 0:
                break
            count += 1
        return tuple(self._masker.mask_headers(self._headers[:count]))

    def _shown_body(self) -> str:
        if encoding := self._encoding():
            # not even as bytes: a secret inside could not be masked
            return f"({len(self._body)} bytes, content-encoding {one_line(self._masker.mask(encoding))}, not shown)"
        head = self._body[:BODY_KEPT_MAX].decode("utf-8", "replace")
        # one that broke off may end in the midst of a secret
        return self._masker.mask(self._body.decode("utf-8", "replace"), limit=len(head), is_cut=self._is_truncated)


class Answers:
    """What arrived lately as a whole and in few bytes: receivers say the same to most of what they are sent, and that
    is read and masked once."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._received: dict[bytes, Received] = {}

    def of(self, answer: Answer) -> Received | None:
        """What arrived with this answer, not to be changed; None for one that is not remembered."""
        raw, body = answer.raw, answer.body
        if raw is None or not isinstance(body, bytes):
            return None
        received = self._received.get(raw)
        if received is None:
            received = Received(self._masker, judged_max=0)  # all of it is less than is kept anyway
            received.take_head(answer.status, answer.reason_phrase.decode("ascii", "ignore"), answer.headers)
            received.take_body(body)
            if len(self._received) >= REMEMBERED_MAX:
                self._received.clear()
            self._received[raw] = received
        return received


def one_line(text: str) -> str:
    """Printable, on one line, at most DETAIL_MAX characters."""
    if text.isprintable() and len(text) <= DETAIL_MAX:
        return text
    return _cut("".join(char if char.isprintable() else " " for char in text), DETAIL_MAX)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
