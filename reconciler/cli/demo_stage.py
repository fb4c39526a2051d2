"""The stage of `demo`: a temporary folder, commands that are shown and run in it, servers that end with it.

Every command is a process of its own, so what is shown is what the command prints. Servers run in sessions of their
own: Ctrl-C reaches the demo alone, which ends them in order.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.errors import ReconcilerError

READY_SECONDS: Final = 30.0
END_SECONDS: Final = 30.0  # longer than a drain
ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOWN_COLUMNS: Final = 80  # a longer command is shown on several lines


@contextlib.contextmanager
def open_stage() -> Iterator["Stage"]:
    """A stage that leaves nothing behind: no server, no folder. SIGTERM and SIGHUP end it as Ctrl-C does."""
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # nohup's wish is kept
    folder = Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    made = Stage(folder)
    try:
        _handle(heeded, _interrupt)
        yield made
    finally:
        _handle(heeded, signal.SIG_IGN)  # nothing interrupts the end
        made.end()
        shutil.rmtree(folder, ignore_errors=True)
        for number in heeded:
            signal.signal(number, before[number])


class Stage:
    """The demo's folder, the environment of its commands and its servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exported: dict[str, str] = {}
        self._servers: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._steps = 0
        dropped = ("RECONCILER_", "FORCE_COLOR")
        self._env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        if view.has_colour(sys.stdout):
            self._env["FORCE_COLOR"] = "1"

    def step(self, text: str) -> None:
        """The next step's heading."""
        self._steps += 1
        view.out(f"\n{click.style(f'{self._steps}. {text}', bold=True)}")

    def export(self, **values: str) -> None:
        """Set variables for the commands that follow, as the shown `export` would."""
        self.exported.update(values)
        self._env.update(values)
        view.out("")
        for name, value in values.items():
            _show_line(f"export {name}={shlex.quote(value)}")

    def set_quietly(self, **values: str) -> None:
        """The same without showing it: what a person has set before the story begins."""
        self.exported.update(values)
        self._env.update(values)

    def show(self, line: str) -> None:
        """A line that a person would type where the demo does it itself."""
        view.out("")
        _show_line(line)

    def run(self, *args: str) -> None:
        """Show a `reconciler` command and run it. Raises ReconcilerError if it fails."""
        self._show(args)
        sys.stdout.flush()
        self._judge(args, self._call(args, stderr=subprocess.STDOUT).returncode)

    def run_shortened(self, *args: str, first_until: str, more: str) -> None:
        """The same, showing the output up to the line `first_until`, then its last line. `more` says how to see the
        rest."""
        self._show(args)
        done = self._call(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        plain = [click.unstyle(line) for line in lines]
        end = plain.index(first_until) + 1 if first_until in plain else len(lines)
        for line in lines[:end]:
            view.out(line)
        if lines[end:-1]:
            view.out(click.style(f"\n  … {len(lines[end:-1])} lines more: {more}", fg="bright_black"))
            view.out(f"\n{lines[-1]}")
        view.out(done.stderr.decode("utf-8", "replace").rstrip("\n"))
        self._judge(args, done.returncode)

    def serve(self, *args: str) -> str:
        """Show a server's command and start it; returns the URL of its ready line. Its stderr goes to a file."""
        self._show(args)
        log = self.folder / f"{args[0]}.log"
        with log.open("wb") as stderr:
            server = subprocess.Popen(
                self._command(args),
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self._servers.append((args[0], server))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            for line in log.read_text(encoding="utf-8").splitlines():
                if line.startswith("ready: "):
                    view.out(line)
                    return line.removeprefix("ready: ")
            threading.Event().wait(0.02)
        raise ReconcilerError(f"the demo's {args[0]} did not start", hint=log.read_text(encoding="utf-8")[-2000:])

    def stay(self) -> None:
        """Until Ctrl-C, SIGTERM or SIGHUP. Raises ReconcilerError if a server ends before."""
        name, server = self._servers[-1]
        with contextlib.suppress(KeyboardInterrupt):
            code = server.wait()
            raise ReconcilerError(f"the demo's {name} ended with exit code {code}")

    def end(self) -> None:
        """End the servers that this stage started, the last one first."""
        for _, server in reversed(self._servers):
            server.terminate()
            try:
                server.wait(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def _call(
        self, args: Sequence[str], *, stdout: int | None = None, stderr: int
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._command(args),
            cwd=self.folder,
            env=self._env,
            stdout=stdout,
            stderr=stderr,
            check=False,
            start_new_session=True,
        )

    def _command(self, args: Sequence[str]) -> list[str]:
        """`reconciler` by this very interpreter; `$NAME` in an argument is what a shell would put there."""
        return [sys.executable, "-m", "reconciler", *(Template(arg).safe_substitute(self.exported) for arg in args)]

    def _show(self, args: Sequence[str]) -> None:
        view.out("")
        _show_line(_shown(args))
        view.out("")

    def _judge(self, args: Sequence[str], code: int) -> None:
        if code:
            raise ReconcilerError(f"the demo's step failed with exit code {code}: reconciler {shlex.join(args)}")


def _shown(args: Sequence[str]) -> str:
    """The command as a person would type it, in several lines where one would be too long."""
    lines = ["$ reconciler"]
    for unit in _units(args):
        if len(lines[-1]) + len(unit) + len("  \\") > SHOWN_COLUMNS:
            lines[-1] += " \\"
            lines.append(f"    {unit}")
        else:
            lines[-1] += f" {unit}"
    return "\n".join(lines).removeprefix("$ ")


def _units(args: Sequence[str]) -> Iterator[str]:
    """Words, an option together with its value."""
    words = [word if "$" in word else shlex.quote(word) for word in args]
    while words:
        word = words.pop(0)
        yield f"{word} {words.pop(0)}" if word.startswith("--") and words and not words[0].startswith("--") else word


def _show_line(line: str) -> None:
    view.out(f"{click.style('$', fg='bright_black')} {click.style(line, fg='cyan')}")


def _handle(numbers: Sequence[signal.Signals], handler: Any) -> None:
    for number in numbers:
        signal.signal(number, handler)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
