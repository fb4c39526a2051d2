"""The saved plan's bytes: what is refused, and what never gets in."""

import json

import pytest
from plan_samples import CASES, Case, desired, hook, live_hook, live_state

from reconciler.cli.view_plan import plan_lines
from reconciler.plan.saved import PlanFileError, SavedPlan, dump_plan, load_plan
from reconciler.plan.schema import history_json, plan_json

CANARY = "hunter2-canary"


def saved_bytes(name: str = "update") -> bytes:
    """The file of one of the golden plans."""
    return dump_plan(SavedPlan(CASES[name].plan(), "plan-1", 1_700_000_000_000, "0.1.0", "c0ffee"))


@pytest.mark.parametrize(
    ("raw", "fact"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a saved plan"),
        (b'{"format": "terraform"}', "not a saved plan"),
        (saved_bytes().replace(b'"format_version":2', b'"format_version":3', 1), "format is 3, not 2"),
        (saved_bytes()[:-10], "not JSON"),
        (saved_bytes().replace(b"beta.workflows", b"evil.workflows"), "digest does not match"),
        (saved_bytes().replace(b'"base_revision":1', b'"base_revision":2'), "digest does not match"),
    ],
)
def test_what_is_not_the_saved_plan_is_refused(raw: bytes, fact: str) -> None:
    """A truncated, edited or foreign file is an error that says what is wrong."""
    with pytest.raises(PlanFileError, match=fact):
        load_plan(raw)


def test_content_that_is_no_plan_is_refused_even_with_its_digest() -> None:
    """The digest is no signature: what it covers is still judged."""
    import hashlib

    content = {"plan_id": "x", "changes": [{"action": "explode"}]}
    digest = hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
    raw = json.dumps({"format": "reconciler-plan", "format_version": 2, "digest": digest, "content": content}).encode()

    with pytest.raises(PlanFileError, match="not a plan"):
        load_plan(raw)


def test_a_file_that_was_only_reformatted_is_still_the_plan() -> None:
    """The digest covers what the file says, not its white space."""
    raw = json.dumps(json.loads(saved_bytes()), indent=2).encode()

    assert load_plan(raw).plan == load_plan(saved_bytes()).plan


def test_literal_secrets_of_a_stored_webhook_are_shown_and_kept_nowhere() -> None:
    """What looks like a secret is masked in the text, the JSON, the history and the file."""
    stored = hook(
        "a",
        headers={"Authorization": f"Bearer {CANARY}", "X-Api-Key": CANARY},
        query={"access_token": CANARY},
        auth={"basic": {"username": "u", "password": CANARY}},
        signing={"keys": [{"key": CANARY}]},
        body_template={"clientToken": CANARY, "nested": [{"db_password": CANARY}]},
        url=f"https://hooks.example.com/{'c0ffee11' * 8}?a=1&clientToken={CANARY}&b=2",
    )
    plan = Case(desired(hook("a")), live_state(live_hook(stored))).plan()

    shown = [line.plain for line in plan_lines(plan)]
    everything = "\n".join(
        [
            *shown,
            json.dumps(plan_json(plan)),
            json.dumps(list(history_json(plan))),
            dump_plan(SavedPlan(plan, "", 0, "", None)).decode(),
        ]
    )

    assert CANARY not in everything
    assert "c0ffee11c0ffee11" not in everything
    assert "(sensitive value)" in everything


def test_secret_references_are_shown() -> None:
    """A reference names a secret and holds none; a reviewer must see it."""
    plan = Case(desired(hook("a", headers={"authorization": "Bearer ${secret:token}"}))).plan()

    assert any("Bearer ${secret:token}" in line.plain for line in plan_lines(plan))
    assert plan_json(plan)["secret_bindings"] == [
        {"secret": "token", "host": "hooks.example.com", "webhooks": ["webhook.a"]}
    ]


def test_only_pairs_that_no_live_webhook_has_are_new() -> None:
    """A secret that goes to another host is new; one more webhook with a known pair is not."""
    live = live_state(live_hook(hook("a", headers={"x-token": "${secret:one}"})))
    known = Case(
        desired(hook("a", headers={"x-token": "${secret:one}"}), hook("b", query={"t": "${secret:one}"})), live
    )
    moved = Case(desired(hook("a", headers={"x-token": "${secret:one}"}, url="https://other.example.org/")), live)

    assert known.plan().new_secrets == ()
    assert [(item.secret, item.host) for item in moved.plan().new_secrets] == [("one", "other.example.org")]
