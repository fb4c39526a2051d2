"""`demo`: the whole path on this machine, with the very commands a person would type.

Every step is a process of its own in a temporary folder: what is shown is what the commands print. Nothing leaves the
machine: the production URL of the manifests leads to the sandbox by the operator's `--connect-to` and `--ca`.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.errors import ReconcilerError

HOST: Final = "acme.workflows.okta.com"
TOKEN: Final = "demo-" + "0123456789abcdef" * 4  # the sandbox's client token; no real one has this prefix
READY_SECONDS: Final = 30.0
DELIVERED_SECONDS: Final = 30.0


@click.command()
@click.option("--keep", is_flag=True, help="Leave the sandbox and the daemon running until interrupted.")
def demo(keep: bool) -> None:
    """The whole path on this machine: plan, apply, deliver, look.

    Starts the sandbox and a daemon, plans and applies the example manifests, sends sample events, delivers them over
    TLS and shows one delivery's invocation data. About ten seconds; no set-up; nothing leaves the machine.
    """
    with _folder(keep=keep) as folder:
        stage = Stage(folder)
        try:
            stage.play()
            if keep:
                stage.stay()
        finally:
            stage.end()


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


class Stage:
    """The demo's folder and its two servers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[subprocess.Popen[str]] = []
        self._number = 0
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("RECONCILER_")}
        self._env["OKTA_CLIENT_TOKEN"] = TOKEN
        if view.has_colour(sys.stdout):
            self._env["FORCE_COLOR"] = "1"

    def play(self) -> None:
        """All steps in order."""
        self._set_up()
        self._step("A reviewer reads what the manifests would change. Nothing exists yet.")
        self._run("plan", "--out", "plan.json")
        self._step("The pipeline applies exactly that plan: one transaction, revision 1.")
        self._run("apply", "--plan", "plan.json")
        self._step("Applying again changes nothing.")
        self._run("apply", "--auto-approve")
        sandbox = self._sandbox()
        egress = ("--secrets", "secrets.yaml", "--ca", "ca.pem", "--connect-to", f"{HOST}:443:{sandbox}")
        self._step("One test event, through the same code as production.")
        self._run("test", "okta-access-requests", *egress)
        self._step("The daemon takes events in and delivers them with the applied configuration.")
        daemon = self._serve("run", "--listen", "127.0.0.1:0", *egress)
        self._step("Apono's events arrive; each is stored, with its fan-out, before the answer.")
        self._run("send", "events.jsonl", "--to", daemon)
        self._wait_until_delivered()
        self._step("What is live, and what became of the events.")
        self._run("webhooks", "list")
        self._run("deliveries", "list", "--limit", "8")
        self._step("The invocation data of one delivery: what was sent, what came back, under which revision.")
        self._run("deliveries", "show", self._one_delivery())
        self._closing(daemon)

    def stay(self) -> None:
        """Until Ctrl-C."""
        view.out(f"The folder is {self._folder}; Ctrl-C ends the sandbox and the daemon.")
        for server in self._servers:
            server.wait()

    def end(self) -> None:
        """End the servers that this demo started, by their ids."""
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def _set_up(self) -> None:
        with as_file(files("reconciler.cli") / "demo_data") as data:
            _copy(data, "manifests", self._folder / "manifests")
            _copy(data, "events.jsonl", self._folder / "events.jsonl")
        bindings = f"okta_client_token: {{from: env:OKTA_CLIENT_TOKEN, hosts: [{HOST}]}}\n"
        binding_file = self._folder / "secrets.yaml"
        binding_file.write_text(bindings, encoding="utf-8")
        binding_file.chmod(0o600)

    def _sandbox(self) -> str:
        self._step("A local server that behaves like Okta Workflows stands in for the receiver.")
        aliases = sorted(set(_aliases(self._folder / "manifests")))
        flows = [item for alias in aliases for item in ("--flow", f"{alias}={TOKEN}")]
        url = self._serve("sandbox", "--listen", "127.0.0.1:0", "--ca-out", "ca.pem", "--host", HOST, *flows)
        return url.removeprefix("https://")

    def _step(self, text: str) -> None:
        self._number += 1
        view.out(f"\n{click.style(f'{self._number}. {text}', bold=True)}")

    def _show(self, args: Sequence[str]) -> None:
        line = shlex.join(["reconciler", *args]).replace(TOKEN, "$OKTA_CLIENT_TOKEN")
        view.out(f"{click.style('$', fg='bright_black')} {click.style(line, fg='cyan')}\n")

    def _run(self, *args: str) -> None:
        self._show(args)
        sys.stdout.flush()
        done = subprocess.run(_command(args), cwd=self._folder, env=self._env, check=False)
        if done.returncode:
            raise ReconcilerError(f"the demo's step failed with exit code {done.returncode}: {shlex.join(args)}")

    def _serve(self, *args: str) -> str:
        """Start a server; returns the URL of its ready line."""
        self._show(args)
        log = self._folder / f"{args[0]}.log"
        server = subprocess.Popen(
            _command(args), cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL, stderr=log.open("w"), text=True
        )
        self._servers.append(server)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            for line in log.read_text(encoding="utf-8").splitlines():
                if line.startswith("ready: "):
                    view.out(line)
                    return line.removeprefix("ready: ")
            threading.Event().wait(0.05)
        raise ReconcilerError(f"the demo's {args[0]} did not start", hint=log.read_text(encoding="utf-8")[-2000:])

    def _json(self, *args: str) -> Any:
        command = _command((*args, "--format", "json"))
        done = subprocess.run(command, cwd=self._folder, env=self._env, check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def _wait_until_delivered(self) -> None:
        deadline = time.monotonic() + DELIVERED_SECONDS
        while time.monotonic() < deadline:
            waiting = [item for item in self._json("deliveries", "list") if item["state"] in ("pending", "in_flight")]
            if not waiting:
                return
            threading.Event().wait(0.2)
        raise ReconcilerError("the demo's events were not delivered in time")

    def _one_delivery(self) -> str:
        """A delivery of the page's own webhook."""
        found = self._json("deliveries", "list", "--webhook", "okta-access-requests")
        return str(found[-1]["id"])

    def _closing(self, daemon: str) -> None:
        view.out("")
        view.out(
            click.style("Done.", fg="green", bold=True)
            + " Every event was delivered over TLS, and the store knows how."
        )
        view.out(f"`reconciler demo --keep` leaves it running; the page is then at {daemon}/")


def _command(args: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "reconciler", *args]


def _copy(data: Path, name: str, target: Path) -> None:
    """From the package; in an editable install the manifests stand at the checkout's root instead."""
    source = data / name
    if not source.exists():
        source = Path(__file__).parents[2] / name
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _aliases(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.yaml"):
        yield from re.findall(r"/api/flo/([0-9a-f]{32})", path.read_text(encoding="utf-8"))
