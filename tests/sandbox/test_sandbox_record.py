"""The record: what it says, what it hides, and that it is there before the answer."""

import asyncio
import base64
import json
from pathlib import Path

import httpx
import pytest

from reconciler.errors import ReconcilerError
from reconciler.sandbox.flow import Flow
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import Line

ALIAS = "0123456789abcdef0123456789abcdef"
TOKEN = "5ec7e7" * 10 + "abcd"


def lines_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


async def test_every_request_is_a_line_with_what_was_decided(tmp_path, connect):
    record = tmp_path / "record.jsonl"
    settings = SandboxSettings(record=record, script=(Line(), Line(close=True)))
    async with OktaSandbox(settings, epoch=lambda: 1795508867.2419) as sandbox, connect(sandbox) as client:
        await client.send(content='{"text": "ü\u2028"}', headers={"webhook-id": "dlv_1", "content-type": "text/plain"})
        with pytest.raises(httpx.RemoteProtocolError):
            await client.send("GET", f"/api/flo/{ALIAS}?a=b")
        await client.send("PUT", f"/api/flo/{ALIAS}/invoke")
        await client.send("POST", "/nowhere")

    invoked, closed, refused, unknown = lines_of(record)
    assert (
        invoked.pop("headers").items()
        >= {
            "webhook-id": "dlv_1",
            "host": "acme.workflows.okta.com",
            "content-type": "text/plain",
        }.items()
    )
    assert invoked == {
        "n": 1,
        "time": 1795508867241,
        "flow": ALIAS,
        "invocation": 1,
        "method": "POST",
        "path": f"/api/flo/{ALIAS}/invoke",
        "body": '{"text": "ü\u2028"}',
        "status": 200,
        "ending": "answer",
    }
    assert (closed["n"], closed["invocation"], closed["status"], closed["ending"]) == (2, 2, None, "close")
    assert closed["path"] == f"/api/flo/{ALIAS}?a=b"
    assert (refused["n"], refused["flow"], refused["invocation"], refused["status"]) == (3, ALIAS, None, 405)
    assert (unknown["n"], unknown["flow"], unknown["status"]) == (4, None, 404)


async def test_a_body_that_is_not_text_is_kept_byte_by_byte(tmp_path, connect):
    record = tmp_path / "record.jsonl"
    async with OktaSandbox(SandboxSettings(record=record)) as sandbox, connect(sandbox) as client:
        await client.send(content=b"a\xff")

    (line,) = lines_of(record)
    assert line["body"] == "a\ufffd"
    assert base64.b64decode(line["body_base64"]) == b"a\xff"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/api/flo/{ALIAS}/invoke", {"x-api-client-token": TOKEN}),
        (f"/api/flo/{ALIAS}/invoke", {"x-api-client-token": "wrong-token"}),
        (f"/api/flo/{ALIAS}/invoke?a=b&clientToken={TOKEN}", {}),
        (f"/api/flo/{ALIAS}/invoke?clienttoken=wrong-token", {}),
        (f"/api/flo/{ALIAS}/invoke?client%54oken={TOKEN}", {}),
        (f"/api/flo/{TOKEN}/invoke", {}),
        (f"/api/flo/%{ord(TOKEN[0]):x}{TOKEN[1:]}/invoke", {}),
        (f"/api/flo/{'f' * 64}/invoke", {}),
        (f"/api/flo/{ALIAS}/invoke", {"authorization": "Bearer wrong-token"}),
    ],
)
async def test_tokens_are_masked(tmp_path, connect, path, headers):
    """Right ones and wrong ones, in the file and in memory; everything else stays."""
    record = tmp_path / "record.jsonl"
    settings = SandboxSettings(record=record, flows=(Flow(ALIAS, TOKEN),))
    async with OktaSandbox(settings) as sandbox, connect(sandbox) as client:
        await client.send("POST", path, headers={"webhook-id": "dlv_1", **headers})
        recorded = str(sandbox.requests)

    for text in (record.read_text(), recorded):
        assert TOKEN[1:] not in text
        assert "wrong-token" not in text
        assert "f" * 64 not in text
        assert "***" in text
        assert "dlv_1" in text


async def test_the_line_is_on_disk_before_the_answer_is_sent(tmp_path, connect):
    """Nothing waits in a buffer, so a killed client's request is in it too."""
    record = tmp_path / "record.jsonl"
    async with OktaSandbox(SandboxSettings(record=record, rate=None)) as sandbox, connect(sandbox) as client:
        for count in range(1, 20):
            await client.send(content=b"x" * 10_000)
            assert len(lines_of(record)) == count
        sandbox.add_script(Line(delay=60))
        unanswered = asyncio.create_task(client.send())
        await sandbox.wait_for_requests(20)
        assert lines_of(record)[-1]["status"] == 200
        assert not unanswered.done()
    with pytest.raises(httpx.TransportError):
        await unanswered


async def test_a_record_is_continued(tmp_path, connect):
    record = tmp_path / "record.jsonl"
    for _ in range(2):
        async with OktaSandbox(SandboxSettings(record=record)) as sandbox, connect(sandbox) as client:
            await client.send()

    assert [line["n"] for line in lines_of(record)] == [1, 1]


async def test_requests_are_handed_out_one_by_one(sandbox, client):
    await client.send(content=b"1")
    await client.send(content=b"2")

    assert (await sandbox.next_request()).body == "1"
    assert (await sandbox.next_request()).body == "2"
    with pytest.raises(TimeoutError):
        await sandbox.next_request(timeout=0.01)
    await client.send(content=b"3")
    assert (await sandbox.next_request()).body == "3"
    assert [request.body for request in await sandbox.wait_for_requests(3)] == ["1", "2", "3"]


async def test_memory_need_not_hold_the_requests(connect):
    async with OktaSandbox(SandboxSettings(keep_requests=False)) as sandbox, connect(sandbox) as client:
        await client.send()

        assert sandbox.requests == []


async def test_a_record_that_cannot_be_written_stops_the_sandbox_without_an_answer(connect):
    """Evidence with holes would be worse than none."""
    async with OktaSandbox(SandboxSettings(record=Path("/dev/full"))) as sandbox, connect(sandbox) as client:
        with pytest.raises(httpx.TransportError):
            await client.send()
        with pytest.raises(ReconcilerError, match="cannot record: /dev/full: no space left on device"):
            await sandbox.stopped


async def test_a_port_in_use_is_an_error(tmp_path, sandbox):
    with pytest.raises(ReconcilerError, match=f"cannot listen: https://127.0.0.1:{sandbox.port}: "):
        async with OktaSandbox(SandboxSettings(port=sandbox.port, record=tmp_path / "record.jsonl")):
            pass
