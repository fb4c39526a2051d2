"""Receivers that break every rule, all at once and beside one that is well: each costs only itself."""

import json
from pathlib import Path

import httpx
import pytest
from chaos_ledger import check_arrivals, check_store, unfinished
from chaos_load import event
from chaos_receiver import FAULTS, HOST, Receiver

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

EVENTS = 8  # for each receiver
WRITTEN_AND_UNANSWERED = {
    "resets-after", "resets-amid-the-answer", "half-closes", "trickles", "trickles-its-head", "never-answers",
    "speaks-no-http", "sends-endless-headers",
}  # fmt: skip
PEAK_MIB = 250  # of the daemon's memory; it was sent gigabytes


def manifest(name: str) -> str:
    return f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: {name}}}
spec:
  url: https://{HOST}/{name}
  triggers: [RequestCreated]
  timeout_in_sec: 2
  ordering: none
  max_concurrency: 1
  retry: {{schedule: [0.2s], max_attempts: 20, jitter: 0}}
"""


def peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no peak in /proc")


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_receivers_that_break_every_rule(workshop, eventually, transport):
    """Resets, half-closes, trickles, early answers, gigabytes, silence: the ledger is right, the other one is quick."""
    names = [*FAULTS, "is-well"]
    workshop.write("manifests/all.yaml", "---\n".join(manifest(name) for name in names))
    workshop.command("apply", "--auto-approve")
    with Receiver(workshop.folder) as receiver:
        daemon = workshop.start("run", "--listen", "127.0.0.1:0", "--transport", transport, *receiver.egress())
        url = daemon.url()
        sent = [event(number, justification="x" * 100_000) for number in range(EVENTS)]
        answer = httpx.post(f"{url}/v1/events", content=json.dumps(sent), timeout=30).json()
        acknowledged = {
            told["id"]: item["data"]["friendly_id"] for told, item in zip(answer["events"], sent, strict=True)
        }

        eventually(lambda: not unfinished(workshop.folder / "reconciler.db"), timeout=120, what="all the others")
        arrivals = list(receiver.arrivals)

    tries = check_store(workshop.folder / "reconciler.db", acknowledged)
    check_arrivals([a for a in arrivals if a.event], tries, acknowledged.values())
    assert last_at(arrivals, "is-well") < first_delivered_at(arrivals, "never-answers"), "the one that is well waited"
    assert not receiver.overlapping
    for name in names:
        came = {a.event for a in arrivals if a.webhook == f"/{name}" and a.is_ok}
        assert came == set(acknowledged.values()), name
    assert_outcomes(workshop, tries)
    assert peak_mib(daemon.pid) < PEAK_MIB
    assert not any("delivery.crashed" in line for line in daemon.lines)


def last_at(arrivals, name: str) -> int:
    """The place, among all arrivals, of the last one at this receiver."""
    return max(place for place, arrival in enumerate(arrivals) if arrival.webhook == f"/{name}")


def first_delivered_at(arrivals, name: str) -> int:
    return min(place for place, arrival in enumerate(arrivals) if arrival.webhook == f"/{name}" and arrival.is_ok)


def assert_outcomes(workshop, tries) -> None:
    """What may have been run is unknown; what was answered, or never written, is not."""
    listed = workshop.json("deliveries", "list", "--limit", "1000")
    assert {delivery["state"] for delivery in listed} == {"delivered"}
    webhook_of = {delivery["id"]: delivery["webhook"] for delivery in listed}
    failed: dict[str, set[str]] = {}
    for delivery, made in tries.items():
        failed.setdefault(webhook_of[delivery], set()).update(one.outcome for one in made if one.outcome != "delivered")
    for name in WRITTEN_AND_UNANSWERED:
        assert failed[name] == {"unknown"}, name
    assert failed["sends-a-gigabyte"] == {"retryable"}
    assert failed["is-well"] == set()
