"""Suggested renames: what looks like one, what does not, and that nothing follows from it."""

import time

from plan_samples import BODY, Case, desired, hook, live_hook, live_state

from reconciler.models.webhook import Webhook
from reconciler.plan.change import Action
from reconciler.plan.plan import Scope

URL = "https://hooks.example.com/flow"


def suggested(wanted: list[Webhook], live: list[Webhook], **facts: object) -> list[tuple[str, str, int]]:
    """(old, new, percent) of every suggestion."""
    state = live_state(*map(live_hook, live))
    plan = Case(desired(*wanted), state, **facts).plan()  # type: ignore[arg-type]
    return [(item.old, item.new, item.percent) for item in plan.suggestions]


def test_the_same_webhook_under_another_name_is_a_hundred_percent() -> None:
    """Only the name differs, which is what a rename is."""
    assert suggested([hook("new", url=URL, body_template=BODY)], [hook("old", url=URL, body_template=BODY)]) == [
        ("old", "new", 100)
    ]


def test_a_rename_with_a_small_edit_is_still_told() -> None:
    """One word of the body, or one header more; another flow of the same host."""
    said = {"body_template": BODY, "headers": {"x-token": "${secret:t}"}, "method": "PUT"}
    old = [hook("old", {"labels": {"team": "iam"}}, url=URL, **said)]

    edited = hook("new", {"labels": {"team": "iam"}}, url=URL, **{**said, "body_template": BODY.replace("event", "e")})
    moved = hook("new", {"labels": {"team": "iam"}}, url=f"{URL}-2", **said)

    assert suggested([edited], old)[0][2] >= 90
    assert suggested([moved], old)[0][2] >= 90


def test_two_webhooks_of_one_team_are_no_rename() -> None:
    """The same host, triggers and labels are what a team's webhooks have in common."""
    labels = {"labels": {"team": "iam"}}
    old = [hook("mail", labels, body_template='{"to": "{{data.requester.email}}"}')]

    assert (
        suggested([hook("audit", labels, body_template='{"event": "{{event_type}}", "at": "{{event_time}}"}')], old)
        == []
    )
    assert suggested([hook("plain-new")], [hook("plain-old")]) == []


def test_each_webhook_is_suggested_once_and_the_likest_pair_first() -> None:
    """Two deletes and two creates of one body: the URLs tell which is which."""
    live = [hook("a", url=f"{URL}/a", body_template=BODY), hook("b", url=f"{URL}/b", body_template=BODY)]
    wanted = [hook("x", url=f"{URL}/b", body_template=BODY), hook("y", url=f"{URL}/a", body_template=BODY)]

    assert suggested(wanted, live) == [("b", "x", 100), ("a", "y", 100)]


def test_a_suggestion_renames_nothing() -> None:
    """The plan deletes and creates until somebody says `renamed_from`."""
    plan = Case(desired(hook("new", url=URL)), live_state(live_hook(hook("old", url=URL)))).plan()

    assert [(change.name, change.action) for change in plan.changes] == [("new", Action.CREATE), ("old", Action.DELETE)]
    assert plan.suggestions
    assert not plan.refusals


def test_what_is_kept_or_declared_is_not_suggested() -> None:
    """A released webhook goes on under its name; a declared rename needs no suggestion."""
    assert suggested([hook("new", url=URL)], [hook("old", url=URL)], scope=Scope(keeps=True)) == []
    assert suggested([hook("new", {"renamed_from": "old"}, url=URL)], [hook("old", url=URL)]) == []


def test_thousands_of_webhooks_are_matched_by_what_only_they_have() -> None:
    """A renaming of all is told in seconds; a body that all share tells nothing."""
    count = 2000
    live = [hook(f"old-{n}", url=f"{URL}/{n}", body_template=BODY) for n in range(count)]
    wanted = [hook(f"new-{n}", url=f"{URL}/{n}", body_template=BODY) for n in range(count)]
    began = time.monotonic()

    found = suggested(wanted, live)

    assert {(old.removeprefix("old-"), new.removeprefix("new-")) for old, new, _ in found} == {
        (f"{n}", f"{n}") for n in range(count)
    }
    assert time.monotonic() - began < 20
