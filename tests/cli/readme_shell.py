"""README.md taken apart, and a shell on a terminal that does what it tells."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMNS = 100
MARK = "\x1e"
SECONDS = 60.0
SAME = (  # what differs from run to run
    (re.compile(r"\b(dlv|evt)_[0-9a-f]+"), r"\1_#"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:#"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z"), "#"),
)


@dataclass(frozen=True)
class Step:
    """A command that README.md shows, and what it says is printed."""

    command: str
    output: str


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one kind, in order."""
    return [text for language, text in FENCED.findall(TEXT) if language == kind]


def prose() -> str:
    """What stands outside fenced blocks."""
    return FENCED.sub("", TEXT)


def table(first_header: str) -> list[list[str]]:
    """The cells of the table whose first column is called so, without its headers."""
    lines = TEXT[TEXT.index(f"\n| {first_header} |") + 1 :].split("\n\n")[0].split("\n")
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[2:]]


def files() -> dict[str, str]:
    """The YAML blocks whose first line names a file."""
    named = ((re.match(r"# (\S+)\n", text), text) for text in blocks("yaml"))
    return {match[1]: text for match, text in named if match}


def steps() -> list[Step]:
    """Every command of the console blocks."""
    found: list[Step] = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output))
    return found


def is_as_told(told: str, printed: str) -> bool:
    """Whether a command printed what README.md says: `…` stands for anything; ids, ports and times may differ."""
    for pattern, replacement in SAME:
        told, printed = pattern.sub(replacement, told), pattern.sub(replacement, printed)
    parts = (re.escape(part.strip()) for part in told.split("…"))
    return (
        re.fullmatch(r"\s*.*?\s*".join(parts) if "…" in told else re.escape(told.strip()), printed.strip(), re.S)
        is not None
    )


def write_files(folder: Path) -> None:
    """Every file that README.md shows."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o600)


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
