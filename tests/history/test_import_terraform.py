"""`import`: what becomes of a Terraform state's webhooks, and what is said beside."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_file import check_golden
from history_folder import Room
from terraform_sample import CANARY, HEX_TOKEN, OKTA, SAMPLE, oauth, shown, state, webhook

from reconciler.errors import ReconcilerError
from reconciler.manifest.importing import Imported, import_webhooks
from reconciler.manifest.terraform import read_resources

SECRETS = (CANARY, CANARY.replace("/", "%2F"), json.dumps(CANARY)[1:-1], HEX_TOKEN, "ask the team")


def imported(*webhooks: dict[str, Any]) -> Imported:
    """These webhooks, imported."""
    return import_webhooks(read_resources(state({f"w{index}": item for index, item in enumerate(webhooks)}).encode()))


def spec_of(*webhooks: dict[str, Any]) -> dict[str, Any]:
    """The spec of the only one."""
    (document,) = imported(*webhooks).manifests.values()
    spec: dict[str, Any] = document["spec"]
    return spec


def test_a_state_becomes_manifests_and_a_list_of_what_to_do(room: Room) -> None:
    """What `terraform show -json` prints, as a person imports it."""
    (room.path / "state.json").write_text(shown(SAMPLE), "utf-8")

    done = room.done("import", "state.json")

    check_golden("import.yaml", done.out)
    check_golden("import.txt", done.err)


@pytest.mark.parametrize("form", [shown, state])
def test_no_secret_comes_out(room: Room, form: Callable[..., str]) -> None:
    """Not in the manifests, not in what is said, in no format."""
    (room.path / "state.json").write_text(form(SAMPLE), "utf-8")

    for args in (["state.json"], ["state.json", "--format", "json"], ["state.json", "--out", "out"]):
        done = room.done("import", *args)
        files = "".join(file.read_text("utf-8") for file in sorted((room.path).glob("out/*.yaml")))
        for secret in SECRETS:
            assert secret not in done.out + done.err + files


def test_both_forms_of_a_state_say_the_same(room: Room) -> None:
    """Modules, indexes and the order of resources make no difference to the manifests."""
    named = {label: values for label, values in SAMPLE.items() if label != "kanji"}  # takes its name from the label
    (room.path / "a.json").write_text(shown(named), "utf-8")
    (room.path / "b.json").write_text(shown(dict(reversed(named.items()))), "utf-8")
    (room.path / "c.tfstate").write_text(state(named, deposed=[webhook("deposed")]), "utf-8")

    outs = [json.loads(room.done("import", file, "--format", "json").out) for file in ("a.json", "b.json", "c.tfstate")]

    assert outs[0]["manifests"] == outs[2]["manifests"]
    assert outs[0]["secrets"] == outs[2]["secrets"]
    assert [item["spec"]["url"] for item in outs[1]["manifests"]] == [
        item["spec"]["url"] for item in outs[0]["manifests"]
    ]


def test_what_can_be_valid_is_valid(room: Room) -> None:
    """All but the URL with http and a port, which is said beforehand."""
    (room.path / "state.json").write_text(shown(SAMPLE), "utf-8")

    done = room.done("import", "state.json", "--out", "manifests")
    checked = room.call("validate", "manifests", "--format", "json").json

    errors = [item for item in checked["diagnostics"] if item["severity"] == "error"]
    assert {item["range"]["filename"] for item in errors} == {"manifests/plain-http.yaml"}
    assert {item["code"] for item in errors} == {"url.scheme", "url.port"}
    assert "warning[url.port]" in done.err
    assert "webhook.plain-http: spec.url" in done.err


def test_it_reads_stdin(reconciler: Callable[..., Any]) -> None:
    """`-` is what a pipe brings."""
    done = reconciler("import", "-", stdin=shown({"a": webhook("a")}))

    assert "name: a\n" in done.stdout
    assert done.stderr == ""


def test_names_are_valid_and_unique() -> None:
    """The title keeps what Apono showed; the shortest change makes a name another."""
    long = "x" * 80
    names = {
        name: document["metadata"].get("title")
        for name, document in imported(
            webhook("A b"), webhook("a-B"), webhook(long), webhook(long), webhook("!")
        ).manifests.items()
    }

    assert names == {"a-b": "A b", "a-b-2": "a-B", "x" * 63: long, "x" * 61 + "-2": long, "all": "!"}


def test_names_of_secrets_are_unique_and_well_formed() -> None:
    """[a-z][a-z0-9_]*, whatever the webhook and the header are called."""
    found = imported(
        webhook("a b", headers={"c": CANARY}),
        webhook("a", headers={"b-c": CANARY}),
        webhook("1", headers={"clientToken": CANARY}),
    )

    assert [(secret.name, secret.host) for secret in found.secrets] == [
        ("webhook_1_client_token", "acme.workflows.okta.com"),
        ("a_b_c", "acme.workflows.okta.com"),
        ("a_b_c_2", "acme.workflows.okta.com"),
    ]


def test_credentials_are_bound_to_the_host_that_receives_them() -> None:
    """OAuth's secret goes to the token endpoint, parameters of its URL too."""
    url = f"https://login.example.com/t?api_key={CANARY}"
    found = imported(webhook("w", headers={"a": CANARY}, authentication_config=oauth(token_endpoint_url=url)))

    assert {(secret.name, secret.host) for secret in found.secrets} == {
        ("w_a", "acme.workflows.okta.com"),
        ("w_client_secret", "login.example.com"),
        ("w_api_key", "login.example.com"),
    }
    (document,) = found.manifests.values()
    assert document["spec"]["auth"]["oauth2"]["token_url"].endswith("?api_key=${secret:w_api_key}")


def test_a_token_in_header_and_query_is_reported_not_chosen() -> None:
    """Okta takes it in one place only; which, a person says."""
    found = imported(webhook("w", f"{OKTA}?clientToken={HEX_TOKEN}", headers={"x-api-client-token": HEX_TOKEN}))

    assert "okta.token_twice" in [problem.code for problem in found.problems]


@pytest.mark.parametrize("body", ["a\r\nb", "tab\tend \n\n", '{"x": "\\"${y}\\" $${z}"}', "no", "  lead"])
def test_bodies_come_through_as_they_are(room: Room, body: str) -> None:
    """What looks like a reference of ours stays the text that it was."""
    headers = {"content-type": "text/plain"}
    (room.path / "s.json").write_text(state({"w": webhook("w", headers=headers, body_template=body)}), "utf-8")

    loaded = room.loaded(room.done("import", "s.json").out)

    assert loaded.webhooks[0].spec.body_template == body.replace("${", "$${")


def test_a_secret_that_a_body_repeats_becomes_a_reference_there_too() -> None:
    """Also as JSON spells it."""
    secret = 'pass"word/with\\quotes'
    body = json.dumps({"a": f"x {secret} y", "b": "{{data.id}}"})

    found = imported(webhook("w", headers={"x-token": secret}, body_template=body))

    (document,) = found.manifests.values()
    assert document["spec"]["body_template"] == '{"a": "x ${secret:w_x_token} y", "b": "{{data.id}}"}'


def test_a_validator_keeps_its_values_apart() -> None:
    """`no` and `1` are texts in Apono."""
    validators = [{"json_path": "$.a", "expected_values": ["no", "1"]}]

    assert spec_of(webhook("w", response_validators=validators))["response_validators"] == validators


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a Terraform state"),
        ("{}", "not a Terraform state"),
        ('{"version": 3, "modules": []}', "version is 3, not 4"),
        ('{"version": 4, "resources": [{"type": "x"}]}', "not a whole Terraform state"),
        ('{"format_version": "1.0", "values": {"root_module": {"resources": [7]}}}', "not a whole Terraform state"),
        ('{"encrypted_data": "x", "encryption_version": "v0"}', "encrypted"),
    ],
)
def test_what_is_no_state_is_said(text: str, fact: str) -> None:
    """In one line, without the content."""
    with pytest.raises(ReconcilerError, match=fact) as caught:
        read_resources(text.encode())

    assert caught.value.hint


@pytest.mark.parametrize("text", ['{"format_version": "1.0"}', state({})])
def test_a_state_without_such_webhooks_is_an_error(room: Room, text: str) -> None:
    """An empty output would look like success."""
    Path("state.json").write_text(text, "utf-8")

    done = room.done("import", "state.json", code=1)

    assert (done.out, "no apono_manual_webhook among 0 resources" in done.err) == ("", True)


def test_values_of_other_types_do_not_end_an_import() -> None:
    """A state that another version of the provider wrote."""
    odd = webhook("w", timeout_in_sec="soon", response_validators={"a": 1}, authentication_config=[], body_template=7)
    odd["type"]["http_request"] |= {"headers": ["x"], "method": None}

    assert spec_of(odd) == {"url": OKTA, "triggers": ["Manual"]}


def test_a_file_that_is_not_there_is_an_error_and_no_usage(room: Room) -> None:
    """Exit 1, as for every file."""
    assert "no such file or directory: nope.json" in room.done("import", "nope.json", code=1).err
    assert "is a directory" in room.done("import", "manifests", code=1).err
