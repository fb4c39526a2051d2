"""compose.yaml: each container contained, every name in it real, and its commands do what docs/image.md says.

The commands run here as they stand, their paths and ports below a folder; there is no engine to run containers.
"""

import json
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
import trustme
import yaml
from image_stage import ROOT, stages
from terminal import Shell, eventually

from reconciler.cli.main import cli
from reconciler.daemon import DRAIN_SECONDS

FILE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
PAGE = (ROOT / "docs" / "image.md").read_text()
HOME = "/var/lib/reconciler"
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_contained(name: str) -> None:
    """Nothing to write to but its folders, no capability, no way to get one, and time to drain."""
    service = SERVICES[name]

    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all("noexec" in mount and "size=" in mount for mount in service["tmpfs"])
    assert not {"privileged", "user", "cap_add", "devices", "pid", "ipc", "userns_mode"} & set(service)
    assert service.get("network_mode") in (None, "service:sandbox")
    assert float(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


def test_every_name_is_one_that_is_there() -> None:
    """Volumes, secrets, services, what is mounted; what may be written to is the image user's own folder."""
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= set(FILE["secrets"])
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for mount in service["volumes"]:
            source, target, *how = mount.split(":")
            assert source in FILE["volumes"] or (ROOT / source).exists()
            assert target == HOME or how == ["ro"]
        for value in service.get("environment", {}).values():
            for secret in re.findall(r"/run/secrets/(\w+)", value):
                assert secret in service["secrets"]
    assert {item["file"].split("/")[1] for item in FILE["secrets"].values()} == {"secrets"}
    assert "/secrets/\n" in (ROOT / ".gitignore").read_text(), "nobody commits them by mistake"


@pytest.mark.parametrize("name", SERVICES)
def test_commands_and_variables_are_ours(name: str) -> None:
    service = SERVICES[name]
    context = cli.make_context("reconciler", list(service["command"]))
    word, command, args = context.command.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None

    with command.make_context(word, args, parent=context):
        known = {str(option.envvar) for option in command.params if isinstance(option, click.Option)}
    given = {variable for variable in service.get("environment", {}) if variable.startswith("RECONCILER_")}
    assert given <= known


class Container:
    """One service's paths and ports, moved below a folder; `home` is what it may write to."""

    def __init__(self, name: str, folder: Path, moves: dict[str, str]) -> None:
        self.service = SERVICES[name]
        self.home = folder / name
        self.home.mkdir(mode=0o700)
        self._moves = {HOME: str(self.home), **moves}

    def command(self) -> str:
        return shlex.join(["reconciler", *map(self.moved, self.service["command"])])

    def exports(self) -> str:
        image = dict(pair.split("=", 1) for value in stages()[1][1].values("ENV") for pair in shlex.split(value))
        values = {"RECONCILER_STORE": image["RECONCILER_STORE"], **self.service.get("environment", {})}
        return " ".join(f"{name}={shlex.quote(self.moved(value))}" for name, value in values.items())

    def moved(self, text: str) -> str:
        for here, there in self._moves.items():
            text = text.replace(here, there)
        return text


@pytest.fixture
def shell(tmp_path: Path, command_env: dict[str, str]) -> Iterator[Shell]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with closing(Shell(tmp_path, {**command_env, "PATH": path})) as opened:
        yield opened


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_the_trial_delivers_to_the_sandbox(shell: Shell, tmp_path: Path) -> None:
    """By the page's own commands: apply the example manifests, send an event, see it delivered."""
    ports = {"9443": free_port(), "8420": free_port()}
    sandbox = Container("sandbox", tmp_path, ports)
    mounts = {
        "/run/sandbox": str(sandbox.home),
        "/run/trial": str(ROOT / "docs/image"),
        "/manifests": f"{ROOT}/manifests",
    }
    trial = Container("trial", tmp_path, {**mounts, **ports})
    probe = [sandbox.moved(word) for word in SERVICES["sandbox"]["healthcheck"]["test"]]

    shell.serve(sandbox.command())
    assert (probe[0], shell.run(shlex.join(probe[1:]))) == ("CMD", (0, ""))
    shell.run(f"export {trial.exports()}")
    shell.run(f"export RECONCILER_LISTEN=127.0.0.1:{ports['8420']} RECONCILER_DAEMON=http://127.0.0.1:{ports['8420']}")
    shell.serve(trial.command())
    told = re.findall(r"exec (?:-T )?trial (reconciler [^\n]+)", PAGE)
    assert [line.split()[1] for line in told] == ["apply", "send", "deliveries"]
    apply, send, deliveries = (trial.moved(line).replace(" tests/", f" {ROOT}/tests/") for line in told)

    assert shell.run("reconciler health")[0] == 0
    assert shell.run(apply)[1].endswith("Revision 1.\n")
    event = send.partition("< ")[2]
    assert shell.run(f"{{ {send.partition(' <')[0]}; }} < {event}")[0] == 0
    eventually(lambda: shell.run(deliveries)[1].count("  delivered ") >= 1)


def test_the_daemon_serves_tls_with_tokens_and_its_health_is_asked_by_its_own_variables(
    shell: Shell, tmp_path: Path
) -> None:
    """What stands in ./secrets, by the names that Compose mounts it under."""
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    issued = trustme.CA().issue_cert("reconciler.example.com")
    contents = {
        "bindings": "okta_client_token: {from: 'file:/run/secrets/okta_client_token', hosts: [hooks.example.com]}\n",
        "okta_client_token": f"{TOKEN}\n",
        "tokens": f"ci: {{token: {TOKEN}, roles: [read]}}\n",
        "tls_cert": "".join(pem.bytes().decode() for pem in issued.cert_chain_pems),
        "tls_key": issued.private_key_pem.bytes().decode(),
    }
    port = free_port()
    daemon = Container("reconciler", tmp_path, {"/run/secrets": str(secrets), "8420": port})
    for name, content in contents.items():
        (secrets / name).write_text(daemon.moved(content))
        (secrets / name).chmod(0o600)
    assert set(contents) == set(FILE["secrets"])
    check = json.loads(stages()[1][1].values("HEALTHCHECK")[0].partition("CMD ")[2])

    shell.run(f"export {daemon.exports()}")
    said = shell.serve(daemon.command())

    events = [json.loads(line)["event"] for line in said.split("\n") if line.startswith("{")]
    assert "daemon.ready" in events and not {"secrets.problem", "tokens.problem", "store.shut"} & set(events)
    assert shell.run(shlex.join(check)) == (0, f"alive: https://127.0.0.1:{port}\n")
    assert [path.name for path in tmp_path.glob("reconciler.db*")] == []


def test_the_page_lists_every_file_of_the_secrets() -> None:
    assert [item["file"] for item in FILE["secrets"].values() if item["file"].removeprefix("./") not in PAGE] == []
