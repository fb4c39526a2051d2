"""Commands in processes of their own that start at once, and a folder whose store can be put back; shared by the tests
of this folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
from property_store import opened

from reconciler.models.revision import LiveState

SCRIPT = Path(__file__).with_name("warm_command.py")
POLL_SECONDS = 0.0005


class Warm:
    """`warm_command.py` at work in a folder."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, *commands: list[str]) -> list[int]:
        """Begin these at once; returns their process ids, which stay theirs until `codes`, which must follow."""
        return self._ask(commands)

    def codes(self) -> list[int]:
        """Wait for all of them; their exit codes."""
        return self._ask("wait")

    def run(self, *args: str) -> int:
        """One command's exit code."""
        self.start(list(args))
        return self.codes()[0]

    def _ask(self, what: object) -> list[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(what)}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        found: list[int] = json.loads(line)
        return found


@contextmanager
def warm(folder: Path, env: Mapping[str, str]) -> Iterator[Warm]:
    """Commands to be run in the folder."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT)], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Warm(process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Disk:
    """A folder with `reconciler.db`, a copy of it as it was, and what stands in it."""

    folder: Path

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.folder / "reconciler.db"

    def wal_bytes(self) -> int:
        """How much has been written and not yet been moved into the file."""
        try:
            return self.folder.joinpath("reconciler.db-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def keep(self) -> None:
        """Remember the store as it is."""
        (self.folder / "kept").mkdir()
        for file in self.folder.glob("reconciler.db*"):
            shutil.copy(file, self.folder / "kept")

    def restore(self) -> None:
        """The store as it was."""
        for file in self.folder.glob("reconciler.db*"):
            file.unlink()
        for file in (self.folder / "kept").iterdir():
            shutil.copy(file, self.folder)

    def check_sound(self) -> None:
        """Every page is whole, every reference leads somewhere, and nobody keeps anybody from writing."""
        db = apsw.Connection(str(self.store), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.set_busy_timeout(0)
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
        finally:
            db.close()

    async def live(self) -> LiveState:
        """The live state."""
        async with opened(self.store) as store:
            return await store.live_state()


def documents(state: LiveState) -> tuple[int, dict[str, bytes]]:
    """The revision and what it holds."""
    return state.revision, {item.webhook.name: item.webhook.canonical() for item in state.webhooks}


def kill_when(pid: int, is_time: Callable[[], bool], *, by: signal.Signals = signal.SIGKILL) -> None:
    """Send the process the signal as soon as it is time, or has ended by itself."""
    deadline = time.monotonic() + 60
    while not is_time() and not _is_over(pid):
        assert time.monotonic() < deadline, "neither over nor time to kill it"
        time.sleep(POLL_SECONDS)
    os.kill(pid, by)  # nobody has waited for it yet, so the id is still its own


def _is_over(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
