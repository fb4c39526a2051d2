"""`trigger`: alone, beside a daemon on the same file, and through its API."""

import json

from e2e_manifest import event, manifest

MANUAL = manifest("manual").replace(
    "[RequestCreated, RequestApproved, RequestRejected, RequestGranted, RequestExpired, RequestFailed]", "[Manual]"
)


def prepare(workshop, *, script=""):
    workshop.write("manifests/flow.yaml", MANUAL)
    workshop.write("script.jsonl", script)
    workshop.start_sandbox("--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    workshop.write("event.json", event(1).decode())


def fire(workshop, *args, code=0, store=None):
    where = ("--store", store) if store else ()
    return workshop.command(*where, "trigger", "manual", "--event", "event.json", *args, code=code)


def test_without_a_daemon_the_first_attempt_is_made_at_once_and_recorded(workshop, eventually):
    """What was pending before stays so: one delivery is sent, not a backlog. The next ones are a daemon's."""
    prepare(workshop, script='{"status": 503}\n')
    stored = fire(workshop, "--no-wait")

    failed = fire(workshop, *workshop.egress(), code=1)
    report = json.loads(fire(workshop, *workshop.egress(), "--format", "json").stdout)

    assert "Stored  manual" in stored.stdout
    assert "Not delivered  manual: tried again at" in failed.stdout and "503" in failed.stdout
    assert (report["successful"], report["status"], report["delivery"]["state"]) == (True, "accepted", "delivered")
    assert len(workshop.record()) == 2
    shown = workshop.json("deliveries", "list")
    assert sorted((item["state"], item["attempts"]) for item in shown) == [
        ("delivered", 1),
        ("pending", 0),
        ("pending", 1),
    ]
    assert dict(workshop.record()[1]["headers"])["webhook-id"] == report["delivery_id"]
    workshop.command("deliveries", "replay", "--state", "delivered", "--auto-approve")
    workshop.start_daemon()
    eventually(lambda: len(workshop.json("deliveries", "list", "--state", "delivered")) >= 2, what="the daemon's turn")


def test_a_pause_that_is_over_holds_nothing_back(workshop, eventually):
    """No daemon has been there to end it."""
    prepare(workshop)
    workshop.command("webhooks", "pause", "manual", "--reason", "a night's rest", "--until", "1s")
    eventually(lambda: workshop.json("webhooks", "list")[0]["paused"] is None, what="the end of the pause")

    fired = fire(workshop, *workshop.egress())

    assert "Delivered  manual" in fired.stdout


def test_a_serving_daemon_sends_it_at_once(workshop):
    """On its file and through its API, with what came back shown; the same id fires once."""
    prepare(workshop)
    _, url = workshop.start_daemon()

    beside = json.loads(fire(workshop, "--format", "json").stdout)
    through = json.loads(fire(workshop, "--format", "json", "--id", "on-call-7", store=url).stdout)
    again = json.loads(fire(workshop, "--format", "json", "--id", "on-call-7", store=url).stdout)

    assert [item["delivery"]["attempt_log"][0]["status"] for item in (beside, through)] == [200, 200]
    assert (through["event_id"], again["status"]) == ("on-call-7", "duplicate")
    assert len(workshop.record()) == 2
    assert "Delivered  manual" in fire(workshop, store=url).stdout


def test_what_cannot_be_sent_is_said_before_anything_is_stored(workshop):
    """A secret that is not bound here; a webhook that events fire; a file that is no event."""
    prepare(workshop)
    workshop.write("manifests/flow.yaml", MANUAL + "  headers: {x-api-client-token: '${secret:okta}'}\n")
    workshop.write("manifests/other.yaml", manifest("other"))
    workshop.command("apply", "--auto-approve")

    unbound = fire(workshop, *workshop.egress(), code=1)
    other = workshop.command("trigger", "other", "--event", "event.json", code=1)
    workshop.write("event.json", "{")
    broken = fire(workshop, *workshop.egress(), code=1)

    assert "manual cannot be sent to" in unbound.stderr and "okta" in unbound.stderr
    assert "has not the trigger Manual" in other.stderr
    assert "this is no event" in broken.stderr or "cannot be sent to" in broken.stderr
    assert workshop.json("events", "list") == []
