"""A `when` from the manifest to the receiver: what it wants, what it cannot tell, and how that is mended."""

import json

from e2e_manifest import event, friendly_ids, manifest

WHEN = "  when: {}\n"


def test_what_a_condition_cannot_tell_is_shown_and_delivered_once_it_is_mended(workshop, post, eventually):
    """No event is lost to a condition that failed: it is replayed with the one that took its place."""
    workshop.write("manifests/flow.yaml", manifest(spec=WHEN.format("data.justification.startsWith('prod')")))
    workshop.start_sandbox()
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()

    post(url, event(1, why="prod: rotate"))
    post(url, event(2, why="dev: try"))
    unjustified = json.loads(event(3))
    unjustified["data"]["justification"] = None
    post(url, json.dumps(unjustified).encode())
    eventually(workshop.record, what="the first delivery")
    [error] = workshop.json("events", "list", "--match-errors")
    [live] = workshop.json("webhooks", "list")

    assert (error["webhook"], error["error"]) == ("flow", "`startsWith` cannot take null, string")
    assert live["match_errors"] == 1

    mended = "has(data.justification) && data.justification.startsWith('prod') || !has(data.justification)"
    workshop.write("manifests/flow.yaml", manifest(spec=WHEN.format(f'"{mended}"')))
    workshop.command("apply", "--auto-approve")
    workshop.command("events", "replay", "--match-errors", "--auto-approve")

    eventually(lambda: len(workshop.record()) == 2, what="the replayed delivery")
    assert friendly_ids(workshop.record()) == ["AR-1", "AR-3"]
    assert workshop.json("events", "list", "--match-errors") == []
