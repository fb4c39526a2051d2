"""How long one event takes to be matched with 10, 1,000 and 10,000 webhooks, of which five want it.

    python tests/benchmarks/match.py [--json] [--events N] [--sizes 10,1000,10000]

Each mix is a way in which filters tell webhooks apart. The law to hold: at 10,000 webhooks at most twice the time
of 10. Run small by `tests/request/test_match_index.py`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.models.event import Event, make_event
from reconciler.models.webhook import Webhook
from reconciler.request.fact import facts_of
from reconciler.request.index import Entry, MatchIndex

SIZES = (10, 1_000, 10_000)
WANTED = 5
ROUNDS = 7  # the best of so many is told

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mix:
    """`wanted` is the spec of the webhooks that want the event; `other` makes one that does not, by its number."""

    name: str
    wanted: Spec
    other: Callable[[int], Spec]


def filters(**said: Any) -> Spec:
    return {"filters": said}


def several(number: int) -> Spec:
    """Other webhooks of every kind."""
    return OTHERS[number % len(OTHERS)](number)


OTHERS: tuple[Callable[[int], Spec], ...] = (
    lambda number: filters(integration={"name": [f"db-{number}"], "type": ["Postgresql"]}),
    lambda number: filters(integration={"name": [f"*-{number}-prod"]}),
    lambda number: filters(requester=[f"person-{number}@example.com", f"deputy-{number}@example.com"]),
    lambda number: filters(resource=[f"db {number}/*", f"!db {number}/secret*"], resource_type=["postgresql-*"]),
    lambda number: filters(custom_fields={"cost_center": [f"cc-{number}"]}),
    lambda number: {**filters(access_flow=[f"flow {number}"]), "when": "size(data.access_groups) > 0"},
)
MIXES = (
    Mix(
        "integration name",
        filters(integration={"name": ["orders-prod"]}),
        lambda number: filters(integration={"name": [f"db-{number}"]}),
    ),
    Mix(
        "glob *-prod",
        filters(integration={"name": ["*-prod"]}),
        lambda number: filters(integration={"name": [f"*-team{number}"]}),
    ),
    Mix(
        "glob inside",
        filters(integration={"name": ["*orders*"]}),
        lambda number: filters(integration={"name": [f"*team{number}x*"]}),
    ),
    Mix(
        "requester e-mail",
        filters(requester=["dana@example.com"]),
        lambda number: filters(requester=[f"person-{number}@example.com"], integration={"type": ["Postgresql"]}),
    ),
    Mix(
        "resource globs",
        filters(resource=["orders/*"], resource_type=["postgresql-*"]),
        lambda number: filters(resource=[f"db-{number}/*", "!*-scratch"], resource_type=["postgresql-*"]),
    ),
    Mix(
        "custom field",
        filters(custom_fields={"cost_center": ["cc-prod"]}),
        lambda number: filters(custom_fields={"cost_center": [f"cc-{number}"]}),
    ),
    Mix(
        "when",
        {**filters(integration={"name": ["orders-prod"]}), "when": "size(data.access_groups) > 1"},
        lambda number: {**filters(integration={"name": [f"db-{number}"]}), "when": "size(data.access_groups) > 1"},
    ),
    Mix("all of them", filters(integration={"name": ["orders-prod"]}), several),
)


def event() -> Event:
    """An event of two groups with five units, about 1.4 KB."""
    return make_event(
        {
            "event_type": "AccessRequestGranted",
            "event_time": 1795424400,
            "data": {
                "id": "b6a1f6b0-4c1e-4a6e-9b1b-0d7c5f3e2a11",
                "requester": {"id": "u-1", "name": "Dana Levi", "email": "dana@example.com"},
                "grantee": {"id": "u-2", "source_id": "rami@example.com", "name": "Rami Cohen"},
                "access_flow": {"id": "af-31", "name": "Production databases"},
                "access_groups": [group("orders", 3), group("billing", 2)],
                "approvals": [{"name": "Security", "status": "Approved"}],
                "custom_fields": {"ticket": "OPS-42", "cost_center": "cc-prod"},
            },
        },
        b"",
    )


def group(name: str, units: int) -> Spec:
    return {
        "integration": {"id": f"i-{name}", "type": "Postgresql", "name": f"{name}-{'prod' if units > 2 else 'dev'}"},
        "resource_types": [{"id": "postgresql-database", "name": "Database", "display_path": "Postgresql/Database"}],
        "access_units": [
            {
                "resource": {"id": f"r-{name}-{index}", "name": f"{name}{index}", "path": f"{name}/{name}{index}"},
                "permission": {"id": "p-ro", "name": "READ_ONLY"},
            }
            for index in range(units)
        ],
    }


def webhooks(mix: Mix, count: int) -> list[Webhook]:
    """`count` webhooks, of which WANTED want the event, spread evenly."""
    step = count // WANTED
    return [
        Webhook.model_validate(
            {
                "metadata": {"name": f"hook-{number:05}"},
                "spec": {
                    "url": "https://hooks.example.com/in",
                    "triggers": ["RequestGranted"],
                    **(mix.wanted if number % step == 0 else mix.other(number)),
                },
            },
            strict=False,
        )
        for number in range(count)
    ]


def measure(mix: Mix, count: int, *, events: int) -> dict[str, float]:
    """Seconds to build the index, microseconds to match one event, how many candidates there were."""
    hooks, said = webhooks(mix, count), event()
    start = time.perf_counter()
    index = MatchIndex([(Entry.of(webhook), webhook.name) for webhook in hooks])
    built = time.perf_counter() - start
    facts = facts_of(said)
    found = list(index.judge(facts))
    if len(found) != WANTED or any(verdict.error for _, verdict in found):
        raise AssertionError(f"{mix.name}: {len(found)} of {count} webhooks want the event, not {WANTED}")
    best = min(_timed(index, said, events) for _ in range(ROUNDS))
    return {"build_s": built, "event_us": best * 1e6, "candidates": len(index.candidates(facts))}


def _timed(index: MatchIndex[Any], said: Event, events: int) -> float:
    start = time.perf_counter()
    for _ in range(events):
        list(index.judge(facts_of(said)))
    return (time.perf_counter() - start) / events


def run(sizes: tuple[int, ...], *, events: int) -> dict[str, dict[int, dict[str, float]]]:
    """The numbers of each mix at each size."""
    return {mix.name: {size: measure(mix, size, events=events) for size in sizes} for mix in MIXES}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    args = parser.parse_args()
    sizes = tuple(int(size) for size in args.sizes.split(","))
    found = run(sizes, events=args.events)
    if args.json:
        sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
        return 0
    for name, of in found.items():
        times = "  ".join(f"{size:>6}: {said['event_us']:7.1f} µs" for size, said in of.items())
        last, first = of[sizes[-1]], of[sizes[0]]
        ratio = last["event_us"] / first["event_us"]
        sys.stdout.write(f"{name:18} {times}  ratio {ratio:4.2f}  built in {last['build_s']:.2f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
