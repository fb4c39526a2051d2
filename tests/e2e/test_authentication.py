"""Flows that want an access token, by the commands as people run them; and what opens doors in no file they leave."""

import json
from urllib.parse import parse_qs

from e2e_manifest import ALIAS, event, friendly_ids, manifest
from oauth_room import private_pem, public_pem

ORG = "acme.okta.com"
TOKEN_PATH = "/oauth2/v1/token"
AUTH = f"""\
  auth:
    oauth2:
      token_url: https://{ORG}{TOKEN_PATH}
      client_id: 0oa1
      scopes: [okta.workflows.invoke.manage]
      private_key: ${{secret:okta_key}}
      key_id: k1
      algorithm: RS256
"""


def prepare(workshop, *, key=None, script="", spec=AUTH):
    workshop.write("manifests/flow.yaml", manifest(spec=spec))
    workshop.write("public.pem", public_pem(private_pem()))
    workshop.write("key.pem", key or private_pem()).chmod(0o600)
    bound = f"okta_key: {{from: 'file:key.pem', hosts: [{ORG}]}}\n"
    workshop.write("secrets.yaml", bound).chmod(0o600)
    workshop.write("script.jsonl", script)
    workshop.start_sandbox("--oauth-client", "0oa1=public.pem", "--oauth-flow", ALIAS, "--script", "script.jsonl")


def egress(workshop):
    port = workshop.sandbox_url.rsplit(":", 1)[1]
    return [*workshop.egress(), "--connect-to", f"{ORG}:443:127.0.0.1:{port}"]


def start_daemon(workshop, *args):
    return workshop.start("run", "--listen", "127.0.0.1:0", *egress(workshop), *args)


def invocations(workshop):
    return [entry for entry in workshop.record() if entry["path"] != TOKEN_PATH]


def test_from_a_manifest_to_a_delivery_that_is_known(workshop, post, eventually):
    """Plan, verified apply, daemon, trigger's kin `test`: each has a token; none is in any file or output."""
    prepare(workshop)

    planned = workshop.command("plan")
    applied = workshop.command("apply", "--auto-approve", "--verify", *egress(workshop))
    tested = workshop.command("test", "flow", *egress(workshop))
    daemon = start_daemon(workshop)
    url = daemon.url()
    for number in range(5):
        post(url, event(number))
    eventually(lambda: len(invocations(workshop)) == 7, what="the deliveries")

    assert planned.stdout.index(f"okta_key -> {ORG}") < planned.stdout.index("will be created")
    assert "Test successful  flow" in applied.stdout
    assert "authorization: Bearer ***" in tested.stdout
    asked = [entry for entry in workshop.record() if entry["path"] == TOKEN_PATH]
    assert len(asked) == 3, "one for each process, whatever it sends"
    assert {entry["status"] for entry in workshop.record()} == {200}
    assert sorted(friendly_ids(invocations(workshop)[2:])) == [f"AR-{number}" for number in range(5)]
    assert parse_qs(asked[0]["body"])["client_assertion"][0].endswith(".***")
    told = planned.stdout + applied.stdout + tested.stdout + "\n".join(daemon.lines)
    shown = workshop.command("deliveries", "list", "--format", "json").stdout
    delivery = json.loads(shown)[0]["id"]
    told += workshop.command("deliveries", "show", delivery, "--format", "json").stdout
    lines = [line for line in private_pem().splitlines() if "---" not in line]
    assert not [line for line in lines if line in told]
    for file in workshop.folder.glob("reconciler.db*"):
        raw = file.read_bytes()
        assert b"sandbox-" not in raw, "an access token"
        assert not [line for line in lines if line.encode() in raw]


def test_a_daemon_that_ends_when_idle_waits_for_a_throttled_endpoint(workshop):
    """Nothing is lost, and nothing counts: the receiver never heard of it."""
    line = {"flow": TOKEN_PATH, "status": 429, "headers": {"retry-after": "1"}}
    prepare(workshop, script=json.dumps(line) + "\n", spec=AUTH + "  retry: {max_attempts: 1}\n")
    workshop.command("apply", "--auto-approve")
    workshop.write("events.jsonl", "\n".join(event(number).decode() for number in range(3)) + "\n")

    daemon = start_daemon(workshop, "--events", "events.jsonl", "--exit-when-idle")

    assert daemon.wait() == 0
    assert [entry["status"] for entry in invocations(workshop)] == [200, 200, 200]
    states = [delivery["state"] for delivery in workshop.json("deliveries", "list")]
    assert states == ["delivered"] * 3


def test_a_wrong_key_holds_deliveries_and_says_why(workshop):
    """Where nobody but the operator can mend it, the daemon may end; what it holds stays."""
    prepare(workshop, key=private_pem(which=1))
    workshop.command("apply", "--auto-approve")
    workshop.write("events.jsonl", event(1).decode() + "\n")

    daemon = start_daemon(workshop, "--events", "events.jsonl", "--exit-when-idle")

    assert daemon.wait() == 0
    [delivery] = workshop.json("deliveries", "list")
    assert (delivery["state"], invocations(workshop)) == ("pending", [])
    assert "signature is invalid" in delivery["note"]
    failed = workshop.command("auth", "test", "flow", *egress(workshop), code=1)
    assert "is the private key the other half of the public key" in failed.stdout
