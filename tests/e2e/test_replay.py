"""Replays and cancels against a serving daemon: on its file and through its API, at once, with what is live then."""

import json
import time

from e2e_manifest import event, events, friendly_ids, manifest

RETRY = "  retry: {max_attempts: 1}\n  rate_limit: unlimited\n"
TOKENS = {name: f"{name}-" + "0123456789abcdef" * 2 for name in ("reader", "operator", "sender")}


def states(workshop, state):
    return workshop.json("deliveries", "list", "--state", state)


def test_a_dead_delivery_is_replayed_with_its_id_and_what_is_live_now(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest(spec=RETRY + '  body_template: \'{"data": {"n": "one"}}\'\n'))
    workshop.write("script.jsonl", '{"status": 500}\n')
    workshop.start_sandbox("--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()
    post(url, event(1))
    [dead] = eventually(lambda: states(workshop, "dead"), what="the death")
    workshop.write("manifests/flow.yaml", manifest(spec=RETRY + '  body_template: \'{"data": {"n": "two"}}\'\n'))
    workshop.command("apply", "--auto-approve")

    began = time.monotonic()
    workshop.command("deliveries", "replay", dead["id"], "--reason", "mended")

    [delivered] = eventually(lambda: states(workshop, "delivered"), what="the replay")
    assert time.monotonic() - began < 8, "the daemon was not woken"
    first, second = workshop.record()
    assert dict(first["headers"])["webhook-id"] == dict(second["headers"])["webhook-id"] == dead["id"]
    assert [json.loads(item["body"])["data"]["n"] for item in (first, second)] == ["one", "two"]
    shown = workshop.json("deliveries", "show", delivered["id"])
    assert [(item["number"], item["outcome"], item["revision"]) for item in shown["attempt_log"]] == [
        (1, "retryable", 1),
        (2, "delivered", 2),
    ]
    assert [item["reason"] for item in shown["interventions"]] == ["mended"]


def test_through_the_api_by_whoever_may_operate(workshop, post, eventually):
    """The token's name is kept; a reader may look, a sender neither."""
    roles = {"reader": ["read"], "operator": ["operate"], "sender": ["ingest"]}
    workshop.write("tokens.yaml", json.dumps({name: {"token": TOKENS[name], "roles": roles[name]} for name in roles}))
    (workshop.folder / "tokens.yaml").chmod(0o600)
    workshop.write("manifests/flow.yaml", manifest(spec=RETRY))
    workshop.write("script.jsonl", '{"status": 500, "times": 3}\n')
    workshop.start_sandbox("--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon("--tokens", "tokens.yaml")
    post(url, events(1, 3), authorization=f"Bearer {TOKENS['sender']}")
    eventually(lambda: len(states(workshop, "dead")) == 3, what="the deaths")
    replay = ("--store", url, "deliveries", "replay", "--webhook", "fl*", "--as", "somebody else")

    workshop.env["RECONCILER_TOKEN"] = TOKENS["reader"]
    assert workshop.json(*replay, "--dry-run")["webhooks"] == {"flow": {"done": 3}}
    refused = workshop.command(*replay, "--auto-approve", code=1)
    workshop.env["RECONCILER_TOKEN"] = TOKENS["operator"]
    report = workshop.json(*replay, "--auto-approve", "--new-id")

    assert "has not the role `operate`" in refused.stderr
    assert report["done"] == 3
    eventually(lambda: len(states(workshop, "delivered")) == 3, what="the replays")
    assert friendly_ids(workshop.record())[3:] == ["AR-1", "AR-2", "AR-3"]
    [*_, last] = states(workshop, "delivered")
    shown = workshop.json("--store", url, "deliveries", "show", last["id"])
    assert (shown["interventions"][0]["given_by"], shown["attempts"]) == ("operator", 1)
    assert shown["replay_of"] != shown["id"]
    assert dict(workshop.record()[-1]["headers"])["webhook-id"] != shown["replay_of"]
