"""kill -9 of the daemon while events flow: nothing acknowledged is lost, repeats are recognisable, order holds."""

import json
import random
import sqlite3
from collections import defaultdict
from itertools import islice

import httpx

FLOWS = 50
EVENTS = 2_000
REQUESTS = 500  # four events each
KILLS = 10
SEED = 20_261_124


def alias(flow: int) -> str:
    return f"{flow:032x}"


def manifest(flow: int) -> str:
    return f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: flow-{flow}}}
spec:
  url: https://acme.workflows.okta.com/api/flo/{alias(flow)}/invoke
  triggers: [RequestCreated, RequestApproved, RequestGranted, RequestExpired]
  filters: {{integration: {{name: [flow-{flow}]}}}}
  rate_limit: unlimited
  retry: {{schedule: [0.2s, 0.5s, 1s], max_attempts: 50}}
"""


def event(request: int, step: int) -> dict[str, object]:
    kinds = ("Created", "Approved", "Granted", "Expired")
    return {
        "event_type": f"AccessRequest{kinds[step]}",
        "event_time": 1_795_424_400 + step,
        "data": {
            "id": f"request-{request}",
            "friendly_id": f"AR-{request}-{step}",
            "access_groups": [{"integration": {"name": f"flow-{request % FLOWS}"}}],
        },
    }


def send_surely(daemon_url, events, restart):
    """Post a batch until it is acknowledged, as a careful sender does; the daemon may be killed meanwhile."""
    body = "\n".join(json.dumps(item) for item in events).encode()
    for _ in range(100):
        try:
            answer = httpx.post(
                f"{daemon_url()}/v1/events", content=body, headers={"content-type": "application/x-ndjson"}, timeout=10
            )
        except httpx.TransportError:
            restart()
            continue
        if answer.status_code == 202:
            assert answer.json()["accepted"] + answer.json()["duplicates"] == len(events)
            return
    raise AssertionError("the daemon never acknowledged a batch")


def test_kill_nine_loses_nothing_repeats_recognisably_and_keeps_order(workshop, eventually):
    """DESIGN: at least once, nothing lost after our 202, through kill -9 at any moment; order per access request."""
    workshop.write("manifests/flows.yaml", "---\n".join(manifest(flow) for flow in range(FLOWS)))
    workshop.write("script.jsonl", json.dumps({"flow": "*", "every": 7, "status": 500}) + "\n")
    workshop.start_sandbox("--rate", "off", "--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    rand = random.Random(SEED)
    daemon, url = workshop.start_daemon()
    current = {"daemon": daemon, "url": url}
    events = [event(request, step) for step in range(4) for request in range(REQUESTS)]
    assert len(events) == EVENTS
    kill_at = sorted(rand.sample(range(5, EVENTS // 20), KILLS))

    def restart() -> None:
        current["daemon"].kill()
        current["daemon"], current["url"] = workshop.start_daemon()

    stream = iter(events)
    for number, batch in enumerate(iter(lambda: list(islice(stream, 20)), [])):
        send_surely(lambda: current["url"], batch, restart)
        if number in kill_at:
            eventually(
                lambda base=len(workshop.record()): (
                    len(workshop.record()) > base + rand.randrange(20) or not current["daemon"].is_alive()
                ),
                what="deliveries under way",
                timeout=20,
            )
            restart()

    def delivered() -> bool:
        return httpx.get(f"{current['url']}/readyz", timeout=10).status_code == 200 and not unfinished(workshop)

    eventually(delivered, timeout=90, what="every delivery finished")
    record = workshop.record()
    assert_every_event_arrived(record)
    assert_repeats_carry_the_same_id(record)
    assert_requests_came_in_order(record)
    assert_the_ledger_agrees(workshop, record)


def unfinished(workshop) -> int:
    with sqlite3.connect(workshop.folder / "reconciler.db") as store:
        return store.execute("select count(*) from deliveries where state in ('pending', 'in_flight')").fetchone()[0]


def friendly(entry) -> str:
    return json.loads(entry["body"])["data"]["friendly_id"]


def assert_every_event_arrived(record) -> None:
    accepted = {friendly(entry) for entry in record if entry["status"] == 200}
    assert len(accepted) == EVENTS


def assert_repeats_carry_the_same_id(record) -> None:
    ids = defaultdict(set)
    for entry in record:
        ids[friendly(entry)].add(dict(entry["headers"])["webhook-id"])
    assert all(len(found) == 1 for found in ids.values())
    assert len({next(iter(found)) for found in ids.values()}) == EVENTS


def assert_requests_came_in_order(record) -> None:
    """First attempts of one access request start in the order of acceptance."""
    first_seen: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for entry in record:
        if (name := friendly(entry)) not in seen:
            seen.add(name)
            _, request, step = name.split("-")
            first_seen[request].append(int(step))
    assert all(steps == sorted(steps) for steps in first_seen.values())


def assert_the_ledger_agrees(workshop, record) -> None:
    listed = workshop.json("deliveries", "list", "--limit", str(EVENTS + 1))
    assert len(listed) == EVENTS
    assert {delivery["state"] for delivery in listed} == {"delivered"}
    received = defaultdict(int)
    for entry in record:
        received[dict(entry["headers"])["webhook-id"]] += 1
    for delivery in listed:
        assert delivery["attempts"] >= received[delivery["id"]] >= 1
