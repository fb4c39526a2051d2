"""Operational webhooks through the commands that judge, test, match and render before anything fails."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from reconciler import jsontext
from reconciler.dispatch.sample import TEST_ID_PREFIX, sample_event
from reconciler.models.corpus import complete_event
from reconciler.models.event import judge_payload
from reconciler.models.webhook import Trigger

Command = Callable[..., CompletedProcess[str]]

OPS = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: ops}
spec:
  url: https://hooks.example.com/in
  triggers: [ReconcilerWebhookFailing, ReconcilerDeliveryDead]
  when: data.count > 1
  body_template:
    text: "{{data.webhook.name}}: {{data.reason}}"
    first: "{{data.deliveries.[0].id}}"
    at: "{{date data.last_at}}"
---
apiVersion: reconciler/v1
kind: WebhookTest
metadata: {name: two-died}
spec:
  webhook: ops
  sample: ReconcilerDeliveryDead
  set: {data.reason: two died}
  expect: {match: true, body_contains: {text: "okta-access-requests: two died", first: dlv_1}}
---
apiVersion: reconciler/v1
kind: WebhookTest
metadata: {name: misspelt}
spec: {webhook: ops, sample: ReconcilerDeliveryDead, set: {data.requester.email: x}, expect: {match: true}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    tests = OPS.split("---\n")
    (tmp_path / "manifests" / "ops.yaml").write_text("---\n".join(tests[:2]), "utf-8")
    (tmp_path / "event.json").write_text(jsontext.dumps(complete_event(Trigger.DELIVERY_DEAD)), "utf-8")
    return tmp_path


def test_manifests_tests_matches_and_bodies_know_operational_events(folder: Path, reconciler: Command) -> None:
    """As they know access requests."""
    assert "1 passed" in reconciler("check").stdout
    assert "ops" in reconciler("match", "--event", "event.json", "manifests").stdout
    reconciler("apply", "--auto-approve")
    body = json.loads(reconciler("render", "ops", "--event", "event.json", "--format", "json").stdout)["body"]

    assert json.loads(body)["text"] == "okta-access-requests: 2 deliveries were given up"
    assert json.loads(body)["at"].startswith("2026-")


def test_a_test_that_sets_a_field_of_access_requests_is_told_which_there_are(folder: Path, reconciler: Command) -> None:
    (folder / "manifests" / "ops.yaml").write_text(OPS, "utf-8")

    done = reconciler("validate", code=1)

    assert "`data.requester.email` leads nowhere: `data` has no field `requester`" in done.stdout + done.stderr


def test_explain_shows_their_fields(reconciler: Command) -> None:
    rows = json.loads(reconciler("explain", "operational", "--format", "json").stdout)

    assert {"path": "data.deliveries[].reason", "type": "string"}.items() <= {
        key: value for row in rows if row["path"] == "data.deliveries[].reason" for key, value in row.items()
    }.items()
    assert all(row["meaning"] for row in rows)


@pytest.mark.parametrize("trigger", Trigger)
def test_the_event_of_a_test_is_one_of_its_trigger_and_known_as_a_test(trigger: Trigger) -> None:
    event = judge_payload(sample_event(trigger, now_seconds=1_795_424_400.5))

    assert event["event_type"].endswith(trigger.value)
    assert event["data"]["id"].startswith(TEST_ID_PREFIX)
