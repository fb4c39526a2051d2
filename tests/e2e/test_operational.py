"""Operational events, retention and backpressure of the daemon as a process, through kill -9."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from e2e_manifest import event, manifest
from workshop import Workshop

from reconciler.models.delivery import State
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import Page
from reconciler.store.sqlite.store import SqliteStore

OPS_ALIAS = "f" * 32
OPS = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: ops}
spec:
  url: https://acme.workflows.okta.com/api/flo/ffffffffffffffffffffffffffffffff/invoke
  triggers: [ReconcilerWebhookFailing, ReconcilerWebhookPaused, ReconcilerWebhookRecovered, ReconcilerDeliveryDead]
  when: data.webhook.name == "flow"
  body_template:
    text: "{{event_type}} {{data.webhook.name}} ({{data.count}}): {{data.reason}}"
    type: "{{event_type}}"
    count: "{{data.count}}"
"""


def opened(workshop: Workshop, script: list[dict[str, Any]], *, spec: str = "", is_told: bool = True) -> None:
    workshop.write("manifests/flow.yaml", manifest(spec=spec))
    if is_told:
        workshop.write("manifests/ops.yaml", OPS)
    workshop.write("script.jsonl", "".join(json.dumps(line) + "\n" for line in script))
    workshop.start_sandbox("--script", "script.jsonl", "--rate", "off")
    workshop.command("apply", "--auto-approve")


def told(workshop: Workshop) -> list[dict[str, Any]]:
    return [json.loads(item["body"]) for item in workshop.record() if OPS_ALIAS in item["path"]]


def kinds(workshop: Workshop) -> list[str]:
    return [item["type"].removeprefix("Reconciler") for item in told(workshop)]


def test_a_destination_that_refuses_is_told_to_whom_the_manifest_names(
    workshop: Workshop, eventually: Callable[..., Any], post: Callable[..., httpx.Response]
) -> None:
    """Failing and paused, and after the operator has resumed it, recovered."""
    refused = {"flow": "0123456789abcdef0123456789abcdef", "status": 404, "times": 5}
    opened(workshop, [refused], spec="  rate_limit: unlimited\n")
    _, url = workshop.start_daemon()

    for number in range(5):
        assert post(url, event(number)).status_code == 202
    eventually(lambda: {"WebhookFailing", "WebhookPaused"} <= set(kinds(workshop)), what="failing and paused")
    workshop.command("webhooks", "resume", "flow", "--auto-approve", "--fresh-first")
    post(url, event(9))

    eventually(lambda: "WebhookRecovered" in kinds(workshop), what="recovered")
    assert kinds(workshop) == ["WebhookFailing", "WebhookPaused", "WebhookRecovered"]
    assert told(workshop)[0]["text"].startswith("ReconcilerWebhookFailing flow (1): 3 attempts in a row failed: ")


def test_a_pause_while_no_daemon_ran_is_told_once(workshop: Workshop, eventually: Callable[..., Any]) -> None:
    """The fact waits in the store; a daemon that is killed after it was told does not tell it again."""
    opened(workshop, [])
    workshop.command("webhooks", "pause", "flow", "--reason", "maintenance")
    daemon, _ = workshop.start_daemon()
    eventually(lambda: kinds(workshop) == ["WebhookPaused"], what="the event")
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()

    workshop.command("run", "--listen", "127.0.0.1:0", *workshop.egress(), "--exit-when-idle")

    assert kinds(workshop) == ["WebhookPaused"]
    assert "maintenance" in told(workshop)[0]["text"]


def test_a_daemon_that_ends_when_idle_has_told_what_happened(workshop: Workshop) -> None:
    """The last delivery that died is no less to be told."""
    opened(workshop, [{"flow": "0123456789abcdef0123456789abcdef", "status": 422}])
    workshop.write("events.jsonl", event(1).decode() + "\n")

    workshop.command(
        "run", "--listen", "127.0.0.1:0", *workshop.egress(), "--events", "events.jsonl", "--exit-when-idle"
    )

    assert kinds(workshop) == ["DeliveryDead"]


def test_through_kill_9_every_dead_delivery_is_told_or_still_to_be_told(
    workshop: Workshop, eventually: Callable[..., Any], post: Callable[..., httpx.Response]
) -> None:
    """Counted in the store: what events tell and what waits for its minute are all that died, none twice."""
    opened(workshop, [{"flow": "0123456789abcdef0123456789abcdef", "status": 422, "times": 10_000}])
    for number in range(3):
        daemon, url = workshop.start_daemon()
        for one in range(10):
            post(url, event(100 * number + one))
        seen = len(workshop.record())
        eventually(lambda seen=seen: len(workshop.record()) > seen, what="a request")
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    daemon, url = workshop.start_daemon()
    eventually(lambda: httpx.get(f"{url}/v1/webhooks").text.count('"dead":30') == 1, what="the end of all")
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()

    dead, counted = counts_of(workshop.folder)

    assert (dead, counted) == (30, 30)


def counts_of(folder: Path) -> tuple[int, int]:
    """How many deliveries of `flow` are dead, and how many operational events and notices say so."""

    async def look() -> tuple[int, int]:
        async with SqliteStore(folder / "reconciler.db") as store:
            live = {item.webhook.name: item.uid for item in (await store.live_state()).webhooks}
            dead = (await store.counts()).get(WebhookUid(live["flow"]), {}).get(State.DEAD, 0)
            own = [item for item in await store.events(Page(1000)) if item.event_type == "ReconcilerDeliveryDead"]
            counted = sum(json.loads(item.raw)["data"]["count"] for item in own)
            waiting = await store.notices(now=2**53, limit=100)
            return dead, counted + sum(one.number for one in waiting if one.trigger == "ReconcilerDeliveryDead")

    return asyncio.run(look())


def test_what_is_older_than_the_retention_goes_and_what_is_pending_stays(
    workshop: Workshop, eventually: Callable[..., Any], post: Callable[..., httpx.Response]
) -> None:
    opened(workshop, [])
    _, url = workshop.start_daemon("--retention", "1s")
    for number in range(3):
        post(url, event(number))
    eventually(lambda: len(workshop.record()) == 3, what="the deliveries")
    workshop.command("webhooks", "pause", "flow", "--reason", "maintenance")
    post(url, event(7))

    eventually(lambda: len(workshop.json("events", "list")) <= 2, what="the end of what is old")

    left = [item["id"] for item in workshop.json("deliveries", "list", "--state", "pending")]
    assert len(left) == 1
    listed = {item["name"]: item for item in workshop.json("webhooks", "list")}
    assert listed["flow"]["deliveries"]["delivered"] == 3


def test_a_full_backlog_turns_events_away_until_it_flows_again(
    workshop: Workshop, eventually: Callable[..., Any], post: Callable[..., httpx.Response]
) -> None:
    opened(workshop, [], is_told=False)
    workshop.command("webhooks", "pause", "flow", "--reason", "maintenance")
    _, url = workshop.start_daemon("--max-pending", "2")
    answers = [post(url, event(number)) for number in range(3)]
    ready = httpx.get(f"{url}/readyz").json()

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].headers["retry-after"] == "10"
    assert ready["intake_full"] == "too many deliveries are unfinished"
    workshop.command("webhooks", "resume", "flow")
    eventually(lambda: post(url, event(9)).status_code == 202, what="room")
