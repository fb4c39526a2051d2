"""`show REVISION`, `show --webhook` and `diff`: what people read of the past."""

import json
import re

import pytest
from golden_file import check_golden
from history_folder import Room, hook, project

from reconciler.models.revision import Revision
from reconciler.plan.record import recorded_changes


def steady(text: str) -> str:
    """Without what no two runs share."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", text)
    return re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f-]{36}\b", "HEX", text)


def grown(room: Room) -> None:
    """A store with every kind of change in its history."""
    room.apply(hook("a", {"title": "first"}), hook("b"), hook("c"), flags=("--commit", "c1"))
    room.apply(
        hook("a2", {"title": "second", "renamed_from": "a"}, url="https://hooks.example.com/a", body_template="{}"),
        hook("b", status="inactive", headers={"x-token": "${secret:b}"}),
        project(policy={"max_delete_percent": 60}),
        flags=("--commit", "c2"),
    )
    room.apply(hook("b"), hook("d"), project(owner="sec"), flags=("--adopt",))
    room.apply(hook("a2", url="https://hooks.example.com/a"), project(), flags=("--keep",))


def test_a_revision_is_shown_like_a_plan_in_the_past(room: Room) -> None:
    """Who, when, commit, owner, and every change."""
    grown(room)

    for number in (1, 2, 3):
        check_golden(f"show-{number}.txt", steady(room.done("show", str(number)).out))


def test_a_revision_as_json_has_the_keys_of_a_plan(room: Room) -> None:
    """So jq reads both."""
    grown(room)

    document = room.done("show", "2", "--format", "json").json

    assert (document["revision"], document["applied_by"], document["commit"]) == (2, "ann", "c2")
    assert {item["address"]: item["change"]["actions"] for item in document["resource_changes"]} == {
        "webhook.a2": ["update"],
        "webhook.b": ["update"],
        "webhook.c": ["delete"],
        "policy": ["update"],
    }


def test_what_was_renamed_and_released_since_is_not_called_adopted(room: Room) -> None:
    """Between two states a webhook may have been edited, renamed and given up; nobody adopts."""
    room.apply(hook("a"), hook("b"))
    room.apply(hook("a2", {"renamed_from": "a"}, method="PUT"), hook("b"))
    room.apply(hook("b"), flags=("--keep",))

    shown = room.done("diff", "1", "3").out

    assert "# webhook.a2 was renamed, released and updated in-place" in shown
    assert '~ owner         = "" -> "nobody"' in shown
    assert shown.endswith("0 added, 1 changed, 0 destroyed, 1 renamed, 1 released.\n")


def test_what_the_history_keeps_reads_back_as_the_changes_it_was_made_of(room: Room) -> None:
    """Renames, adoptions and releases included: what the states say is what the record says."""
    grown(room)

    for number in (2, 3, 4):
        document = room.done("show", str(number), "--format", "json").json
        revision = Revision(number, 0, "", None, document["owner"], 0, 0, 0, 0, tuple(document["resource_changes"]))
        recorded, _ = recorded_changes(revision)
        compared = room.done("diff", str(number - 1), str(number), "--format", "json").json["resource_changes"]
        assert [(item.address, item.previous_address) for item in recorded] == [
            (item["address"], item.get("previous_address")) for item in compared
        ]
        for one, other in zip(recorded, compared, strict=True):
            assert (one.after.document() if one.after else None) == other["change"]["after"]


def test_a_record_that_cannot_be_read_is_shown_as_it_is(room: Room) -> None:
    """Of another version: the text says so, JSON shows it."""
    room.apply(hook("a"))
    room.edit_database("UPDATE changes SET body = replace(body, '\"spec\"', '\"cpes\"')")

    assert "the changes of revision 1 cannot be read" in room.done("show", "1", code=1).err
    assert "cpes" in room.done("show", "1", "--format", "json").out


def test_a_live_webhook_is_shown_as_its_manifest(room: Room) -> None:
    """As it is, and as it was; a name that is not live has a suggestion."""
    grown(room)

    now = room.done("show", "--webhook", "a2")
    then = room.done("show", "--webhook", "a", "--revision", "1")
    missing = room.done("show", "--webhook", "a22", code=1)

    assert now.out == room.done("export", "a2").out
    assert "  title: first\n" in then.out
    assert "did you mean `a2`?" in missing.err
    assert room.done("show", "--webhook", "a2", "--format", "json").json["metadata"]["name"] == "a2"


def test_where_declared_values_come_from_is_shown_with_effective(room: Room) -> None:
    """PATHs as for a plan; no store is read."""
    room.declare(hook("a"), project(defaults={"max_concurrency": 3}), folder="mine")

    done = room.done("show", "--webhook", "a", "--effective", "mine")

    assert re.search(r"spec\.max_concurrency += 3  # defaults in mine/all\.yaml:\d+\n", done.out)


@pytest.mark.parametrize(
    ("args", "code", "fact"),
    [
        (["77"], 1, "there is no revision 77: the live one is 1"),
        (["0"], 1, "there is no revision 0"),
        (["x"], 64, "no revision's number"),
        (["1", "2"], 64, "no revision's number"),
        ([], 64, "Give REVISION, --plan FILE or --webhook NAME"),
        (["1", "--plan", "f"], 64, "Give REVISION, --plan FILE or --webhook NAME"),
        (["--plan", "f", "--webhook", "a"], 64, "Give REVISION, --plan FILE or --webhook NAME"),
        (["1", "--effective"], 64, "go with --webhook"),
        (["--webhook", "a", "path"], 64, "PATH goes with --effective"),
        (["--webhook", "a", "--revision", "1", "--effective"], 64, "--revision goes with what is live"),
        (["1", "--format", "markdown"], 64, "--format markdown goes with --plan"),
    ],
)
def test_show_says_what_it_cannot_do(room: Room, args: list[str], code: int, fact: str) -> None:
    """A usage error is 64, what is not there 1."""
    room.apply(hook("a"))

    assert fact.lower() in room.done("show", *args, code=code).err.lower()


def test_diff_compares_any_two_states(room: Room) -> None:
    """Revisions, and what is live; both ways."""
    grown(room)

    check_golden("diff.txt", steady(room.done("diff", "1", "live").out))
    back = room.done("diff", "live", "1").out
    assert "# webhook.a was renamed and updated in-place\n  # (moved from webhook.a2)\n" in back
    assert room.done("diff", "live", "4").out == "No differences between what is live (revision 4) and revision 4.\n"
    assert room.done("diff", "0", "1").out.endswith("revision 0 and revision 1: 3 added, 0 changed, 0 destroyed.\n")


def test_diff_compares_with_manifests_of_their_owner(room: Room) -> None:
    """Renames by `renamed_from`; other owners' webhooks are left out."""
    grown(room)
    room.declare(
        hook("a3", {"renamed_from": "a2"}, url="https://hooks.example.com/a"),
        project(policy={"max_delete_percent": 5}),
        folder="mine",
    )

    forth = room.done("diff", "live", "manifests", "mine")
    back = room.done("diff", "manifests", "live", "mine", "--format", "json").json

    assert "# webhook.a3 was renamed\n  # (moved from webhook.a2)\n" in forth.out
    assert "webhook.d" not in forth.out
    assert [(item["address"], item["previous_address"]) for item in back["resource_changes"]] == [
        ("webhook.a2", "webhook.a3")
    ]
    assert len(back["from"]["manifest_digest"]) == 64
    assert back["to"] == {"revision": 4}
    (policy,) = back["policy_changes"]
    assert (policy["before"]["max_delete_percent"], policy["after"]["max_delete_percent"]) == (5, None)


def test_diff_of_one_owner(room: Room) -> None:
    """What he lost counts as gone."""
    grown(room)

    document = room.done("diff", "2", "3", "--owner", "sec", "--format", "json").json

    assert {item["address"]: item["change"]["actions"] for item in document["resource_changes"]} == {
        "webhook.b": ["create"],
        "webhook.d": ["create"],
    }


@pytest.mark.parametrize(
    ("args", "code", "fact"),
    [
        (["1", "9"], 1, "there is no revision 9"),
        (["1"], 64, "Missing argument 'B'"),
        (["one", "1"], 64, "'one' is neither"),
        (["-1", "1"], 64, "No such option"),
        (["1", "9" * 30], 64, "is neither"),
        (["manifests", "manifests"], 64, "One of A and B"),
        (["1", "1", "manifests"], 64, "PATH goes with `manifests`"),
    ],
)
def test_diff_says_what_it_cannot_do(room: Room, args: list[str], code: int, fact: str) -> None:
    """A usage error is 64, what is not there 1."""
    room.apply(hook("a"))

    assert fact.lower() in room.done("diff", *args, code=code).err.lower()


def test_nothing_that_is_secret_is_shown(room: Room) -> None:
    """A literal that a hand wrote into the database is masked in every view of the past."""
    room.apply(hook("a", headers={"authorization": "${secret:a_token}"}))
    room.apply(hook("a", headers={"authorization": "${secret:a_token}", "x-b": "1"}))
    room.edit_database("UPDATE documents SET body = replace(body, '${secret:a_token}', 'Bearer hunter2')")
    room.edit_database("UPDATE changes SET body = replace(body, '${secret:a_token}', 'Bearer hunter2')")

    for args in (["diff", "1", "2"], ["diff", "1", "manifests"], ["drift"], ["plan"], ["show", "--webhook", "a"]):
        for output_format in ("text", "json"):
            done = room.call(*args, "--format", output_format)
            assert "hunter2" not in done.out + done.err, args
    done = room.call("rollback", "1", "--auto-approve")
    assert "hunter2" not in done.out + done.err


def test_json_documents_are_valid_json_whatever_names_hold(room: Room) -> None:
    """Surrogates and quotes of whoever applied come through."""
    room.apply(hook("a"))
    room.done("rollback", "1", "--auto-approve", "--hold", "--reason", '"quoted" \\ \u202e', "--as", "x\ny")

    listed = room.done("history", "--format", "json")

    assert json.loads(listed.out)[0]["revision"] == 1
    assert "\\u202e" in room.done("history").err
