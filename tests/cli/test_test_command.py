"""`test` as people call it: which webhook, which event, which exit code. The fault classes are in the golden files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.main import run

ALIAS = "0123456789abcdef0123456789abcdef"
MANIFEST = f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: okta}}
spec:
  url: https://acme.workflows.okta.com/api/flo/{ALIAS}/invoke
  triggers: [RequestGranted]
  body_template: {{type: "{{{{event_type}}}}", id: "{{{{data.id}}}}", name: "{{{{data.requester.name}}}}"}}
"""
BROKEN = "apiVersion: reconciler/v1\nkind: Webhook\nmetadata: {name: broken}\nspec: {url: 'http://x'}\n"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A sandbox as a process: its CA file, its port, its record."""
    folder = tmp_path_factory.mktemp("sandbox")
    command = [sys.executable, "-m", "reconciler", "sandbox", "--listen", "127.0.0.1:0", "--rate", "off"]
    process = subprocess.Popen(
        [*command, "--ca-out", "ca.pem", "--record", "record.jsonl"], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    port = process.stderr.readline().strip().rpartition(":")[2]
    yield folder, port
    process.terminate()
    process.wait(10)
    process.stderr.close()


@pytest.fixture
def place(tmp_path, monkeypatch, sandbox):
    """A folder with a manifest, where the production host leads to the sandbox."""
    folder, port = sandbox
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECONCILER_CA", str(folder / "ca.pem"))
    monkeypatch.setenv("RECONCILER_CONNECT_TO", f"acme.workflows.okta.com:443:127.0.0.1:{port}")
    monkeypatch.setenv("NO_COLOR", "1")
    Path("manifests").mkdir()
    Path("manifests/okta.yaml").write_text(MANIFEST)
    return tmp_path


def last_body(sandbox) -> dict[str, object]:
    """What the sandbox was sent last."""
    return json.loads(json.loads((sandbox[0] / "record.jsonl").read_text().splitlines()[-1])["body"])


def test_the_webhook_about_to_be_saved_is_tested_by_path_and_makes_no_store(place, sandbox, capsys):
    code = run(["test", "okta", "manifests/"])

    assert code == 0
    assert capsys.readouterr().out.startswith("Test successful  okta\n")
    body = last_body(sandbox)
    assert (body["type"], body["name"]) == ("AccessRequestGranted", "Test Requester")
    assert str(body["id"]).startswith("test-")
    assert not (place / "reconciler.db").exists()


def test_without_path_the_live_webhook_is_tested_whatever_the_folder_says(place, sandbox, capsys):
    assert run(["apply", "--auto-approve"]) == 0
    Path("manifests/okta.yaml").write_text(MANIFEST.replace("{type:", "{other: 1, type:"))

    assert run(["test", "okta"]) == 0
    assert "other" not in last_body(sandbox)
    assert run(["test", "okta", "manifests/"]) == 0
    assert last_body(sandbox)["other"] == 1
    capsys.readouterr()
    assert run(["deliveries", "list", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [], "nothing is stored"


def test_an_event_of_ones_own_is_sent_as_a_test(place, sandbox):
    Path("event.json").write_text(
        '{"event_type": "AccessRequestFailed", "data": {"id": "r-1", "requester": {"name": "Zoë \\"Q\\""}}}'
    )

    assert run(["test", "okta", "manifests/", "--event", "event.json"]) == 0
    assert last_body(sandbox) == {"type": "AccessRequestFailed", "id": "test-r-1", "name": 'Zoë "Q"'}


def test_json_carries_the_verdict_the_invocation_data_and_what_to_check(place, monkeypatch, capsys):
    assert run(["test", "okta", "manifests/", "--format", "json"]) == 0
    good = json.loads(capsys.readouterr().out)
    monkeypatch.delenv("RECONCILER_CA")
    assert run(["test", "okta", "manifests/", "--format", "json"]) == 1
    bad = json.loads(capsys.readouterr().out)

    assert (good["successful"], good["outcome"], good["status"], good["check"]) == (True, "delivered", 200, [])
    assert (bad["successful"], bad["fault"], bad["response"]) == (False, "tls", None)
    assert any("--ca FILE" in line for line in bad["check"])
    assert dict(bad["request"]["headers"])["x-reconciler-test"] == "1"
    assert good.keys() == bad.keys()


def test_an_unknown_name_is_told_with_the_nearest(place, capsys):
    assert run(["test", "otka", "manifests/"]) == 1
    assert "error: no webhook of this name is declared: otka\n\nhint: did you mean `okta`?" in capsys.readouterr().err
    assert run(["apply", "--auto-approve"]) == 0
    assert run(["test", "somethingelse"]) == 1
    err = capsys.readouterr().err
    assert "error: no webhook of this name is live: somethingelse" in err
    assert "live are: okta" in err
    assert "give the manifests' PATH" in err


def test_without_a_store_the_way_out_is_a_path(place, capsys):
    assert run(["test", "okta"]) == 1
    err = capsys.readouterr().err
    assert "error: there is no store: sqlite:///reconciler.db" in err
    assert "give the manifests' PATH" in err
    assert not (place / "reconciler.db").exists()


def test_an_invalid_manifest_is_not_tested(place, sandbox, capsys):
    Path("manifests/okta.yaml").write_text(MANIFEST.replace("{{data.id}}", "{{data.idd}}"))
    before = (sandbox[0] / "record.jsonl").stat().st_size if (sandbox[0] / "record.jsonl").exists() else 0

    assert run(["test", "okta", "manifests/"]) == 1

    err = capsys.readouterr().err
    assert "manifests/okta.yaml:7:" in err
    assert "other manifests" not in err
    assert (sandbox[0] / "record.jsonl").stat().st_size == before


def test_errors_in_other_manifests_are_told_with_the_way_around(place, capsys):
    """PATHs are the owner's whole set, which could not be saved; one webhook can still be looked at alone."""
    Path("manifests/broken.yaml").write_text(BROKEN)

    assert run(["test", "okta", "manifests/"]) == 1
    err = capsys.readouterr().err
    assert "manifests/broken.yaml:4:" in err
    assert "error: there are errors in other manifests" in err
    assert "give as PATH only: manifests/okta.yaml" in err
    assert run(["test", "okta", "manifests/okta.yaml"]) == 0
    assert run(["test", "broken", "manifests/"]) == 1


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("{", "event.json is not JSON: "),
        ("[]", "event.json is not an event: "),
        ('{"event_type": 7, "data": {}}', "event.json is not an event: `event_type` must be a string: 7"),
    ],
)
def test_a_file_that_is_no_event_is_told_before_anything_is_sent(place, capsys, text, fact):
    Path("event.json").write_text(text)

    assert run(["test", "okta", "manifests/", "--event", "event.json"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {fact}")
    assert captured.out == ""


def test_a_path_or_an_event_file_that_is_missing_is_an_error(place, capsys):
    assert run(["test", "okta", "nowhere/"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert run(["test", "okta", "manifests/", "--event", "none.json"]) == 1
    assert capsys.readouterr().err == "error: no such file or directory: none.json\n"


def test_render_shows_the_request_and_sends_nothing(place, sandbox, capsys):
    record = sandbox[0] / "record.jsonl"
    before = record.stat().st_size if record.exists() else 0
    Path("event.json").write_text('{"event_type": "AccessRequestGranted", "data": {"id": "r-1"}}')

    assert run(["render", "okta", "manifests/", "--event", "event.json", "--format", "json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["method"] == "POST"
    assert json.loads(shown["body"]) == {"type": "AccessRequestGranted", "id": "r-1", "name": None}
    assert (record.stat().st_size if record.exists() else 0) == before


def test_a_test_is_signed_as_production_signs_and_its_record_can_be_verified(place, sandbox, monkeypatch, capsys):
    """The sandbox's record and `signing verify` close the circle; without a valid key nothing is sent."""
    assert run(["signing", "keygen"]) == 0
    monkeypatch.setenv("SIGNING_KEY", capsys.readouterr().out.strip())
    Path("secrets.yaml").write_text("signing_key: {from: env:SIGNING_KEY, hosts: [acme.workflows.okta.com]}\n")
    Path("secrets.yaml").chmod(0o600)
    monkeypatch.setenv("RECONCILER_SECRETS", "secrets.yaml")
    signing = "  signing: {{keys: [{{key: '${{secret:signing_key}}'{more}}}]}}\n"
    Path("manifests/okta.yaml").write_text(MANIFEST + signing.format(more=""))

    assert run(["test", "okta", "manifests/", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)["request"]["headers"]
    assert shown["webhook-signature"].startswith("v1,")
    assert run(["signing", "verify", "--secret", "signing_key", "--request", str(sandbox[0] / "record.jsonl")]) == 0
    assert capsys.readouterr().out.startswith("verified: v1 by signing_key, ")

    count = len((sandbox[0] / "record.jsonl").read_text().splitlines())
    Path("manifests/okta.yaml").write_text(MANIFEST + signing.format(more=", not_after: '2020-01-01T00:00:00Z'"))
    assert run(["test", "okta", "manifests/"]) == 1
    assert "nothing is sent unsigned: the last signing key ended at 2020-01-01T00:00:00Z" in capsys.readouterr().out
    assert len((sandbox[0] / "record.jsonl").read_text().splitlines()) == count


def test_the_keys_of_a_webhook_are_shown_with_their_windows(place, capsys):
    """In `webhooks show` and as a note of `render`: references and times, in words."""
    keys = "[{key: '${secret:old_key}', not_after: '2099-02-01T00:00:00Z'}, {key: '${secret:new_key}'}]"
    Path("manifests/okta.yaml").write_text(f"{MANIFEST}  signing: {{keys: {keys}}}\n")
    Path("event.json").write_text('{"event_type": "AccessRequestGranted", "data": {"id": "r"}}')
    fact = "${secret:old_key} until 2099-02-01T00:00:00Z, ${secret:new_key}"

    assert run(["apply", "--auto-approve"]) == 0
    capsys.readouterr()
    assert run(["webhooks", "show", "okta"]) == 0
    assert fact in capsys.readouterr().out
    assert run(["render", "okta", "--event", "event.json"]) == 0
    assert f"webhook-timestamp and webhook-signature are added when it is sent: {fact}" in capsys.readouterr().err
