"""The typed yes, on a real pseudo-terminal."""

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apply_folder import Folder

PROMPT = "Enter a value:"
TIMEOUT_SECONDS = 30.0


class Terminal:
    """`reconciler apply` with a terminal on stdin and stderr; stdout is a pipe or the terminal."""

    def __init__(self, folder: Path, env: dict[str, str], *args: str) -> None:
        self.screen = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "apply", *args],
            cwd=folder,
            env={**env, "TERM": "xterm", "NO_COLOR": "1"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def wait_for_prompt(self) -> None:
        """Until the question stands on the screen."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while PROMPT not in self.screen:
            assert time.monotonic() < deadline, self.screen
            self._read(deadline)

    def type(self, text: str) -> int:
        """Answer; returns the exit code, with the rest of the screen read."""
        os.write(self._master, text.encode())
        return self.finish()

    def finish(self) -> int:
        """The exit code."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(TIMEOUT_SECONDS)

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # EIO: the other side is closed
            data = b""
        self.screen += data.decode()
        return bool(data)


@pytest.fixture
def terminal(folder: Folder, command_env: dict[str, str]) -> Iterator[Terminal]:
    """`reconciler apply` of one new webhook, waiting for its answer."""
    folder.declare("a")
    opened = Terminal(folder.path, command_env)
    try:
        opened.wait_for_prompt()
        yield opened
    finally:
        opened.close()


def test_a_typed_yes_applies(terminal: Terminal, folder: Folder) -> None:
    """The plan, the question, then the apply."""
    code = terminal.type("yes\n")

    assert code == 0
    assert "Plan: 1 to add" in terminal.screen.split("Only 'yes' will be accepted to approve.")[0]
    assert "Apply complete! Resources: 1 added" in terminal.screen
    assert asyncio.run(folder.names()) == (1, ["a"])


@pytest.mark.parametrize("answer", ["no\n", "y\n", "YES\n", "\n", "\x04"])
def test_anything_else_declines(terminal: Terminal, folder: Folder, answer: str) -> None:
    """Exit 1 and no store, also at the end of input."""
    code = terminal.type(answer)

    assert code == 1
    assert "cancelled" in terminal.screen
    assert not (folder.path / "reconciler.db").exists()


def test_an_interrupt_at_the_question_exits_130(terminal: Terminal, folder: Folder) -> None:
    """Ctrl-C once is enough."""
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.finish() == 130
    assert not (folder.path / "reconciler.db").exists()


def test_there_is_no_question_where_there_is_nothing_to_approve(folder: Folder, command_env: dict[str, str]) -> None:
    """A refused plan ends with its refusal."""
    folder.declare()
    opened = Terminal(folder.path, command_env)

    code = opened.finish()
    opened.close()

    assert code == 3
    assert PROMPT not in opened.screen
