"""A whole daemon's front door: what `run` was told holds for whoever asks."""

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme
from served import event, raw

from reconciler.daemon import Daemon, DaemonSettings, open_daemon_store
from reconciler.request.sign import parse_signer
from reconciler.settings import EgressSettings

SIGNER = parse_signer("whsec_" + base64.b64encode(bytes(range(32))).decode())


@contextlib.asynccontextmanager
async def serving(settings: DaemonSettings, folder: Path) -> AsyncIterator[str]:
    """The base URL of a daemon that runs meanwhile."""
    async with open_daemon_store(f"sqlite:///{folder / 'store.db'}") as store:
        daemon = Daemon(settings, store=store)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(daemon.run(on_ready=ready.set_result))
        await asyncio.wait({task, ready}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield ready.result()
        finally:
            daemon.stop()
            await asyncio.wait_for(task, 10)


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.yaml"
    key = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    path.write_text(json.dumps({"apono": {"signing_keys": [key], "roles": ["ingest"]}}))
    path.chmod(0o600)
    return path


async def test_a_daemon_takes_what_is_signed_now_and_no_more_often_than_it_was_told(
    tmp_path: Path, tokens_file: Path
) -> None:
    """Its own clock, its own tokens, its own rate."""
    settings = DaemonSettings("127.0.0.1", 0, EgressSettings(), tokens_file=tokens_file, intake_rate=0.5)
    body, at = raw(event(1)), f"{int(time.time())}"
    signature = SIGNER.sign(f"msg_1.{at}.".encode() + body)
    said = {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": signature}
    async with serving(settings, tmp_path) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        taken = await client.post("/v1/events", content=body, headers=said)
        again = await client.post("/v1/events", content=body, headers=said)

    assert (taken.status_code, taken.json()["accepted"]) == (202, 1)
    assert (again.status_code, again.json()["code"]) == (429, "rate")


async def test_a_daemon_tells_whose_keys_others_could_use(tmp_path: Path) -> None:
    """The files that open its door; its binding file's are told beside them."""
    token = "0123456789abcdef0123456789abcdef"
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    files = [tmp_path / name for name in ("tokens.yaml", "tls.crt", "tls.key")]
    files[0].write_text(json.dumps({"ops": {"token": token, "roles": ["read"]}}))
    certificate.cert_chain_pems[0].write_to_path(files[1])
    certificate.private_key_pem.write_to_path(files[2])
    for file in files:
        file.chmod(0o644)
    settings = DaemonSettings("127.0.0.1", 0, EgressSettings(), tokens_file=files[0], tls=(files[1], files[2]))
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)

    async with serving(settings, tmp_path) as url, httpx.AsyncClient(verify=trusted, trust_env=False) as client:
        asked = f"{url.replace('127.0.0.1', 'localhost')}/v1/doctor"
        answer = await client.get(asked, headers={"authorization": f"Bearer {token}"})

    (found,) = [finding for check in answer.json()["checks"] for finding in check["findings"]]
    assert found["code"] == "file.key_mode"
    assert found["mend"] == f"chmod 600 {files[0]} {files[2]}"


async def test_a_daemon_bounds_what_is_no_request(tmp_path: Path) -> None:
    """Its server is the bounded one: what is not HTTP gets problem details."""
    async with serving(DaemonSettings("127.0.0.1", 0, EgressSettings()), tmp_path) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"nonsense\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n")
