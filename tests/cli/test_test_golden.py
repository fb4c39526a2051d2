"""What `test` says for each class of fault, as files, through real sends. RECONCILER_GOLDEN=write rewrites them."""

import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.view_webhook import out_report
from reconciler.dispatch.probe import ProbeReport, probe
from reconciler.dispatch.sample import sample_event
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.webhook import Trigger, Webhook
from reconciler.sandbox.flow import Flow
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import Line
from reconciler.settings import ConnectTo, EgressSettings

GOLDEN = Path(__file__).parent / "golden_test"
HOST = "acme.workflows.okta.com"
ALIAS = "0123456789abcdef0123456789abcdef"
TOKEN = "5ec7e7" * 10 + "abcd"
SECRET_HEADER = {"headers": {"x-api-client-token": "${secret:okta_token}"}}


@dataclass(frozen=True)
class Case:
    """One test send. `at` is where the host is dialled: the sandbox, a port nobody listens on, a silent one, or
    nowhere, so that the name is resolved to `addresses` (none: the look-up fails)."""

    script: tuple[Line, ...] = ()
    spec: dict[str, Any] = field(default_factory=dict)
    at: str = "sandbox"
    addresses: tuple[str, ...] = ()
    has_ca: bool = True
    bindings: str = "{}\n"
    token: str | None = None  # of the flow


CASES = {
    "successful": Case(),
    "dns": Case(at="nowhere"),
    "refused-address": Case(at="nowhere", addresses=("127.0.0.1",)),
    "connect": Case(at="closed"),
    "connect-timeout": Case(at="silent", spec={"timeout_in_sec": 1}),
    "tls": Case(has_ca=False),
    "timeout": Case(script=(Line(drop=True),), spec={"timeout_in_sec": 1}),
    "reset": Case(script=(Line(reset=True),)),
    "protocol": Case(script=(Line(raw="220 mail.example.com ESMTP\r\n\r\n"),)),
    "400-bad-json": Case(script=(Line(status=400, body={"error": "the body is not JSON"}),)),
    "400": Case(script=(Line(status=400, body={"error": "unknown field: fields"}),)),
    "401": Case(token=TOKEN),
    "403": Case(script=(Line(status=403),)),
    "404": Case(script=(Line(status=404),)),
    "410": Case(script=(Line(status=410),)),
    "413": Case(script=(Line(status=413),)),
    "429": Case(script=(Line(status=429, headers={"retry-after": "7"}),)),
    "500": Case(script=(Line(status=500, body="oops"),)),
    "validator": Case(
        script=(Line(status=200, body={"status": "failed"}),),
        spec={"response_validators": [{"json_path": "$.status", "expected_values": ["ok"]}]},
    ),
    "redirect": Case(script=(Line(status=302, headers={"location": "https://elsewhere.example.com/"}),)),
    "secret-unbound": Case(spec=SECRET_HEADER),
    "secret-bound-elsewhere": Case(
        spec=SECRET_HEADER, bindings="okta_token: {from: 'env:OKTA', hosts: [other.example.com]}\n"
    ),
    "secret-unset": Case(
        spec=SECRET_HEADER, bindings=f"okta_token: {{from: 'env:OKTA_TOKEN_THAT_IS_NOT_SET', hosts: [{HOST}]}}\n"
    ),
    "render": Case(spec={"body_template": '{"all": "' + "{{data}}" * 2_000 + '"}'}),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_report_is_what_the_golden_file_shows(name, tmp_path, capsys):
    """Verdict, invocation data, and on failure what to check; success is what production counts as delivered."""
    report = await send(CASES[name], tmp_path)

    out_report(report)

    shown = capsys.readouterr().out
    assert report.is_successful == (name == "successful")
    assert shown.startswith("Test successful  okta" if report.is_successful else "Test failed  okta")
    assert bool(report.checks) != report.is_successful
    assert TOKEN not in shown
    check(f"{name}.txt", settled(shown))


def check(name: str, text: str) -> None:
    """Compare with the file of that name."""
    file = GOLDEN / name
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def settled(text: str) -> str:
    """What changes from run to run, as N."""
    text = re.sub(r"(timings\s+).*", lambda match: match[1] + re.sub(r"\d+\.\d", "N", match[0][len(match[1]) :]), text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"(dlv_|x-rate-limit-reset: |TLS\s+TLSv1\.)\S.*", r"\1N", text)
    return re.sub(r"(date: ).*", r"\1N", text)


async def send(case: Case, folder: Path) -> ProbeReport:
    """One test send."""
    flows = (Flow(ALIAS, case.token),) if case.token else ()
    spec = {
        "url": f"https://{HOST}/api/flo/{ALIAS}/invoke",
        "triggers": ["RequestCreated"],
        "body_template": '{"why": "{{data.justification}}"}',
        **case.spec,
    }
    webhook = Webhook.model_validate({"metadata": {"name": "okta"}, "spec": spec}, strict=False)
    bindings = folder / "secrets.yaml"
    bindings.write_text(case.bindings)
    bindings.chmod(0o600)
    resolver = SecretResolver.load(bindings)
    async with OktaSandbox(SandboxSettings(flows=flows, script=case.script)) as sandbox, dialled(case, sandbox) as port:
        (folder / "ca.pem").write_bytes(sandbox.ca_pem)
        egress = EgressSettings(
            ca_file=folder / "ca.pem" if case.has_ca else None,
            connect_to=() if port is None else (ConnectTo(HOST, 443, "127.0.0.1", port),),
        )
        async with Deliverer(egress, masker=resolver.masker, resolve=resolver_to(case.addresses)) as deliverer:
            payload = sample_event(Trigger.REQUEST_CREATED, now_seconds=1_795_424_400.0)
            return await probe(webhook, payload, deliverer=deliverer, resolver=resolver, now=1_795_424_400_000)


@contextlib.asynccontextmanager
async def dialled(case: Case, sandbox: OktaSandbox) -> AsyncIterator[int | None]:
    """The port that the host leads to."""
    if case.at == "sandbox":
        yield sandbox.port
    elif case.at == "nowhere":
        yield None
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            if case.at == "closed":
                server.close()
            yield port


def resolver_to(addresses: tuple[str, ...]):
    async def resolve(host: str, port: int) -> Sequence[str]:
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return addresses

    return resolve
