"""A shell on a terminal, which does what a page tells its reader to type."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

COLUMNS = 100
MARK = "\x1e"
SECONDS = 60.0


class Shell:
    """bash in a folder. Commands see a terminal of COLUMNS columns; `reconciler run` runs on until `close`."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._terminal, their_end = pty.openpty()
        fcntl.ioctl(their_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env={**env, "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=their_end,
            stderr=their_end,
            start_new_session=True,
        )
        os.close(their_end)
        self._servers: list[int] = []

    def close(self) -> None:
        """End what runs on, and the shell. Fails if a server does not exit 0 on SIGTERM."""
        for server in self._servers:
            os.kill(server, signal.SIGTERM)
            assert self.run(f"wait {server}") == (0, "")
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(timeout=SECONDS)
        os.close(self._terminal)

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and what a terminal would show."""
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '{MARK}%d{MARK}' $?\n".encode())
        self._bash.stdin.flush()
        seen, deadline = "", time.monotonic() + SECONDS
        while len(parts := seen.split(MARK)) < 3:
            assert select.select([self._terminal], [], [], deadline - time.monotonic())[0], f"{command}: {seen}"
            seen += os.read(self._terminal, 65_536).decode()
        return int(parts[1]), parts[0].replace("\r\n", "\n")

    def serve(self, command: str) -> str:
        """Start a server in the background; returns its output up to the ready line."""
        log = self._folder / f"server-{len(self._servers)}.log"
        log.touch()
        code, pid = self.run(f"{command} >{log.name} 2>&1 & echo $!")
        assert code == 0
        self._servers.append(int(pid))
        eventually(lambda: "ready: " in log.read_text("utf-8") or "error: " in log.read_text("utf-8"))
        return log.read_text("utf-8")


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for a fact, at most SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        select.select([], [], [], 0.05)
