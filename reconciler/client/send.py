"""Events to a daemon: files as requests, asked again while the daemon is busy. Called by `reconciler send`."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Self

from reconciler.client.connection import DaemonAddress, DaemonError, problem_of, refusal
from reconciler.dispatch.item import REQUEST_MAX_BYTES, REQUEST_MAX_EVENTS, looks_like_lines

if TYPE_CHECKING:
    import httpx

SEND_TRIES: Final = 8
WAIT_MAX_SECONDS: Final = 30.0  # of one wait, whatever the daemon asks for
BATCH_MAX_BYTES: Final = REQUEST_MAX_BYTES // 2
ANSWERED: Final = frozenset({200, 202, 409})  # 409: a single event that conflicts; its answer says so
TRY_AGAIN: Final = frozenset({429, 503})
LINE_SUFFIXES: Final = (".jsonl", ".ndjson")
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"


class DaemonClient:
    """One daemon, spoken to over a connection that is kept. `now` is aware UTC; `sleep` takes seconds."""

    def __init__(
        self,
        daemon: DaemonAddress,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.fromtimestamp(time.time_ns() / 1e9, UTC),
    ) -> None:
        self._daemon = daemon
        self._sleep = sleep
        self._now = now

    def __enter__(self) -> Self:
        import httpx

        self._http = httpx.Client(**self._daemon.http_options())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def send(self, body: bytes, *, content_type: str = JSON) -> dict[str, Any]:
        """Send one request's worth of events; returns intake's answer.

        Asks again while the daemon is busy or away, after what its Retry-After says, SEND_TRIES times in all: events
        have an identity, so none is taken twice. Raises DaemonError.
        """
        for tries_left in range(SEND_TRIES - 1, -1, -1):
            response = self._post("/v1/events", body, content_type)
            if response.status_code in ANSWERED:
                return self._answer(response)
            if response.status_code not in TRY_AGAIN or not tries_left:
                break
            self._sleep(retry_after_seconds(response.headers, now=self._now()))
        raise refusal(response)

    def _post(self, path: str, body: bytes, content_type: str) -> "httpx.Response":
        import httpx

        url = self._daemon.url + path
        try:
            return self._http.post(url, content=body, headers={"content-type": content_type})
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._daemon.unreachable(exc) from exc

    def _answer(self, response: "httpx.Response") -> dict[str, Any]:
        answer = problem_of(response)
        if "events" not in answer:
            raise DaemonError(f"the answer of {self._daemon.url} is not a daemon's", status=response.status_code)
        return answer


def batches(body: bytes, *, name: str = "") -> Iterator[tuple[bytes, str]]:
    """A file's content as request bodies with their content types.

    Lines (a name that ends in .jsonl or .ndjson, or content that looks like it) go in as many requests as it takes; a
    JSON document goes as it is.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not name.endswith(LINE_SUFFIXES) and not looks_like_lines(body):
        yield body, JSON
        return
    batch: list[bytes] = []
    size = 0
    for line in body.split(b"\n"):
        if batch and (len(batch) == REQUEST_MAX_EVENTS or size + len(line) >= BATCH_MAX_BYTES):
            yield b"\n".join(batch), NDJSON
            batch, size = [], 0
        if line.strip():
            batch.append(line)
            size += len(line) + 1
    if batch:
        yield b"\n".join(batch), NDJSON


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float:
    """How long the daemon asks to wait (RFC 9110, section 10.2.3), from 0 to WAIT_MAX_SECONDS; 1 where it says
    nothing that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), WAIT_MAX_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 1.0
    return min(max((at - now).total_seconds(), 0.0), WAIT_MAX_SECONDS) if at.tzinfo else 1.0
