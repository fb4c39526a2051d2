"""A real daemon as a process, with tokens, webhooks and events, for tests that fire at it and look at what it holds."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from workshop import Workshop

TOKEN = "daemon-" + "0123456789abcdef" * 2
WEBHOOK = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: {name}}}
spec: {{url: "https://receiver.example.com/{name}", triggers: [{trigger}]}}
"""
NOBODY = "receiver.example.com:443:127.0.0.1:1"  # where connections are refused


@dataclass
class Daemon:
    """`reconciler run`: one webhook wants created requests, one is Manual; their receiver is nowhere. `known` are names
    and ids of what it held at first."""

    url: str
    pid: int
    log: list[str]
    client: httpx.Client
    known: dict[str, list[str]] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def get(self, path: str, **query: Any) -> Any:
        """What it answers who may read."""
        found = self.client.get(path, params=query)
        found.raise_for_status()
        return found.json()

    def post(self, body: bytes) -> httpx.Response:
        """Events, sent as they should be."""
        return self.client.post("/v1/events", content=body)

    @property
    def resident_bytes(self) -> int:
        """How much memory the process has."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    @property
    def sockets(self) -> int:
        """How many sockets the process has open."""
        found = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                found += os.readlink(entry).startswith("socket:")
        return found

    @property
    def faults(self) -> list[str]:
        """What its log tells of bugs."""
        return [line for line in self.log if "web.failed" in line or "Traceback" in line or "intake.failed" in line]


@contextlib.contextmanager
def serving(folder: Path, env: dict[str, str]) -> Iterator[Daemon]:
    """A daemon in this folder, ended afterwards by its id."""
    shop = Workshop(folder, {**env, "PYTHONUNBUFFERED": "1", "HOME": os.fspath(folder)})
    shop.write("manifests/a.yaml", WEBHOOK.format(name="created", trigger="RequestCreated"))
    shop.write("manifests/b.yaml", WEBHOOK.format(name="manual", trigger="Manual"))
    roles = ["read", "apply", "operate", "ingest"]
    shop.write("tokens.yaml", json.dumps({"all": {"token": TOKEN, "roles": roles}})).chmod(0o600)
    shop.command("apply", "--auto-approve")
    process = shop.start("run", "--listen", "127.0.0.1:0", "--tokens", "tokens.yaml", "--connect-to", NOBODY)
    try:
        url = process.url()
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            daemon = Daemon(url, process.pid, process.lines, client)
            events = [{"event_type": "AccessRequestCreated", "data": {"id": f"r{number}"}} for number in range(5)]
            for body in (json.dumps(events).encode(), b"{no event"):
                assert daemon.post(body).status_code == 202
            ids = [item["id"] for kind in ("events", "deliveries") for item in daemon.get(f"/v1/{kind}")]
            daemon.known = {"name": ["created", "manual"], "id": ids, "number": ["1"]}
            yield daemon
    finally:
        process.kill()
