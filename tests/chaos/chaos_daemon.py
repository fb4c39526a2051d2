"""`run` as a process, with what no operator should turn: short leases, a store that may not grow, names from a file.

Arguments as `Workshop.egress` gives them, and some of our own. SIGUSR1 keeps the store's file from growing, as a full
disk does; SIGUSR2 gives it room again. With --names, a name's address is what the file says at that moment: an address,
`fails`, or `silent`.
"""

import argparse
import asyncio
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from reconciler.cli import view
from reconciler.daemon import Daemon, DaemonSettings, open_daemon_store
from reconciler.dispatch.worker import WorkerSettings
from reconciler.observe import log
from reconciler.settings import EgressSettings, TransportKind, parse_connect_to
from reconciler.store.sqlite.store import SqliteStore

UNLIMITED_PAGES = 1_000_000_000
system_look_up = socket.getaddrinfo


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--connect-to", type=parse_connect_to, action="append")
    parser.add_argument("--transport", type=TransportKind, default=TransportKind.FAST)
    parser.add_argument("--lease-seconds", type=float, default=WorkerSettings().lease_seconds)
    parser.add_argument("--names", type=Path)
    return parser.parse_args()


def name_server(file: Path) -> Any:
    """`socket.getaddrinfo` with one name server, the file."""

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "receiver.internal":
            return system_look_up(host, *args, **kwargs)
        said = file.read_text().strip()
        if said == "fails":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if said == "silent":  # as the system's own resolver gives up: two tries of five seconds
            threading.Event().wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return system_look_up(said, *args, **kwargs)

    return look_up


async def limit_pages(store: SqliteStore, *, is_full: bool) -> None:
    """On the one connection that writes."""

    def limit(db: Any) -> None:
        pages = db.execute("PRAGMA page_count").get if is_full else UNLIMITED_PAGES
        db.execute(f"PRAGMA max_page_count = {pages}")

    await store._write(limit)


async def main() -> None:
    given = arguments()
    if given.names is not None:
        socket.getaddrinfo = name_server(given.names)
    egress = EgressSettings(ca_file=given.ca, connect_to=tuple(given.connect_to), transport=given.transport)
    worker = WorkerSettings(lease_seconds=given.lease_seconds)
    settings = DaemonSettings("127.0.0.1", 0, egress, worker=worker)
    log.configure("text", sys.stderr)
    async with open_daemon_store("sqlite:///reconciler.db") as store, asyncio.TaskGroup() as group:
        assert isinstance(store, SqliteStore)
        loop = asyncio.get_running_loop()
        for number, is_full in ((signal.SIGUSR1, True), (signal.SIGUSR2, False)):
            loop.add_signal_handler(
                number, lambda is_full=is_full: group.create_task(limit_pages(store, is_full=is_full))
            )
        await Daemon(settings, store=store).run(on_ready=lambda url: view.say(f"ready: {url}"))


if __name__ == "__main__":
    asyncio.run(main())
