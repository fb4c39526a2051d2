"""`rollback`: the way back, its guards, and holding applies."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from golden_file import check_golden
from history_folder import Room, hook, project

from reconciler.models.delivery import DeliveryId
from reconciler.models.event import EventId
from reconciler.store.base import NewDelivery, NewEvent


def uids(room: Room) -> dict[str, str]:
    """The live webhooks' uids by name."""
    return {item.webhook.name: item.uid for item in asyncio.run(room.live()).webhooks}


def test_a_rollback_is_shown_and_applied_as_a_new_revision(room: Room) -> None:
    """Renamed back, revived, deleted; policy included."""
    room.apply(hook("a", {"title": "first"}), hook("b"))
    room.apply(
        hook("a2", {"title": "second", "renamed_from": "a"}, url="https://hooks.example.com/a"),
        hook("c"),
        project(policy={"max_delete_percent": 60}),
    )

    done = room.done("rollback", "1", "--auto-approve", "--as", "bob", "--reason", "it broke")

    check_golden("rollback.txt", done.out)
    assert done.err == ""
    assert "rollback to 1: it broke" in room.done("history").out


def test_what_was_deleted_comes_back_under_its_uid(room: Room) -> None:
    """So history and deliveries are its own again; new webhooks go."""
    room.apply(hook("a"), hook("b"))
    before = uids(room)
    room.apply(hook("a", method="PUT"), hook("c"))

    room.done("rollback", "1", "--auto-approve")

    assert uids(room) == before


def test_a_webhook_that_took_the_name_goes_and_the_reason_is_true(room: Room) -> None:
    """The name was live then, only it was another webhook's."""
    room.apply(hook("a"), hook("b"))
    room.apply(hook("a2", {"renamed_from": "a"}), hook("b"))
    room.apply(hook("b"))
    room.apply(hook("a"), hook("b"), hook("c"))

    shown = room.done("rollback", "1", "--auto-approve").out

    assert "# webhook.a will be destroyed\n  # (because webhook.a was another webhook at revision 1)\n" in shown
    assert "# webhook.c will be destroyed\n  # (because webhook.c was not live at revision 1)\n" in shown
    assert "# webhook.a will be created\n  + webhook" in shown


def test_planning_the_manifests_of_that_revision_changes_nothing(room: Room) -> None:
    """Property 14, with a policy, a rename and protection on the way."""
    first = (hook("a", {"protect": True}), hook("b"), project(owner="iam", policy={"required_labels": []}))
    room.apply(*first)
    room.apply(
        hook("z", {"renamed_from": "a", "protect": False}), project(owner="iam", policy={"max_delete_percent": 100})
    )

    room.done("rollback", "1", "--auto-approve")

    room.declare(*first)
    assert room.done("plan", "--detailed-exitcode").out.startswith("No changes.")
    (protected, _) = asyncio.run(room.live()).webhooks
    assert protected.is_protected


def test_a_rollback_to_what_is_live_changes_nothing(room: Room) -> None:
    """No revision is made."""
    room.apply(hook("a"))

    done = room.done("rollback", "1", "--auto-approve")

    assert done.out == "No changes. The live webhooks are those of revision 1.\n"
    assert asyncio.run(room.live()).revision == 1


def test_protection_that_was_lifted_since_holds_again(room: Room) -> None:
    """Though the manifest of then said nothing of it any more."""
    room.apply(hook("a", {"protect": True}))
    room.apply(hook("a", method="PUT"))
    room.apply(hook("a", {"protect": False}, method="PUT"))
    room.apply(hook("a", method="PUT"))

    plan = room.done("rollback", "2", "--auto-approve")

    assert "+ metadata.protect = true" in plan.out
    assert asyncio.run(room.live()).webhooks[0].is_protected


def test_protection_that_came_since_is_not_lifted(room: Room) -> None:
    """Only an explicit `false` does that; and what is protected is not deleted."""
    room.apply(hook("a"))
    room.apply(hook("a", {"protect": True}), hook("b", {"protect": True}))

    refused = room.done("rollback", "1", "--auto-approve", code=3)
    assert "webhook.b is protected and would be deleted" in refused.err
    room.apply(hook("a", {"protect": True}), hook("b", {"protect": False}))
    room.done("rollback", "1", "--auto-approve")

    (live,) = asyncio.run(room.live()).webhooks
    assert (live.webhook.name, live.is_protected) == ("a", True)


def test_the_guards_of_an_apply_judge_a_rollback(room: Room) -> None:
    """Mass deletion, and a revision without webhooks; each refusal names its way out."""
    room.apply(hook("a"))
    room.apply(*(hook(f"hook-{number}") for number in range(12)))

    refused = room.done("rollback", "1", "--auto-approve", code=3)

    assert "12 of 12 webhooks (100.0 %)" in refused.err
    assert "Plan: 1 to add, 0 to change, 12 to destroy." in refused.out
    assert room.done("rollback", "1", "--auto-approve", "--allow-deletes", "12").code == 0


def test_a_revision_without_webhooks_needs_its_flag(room: Room) -> None:
    """As an empty manifest set does."""
    room.declare(project())
    room.done("apply", "--auto-approve", "--allow-empty")
    room.apply(hook("x"), project(owner="sec"))
    room.apply(hook("a"), project())

    refused = room.done("rollback", "1", "--auto-approve", "--owner", "", code=3)

    assert "revision 1 has 0 webhooks, while the default owner has 1 live" in refused.err
    assert room.done("rollback", "1", "--auto-approve", "--owner", "", "--allow-empty").code == 0


def test_other_owners_keep_what_they_have(room: Room) -> None:
    """A rollback is one owner's; with several, which one is not guessed."""
    room.apply(hook("a"), project(owner="iam"))
    room.apply(hook("x"), project(owner="sec"))
    room.apply(hook("a", method="PUT"), project(owner="iam"))
    room.apply(hook("x", method="PUT"), project(owner="sec"))

    assert "2 owners: iam, sec" in room.done("rollback", "2", "--auto-approve", code=1).err
    room.done("rollback", "2", "--auto-approve", "--owner", "iam")

    methods = {item.webhook.name: item.webhook.spec.method.value for item in asyncio.run(room.live()).webhooks}
    assert methods == {"a": "POST", "x": "PUT"}
    assert room.done("history", "--format", "json").json[0]["owner"] == "iam"


def test_what_another_owner_took_over_refuses_the_plan(room: Room) -> None:
    """A webhook that he adopted, and a name that he took."""
    room.apply(hook("a"), hook("b"), hook("c"))
    room.apply(hook("a", method="PUT"), hook("b"))
    room.apply(hook("b"), hook("c"), project(owner="sec"), flags=("--adopt",))

    refused = room.done("rollback", "1", "--auto-approve", "--owner", "", code=3)

    assert "webhook.b belongs to owner `sec` now, as webhook.b" in refused.err
    assert "the name of webhook.c was taken by another webhook of owner `sec`" in refused.err
    assert asyncio.run(room.live()).revision == 3


def test_a_document_that_somebody_edited_is_not_rolled_back_to(room: Room) -> None:
    """It would look applied from then on; the manifests of that revision bring it back."""
    room.apply(hook("a"))
    room.apply(hook("a", method="PUT"))
    room.edit_database("UPDATE documents SET body = replace(body, 'hooks.example', 'evil.example')")

    refused = room.done("rollback", "1", "--auto-approve", code=3)

    assert "the stored document of webhook.a was edited: it fails its digest" in refused.err
    room.apply(hook("a"))
    assert asyncio.run(room.live(1)).webhooks[0].is_intact


def test_what_was_released_since_is_taken_back(room: Room) -> None:
    """It belongs to nobody."""
    room.apply(hook("a"), hook("b"))
    room.apply(hook("a"), flags=("--keep",))

    done = room.done("rollback", "1", "--auto-approve")

    assert "webhook.b will be adopted" in done.out
    assert {item.owner for item in asyncio.run(room.live()).webhooks} == {""}


def test_a_rollback_names_the_commit_that_is_live_again(room: Room) -> None:
    """What is sent from now on is sent under that commit; of another owner's revision, this owner's last before it."""
    room.apply(hook("a"), flags=("--commit", "c1"))
    room.apply(hook("x"), project(owner="sec"), flags=("--commit", "s1"))
    room.apply(hook("a", method="PUT"), project(), flags=("--commit", "c2"))

    room.done("rollback", "2", "--auto-approve", "--owner", "")

    assert room.done("history", "--format", "json").json[0]["commit"] == "c1"
    assert asyncio.run(room.live()).commit == "c1"


def test_pending_deliveries_of_what_goes_are_told_and_cancelled(room: Room) -> None:
    """As for any plan."""
    room.apply(hook("a"))
    room.apply(hook("a"), hook("b"))

    async def accept() -> None:
        async with room.store() as store:
            uid = next(item.uid for item in (await store.live_state()).webhooks if item.webhook.name == "b")
            delivery = NewDelivery(DeliveryId("d"), uid, None, 0, 0)
            event = NewEvent(EventId("e"), "t", None, None, "s", b"{}", "f", 0, deliveries=(delivery,))
            await store.accept([event], revision=2)

    asyncio.run(accept())

    assert "cancels 1 pending delivery" in room.done("rollback", "1", "--auto-approve").out


def test_a_hold_refuses_applies_until_it_is_released(room: Room) -> None:
    """Exit 3 with the reason and the way out, in every way to apply; a plan is warned."""
    room.apply(hook("a"))
    room.apply(hook("a", method="PUT"))
    room.done("plan", "--out", "before.bin")
    held = room.done("rollback", "1", "--auto-approve", "--hold", "--reason", "template broke", "--as", "bob")
    room.done("plan", "--out", "after.bin")

    assert "on hold since" in held.err
    for args in (["--auto-approve"], ["--plan", "after.bin"]):
        refused = room.done("apply", *args, code=3)
        assert "by bob: template broke" in refused.err
        assert "reconciler rollback --release" in refused.err
    assert "warning[on_hold]" in room.done("plan", "--detailed-exitcode", code=2).err
    assert "on hold" in room.done("history").err
    assert room.done("drift", "--format", "json").json["hold"]["reason"] == "template broke"
    assert asyncio.run(room.live()).revision == 3

    released = room.done("rollback", "--release")
    assert released.out.startswith("Released: applies of the default owner, which were on hold since ")
    assert room.done("rollback", "--release").out == "No applies were on hold.\n"
    assert room.done("apply", "--plan", "after.bin").code == 0


def test_a_hold_is_set_also_where_nothing_changes(room: Room) -> None:
    """To hold what is live as it is; it says so itself."""
    room.apply(hook("a"))

    room.done("rollback", "1", "--auto-approve", "--hold")

    refused = room.done("apply", "--auto-approve", code=3)
    assert "rolled back to revision 1" in refused.err


def test_a_hold_lets_rollbacks_and_other_owners_pass(room: Room) -> None:
    """It is one owner's applies that are held."""
    room.apply(hook("a"), project(owner="iam"))
    room.apply(hook("x"), project(owner="sec"))
    room.apply(hook("a", method="PUT"), project(owner="iam"))
    room.done("rollback", "1", "--auto-approve", "--hold", "--owner", "iam")

    room.apply(hook("x", method="PUT"), project(owner="sec"))
    room.done("rollback", "3", "--auto-approve", "--owner", "iam")
    room.apply(hook("a", method="PATCH"), project(owner="iam"), code=3)

    released = room.done("rollback", "--release", "--owner", "iam", "--format", "json").json
    assert released["released"]["owner"] == "iam"


def test_json_is_one_document(room: Room) -> None:
    """The plan with what came of it."""
    room.apply(hook("a"))
    room.apply(hook("a", method="PUT"))

    document = room.done("rollback", "1", "--auto-approve", "--hold", "--format", "json").json

    assert (document["restores"], document["revision"], document["summary"]["change"]) == (1, 3, 1)
    assert document["hold"]["reason"] == "rolled back to revision 1"


@pytest.mark.parametrize(
    ("args", "code", "fact"),
    [
        (["9", "--auto-approve"], 1, "there is no revision 9: the live one is 1"),
        (["1"], 1, "there is no terminal to ask for approval; nothing was done"),
        ([], 64, "Give REVISION to go back to, or --release"),
        (["0"], 64, "0 is not in the range"),
        (["x"], 64, "not a valid integer"),
        (["1", "--release"], 64, "Give REVISION to go back to, or --release"),
        (["--release", "--hold"], 64, "contradict"),
    ],
)
def test_what_cannot_be_done_is_said(room: Room, args: list[str], code: int, fact: str) -> None:
    """Before anything is done."""
    room.apply(hook("a"))

    assert fact.lower() in room.done("rollback", *args, code=code).err.lower()


@pytest.mark.parametrize(("answer", "code", "revision"), [("yes", 0, 3), ("no", 1, 2)])
def test_it_asks_on_a_terminal(room: Room, command_env: dict[str, str], answer: str, code: int, revision: int) -> None:
    """Only a typed yes goes on."""
    room.apply(hook("a"))
    room.apply(hook("a", method="PUT"))
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "rollback", "1"],
            cwd=room.path,
            env=command_env,
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.write(leader, f"{answer}\n".encode())
        _, err = process.communicate(timeout=60)
    finally:
        os.close(leader)
        os.close(follower)

    assert process.returncode == code, err
    assert b"Only 'yes' will be accepted to approve." in err
    assert asyncio.run(room.live()).revision == revision


def test_a_pipeline_reads_the_exit_code(room: Room, command_env: dict[str, str]) -> None:
    """As a process of its own: 3 for the apply that is held back."""
    room.apply(hook("a"))
    room.done("rollback", "1", "--auto-approve", "--hold")

    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "apply", "--auto-approve", "--format", "json"],
        cwd=room.path,
        env=command_env,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 3
    assert [item["code"] for item in json.loads(done.stdout)["refusals"]] == ["on_hold"]
    assert Path(room.path / "reconciler.db").exists()
