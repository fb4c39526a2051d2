"""Posts events to a daemon, as fast as it answers or at a given rate; notes when each request was sent.

A process of its own, started by `dispatch.py` beside this file:

    python tests/benchmarks/sender.py URL FILE --flows NAME,… --number N [--rate PER_SECOND] [--batch EVENTS]

FILE gets a line for each request: the id of its event and when its first byte was written, in milliseconds since the
epoch. In a batch events have no ids.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httptools
from stage import CONCURRENCY, event
from transport import run_in, say

PLACE: Final = 987654321  # of the number in an event, replaced for each


class Client(asyncio.Protocol):
    """One connection; asks for the next request when its answer has come."""

    def __init__(self, ready: Callable[["Client"], None], statuses: dict[int, int]) -> None:
        self._ready = ready
        self._statuses = statuses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpResponseParser(self)
        self._ready(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._ready(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._statuses[0] = self._statuses.get(0, 0) + 1  # the benchmark fails on what is not 202

    def post(self, request: bytes) -> None:
        """Write one request."""
        self._transport.write(request)


def requests_to(flows: list[str], number: int, batch: int = 1) -> Iterator[tuple[str, bytes]]:
    """The id and the bytes of each request, its events dealt out to the flows in turn: one a request, or arrays."""
    parts = [json.dumps(event(PLACE, flow)).encode().split(str(PLACE).encode()) for flow in flows]
    for first in range(0, number, batch):
        indexes = range(first, min(number, first + batch))
        bodies = [str(index).encode().join(parts[index % len(parts)]) for index in indexes]
        body = bodies[0] if batch == 1 else b"[%b]" % b",".join(bodies)
        key = f"idempotency-key: bench-{first}\r\n" if batch == 1 else ""
        head = (
            f"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"{key}content-length: {len(body)}\r\n\r\n"
        )
        yield f"bench-{first}", head.encode() + body


async def send(url: str, requests: Iterator[tuple[str, bytes]], number: int, rate: float) -> dict[str, Any]:
    """Send all and wait for the answers; the statuses, the seconds it took, and when each was sent."""
    idle: asyncio.Queue[Client] = asyncio.Queue()
    statuses: dict[int, int] = {}
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    for _ in range(CONCURRENCY):
        await loop.create_connection(lambda: Client(idle.put_nowait, statuses), parts.hostname, parts.port)
    sent: list[tuple[str, float]] = []
    began = time.perf_counter()
    for index, (name, data) in enumerate(requests):
        wait = began + index / rate - time.perf_counter() if rate else 0.0
        if wait > 0:
            await asyncio.sleep(wait)
        client = await idle.get()
        sent.append((name, time.time() * 1000))
        client.post(data)
    async with asyncio.timeout(60):
        for _ in range(CONCURRENCY):
            await idle.get()
    return {"sent": sent, "statuses": statuses, "seconds": time.perf_counter() - began, "number": number}


def main() -> None:
    """One run, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--flows", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    requests = requests_to(args.flows.split(","), args.number, args.batch)
    found = run_in("uvloop", send(args.url, requests, args.number, args.rate))
    args.file.write_text("".join(f"{name} {at:.3f}\n" for name, at in found.pop("sent")))
    say(json.dumps(found))


if __name__ == "__main__":
    main()
