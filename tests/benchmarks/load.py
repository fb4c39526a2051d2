"""Events to a daemon at a steady rate, whatever it answers: `python load.py URL RATE PROJECTS FILE`.

Ends when its standard input does.

Used by `apply_under_load.py`. An event is due at a time that does not depend on the answers to others, and its latency
counts from then on (an open loop): a daemon that stands still for a second makes all events of that second late. FILE
gets (due, latency, status) of each event as a line of JSON, times in seconds.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

CONNECTIONS_MAX: Final = 512
ANSWER_SECONDS: Final = 30


def event(number: int, project: int) -> bytes:
    """An event of one access request, about 1 KB."""
    group = {
        "integration": {"id": f"i-{project}", "type": "Postgresql", "name": f"project-{project}-prod"},
        "resource_types": [{"id": "postgresql-database", "name": "Database", "display_path": "Postgresql/Database"}],
        "access_units": [
            {
                "resource": {"id": f"r-{unit}", "name": f"db{unit}", "path": f"prod/project-{project}/db{unit}"},
                "permission": {"id": "p-ro", "name": "READ_ONLY"},
            }
            for unit in range(2)
        ],
    }
    data = {
        "id": f"request-{number}",
        "friendly_id": f"AR-{number}",
        "requester": {"id": "u-1", "name": "Dana Levi", "email": "dana@example.com"},
        "access_groups": [group],
        "justification": "an incident in production that somebody must look into " * 4,
    }
    said = {"event_type": "AccessRequestCreated", "event_time": time.time(), "data": data}
    return json.dumps(said).encode()


class Load:
    """One steady stream of events to a daemon at `url`, of projects by chance."""

    def __init__(self, url: str, *, rate: float, projects: int) -> None:
        self._url = urlsplit(url)
        self._rate = rate
        self._projects = projects
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)
        self.answers: list[tuple[float, float, int]] = []

    async def run(self, until: asyncio.Event) -> None:
        """Send until told to stop, then wait for the answers still due."""
        began, number, chance = time.monotonic(), 0, random.Random(1)
        async with asyncio.TaskGroup() as group:
            while not until.is_set():
                due = began + number / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._post(due, event(number, chance.randrange(self._projects))))
                number += 1
        for _, writer in self._free:
            writer.close()

    async def _post(self, due: float, body: bytes) -> None:
        async with self._room:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    status = await self._exchange(body)
            except (OSError, asyncio.IncompleteReadError):  # a timeout is an OSError
                status = 0
        now = time.monotonic()
        self.answers.append((time.time() - (now - due), now - due, status))

    async def _exchange(self, body: bytes) -> int:
        if not self._free:
            self._free.append(await asyncio.open_connection(self._url.hostname, self._url.port))
        reader, writer = self._free.pop()
        head = (
            f"POST /v1/events HTTP/1.1\r\nhost: {self._url.netloc}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(answer.partition("content-length:")[2].partition("\r\n")[0]))
        self._free.append((reader, writer))
        return int(answer.split(" ", 2)[1])


async def main() -> None:
    url, rate, projects, file = sys.argv[1:]
    load, over = Load(url, rate=float(rate), projects=int(projects)), asyncio.Event()
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(None, sys.stdin.read)
    reading.add_done_callback(lambda _: over.set())
    with contextlib.suppress(asyncio.CancelledError):
        await load.run(over)
    lines: list[Any] = sorted(load.answers)
    Path(file).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
