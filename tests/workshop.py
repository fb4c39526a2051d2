"""The product as processes, shared by the end-to-end tests and the chaos suite: a folder, a sandbox, daemons, commands.

Everything listens on loopback and is ended by its id.
"""

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OKTA_HOST = "acme.workflows.okta.com"


class Process:
    """A `reconciler` process with its ready line awaited and its stderr kept."""

    def __init__(self, args: list[str], *, cwd: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *args],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._ready: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("ready: "):
                self._ready.put(line.removeprefix("ready: ").strip())

    def url(self, timeout: float = 30) -> str:
        """The base URL of the ready line."""
        try:
            return self._ready.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError("never ready:\n" + "\n".join(self.lines)) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 40) -> int:
        """The exit code."""
        code = self._process.wait(timeout)
        self._reader.join(5)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def kill(self) -> None:
        """kill -9, and reap."""
        if self.is_alive():
            self._process.kill()
        with contextlib.suppress(ValueError):
            self.wait()


@dataclass
class Workshop:
    """One folder with manifests, a store, a binding file, a sandbox and a daemon."""

    folder: Path
    env: dict[str, str]
    processes: list[Process] = field(default_factory=list)
    sandbox_url: str = ""

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def command(self, *args: str, code: int | None = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *args],
            cwd=self.folder,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str) -> Any:
        return json.loads(self.command(*args, "--format", "json").stdout)

    def start(self, *args: str) -> Process:
        return self._start("-m", "reconciler", *args)

    def start_script(self, script: Path, *args: str) -> Process:
        """A Python file as a process."""
        return self._start(str(script), *args)

    def _start(self, *args: str) -> Process:
        process = Process(list(args), cwd=self.folder, env=self.env)
        self.processes.append(process)
        return process

    def start_sandbox(self, *args: str) -> str:
        process = self.start(
            "sandbox", "--listen", "127.0.0.1:0", "--ca-out", "ca.pem", "--record", "record.jsonl", *args
        )
        self.sandbox_url = process.url()
        return self.sandbox_url

    def egress(self) -> list[str]:
        """The operator's options that lead the production host to the sandbox."""
        port = self.sandbox_url.rsplit(":", 1)[1]
        args = ["--ca", "ca.pem", "--connect-to", f"{OKTA_HOST}:443:127.0.0.1:{port}"]
        return [*args, "--secrets", "secrets.yaml"] if (self.folder / "secrets.yaml").exists() else args

    def start_daemon(self, *args: str) -> tuple[Process, str]:
        process = self.start("run", "--listen", "127.0.0.1:0", *self.egress(), *args)
        return process, process.url()

    def record(self) -> list[dict[str, Any]]:
        """What the sandbox has received so far; a line still being written is left out."""
        path = self.folder / "record.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def wait_until(fact: Callable[[], Any], *, timeout: float = 60, what: str = "the fact") -> Any:
    """Poll a fact until it is true; the deadline is the test's failure."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while time.monotonic() < deadline:
        value = fact()
        if value:
            return value
        pause.wait(0.05)
    raise AssertionError(f"{what} did not come true within {timeout} s")
