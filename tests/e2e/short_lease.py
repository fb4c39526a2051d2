"""`run` with leases of two seconds, as a process: the command has no option for what no operator should turn."""

import asyncio
import sys
from pathlib import Path

from reconciler.cli import view
from reconciler.daemon import Daemon, DaemonSettings, open_daemon_store
from reconciler.dispatch.worker import WorkerSettings
from reconciler.observe import log
from reconciler.settings import EgressSettings, parse_connect_to


async def main() -> None:
    """Arguments as `Workshop.egress` gives them: --ca FILE --connect-to HOST:PORT:ADDRESS:PORT."""
    egress = EgressSettings(ca_file=Path(sys.argv[2]), connect_to=(parse_connect_to(sys.argv[4]),))
    settings = DaemonSettings("127.0.0.1", 0, egress, worker=WorkerSettings(lease_seconds=2))
    log.configure("text", sys.stderr)
    async with open_daemon_store("sqlite:///reconciler.db") as store:
        await Daemon(settings, store=store).run(on_ready=lambda url: view.say(f"ready: {url}"))


if __name__ == "__main__":
    asyncio.run(main())
