"""The canonical line of an attempt: one for each, with all that explains it and no secret."""

import io
import json
from typing import Any

import pytest
from worker_room import START, flow, open_worker

from reconciler.dispatch.recipe import Recipes
from reconciler.observe.log import configure, silence
from reconciler.sandbox.script import Line

TOKEN = "c4n4ry-token-c4n4ry"
FACTS = (
    *("event", "at", "delivery", "event_id", "webhook", "attempt", "max_attempts", "outcome", "status", "fault"),
    *("detail", "revision", "commit", "probe", "address", "dns_ms", "connect_ms", "tls_ms", "first_byte_ms"),
    *("duration_ms", "sent_bytes", "received_bytes", "state", "reason", "next_attempt_at"),
)


@pytest.fixture
def log_lines():
    """The attempts' lines, as JSON."""
    stream = io.StringIO()
    configure("json", stream)

    def lines() -> list[dict[str, Any]]:
        found = map(json.loads, stream.getvalue().splitlines())
        return [line for line in found if line["event"] == "delivery.attempted"]

    yield lines
    silence()


async def test_an_attempt_is_one_line_that_says_all_of_it(tmp_path, log_lines):
    """What was tried, with which revision, what came of it, how long and how much it was, what follows."""
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["5s"]})) as room:
        room.sandbox.add_script(Line(status=503, body="busy"))
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.turn(5)
        await room.settled()

        delivery = await room.only()
        first, second = log_lines()
        assert tuple(first) == tuple(second) == FACTS
        assert (first["delivery"], first["event_id"], first["webhook"]) == (delivery.id, delivery.event_id, "a")
        assert (first["attempt"], first["max_attempts"], second["attempt"]) == (1, 10, 2)
        assert (first["outcome"], first["status"], first["fault"]) == ("retryable", 503, "status")
        assert first["detail"] == "the receiver answered 503 Service Unavailable"
        assert (first["revision"], first["commit"]) == (1, "c0ffee")
        assert (first["state"], first["next_attempt_at"]) == ("pending", "2026-11-23T09:00:05.000Z")
        assert START == 1_795_424_400_000
        assert (first["sent_bytes"], first["received_bytes"]) == (len(room.sandbox.requests[0].content), 4)
        assert first["tls_ms"] <= first["first_byte_ms"] <= first["duration_ms"]
        assert first["address"] == f"127.0.0.1:{room.sandbox.port}"
        assert (second["outcome"], second["state"], second["next_attempt_at"]) == ("delivered", "delivered", None)
        assert second["detail"] is None


async def test_an_attempt_that_was_never_sent_has_its_line_too(tmp_path, log_lines):
    unrenderable = flow("a", headers={"x-name": "line\nbreak"})  # as a store may hold it from before there was the rule
    async with open_worker(tmp_path, unrenderable) as room:
        await room.start()
        await room.take("r-1")
        await room.settled()

    [line] = log_lines()
    assert (line["outcome"], line["fault"], line["state"], line["reason"]) == ("permanent", "render", "dead", "render")
    assert (line["sent_bytes"], line["received_bytes"], line["address"], line["revision"]) == (0, None, None, 1)


async def test_the_revision_of_a_line_is_the_one_the_attempt_was_made_with(tmp_path, log_lines):
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["5s"]})) as room:
        room.sandbox.add_script(Line(status=500))
        await room.start()
        await room.take("r-1")
        await room.settled()
        await room.publish(flow("a", retry={"schedule": ["5s"]}, timeout_in_sec=9), commit="beef")
        room.worker.refresh_soon()
        room.turn(5)
        await room.settled()

        [line, again] = log_lines()
        recorded = [(attempt.revision, attempt.commit) for attempt in await room.attempts()]
        assert [(item["revision"], item["commit"]) for item in (line, again)] == recorded
        assert recorded[0] == (1, "c0ffee")


async def test_a_line_is_masked(tmp_path, log_lines):
    """A receiver that gives a secret back, in its reason phrase or in what a validator finds."""
    (tmp_path / "token").write_text(TOKEN)
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text("token: {from: file:token, hosts: [acme.workflows.okta.com]}\n")
    secrets.chmod(0o600)
    judged = flow(
        "a",
        headers={"x-api-client-token": "${secret:token}"},
        response_validators=[{"json_path": "$.said", "expected_values": ["ok"]}],
    )
    async with open_worker(tmp_path, judged, secrets=secrets) as room:
        room.sandbox.add_script(Line(status=200, body={"said": TOKEN}))
        await room.start()
        await room.take("r-1")
        await room.settled()

        [line] = log_lines()
        assert line["detail"] == 'the answer does not count as delivered: $.said is "***", expected "ok"'
        assert TOKEN not in json.dumps(line)


async def test_a_crash_is_logged_and_recorded_without_secrets(tmp_path, log_lines, monkeypatch):
    """A bug may put anything into its exception: its text is masked in the log, and the record names its kind alone."""
    (tmp_path / "secrets.yaml").write_text("t: {from: env:CANARY, hosts: [acme.workflows.okta.com]}")
    (tmp_path / "secrets.yaml").chmod(0o600)
    monkeypatch.setenv("CANARY", TOKEN)

    def crash(self, uid, webhook, secrets):
        raise RuntimeError(f"cannot make of {secrets} what was wanted: {secrets['t'].encode().hex()}")

    monkeypatch.setattr(Recipes, "of", crash)
    webhook = flow("a", headers={"x-api-key": "${secret:t}"}, retry={"max_attempts": 1})
    async with open_worker(tmp_path, webhook, secrets=tmp_path / "secrets.yaml") as room:
        lines = io.StringIO()
        configure("json", lines)
        await room.start()
        await room.take("r-1")
        await room.settled()

        [crashed] = [
            line for line in map(json.loads, lines.getvalue().splitlines()) if line["event"] == "delivery.crashed"
        ]
        assert crashed["why"] == "cannot make of {'t': '***'} what was wanted: ***"
        assert TOKEN not in lines.getvalue()
        [delivery] = await room.deliveries("a")
        assert delivery.state == "dead"
    left = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    assert TOKEN.encode() not in left
    assert TOKEN.encode().hex().encode() not in left
