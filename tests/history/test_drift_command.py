"""`drift`, and the section of a plan: what counts as drift, what is shown of it, and the exit codes."""

import json
from typing import Any

import pytest
from golden_file import check_golden
from history_folder import Room, hook, project

BODY = '{\n  "event": "{{event_type}}"\n}\n'


def addresses(room: Room, *args: str) -> dict[str, tuple[str, str]]:
    """What `drift` finds: the action and the cause of each."""
    found: Any = room.done("drift", "--format", "json", *args).json["resource_drift"]
    return {item["address"]: (item["change"]["actions"][0], item["cause"]) for item in found}


def test_what_was_applied_has_not_drifted(room: Room) -> None:
    """Nor has a store after an apply without changes."""
    room.apply(hook("a"), hook("b"))
    room.apply()

    done = room.done("drift", "--detailed-exitcode")

    assert (done.out, done.err) == ("No drift. What is live is what revision 1 left.\n", "")


def test_an_edited_manifest_is_a_change_and_no_drift(room: Room) -> None:
    """It was not applied yet: `plan` shows it, `drift` says where to look."""
    room.apply(hook("a"))
    room.declare(hook("a", method="PUT"), hook("b"))

    done = room.done("drift", "--detailed-exitcode")

    assert done.out == (
        "No drift. What is live is what revision 1 left; the manifests have changed since, see `reconciler plan`.\n"
    )
    assert "Objects have changed" not in room.done("plan").out


def test_another_set_of_manifests_is_drift(room: Room) -> None:
    """Updated, created and destroyed by an apply from elsewhere; these manifests see it, those do not."""
    room.apply(hook("a"), hook("b"))
    room.declare(hook("a", method="PUT"), hook("c"), folder="other")
    room.done("apply", "--auto-approve", "--as", "bob", "other")

    assert room.done("drift", "--detailed-exitcode", code=2).err == ""
    assert addresses(room) == {
        "webhook.a": ("update", "revision"),
        "webhook.b": ("delete", "revision"),
        "webhook.c": ("create", "revision"),
    }
    assert room.done("drift", "--detailed-exitcode", "other").out.startswith("No drift.")


def test_drift_says_what_changed_and_who_did_it(room: Room) -> None:
    """As text and as JSON, in the form of a plan."""
    room.apply(hook("a", body_template=BODY), hook("b"), hook("c"))
    room.declare(
        hook("a", body_template=BODY.replace("event", "kind", 1), headers={"x-a": "${secret:a}"}),
        hook("d", {"renamed_from": "c"}, url="https://hooks.example.com/c"),
        project(policy={"max_delete_percent": 50}),
        folder="other",
    )
    room.done("apply", "--auto-approve", "--as", "bob", "--commit", "c0ffee", "other")

    check_golden("drift.txt", room.done("drift").out)
    document = room.done("drift", "--format", "json").json
    for item in document["resource_drift"]:
        assert item["changed_by"].pop("applied_at")
    document["lineage"] = "of the store"
    check_golden("drift.json", json.dumps(document, indent=2) + "\n")


def test_a_rollback_is_drift_until_the_manifests_follow(room: Room) -> None:
    """The manifests of that revision see none."""
    room.apply(hook("a"))
    room.apply(hook("a", method="PUT"), hook("b"))
    room.done("rollback", "1", "--auto-approve", "--as", "bob")

    done = room.done("drift", "--detailed-exitcode", code=2)

    assert "(by revision 3, a rollback to revision 1, by bob)" in done.out
    assert addresses(room) == {"webhook.a": ("update", "revision"), "webhook.b": ("delete", "revision")}
    room.declare(hook("a"))
    assert room.done("drift", "--detailed-exitcode").out.startswith("No drift.")


def test_another_owner_taking_a_webhook_over_is_drift(room: Room) -> None:
    """His other webhooks are none of these manifests' business."""
    room.apply(hook("a"), hook("b"))
    room.declare(hook("a"), hook("x"), project(owner="sec"), folder="other")
    room.done("apply", "--auto-approve", "--adopt", "--as", "eve", "other")

    done = room.done("drift", "--detailed-exitcode", code=2)

    assert "# webhook.a has been adopted\n  # (by revision 2, by eve for owner `sec`)\n" in done.out
    assert "(belonged to the default owner until now)" in done.out
    assert addresses(room) == {"webhook.a": ("no-op", "revision")}


def test_what_other_owners_apply_is_no_drift(room: Room) -> None:
    """Also after many of their revisions."""
    room.apply(hook("a"), project(owner="iam"))
    for method in ("POST", "PUT", "PATCH"):
        room.declare(hook("x", method=method), project(owner="sec"), folder="other")
        room.done("apply", "--auto-approve", "other")

    assert room.done("drift", "--detailed-exitcode").out == "No drift. What is live is what revision 1 left.\n"


def test_an_edited_database_is_drift_against_what_the_manifests_say(room: Room) -> None:
    """The stored document fails its digest. Applying sets it right, although the recorded digest never changed."""
    room.apply(hook("a", headers={"x-a": "1"}), hook("b"))
    assert room.edit_database('UPDATE documents SET body = replace(body, \'"x-a":"1"\', \'"x-a":"2"\')') >= 1

    done = room.done("drift", "--detailed-exitcode", code=2)

    assert "# webhook.a was edited in the database\n" in done.out
    assert '~ spec.headers.x-a = "1" -> "2"' in done.out
    assert addresses(room) == {"webhook.a": ("update", "edited")}
    plan = room.done("plan", "--detailed-exitcode", code=2)
    assert "Plan: 0 to add, 1 to change, 0 to destroy." in plan.out
    room.apply()
    assert room.done("drift", "--detailed-exitcode").out.startswith("No drift.")
    assert room.done("plan", "--detailed-exitcode").code == 0


def test_an_edited_document_that_reads_the_same_is_told_without_fields(room: Room) -> None:
    """White space is enough to fail a digest; nothing else is different."""
    room.apply(hook("a"))
    room.edit_database("UPDATE documents SET body = replace(body, '\"spec\":', '\"spec\": ')")

    done = room.done("drift", "--detailed-exitcode", code=2)

    assert "# webhook.a was edited in the database\n" in done.out
    assert addresses(room) == {"webhook.a": ("no-op", "edited")}


def test_an_edited_webhook_that_no_manifest_declares_is_drift_too(room: Room) -> None:
    """There is nothing to compare it with but the fact."""
    room.apply(hook("a"), hook("b"))
    room.edit_database("UPDATE documents SET body = replace(body, 'hooks.example', 'evil.example')")
    room.declare(hook("a"))

    assert set(addresses(room)) == {"webhook.a", "webhook.b"}


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        ((), {"webhook.a", "webhook.b"}),
        (("spec.headers.x-foo",), {"webhook.a", "webhook.b"}),
        (("spec.headers.x-foo", "spec.method"), {"webhook.b"}),
        (("spec.headers", "spec.method"), {"webhook.b"}),
        (("spec.h*", "spec.method"), {"webhook.b"}),
        (("spec",), {"webhook.b"}),
        (("webhook.a.spec.*", "webhook.b"), set()),
        (("webhook.*",), set()),
        (("spec.headers.x-fo", "headers", "method"), {"webhook.a", "webhook.b"}),
    ],
)
def test_ignored_fields_are_no_drift(room: Room, ignored: tuple[str, ...], left: set[str]) -> None:
    """Paths, mappings above them and globs; a webhook all of whose fields are ignored has not drifted."""
    room.apply(hook("a", headers={"x-foo": "1"}), hook("b"))
    room.declare(hook("a", headers={"x-foo": "2"}, method="PUT"), folder="other")
    room.done("apply", "--auto-approve", "other")
    flags = [word for path in ignored for word in ("--ignore", path)]

    assert set(addresses(room, *flags)) == left
    assert room.done("drift", "--detailed-exitcode", *flags, code=2 if left else 0)


def test_a_changed_policy_is_drift(room: Room) -> None:
    """Loosened by other manifests of the owner; `--ignore policy` passes it over."""
    room.apply(hook("a"), project(policy={"max_delete_percent": 10}))
    room.declare(hook("a"), project(policy={"max_delete_percent": 90}), folder="other")
    room.done("apply", "--auto-approve", "other")

    assert "Drift: the policy, live revision 2." in room.done("drift", "--detailed-exitcode", code=2).out
    assert room.done("drift", "--detailed-exitcode", "--ignore", "policy").code == 0


@pytest.mark.parametrize("output_format", ["text", "json", "markdown"])
def test_a_plan_shows_drift_in_a_section_of_its_own(room: Room, output_format: str) -> None:
    """Before its changes; the saved plan shows it too."""
    room.apply(hook("a"))
    room.declare(hook("a", method="PUT"), folder="other")
    room.done("apply", "--auto-approve", "--as", "bob", "other")

    planned = room.done("plan", "--out", "plan.bin", "--format", output_format)
    shown = room.done("show", "--plan", "plan.bin", "--format", output_format)

    assert shown.out == planned.out
    if output_format == "json":
        (item,) = planned.json["resource_drift"]
        assert (item["change"]["before"]["spec"]["method"], item["change"]["after"]["spec"]["method"]) == (
            "POST",
            "PUT",
        )
        assert item["changed_by"]["applied_by"] == "bob"
    else:
        section, _, changes = planned.out.partition("will be updated in-place")
        assert "Objects have changed outside of these manifests" in section
        assert "has been updated in-place" in section
        assert changes


def test_a_plan_of_targets_tells_their_drift_only(room: Room) -> None:
    """Nothing else is looked at."""
    room.apply(hook("a"), hook("b"))
    room.declare(hook("a", method="PUT"), hook("b", method="PUT"), folder="other")
    room.done("apply", "--auto-approve", "other")

    document = room.done("plan", "--target", "a", "--format", "json").json

    assert [item["address"] for item in document["resource_drift"]] == ["webhook.a"]


def test_drift_reads_only(room: Room) -> None:
    """No store is made, and none is changed."""
    room.declare(hook("a"))
    assert "there is no store" in room.done("drift", code=1).err
    assert not (room.path / "reconciler.db").exists()

    room.apply(hook("a"))
    (room.path / "reconciler.db").chmod(0o400)
    room.done("drift")


def test_invalid_manifests_are_an_error(room: Room) -> None:
    """Exit 1, in every format."""
    room.apply(hook("a"))
    room.declare(hook("a", method="NOPE"))

    assert room.done("drift", "--detailed-exitcode", code=1).out == ""
    assert "error[field.choice]" in room.done("drift", "--format", "json", code=1).err


def test_an_old_database_knows_no_manifests_and_has_not_drifted(room: Room) -> None:
    """Revisions from before the record count as applies."""
    room.apply(hook("a"))
    room.edit_database("UPDATE revisions SET manifest_digest = NULL")

    done = room.done("drift", "--detailed-exitcode")

    assert done.out.startswith("No drift. What is live is what revision 1 left; the manifests have changed since")


@pytest.mark.parametrize("max_bytes", [65_000, 20_000, 2_000])
def test_a_comment_with_much_drift_stays_within_its_size(room: Room, max_bytes: int) -> None:
    """Its details give way like the plan's own; what drifted is always counted."""
    hooks = [hook(f"hook-{number:03}-{'x' * 50}") for number in range(300)]
    room.apply(*hooks)
    room.declare(*(item | {"spec": {**item["spec"], "method": "PUT"}} for item in hooks), folder="other")
    room.done("apply", "--auto-approve", "other")

    comment = room.done("plan", "--format", "markdown", "--max-bytes", str(max_bytes)).out

    assert len(comment.encode()) <= max_bytes
    assert "**Objects have changed outside of these manifests.** Since their last apply, revision 1:" in comment
    assert comment.count("<details>") == comment.count("</details>")
    assert "300" in comment
