"""`match`: every webhook's verdict on an event, with the conditions that it comes from.

With RECONCILER_REGENERATE=1 the golden texts are written anew; read them before committing.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import open_room, webhook

Run = Callable[..., subprocess.CompletedProcess[str]]
GOLDEN = Path(__file__).parent / "golden_match"

MANIFESTS = """
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: databases}
spec:
  url: https://hooks.example.com/in
  triggers: [RequestCreated, RequestGranted]
  filters:
    integration: {type: [Postgresql], name: ["*-prod"]}
    resource: ["orders*", "!*-scratch"]
    requester: ["*@example.com"]
  when: size(data.access_groups) > 1
---
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: tickets}
spec:
  url: https://hooks.example.com/in
  triggers: [RequestCreated]
  when: |
    has(data.custom_fields)
    && data.custom_fields.ticket.startsWith('OPS-')
---
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: automatic}
spec:
  url: https://hooks.example.com/in
  triggers: [RequestGranted]
  filters: {approval: automatic, custom_fields: {team: [iam, "sec*"]}}
---
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: switched-off}
spec:
  status: inactive
  url: https://hooks.example.com/in
  triggers: [RequestCreated]
"""
EVENT: dict[str, Any] = {
    "event_type": "AccessRequestCreated",
    "data": {
        "id": "AR-1",
        "requester": {"name": "Ann", "email": "ann@example.com"},
        "custom_fields": {"team": "sre"},
        "approvals": [{"name": "Managers"}],
        "access_groups": [
            {
                "integration": {"name": "db-prod", "type": "Postgresql"},
                "access_units": [{"resource": {"path": "orders/1"}}, {"resource": {"path": "orders/x-scratch"}}],
            },
            {"integration": {"name": "aws\x1b[31m-dev", "type": "AWS"}},
        ],
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "hooks.yaml").write_text(MANIFESTS)
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    return tmp_path


def check_golden(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("RECONCILER_REGENERATE"):
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


def test_every_webhook_says_which_conditions_held(reconciler: Run, folder: Path) -> None:
    """By name: the verdict, each condition with what was wanted and what was there, then the sum."""
    done = reconciler("match", "--event", "event.json", code=1)

    check_golden("all.txt", done.stdout)
    assert done.stderr == ""


def test_one_webhook_that_wants_the_event(reconciler: Run, folder: Path) -> None:
    """`--webhook` names it; nothing that cannot be told is in the way of exit 0."""
    done = reconciler("match", "--event", "event.json", "--webhook", "databases", "manifests/hooks.yaml")

    check_golden("one.txt", done.stdout)


def test_filters_that_hold_apart_and_not_together_are_said_to(reconciler: Run, folder: Path) -> None:
    """Each list holds somewhere, and no group holds them all: that is a condition of its own."""
    apart = json.loads(json.dumps(EVENT))
    apart["data"]["access_groups"][0]["integration"]["type"] = "MySQL"
    apart["data"]["access_groups"][1]["integration"]["type"] = "Postgresql"
    (folder / "apart.json").write_text(json.dumps(apart))

    done = reconciler("match", "--event", "apart.json", "--target", "data*")

    check_golden("apart.txt", done.stdout)


def test_the_json_says_the_same(reconciler: Run, folder: Path) -> None:
    """One shape for one event and for many."""
    done = reconciler("match", "--event", "event.json", "--format", "json", code=1)

    check_golden("all.json", done.stdout)
    (event,) = json.loads(done.stdout)["events"]
    assert {item["name"]: item["state"] for item in event["webhooks"]} == {
        "automatic": "no",
        "databases": "yes",
        "switched-off": "no",
        "tickets": "error",
    }
    assert event["counts"] == {"yes": 1, "no": 2, "error": 1}


@pytest.mark.parametrize("shape", ["array", "lines", "stdin"])
def test_several_events_are_explained_in_their_order(reconciler: Run, folder: Path, shape: str) -> None:
    """A JSON array, JSON lines, or either through standard input."""
    granted = {**EVENT, "event_type": "AccessRequestGranted"}
    lines = f"{json.dumps(EVENT)}\n{json.dumps(granted)}\n"
    text = json.dumps([EVENT, granted]) if shape == "array" else lines
    (folder / "events.json").write_text(text)
    file, stdin = ("-", text) if shape == "stdin" else ("events.json", "")

    done = reconciler("match", "--event", file, "--webhook", "automatic", "--format", "json", stdin=stdin)

    events = json.loads(done.stdout)["events"]
    assert [event["trigger"] for event in events] == ["RequestCreated", "RequestGranted"]
    assert [event["webhooks"][0]["conditions"][1]["state"] for event in events] == ["no", "yes"]


def test_text_of_several_events_is_told_apart(reconciler: Run, folder: Path) -> None:
    """An empty line between them."""
    (folder / "events.jsonl").write_text(f"{json.dumps(EVENT)}\n{json.dumps({**EVENT, 'event_type': 'Other'})}\n")

    done = reconciler("match", "--event", "events.jsonl", "--webhook", "switched-off")

    check_golden("two.txt", done.stdout)


def test_live_webhooks_are_explained_on_demand(reconciler: Run, folder: Path) -> None:
    """Those of the store; no manifest is read."""

    async def make() -> None:
        async with open_room(folder, webhook("live-one", when="data.id == 'AR-1'"), webhook("live-two")):
            pass

    asyncio.run(make())
    (folder / "manifests" / "hooks.yaml").write_text("broken: [")

    done = reconciler("match", "--live", "--event", "event.json", "--store", f"sqlite:///{folder / 'store.db'}")

    check_golden("live.txt", done.stdout)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--webhook", "databses"), 1, "no webhook has this name: databses"),
        (("--target", "x*"), 1, "no webhook has such a name: x*"),
        (("nowhere/",), 1, "nowhere"),
        (("--live", "manifests/"), 64, "--live and a PATH say different webhooks"),
        (("--live", "--store", "sqlite:///none.db"), 1, "none.db"),
    ],
)
def test_what_cannot_be_explained_is_said(
    reconciler: Run, folder: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    """With the exit code of the table; nothing on stdout."""
    done = reconciler("match", "--event", "event.json", *args, code=code)

    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "event.json is not an event"),
        ("[]", "event.json holds no event"),
        ('[{"event_type": "X"}, 5]', "event 2 of 2 in event.json is not an event"),
        ('{"event_type": ""}', "event.json is not an event: `event_type` must not be empty"),
    ],
)
def test_a_file_that_holds_no_event_is_an_error(reconciler: Run, folder: Path, text: str, said: str) -> None:
    """Which event of it, and why."""
    (folder / "event.json").write_text(text)

    assert said in reconciler("match", "--event", "event.json", code=1).stderr


def test_invalid_manifests_are_not_explained(reconciler: Run, folder: Path) -> None:
    """Their problems are told instead, a misspelt field of a condition among them."""
    text = MANIFESTS.replace("data.custom_fields.ticket", "data.custom_field.ticket")
    (folder / "manifests" / "hooks.yaml").write_text(text)

    done = reconciler("match", "--event", "event.json", code=1)

    assert "error[when.unknown_field]: manifests/hooks.yaml:22:13: `data` has no field `custom_field`" in done.stderr
    assert done.stdout == ""
