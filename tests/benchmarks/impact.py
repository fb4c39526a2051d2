"""What `plan --impact` costs: 100,000 recorded events against 100 webhooks, of which 5 changed, as one whole process.

    python tests/benchmarks/impact.py [--events N] [--runs N] [--json]

The changed ones are another body, another URL, another filter, an inactivation and a new webhook; each wants every
event, so that nothing is spared but what the changes do not touch. Exits 1 beyond TARGET. Not run by pytest.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from process import Cost, measure

from reconciler import jsontext
from reconciler.models.corpus import complete_event
from reconciler.models.event import EventId
from reconciler.models.webhook import Trigger
from reconciler.store.base import NewEvent
from reconciler.store.open import open_store

TARGET_SECONDS: Final = 15.0  # wall, for EVENTS
EVENTS: Final = 100_000
WEBHOOKS: Final = 100
PORTION: Final = 1_000  # events stored at once
TRIGGERS: Final = [trigger for trigger in Trigger if trigger is not Trigger.MANUAL]
FIELDS: Final = ("data.requester.email", "data.friendly_id", "data.justification", "data.access_flow.name")


def main() -> int:
    """Make a store, measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--runs", type=int, default=2, help="the best counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cost, impact = measured(Path(folder), options.events, options.runs)
    assert impact["events"] == options.events
    assert [item["example"] is not None for item in impact["webhooks"]] == [True] * 5
    limit = TARGET_SECONDS * options.events / EVENTS
    if options.json:
        told = {"events": options.events, "wall_seconds": cost.wall_seconds, "cpu_seconds": cost.cpu_seconds}
        sys.stdout.write(json.dumps({**told, "peak_mb": cost.peak_mb, "limit_seconds": limit}) + "\n")
    else:
        sys.stdout.write(
            f"plan --impact, {options.events:,} events, {WEBHOOKS} webhooks, 5 changed: {cost.wall_seconds:.1f} s wall,"
            f" {cost.cpu_seconds:.1f} s CPU, {cost.peak_mb:.0f} MB; target {limit:.1f} s\n"
        )
    return 0 if cost.wall_seconds <= limit else 1


def measured(folder: Path, events: int, runs: int) -> tuple[Cost, Any]:
    """The best cost of so many runs, and what they said of the impact."""
    (folder / "manifests").mkdir()
    command = [sys.executable, "-m", "reconciler"]
    write(folder, [webhook(number) for number in range(WEBHOOKS - 1)])
    measure([*command, "apply", "--auto-approve"], folder=folder, env=os.environ)
    asyncio.run(record(folder / "reconciler.db", events))
    write(folder, [*changed(), *(webhook(number) for number in range(4, WEBHOOKS - 1))])
    best = None
    for _ in range(runs):
        args = [*command, "plan", "--impact", "--json-into", "plan.json"]
        best = measure(args, folder=folder, env=os.environ).best(best)
    assert best is not None
    return best, json.loads((folder / "plan.json").read_text("utf-8"))["impact"]


def webhook(number: int, **spec: Any) -> dict[str, Any]:
    """One that wants every event, with a body of its own."""
    body = {"number": number, "event": "{{event_type}}", **{field: f"{{{{{field}}}}}" for field in FIELDS}}
    return {
        "apiVersion": "reconciler/v1",
        "kind": "Webhook",
        "metadata": {"name": f"hook-{number:03}"},
        "spec": {
            "url": f"https://hooks.example.com/{number}",
            "triggers": [trigger.value for trigger in TRIGGERS],
            "body_template": json.dumps(body),
            **spec,
        },
    }


def changed() -> list[dict[str, Any]]:
    """The first four webhooks in another form, and a new one."""
    body = json.dumps({"event": "{{event_type}}", "who": "{{data.requester.name}}", "id": "{{data.friendly_id}}"})
    return [
        webhook(0, body_template=body),
        webhook(1, url="https://other.example.com/1"),
        webhook(2, filters={"requester": ["*.7@example.com"]}),
        webhook(3, status="inactive"),
        webhook(WEBHOOKS),
    ]


def write(folder: Path, webhooks: list[dict[str, Any]]) -> None:
    """Replace the manifests."""
    (folder / "manifests" / "all.yaml").write_text("\n---\n".join(map(json.dumps, webhooks)), "utf-8")


async def record(path: Path, count: int) -> None:
    """Events of all triggers, as intake stores them."""
    store = open_store(f"sqlite:///{path}", create=False)
    assert store is not None
    async with store:
        portion: list[NewEvent] = []
        for event in made(count):
            portion.append(event)
            if len(portion) == PORTION:
                await store.accept(portion, revision=1)
                portion = []
        if portion:
            await store.accept(portion, revision=1)


def made(count: int) -> Iterator[NewEvent]:
    """Each of another request and requester, about 2.5 KB."""
    templates = [complete_event(trigger) for trigger in TRIGGERS]
    now = time.time_ns() // 1_000_000
    for number in range(count):
        event = templates[number % len(templates)]
        event["data"]["id"], event["data"]["friendly_id"] = f"request-{number}", f"AR-{number}"
        event["data"]["requester"]["email"] = f"person.{number % 100}@example.com"
        raw = jsontext.dumps(event).encode()
        yield NewEvent(EventId(f"e-{number}"), event["event_type"], None, None, "test", raw, str(number), now)


if __name__ == "__main__":
    sys.exit(main())
