"""`demo`: the whole path on this machine, told step by step with the commands a person would type.

Nothing leaves the machine: the production URL of the example manifests leads to the sandbox, by the operator's
`RECONCILER_CONNECT_TO` and `RECONCILER_CA`. `demo_stage` runs the commands and ends the servers.
"""

import http.client
import json
import re
import shlex
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import click

from reconciler.cli import view
from reconciler.cli.demo_stage import Stage, open_stage
from reconciler.cli.view_table import short_id
from reconciler.errors import ReconcilerError
from reconciler.settings import DEFAULT_LISTEN, parse_listen

HOST: Final = "acme.workflows.okta.com"
TOKEN: Final = "demo-" + "0123456789abcdef" * 4  # the sandbox's client token; no real one has this prefix
WEBHOOK: Final = "okta-access-requests"
MANIFEST: Final = f"manifests/{WEBHOOK}.yaml"
EDIT: Final = ('"requestor email"', '"requester email"')
DELIVERED_SECONDS: Final = 30.0
LISTED_MAX: Final = 1000


@click.command()
@click.option("--keep", is_flag=True, help="Leave the sandbox and the daemon, with its page, running until Ctrl-C.")
def demo(keep: bool) -> None:
    """The whole path on this machine: plan, apply, deliver, look.

    Validates, plans and applies the example manifests, starts a daemon and a local stand-in for Okta Workflows, sends
    sample events and shows how they were delivered over TLS. About ten seconds; no set-up; works in a temporary
    folder; nothing leaves the machine.
    """
    started = time.monotonic()
    with open_stage() as stage:
        _set_up(stage)
        _configure(stage)
        _connect(stage)
        daemon = _deliver(stage, listen=_free_address() if keep else "127.0.0.1:0")
        _look(stage, daemon)
        _change(stage)
        _closing(_list(daemon, ""), seconds=time.monotonic() - started)
        if keep:
            _keep(stage, daemon)
        else:
            _next()


def _set_up(stage: Stage) -> None:
    """What a team has before the story begins: manifests, a binding file, events."""
    with as_file(files("reconciler.cli") / "demo_data") as data:
        _copy(data, "manifests", stage.folder / "manifests")
        _copy(data, "events.jsonl", stage.folder / "events.jsonl")
    secrets = stage.folder / "secrets.yaml"
    secrets.write_text(f"okta_client_token:\n  from: env:OKTA_CLIENT_TOKEN\n  hosts: [{HOST}]\n", encoding="utf-8")
    secrets.chmod(0o600)
    busy = {"match": {"number": 2}, "status": 429, "headers": {"retry-after": "1"}}  # 1 is the test event
    script = json.dumps({"flow": _alias(stage.folder / MANIFEST), **busy})
    (stage.folder / "busy.jsonl").write_text(f"{script}\n", encoding="utf-8")
    stage.set_quietly(OKTA_CLIENT_TOKEN=TOKEN)


def _configure(stage: Stage) -> None:
    stage.step("Webhooks are declared in manifests/. A check needs no store and no secret.")
    stage.run("validate")
    stage.step("A reviewer reads what would change. Nothing exists yet.")
    more = "`reconciler show --plan plan.json` prints them all"
    stage.run_shortened("plan", "--out", "plan.json", first_until="    }", more=more)
    stage.step("The pipeline applies exactly that plan, all or nothing, in one transaction.")
    stage.run("apply", "--plan", "plan.json")
    stage.run("plan")


def _connect(stage: Stage) -> None:
    stage.step("The operator says where a secret comes from and which hosts may receive it.")
    stage.show("cat secrets.yaml")
    view.out(f"\n{(stage.folder / 'secrets.yaml').read_text(encoding='utf-8').rstrip()}")
    stage.step("A local server that behaves like Okta Workflows stands in for the receiver.")
    flows = [word for alias in _aliases(stage.folder) for word in ("--flow", f"{alias}=$OKTA_CLIENT_TOKEN")]
    sandbox = stage.serve("sandbox", "--listen", "127.0.0.1:0", "--ca-out", "ca.pem", "--script", "busy.jsonl", *flows)
    address = sandbox.removeprefix("https://")
    stage.export(
        RECONCILER_SECRETS="secrets.yaml",
        RECONCILER_CA="ca.pem",
        RECONCILER_CONNECT_TO=f"{HOST}:443:{address}",
    )
    stage.step("One test event, by the same code that will deliver the real ones.")
    stage.run("test", WEBHOOK)


def _deliver(stage: Stage, *, listen: str) -> str:
    """Returns the daemon's URL."""
    stage.step("The daemon takes events in and delivers them as the applied webhooks say.")
    daemon = stage.serve("run", "--listen", listen)
    stage.step("Events arrive. Each is stored, with its deliveries, before the answer.")
    stage.run("send", "events.jsonl", "--to", daemon)
    _wait_until_delivered(daemon)
    return daemon


def _look(stage: Stage, daemon: str) -> None:
    stage.step("What is live, and what became of the events.")
    stage.run("webhooks", "list")
    stage.run("deliveries", "list", "--limit", "8")
    stage.step("One delivery in full. The receiver was busy (429), so it was tried again.")
    retried = max(_list(daemon, f"webhook={WEBHOOK}"), key=lambda delivery: int(delivery["attempts"]))
    stage.run("deliveries", "show", short_id(retried["id"]))


def _change(stage: Stage) -> None:
    stage.step("The next change is one line, reviewed as one line. The daemon runs on.")
    stage.show(f"$EDITOR {MANIFEST}")
    view.out(f"\n{EDIT[0]} becomes {EDIT[1]}")
    manifest = stage.folder / MANIFEST
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(*EDIT), encoding="utf-8")
    stage.run("plan", "--out", "change.json")
    stage.run("apply", "--plan", "change.json")
    stage.run("history")


def _closing(deliveries: list[Mapping[str, Any]], *, seconds: float) -> None:
    events = len({delivery["event_id"] for delivery in deliveries})
    attempts = sum(int(delivery["attempts"]) for delivery in deliveries)
    facts = f"{events} events, {len(deliveries)} deliveries, {attempts} requests over TLS; nothing left this machine"
    view.out(f"\n{click.style(f'Done in {seconds:.0f} seconds.', fg='green', bold=True)}")
    view.out(f"{facts}.")


def _next() -> None:
    nexts = (
        ("reconciler demo --keep", "the same, left running with its web page"),
        ("reconciler explain event", "the fields that a body template may use"),
        ("reconciler explain manifest", "the fields of a manifest"),
        ("reconciler --help", "every command; each has --help"),
    )
    view.out("\nWhat next:")
    for line, meaning in nexts:
        view.out(f"  {click.style(line.ljust(28), fg='cyan')} {meaning}")


def _keep(stage: Stage, daemon: str) -> None:
    path = f"{Path(sys.executable).parent}:$PATH"
    lines = [
        f'export PATH="{path}"',
        *(f"export {name}={shlex.quote(value)}" for name, value in stage.exported.items()),
    ]
    lines.append(f"export RECONCILER_DAEMON={daemon}")
    (stage.folder / "demo.env").write_text("\n".join(lines) + "\n", encoding="utf-8")
    view.out(f"\nThe page is at {click.style(f'{daemon}/', bold=True)}")
    view.out("To try commands, in another terminal:")
    view.out(f"  {click.style(f'cd {stage.folder} && . ./demo.env', fg='cyan')}")
    view.out("Ctrl-C ends the sandbox and the daemon and removes the folder.")
    stage.stay()
    view.out("\nended")


def _wait_until_delivered(daemon: str) -> None:
    deadline = time.monotonic() + DELIVERED_SECONDS
    while any(_list(daemon, f"state={state}&limit=1") for state in ("pending", "in_flight")):
        if time.monotonic() > deadline:
            raise ReconcilerError("the demo's events were not delivered in time")
        threading.Event().wait(0.05)


def _list(daemon: str, query: str) -> list[Mapping[str, Any]]:
    """Deliveries by the daemon's API."""
    connection = http.client.HTTPConnection(daemon.removeprefix("http://"), timeout=DELIVERED_SECONDS)
    try:
        connection.request("GET", f"/v1/deliveries?limit={LISTED_MAX}&{query}")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ReconcilerError(f"the demo's daemon answers {answer.status}")
    found: list[Mapping[str, Any]] = json.loads(body)
    return found


def _free_address() -> str:
    """The default address, which the README names, if nobody listens there; else one with any free port."""
    host, port = parse_listen(DEFAULT_LISTEN)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            port = 0
    return f"{host}:{port}"


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
    """The flows of the webhooks; the tests beside them name none."""
    yield from sorted({_alias(path) for path in (folder / MANIFEST).parent.glob("okta-*.yaml")})


def _alias(manifest: Path) -> str:
    found = re.search(r"/api/flo/([0-9a-f]{32})", manifest.read_text(encoding="utf-8"))
    if found is None:
        raise ReconcilerError(f"the demo's manifest names no flow: {manifest.name}")
    return found[1]
