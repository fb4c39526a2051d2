"""What `auth test` says of each step and of each way to fail, as files, by the command itself against the sandbox.

RECONCILER_GOLDEN=write rewrites the files.
"""

import asyncio
import datetime
import json
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from oauth_room import ALIAS, HOST, SECRET, URL, by_secret, clients, oauth2, private_pem, public_pem

from reconciler.cli.main import run
from reconciler.sandbox.flow import Flow
from reconciler.sandbox.oauth import DEFAULT_ORG
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import Line

GOLDEN = Path(__file__).parent / "golden_auth"
TOKEN_PATH = "/oauth2/v1/token"
AUTHORITY = trustme.CA()
KEYS = {
    "right.pem": private_pem(),
    "wrong.pem": private_pem(which=1),
    "public.pem": public_pem(private_pem()),
    "curve.pem": private_pem("P-256"),
}
BY_SECRET = {"oauth2": by_secret(client_id="with-secret")}
MTLS = {"mtls": {"certificate": "${secret:cert}", "private_key": "${secret:cert_key}"}}


def answer(status: int, error: str, description: str, **headers: str) -> Line:
    """A line of the script for the token endpoint."""
    body = {"error": error, "error_description": description}
    return Line(flow=TOKEN_PATH, status=status, body=body, headers=headers, times=9)


@dataclass(frozen=True)
class Case:
    """One run. `key` is the file that okta_key is bound to, `hosts` where it may go; `dialled` is where the org's name
    leads: the sandbox, or a port where nobody listens."""

    auth: Any = field(default_factory=lambda: {"oauth2": oauth2()})
    key: str = "right.pem"
    hosts: tuple[str, ...] = (DEFAULT_ORG,)
    script: tuple[Line, ...] = ()
    needs_dpop: bool = False
    dialled: str = "sandbox"
    has_ca: bool = True
    ahead_seconds: float = 0.0  # of the sandbox's clock
    options: tuple[str, ...] = ()
    tls: Any = None
    valid_days: int = 3650
    is_successful: bool = False


CASES = {
    "successful": Case(is_successful=True),
    "successful-client-secret": Case(auth=BY_SECRET, is_successful=True),
    "successful-bearer": Case(auth={"bearer": {"token": "${secret:token}"}}, is_successful=True),
    "successful-basic": Case(auth={"basic": {"username": "zoë", "password": "${secret:token}"}}, is_successful=True),
    "successful-certificate": Case(auth=MTLS, tls={"ca": "${secret:authority}"}, is_successful=True),
    "none": Case(auth=None, is_successful=True),
    "sent-and-refused": Case(script=(Line(status=401, times=9),), options=("--send",)),
    "wrong-key": Case(key="wrong.pem"),
    "public-key": Case(key="public.pem"),
    "key-of-another-kind": Case(key="curve.pem"),
    "no-key-file": Case(key="nowhere.pem"),
    "bound-elsewhere": Case(hosts=(HOST,)),
    "wrong-key-id": Case(script=(answer(401, "invalid_client", "The client_assertion JWT kid is invalid."),)),
    "wrong-client": Case(auth={"oauth2": oauth2(client_id="0oa2")}),
    "wrong-secret": Case(auth=BY_SECRET, key="secret"),
    "wrong-audience": Case(
        script=(
            answer(
                401,
                "invalid_client",
                "The audience claim for client_assertion must be the endpoint invoked for the request.",
            ),
        )
    ),
    "clock-behind": Case(ahead_seconds=3600),
    "clock-ahead": Case(ahead_seconds=-7200),
    "missing-scope": Case(auth={"oauth2": oauth2(scopes=["okta.users.manage"])}),
    "dpop": Case(needs_dpop=True),
    "dpop-nonce": Case(script=(answer(400, "use_dpop_nonce", "Authorization server requires nonce in DPoP proof."),)),
    "not-allowed": Case(script=(answer(400, "unauthorized_client", "The client may not use this grant type."),)),
    "throttled": Case(
        script=(
            Line(flow=TOKEN_PATH, status=429, headers={"retry-after": "30"}, body={"errorCode": "E0000047"}, times=9),
        )
    ),
    "failing": Case(script=(Line(flow=TOKEN_PATH, status=503, times=9),)),
    "another-server": Case(script=(Line(flow=TOKEN_PATH, status=404, body="<html>not here</html>", times=9),)),
    "no-token": Case(script=(Line(flow=TOKEN_PATH, status=200, body={"hello": "world"}, times=9),)),
    "connect": Case(dialled="closed"),
    "tls": Case(has_ca=False),
    "certificate-expired": Case(auth=MTLS, valid_days=-1),
    "certificate-of-another-key": Case(auth=MTLS, key="mismatch"),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_report_is_what_the_golden_file_shows(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that were taken, and at the one that failed what to check; nothing of what opens a door."""
    case = CASES[name]
    monkeypatch.chdir(tmp_path)

    code = await command(case, tmp_path, *case.options)

    shown = capsys.readouterr().out
    assert (code == 0) == case.is_successful
    assert ("failed" in shown.split("auth of", 1)[1]) != case.is_successful
    assert not any(secret in shown for secret in secrets_of(tmp_path))
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        file.write_text(settled(shown), encoding="utf-8")
    assert settled(shown) == file.read_text(encoding="utf-8")


async def test_json_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = await command(CASES["successful"], tmp_path, "--send", "--format", "json")
    told = json.loads(capsys.readouterr().out)
    bad = await command(CASES["wrong-key"], tmp_path, "--format", "json")
    failed = json.loads(capsys.readouterr().out)

    assert (good, told["successful"], told["kind"]) == (0, True, "oauth2")
    assert [step["step"] for step in told["steps"]] == ["secrets", "key", "assertion", "token endpoint", "access token"]
    assert told["sent"]["successful"] is True
    assert (bad, failed["successful"], failed["sent"]) == (1, False, None)
    last = failed["steps"][-1]
    assert (last["step"], last["ok"]) == ("token endpoint", False)
    assert last["check"]


async def command(case: Case, folder: Path, *options: str) -> int:
    """`reconciler auth test`, with everything around it."""
    certificates(case, folder)
    for file, text in {**KEYS, "token": "tok3n-" * 4, "secret": SECRET}.items():
        (folder / file).write_text(text)
    bound = {
        "okta_key": {"from": f"file:{case.key}", "hosts": list(case.hosts)},
        "client_secret": {
            "from": "file:token" if case.key == "secret" else "file:secret",
            "hosts": [DEFAULT_ORG],
        },
        **{name: {"from": f"file:{file}", "hosts": [HOST]} for name, file in FILES.items()},
    }
    if case.key == "mismatch":
        bound["cert_key"] = {"from": "file:right.pem", "hosts": [HOST]}
    (folder / "secrets.yaml").write_text(yaml.safe_dump(bound))
    (folder / "secrets.yaml").chmod(0o600)
    spec = {"url": URL, "triggers": ["RequestCreated"], "auth": case.auth, "tls": case.tls}
    (folder / "manifests").mkdir(exist_ok=True)
    manifest = {
        "apiVersion": "reconciler/v1",
        "kind": "Webhook",
        "metadata": {"name": "okta"},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }
    (folder / "manifests" / "okta.yaml").write_text(yaml.safe_dump(manifest))
    settings = SandboxSettings(
        hosts=(HOST, DEFAULT_ORG),
        flows=(Flow(ALIAS, is_oauth=True),),
        oauth_clients=clients(folder, needs_dpop=case.needs_dpop, key=KEYS["public.pem"]),
        script=case.script,
    )
    async with OktaSandbox(settings, epoch=lambda: now() + case.ahead_seconds) as sandbox:
        (folder / "ca.pem").write_bytes(sandbox.ca_pem)
        ways = [f"--connect-to={HOST}:443:127.0.0.1:{sandbox.port}"]
        port = sandbox.port if case.dialled == "sandbox" else free_port()
        ways.append(f"--connect-to={DEFAULT_ORG}:443:127.0.0.1:{port}")
        ca = ["--ca", "ca.pem"] if case.has_ca else []
        argv = ["auth", "test", "okta", "manifests", "--secrets", "secrets.yaml", *ways, *ca, *options]
        return await asyncio.to_thread(run, argv)


FILES = {"token": "token", "cert": "cert.pem", "cert_key": "cert_key.pem", "authority": "authority.pem"}


def certificates(case: Case, folder: Path) -> None:
    """A client certificate that is valid for so many days from now."""
    ends_at = datetime.datetime.fromtimestamp(now(), datetime.UTC) + datetime.timedelta(days=case.valid_days)
    issued = AUTHORITY.issue_cert("client.example.com", common_name="client", not_after=ends_at)
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (folder / "cert_key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "authority.pem").write_bytes(AUTHORITY.cert_pem.bytes())


def secrets_of(folder: Path) -> list[str]:
    """What must not be shown: whole values, and each line of a key."""
    keys = [folder / name for name in ("right.pem", "wrong.pem", "cert_key.pem")]
    lines = [line for file in keys for line in file.read_text().splitlines() if len(line) > 20 and "---" not in line]
    return [*lines, "tok3n-", SECRET]


def now() -> float:
    """Seconds since the epoch."""
    return datetime.datetime.now(datetime.UTC).timestamp()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def settled(text: str) -> str:
    """What changes from run to run, as N."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"(?m)^( +(?:thumbprint +|iat +|time +|timings +|TLS +TLSv1\.|date: )).*", r"\1N", text)
    text = re.sub(r"dlv_\w+|\d{4}-\d{2}-\d{2}|\d{10}\.\d+|test-\d+|#[\w-]+|O=trustme v[\d.]+", "N", text)
    return re.sub(r"1[78]\d{8,}\S*", "N", text)
