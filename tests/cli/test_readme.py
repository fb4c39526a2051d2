"""README.md tells the truth: its manifests are valid, its commands run and print what it says, its tables hold."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from readme_shell import ROOT, TEXT, blocks, files, is_as_told, prose, steps, table, write_files
from terminal import Shell, eventually

from reconciler.cli.main import COMMANDS, cli
from reconciler.cli.reference import EXIT_CODES
from reconciler.dispatch.retry import judge
from reconciler.egress.secrets import read_bindings
from reconciler.manifest.load import load_manifests
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.models.event import judge_payload, make_event
from reconciler.models.webhook import DEFAULT_SCHEDULE, Retry
from reconciler.request.match import matches
from reconciler.web.token import Tokens

TOKEN = "readme-0123456789abcdef0123456789abcdef"
SETUP = {
    "reconciler demo": "python3 -m venv .venv && . .venv/bin/activate && pip install . && reconciler demo",
    "pytest": "python3 -m venv .venv && . .venv/bin/activate && pip install '.[test]' && pytest",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What README.md's reader has: its files and an event."""
    write_files(tmp_path)
    (tmp_path / "event.json").write_text((ROOT / "tests/data/events/created_single_resource.json").read_text())
    return tmp_path


@pytest.fixture
def shell(folder: Path, command_env: dict[str, str]) -> Iterator[Shell]:
    """A shell whose `reconciler` reaches a sandbox under production's URL, and listens where nobody else does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    env = {
        **command_env,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OKTA_CLIENT_TOKEN": TOKEN,
        "RECONCILER_LISTEN": address,
        "RECONCILER_DAEMON": f"http://{address}",
        "RECONCILER_CA": "ca.pem",
    }
    flows = " ".join(f"--flow {alias}={TOKEN}" for alias in sorted({*re.findall(r"/flo/([0-9a-f]{32})/", TEXT)}))
    with contextlib.closing(Shell(folder, env)) as opened:
        ready = opened.serve(f"reconciler sandbox --listen 127.0.0.1:0 --ca-out ca.pem {flows}")
        sandbox = ready.split("ready: https://")[1].strip()
        opened.run(f"export RECONCILER_CONNECT_TO=acme.workflows.okta.com:443:{sandbox}")
        yield opened


def test_every_console_command_prints_what_is_shown(shell: Shell, folder: Path) -> None:
    (folder / "manifests" / "okta-databases.yaml").unlink()  # stands further down

    for step in steps():
        if step.command == "reconciler run":
            assert is_as_told(step.output, shell.serve(step.command))
        elif " list" in step.command:  # tells of what happens beside it
            eventually(lambda step=step: is_as_told(step.output, shell.run(step.command)[1]))
        else:
            code, printed = shell.run(step.command)
            assert (code, is_as_told(step.output, printed)) == (0, True), f"{step.command}\n{printed}"

    backup = re.search(r"`(python3 -[cm] [^`]+)`", prose())
    told = re.search(r"`(delivery\.attempted [^`]+)`", prose())
    assert backup and told
    assert shell.run(backup[1]) == (0, "")
    assert "delivered" in shell.run("reconciler deliveries list --store sqlite:///backup.db")[1]
    log = folder / "server-1.log"
    eventually(lambda: "delivery.attempted " in log.read_text())
    attempted = re.search(r"delivery\.attempted .*", log.read_text())
    assert attempted and is_as_told(told[1], attempted[0]), attempted


def test_every_manifest_is_valid(folder: Path) -> None:
    manifests = load_manifests((folder / "manifests",))

    assert manifests.problems == ()
    assert {f"manifests/{webhook.name}.yaml" for webhook in manifests.webhooks} == {
        name for name in files() if name.startswith("manifests/")
    }


def test_the_operators_files_are_valid(folder: Path) -> None:
    bindings, problems = read_bindings(folder / "secrets.yaml")
    Tokens.load(folder / "tokens.yaml")

    assert (list(bindings), problems) == (["okta_client_token"], ())


def test_the_pipeline_applies_through_the_daemon(shell: Shell, folder: Path) -> None:
    """Each step that calls us, as the workflow has it, with a token of its own."""
    workflow: dict[str, Any] = yaml.safe_load(files()[".github/workflows/webhooks.yaml"])
    job = workflow["jobs"]["webhooks"]
    commands = [step["run"] for step in job["steps"] if step.get("run", "").startswith("reconciler ")]
    (folder / "tokens.yaml").write_text(f"ci: {{token: {TOKEN}, roles: [apply]}}\n")
    shell.serve("reconciler run --tokens tokens.yaml")
    assert set(job["env"]) == {"RECONCILER_STORE", "RECONCILER_TOKEN"}
    shell.run(f'export RECONCILER_STORE="$RECONCILER_DAEMON" RECONCILER_TOKEN={TOKEN} GITHUB_STEP_SUMMARY=summary.md')

    codes = [shell.run(command)[0] for command in commands]
    applied = json.loads(shell.run("reconciler history --format json")[1])

    assert [command.split()[1] for command in commands] == ["validate", "plan", "apply"]
    assert codes == [0, 0, 0]
    assert "### Plan: 2 to add, 0 to change, 0 to destroy." in (folder / "summary.md").read_text()
    assert [revision["revision"] for revision in applied] == [1]


@pytest.mark.parametrize("line", [code for code in re.findall(r"`(reconciler [^`]+)`", prose()) if "…" not in code])
def test_every_command_in_the_text_exists_with_its_options(line: str, folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "terraform.tfstate").write_text("{}")

    context = cli.make_context("reconciler", line.split()[1:])
    while isinstance(context.command, click.Group):
        name, command, args = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, args, parent=context)
    context.close()


def test_every_path_in_the_text_exists() -> None:
    named = re.findall(r"`((?:reconciler|tests|docs|manifests|schemas)/[^`\s]*)`", prose())
    linked = re.findall(r"\]\(([^)#]+)\)", prose())

    assert len(named) > 5 and len(linked) > 3
    assert [path for path in (*named, *linked) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("ends_with", SETUP)
def test_the_pipeline_finds_the_set_up_commands(ends_with: str) -> None:
    """`.ci/run` runs them; here only what it finds is compared."""
    script = f'eval "$(sed -n "/^readme_line/,/^}}/p" .ci/run)"; readme_line "{ends_with}"'
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == f"{SETUP[ends_with]}\n"
    assert SETUP[ends_with] in blocks("sh")[0].split("\n")


def test_the_retry_table_is_the_retry_policy() -> None:
    rows = table("the receiver")
    told = {int(code): outcome for first, outcome, _ in rows for code in re.findall(r"\b\d{3}\b", first)}
    schedule = ", ".join(_duration(delay) for delay in DEFAULT_SCHEDULE)
    by_fault = {outcome: first for first, outcome, _ in rows if "breaks off" in first}

    assert told == {
        code: str(judge(AttemptResult(fault=Fault.STATUS, status=code, wrote=True)).outcome) for code in told
    }
    assert {*told} >= {400, 401, 403, 404, 408, 410, 413, 415, 422, 425, 429}
    assert [code for code in (500, 503, 599) if _status(code) != "retryable"] == []
    assert [code for code in (300, 301, 402, 409, 418) if _status(code) != "permanent"] == []
    assert list(by_fault) == [str(judge(AttemptResult(fault=Fault.TIMEOUT, wrote=True)).outcome)]
    assert f"again after {schedule} (± {Retry().jitter:.0%}" in TEXT.replace(" %", "%")
    assert f"until {Retry().max_attempts} attempts or {_duration(Retry().give_up_after).replace('h', ' h')}" in TEXT


def _status(code: int) -> str:
    return str(judge(AttemptResult(fault=Fault.STATUS, status=code, wrote=True)).outcome)


def _duration(delay: timedelta) -> str:
    seconds = int(delay.total_seconds())
    return next(f"{seconds // size}{unit}" for size, unit in ((3600, "h"), (60, "m"), (1, "s")) if not seconds % size)


def test_the_filter_table_is_how_filters_judge(folder: Path, sample_event: dict[str, Any]) -> None:
    webhook = next(item for item in load_manifests((folder / "manifests",)).webhooks if item.name == "okta-databases")
    sample_event["event_type"] = "AccessRequestGranted"
    unit = sample_event["data"]["access_groups"][0]["access_units"][0]
    rows = table("the request is for")

    for resources, verdict in rows:
        names = re.findall(r"`([^`]+)`", resources)
        sample_event["data"]["access_groups"][0]["access_units"] = [
            {**unit, "resource": {"id": f"id of {name}", "name": name, "path": None}} for name in names
        ]
        event = make_event(judge_payload(sample_event), json.dumps(sample_event).encode())
        assert matches(webhook, event) is verdict.startswith("yes"), resources
    assert len(rows) == 4


def test_the_exit_table_is_that_of_the_reference() -> None:
    told = [int(code) for codes, _ in table("exit") for code in codes.split("/")]

    assert told == [code for code, _ in EXIT_CODES]


def test_every_field_that_validate_takes_has_its_effect(folder: Path) -> None:
    """README.md names none that has not, and validate warns of none."""
    fields = {
        "auth": "{bearer: {token: '${secret:t}'}}",
        "when": "'true'",
        "response_validators": "[{json_path: $.status, expected_values: [ok]}]",
        "signing": "{keys: [{key: '${secret:k}'}]}",
    }
    assert "no effect yet" not in TEXT.lower()

    for field, value in fields.items():
        (folder / "manifests" / "okta-databases.yaml").write_text(
            files()["manifests/okta-databases.yaml"] + f"  {field}: {value}\n"
        )
        codes = [problem.code for problem in load_manifests((folder / "manifests",)).problems]
        assert not [code for code in codes if "no_effect" in code], field
    (folder / "manifests" / "okta-databases.yaml").write_text(
        files()["manifests/okta-databases.yaml"] + '  body_template: \'{"who": "{{#if data.id}}x{{/if}}"}\'\n'
    )
    codes = [problem.code for problem in load_manifests((folder / "manifests",)).problems]
    assert not [code for code in codes if "no_effect" in code]


def test_it_is_short_and_its_picture_light() -> None:
    assert len(TEXT.splitlines()) <= 250
    assert (ROOT / "docs" / "page.png").stat().st_size < 200_000


def test_no_command_that_is_there_is_said_to_be_missing() -> None:
    missing = TEXT[TEXT.index("**Not built yet**") :].split("\n\n")[0]

    assert [name for name in COMMANDS if f"`{name}`" in missing] == []
