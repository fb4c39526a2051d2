"""kill -9 of the daemon while events flow: nothing acknowledged is lost, repeats are recognisable, order holds."""

import json
import os
import random
import sqlite3
import threading
from collections import defaultdict
from itertools import islice

import httpx
import pytest

FLOWS = 50
REQUESTS = 500  # four events each
KILLS = 10
SEED = int(os.environ.get("KILL_SEED", "20261124"))


def alias(flow: int) -> str:
    return f"{flow:032x}"


def manifest(flow: int, timeout: int = 15) -> str:
    return f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: flow-{flow}}}
spec:
  url: https://acme.workflows.okta.com/api/flo/{alias(flow)}/invoke
  triggers: [RequestCreated, RequestApproved, RequestGranted, RequestExpired]
  filters: {{integration: {{name: [flow-{flow}]}}}}
  rate_limit: unlimited
  timeout_in_sec: {timeout}
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


class Daemon:
    """The daemon of a workshop, killed and started again, and a careful sender before it."""

    def __init__(self, workshop, eventually) -> None:
        self.workshop = workshop
        self.eventually = eventually
        self.process, self.url = workshop.start_daemon()

    def kill_and_start(self) -> None:
        self.process.kill()
        self.process, self.url = self.workshop.start_daemon()

    def kill_while_it_starts(self, delay: float) -> None:
        """kill -9 some time after the process began, ready or not."""
        self.process.kill()
        starting = self.workshop.start("run", "--listen", "127.0.0.1:0", *self.workshop.egress())
        threading.Event().wait(delay)
        starting.kill()
        self.kill_and_start()

    def send(self, events) -> None:
        """Post a batch until it is acknowledged, whatever happens to the daemon meanwhile."""
        body = "\n".join(json.dumps(item) for item in events).encode()
        headers = {"content-type": "application/x-ndjson"}
        for _ in range(100):
            try:
                answer = httpx.post(f"{self.url}/v1/events", content=body, headers=headers, timeout=10)
            except httpx.TransportError:
                self.kill_and_start()
                continue
            if answer.status_code == 202:
                assert answer.json()["accepted"] + answer.json()["duplicates"] == len(events)
                return
        raise AssertionError("the daemon never acknowledged a batch")

    def wait_for_more(self, count: int) -> None:
        """Until so many more requests have come in."""
        wanted = len(self.workshop.record()) + count
        self.eventually(
            lambda: len(self.workshop.record()) >= wanted or not unfinished(self.workshop),
            what="deliveries under way",
            timeout=20,
        )

    def finish(self) -> None:
        """Until every delivery is finished."""

        def is_done() -> bool:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200 and not unfinished(self.workshop)

        self.eventually(is_done, timeout=90, what="every delivery finished")


@pytest.fixture
def flowing(workshop, eventually):
    """A daemon with fifty flows, of whose invocations every seventh fails."""
    workshop.write("manifests/flows.yaml", "---\n".join(manifest(flow) for flow in range(FLOWS)))
    workshop.write("script.jsonl", json.dumps({"flow": "*", "every": 7, "status": 500}) + "\n")
    workshop.start_sandbox("--rate", "off", "--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    return Daemon(workshop, eventually)


def batches(requests: int, size: int):
    """Four events each of so many requests, step by step, in batches."""
    events = iter([event(request, step) for step in range(4) for request in range(requests)])
    return iter(lambda: list(islice(events, size)), [])


def test_kill_nine_loses_nothing_repeats_recognisably_and_keeps_order(flowing):
    """DESIGN: at least once, nothing lost after our 202, through kill -9 at any moment; order per access request."""
    rand = random.Random(SEED)
    kill_at = rand.sample(range(5, 4 * REQUESTS // 20), KILLS)

    for number, batch in enumerate(batches(REQUESTS, 20)):
        flowing.send(batch)
        if number in kill_at:
            flowing.wait_for_more(rand.randrange(20))
            flowing.kill_and_start()
    flowing.finish()

    assert_nothing_is_lost_or_disordered(flowing.workshop, 4 * REQUESTS)


def test_kill_nine_at_the_worst_moments(flowing):
    """While it starts, twice in quick succession, and while an apply is writing, which is killed too."""
    rand = random.Random(SEED)
    workshop = flowing.workshop

    for number, batch in enumerate(batches(60, 20)):
        flowing.send(batch)
        if number % 5 == 1:
            flowing.kill_while_it_starts(rand.uniform(0.0, 0.7))
        elif number % 5 == 2:
            flowing.kill_and_start()
            flowing.kill_and_start()
        elif number % 5 == 3:
            text = "---\n".join(manifest(flow, timeout=10 + number) for flow in range(FLOWS))
            workshop.write("manifests/flows.yaml", text)
            applying = workshop.start("apply", "--auto-approve")
            threading.Event().wait(rand.uniform(0.2, 0.6))
            flowing.process.kill()
            applying.kill()
            flowing.kill_and_start()
    workshop.command("apply", "--auto-approve")
    flowing.finish()

    assert_nothing_is_lost_or_disordered(workshop, 240)
    assert "No changes." in workshop.command("plan").stdout


def assert_nothing_is_lost_or_disordered(workshop, count: int) -> None:
    record = workshop.record()
    assert_every_event_arrived(record, count)
    assert_repeats_carry_the_same_id(record, count)
    assert_requests_came_in_order(record)
    assert_the_ledger_agrees(workshop, record, count)


def unfinished(workshop) -> int:
    with sqlite3.connect(workshop.folder / "reconciler.db") as store:
        return store.execute("select count(*) from deliveries where state in ('pending', 'in_flight')").fetchone()[0]


def friendly(entry) -> str:
    return json.loads(entry["body"])["data"]["friendly_id"]


def assert_every_event_arrived(record, count: int) -> None:
    accepted = {friendly(entry) for entry in record if entry["status"] == 200}
    assert len(accepted) == count


def assert_repeats_carry_the_same_id(record, count: int) -> None:
    ids = defaultdict(set)
    for entry in record:
        ids[friendly(entry)].add(dict(entry["headers"])["webhook-id"])
    assert all(len(found) == 1 for found in ids.values())
    assert len({next(iter(found)) for found in ids.values()}) == count


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


def assert_the_ledger_agrees(workshop, record, count: int) -> None:
    listed = workshop.json("deliveries", "list", "--limit", str(count + 1))
    assert len(listed) == count
    assert {delivery["state"] for delivery in listed} == {"delivered"}
    received = defaultdict(int)
    for entry in record:
        received[dict(entry["headers"])["webhook-id"]] += 1
    for delivery in listed:
        assert delivery["attempts"] >= received[delivery["id"]] >= 1
    with sqlite3.connect(workshop.folder / "reconciler.db") as store:
        sql = "select attempts, count(*), max(number) from deliveries d join attempts a on a.delivery_seq = d.seq"
        assert all(len({*row}) == 1 for row in store.execute(f"{sql} group by d.seq")), "an attempt is missing"
