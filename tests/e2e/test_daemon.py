"""The daemon as its operator meets it: ready, delivering, held, drained, replaced."""

import json
import signal

import httpx
import pytest
from e2e_manifest import ALIAS, event, friendly_ids, manifest

TOKEN = "a1" * 32


def test_events_are_delivered_and_a_repeat_is_a_duplicate(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest())
    workshop.start_sandbox()
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()

    first, again = post(url, event(1)), post(url, event(1))

    assert (first.status_code, first.json()["accepted"]) == (202, 1)
    assert (again.status_code, again.json()["duplicates"]) == (202, 1)
    eventually(workshop.record, what="the delivery")
    assert friendly_ids(workshop.record()) == ["AR-1"]
    [delivery] = eventually(
        lambda: [item for item in workshop.json("deliveries", "list") if item["state"] == "delivered"]
    )
    assert {key: delivery[key] for key in ("webhook", "attempts", "outcome", "revision", "reason")} == {
        "webhook": "flow",
        "attempts": 1,
        "outcome": "delivered",
        "revision": 1,
        "reason": None,
    }
    assert delivery["event_id"] == first.json()["events"][0]["id"]
    assert dict(workshop.record()[0]["headers"])["webhook-id"] == delivery["id"]


def test_ready_line_names_the_real_port_and_sigterm_ends_with_zero(workshop):
    workshop.start_sandbox()
    daemon, url = workshop.start_daemon()

    assert httpx.get(f"{url}/healthz").status_code == 200
    daemon.send_signal(signal.SIGTERM)

    assert daemon.wait() == 0
    assert [line for line in daemon.lines if line.startswith("ready: ")] == [f"ready: {url}"]


def test_a_second_daemon_on_the_store_exits_1_and_says_who_holds_it(workshop):
    workshop.start_sandbox()
    daemon, _ = workshop.start_daemon()

    second = workshop.command("run", "--listen", "127.0.0.1:0", code=1)

    assert str(daemon.pid) in second.stderr


def test_without_tokens_only_loopback_is_listened_on(workshop):
    refused = workshop.command("run", "--listen", "0.0.0.0:0", code=1)

    assert "only on loopback" in refused.stderr


def test_a_new_revision_is_live_within_a_second(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest())
    workshop.start_sandbox()
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()

    workshop.write("manifests/flow.yaml", manifest(spec='  body_template: {"second": "{{data.friendly_id}}"}\n'))
    workshop.command("apply", "--auto-approve")
    post(url, event(7))

    eventually(workshop.record, timeout=10, what="the delivery")
    [delivery] = eventually(lambda: [d for d in workshop.json("deliveries", "list") if d["state"] == "delivered"])
    assert delivery["revision"] == 2 or json.loads(workshop.record()[0]["body"]).get("data")
    post(url, event(8))
    eventually(lambda: len(workshop.record()) == 2, timeout=10, what="the second delivery")
    assert json.loads(workshop.record()[1]["body"]) == {"second": "AR-8"}


def test_an_unbound_secret_holds_deliveries_until_the_operator_binds_it(workshop, post, eventually):
    """DESIGN: the daemon keeps the deliveries pending and shows the reason; the binding file is re-read on change."""
    workshop.write("manifests/flow.yaml", manifest(spec="  headers: {x-api-client-token: '${secret:okta_token}'}\n"))
    workshop.write("token", TOKEN)
    workshop.write(
        "secrets.yaml", f"okta_token: {{from: 'file:{workshop.folder}/token', hosts: [other.example.com]}}\n"
    )
    workshop.start_sandbox("--flow", f"{ALIAS}={TOKEN}")
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()
    post(url, event(1))

    [held] = eventually(lambda: [d for d in workshop.json("deliveries", "list") if d["note"]], what="the note")
    assert (held["state"], held["attempts"]) == ("pending", 0)
    assert "okta_token" in held["note"]
    workshop.write(
        "secrets.yaml", f"okta_token: {{from: 'file:{workshop.folder}/token', hosts: [acme.workflows.okta.com]}}\n"
    )

    eventually(workshop.record, what="the delivery after binding")
    [delivery] = eventually(lambda: [d for d in workshop.json("deliveries", "list") if d["state"] == "delivered"])
    shown = workshop.command("deliveries", "show", delivery["id"], "--format", "json").stdout
    assert TOKEN not in shown
    assert "***" in shown


def test_events_of_a_file_end_the_daemon_when_it_is_idle(workshop):
    workshop.write("manifests/flow.yaml", manifest())
    workshop.write("events.jsonl", "\n".join(event(n).decode() for n in range(5)) + "\nnot json\n")
    workshop.write("script.jsonl", json.dumps({"flow": "*", "times": 1, "status": 503}) + "\n")
    workshop.start_sandbox("--script", "script.jsonl")
    workshop.write("manifests/flow.yaml", manifest(spec="  retry: {schedule: [0.2s]}\n"))
    workshop.command("apply", "--auto-approve")

    daemon, _ = workshop.start_daemon("--events", "events.jsonl", "--exit-when-idle")

    assert daemon.wait() == 0
    states = [delivery["state"] for delivery in workshop.json("deliveries", "list")]
    assert states == ["delivered"] * 5
    assert len(workshop.json("events", "list", "--status", "quarantined")) == 1


def test_events_of_standard_input_are_taken(workshop):
    workshop.write("manifests/flow.yaml", manifest())
    workshop.start_sandbox()
    workshop.command("apply", "--auto-approve")

    workshop.command(
        "run", "--listen", "127.0.0.1:0", *workshop.egress(), "--events", "-", "--exit-when-idle",
        stdin=event(1).decode() + "\n",
    )  # fmt: skip

    assert friendly_ids(workshop.record()) == ["AR-1"]


@pytest.mark.parametrize("rate", ["10"])
def test_a_hundred_events_for_one_flow_provoke_no_429(workshop, post, eventually, rate):
    """Okta answers 429 at ten invocations in any second of one flow; the default pace never gets there."""
    workshop.write("manifests/flow.yaml", manifest())
    workshop.start_sandbox("--rate", rate)
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()

    post(url, b"[" + b",".join(event(n) for n in range(100)) + b"]")

    eventually(lambda: len(workshop.record()) >= 100, timeout=60, what="a hundred deliveries")
    assert {entry["status"] for entry in workshop.record()} == {200}
    assert len(workshop.record()) == 100


def test_a_429_holds_the_whole_flow_and_counts_for_no_delivery(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest(spec="  retry: {max_attempts: 1}\n  rate_limit: unlimited\n"))
    workshop.start_sandbox("--rate", "5")
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()

    post(url, b"[" + b",".join(event(n) for n in range(20)) + b"]")

    eventually(
        lambda: all(d["state"] == "delivered" for d in workshop.json("deliveries", "list")), what="all delivered"
    )
    assert 429 in {entry["status"] for entry in workshop.record()}


def test_sigterm_lets_what_is_in_flight_finish_and_gives_the_rest_back(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest(spec="  max_concurrency: 2\n  rate_limit: unlimited\n"))
    workshop.write("script.jsonl", json.dumps({"flow": "*", "delay": 1.0}) + "\n")
    workshop.start_sandbox("--rate", "off", "--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    daemon, url = workshop.start_daemon()
    post(url, b"[" + b",".join(event(n) for n in range(10)) + b"]")
    eventually(lambda: any(d["state"] == "in_flight" for d in workshop.json("deliveries", "list")))

    daemon.send_signal(signal.SIGTERM)

    assert daemon.wait() == 0
    found = workshop.json("deliveries", "list")
    assert {d["state"] for d in found} <= {"delivered", "pending"}
    assert all(d["attempts"] == (1 if d["state"] == "delivered" else 0) for d in found)
    assert any(d["state"] == "delivered" for d in found)


def test_what_a_killed_daemon_left_in_flight_closes_as_unknown(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest(spec="  retry: {retry_unknown: false}\n"))
    workshop.write("script.jsonl", json.dumps({"flow": "*", "delay": 30}) + "\n")
    workshop.start_sandbox("--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    daemon, url = workshop.start_daemon()
    post(url, event(1))
    eventually(lambda: any(d["state"] == "in_flight" for d in workshop.json("deliveries", "list")))

    daemon.kill()
    workshop.start_daemon()

    [delivery] = eventually(lambda: [d for d in workshop.json("deliveries", "list") if d["state"] == "dead"])
    assert (delivery["reason"], delivery["outcome"], delivery["attempts"]) == ("unknown", "unknown", 1)


def test_deleting_a_webhook_cancels_what_is_pending(workshop, post, eventually):
    workshop.write("manifests/a.yaml", manifest("gone", spec="  headers: {x-api-client-token: '${secret:unbound}'}\n"))
    workshop.write("manifests/b.yaml", manifest("kept", alias="f" * 32))
    workshop.start_sandbox()
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()
    post(url, event(1))
    eventually(lambda: any(d["note"] for d in workshop.json("deliveries", "list")))

    (workshop.folder / "manifests/a.yaml").unlink()
    plan = workshop.command("plan")
    workshop.command("apply", "--auto-approve")

    assert "cancels 1" in plan.stdout
    states = {d["webhook"]: (d["state"], d["reason"]) for d in workshop.json("deliveries", "list")}
    assert states["gone"] == ("cancelled", "webhook_deleted")
