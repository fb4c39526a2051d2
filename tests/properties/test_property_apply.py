"""Properties 1, 2, 6, 10, 11 and 14 of plan and apply, on a real store: what is applied is what was declared."""

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from property_set import NAMES, OWNERS, POLICIES, ManifestSet, manifest_sets, webhook
from property_store import StoreRoom, by_uid, owned, store_room

from reconciler.errors import RefusedError
from reconciler.models.revision import NOBODY, LiveState
from reconciler.models.webhook import Policy
from reconciler.plan.change import Action
from reconciler.plan.plan import Plan, Scope
from reconciler.plan.rollback import make_rollback
from reconciler.plan.schema import plan_json

SCOPES = st.builds(Scope, adopts=st.booleans(), keeps=st.booleans())
STEPS = st.lists(st.tuples(manifest_sets(), SCOPES), min_size=1, max_size=4)
FEW = settings(max_examples=40)


def live_through(room: StoreRoom, steps: list[tuple[ManifestSet, Scope]]) -> tuple[ManifestSet, Scope]:
    """Apply all that is not refused but the last step, which is returned. Every live webhook has a delivery waiting."""
    for declared, scope in steps[:-1]:
        plan = room.plan(declared, scope)
        if not plan.refusals:
            room.apply(plan)
    room.accept(*by_uid(room.live()))
    return steps[-1]


def has_taken(plan: Plan) -> set[str]:
    """The uids that the plan's owner has or gets: nobody else's are touched."""
    return {change.before.uid for change in plan.changes if change.before is not None}


@FEW
@given(STEPS)
def test_property_01_a_plan_after_its_apply_is_empty_and_a_second_apply_writes_nothing(
    steps: list[tuple[ManifestSet, Scope]],
) -> None:
    """No revision, no row, not so much as a commit; also where `renamed_from` stays in the manifests."""
    with store_room() as room:
        declared, scope = live_through(room, steps)
        plan = room.plan(declared, scope)
        if plan.refusals:
            return
        room.apply(plan)
        rows, commits, revision = room.rows(), room.commits(), room.live().revision

        again = room.plan(declared, scope)
        made = room.apply(again)

        assert not again.has_changes
        assert made is None
        assert room.live().revision == revision
        assert (room.commits(), room.rows()) == (commits, rows)


@FEW
@given(STEPS)
def test_property_02_live_is_what_was_declared_and_what_is_not_owned_stays_byte_for_byte(
    steps: list[tuple[ManifestSet, Scope]],
) -> None:
    """The owned by canonical document, their policy too; of the others owner, protection and the bytes in the file."""
    with store_room() as room:
        declared, scope = live_through(room, steps)
        before, documents = room.live(), room.documents()
        plan = room.plan(declared, scope)
        if plan.refusals:
            return

        room.apply(plan)

        after = room.live()
        assert owned(after, declared.owner) == declared.canonical
        assert after.policies.get(declared.owner, Policy()) == declared.desired.project.spec.policy
        untouched = documents.keys() - has_taken(plan)
        assert {uid: room.documents().get(uid) for uid in untouched} == {uid: documents[uid] for uid in untouched}
        for change in plan.changes:
            if change.action is Action.FORGET and change.before is not None:
                assert room.documents()[change.before.uid] == (NOBODY, *documents[change.before.uid][1:])
        others = {owner: policy for owner, policy in before.policies.items() if owner != declared.owner}
        assert {owner: after.policies.get(owner) for owner in others} == others
        protections = {item.webhook.name: item.webhook.protect for item in after.webhooks}
        for change in plan.changes:
            if change.after is not None and change.before is not None:
                was, said = change.before.is_protected, protections[change.name]
                assert by_uid(after)[change.before.uid].is_protected == (was if said is None else said)


@settings(max_examples=40)
@given(STEPS)
def test_property_02_a_refused_plan_changes_nothing(steps: list[tuple[ManifestSet, Scope]]) -> None:
    """Whatever refuses it, without the flags that let deletes and an empty set pass."""
    with store_room() as room:
        declared, scope = live_through(room, steps)
        plan = room.plan(declared, scope, allows=False)
        rows = room.rows()
        if not plan.refusals:
            return

        with pytest.raises(RefusedError):
            room.apply(plan)

        assert room.rows() == rows


@settings(max_examples=60)
@given(STEPS)
def test_property_06_the_rendered_json_plan_makes_of_before_what_is_after(
    steps: list[tuple[ManifestSet, Scope]],
) -> None:
    """A reader who has the live documents and the plan's JSON only comes to the documents that are live afterwards; a
    change is a no-op exactly if its digests are equal."""
    with store_room() as room:
        declared, scope = live_through(room, steps)
        before = room.live()
        plan = room.plan(declared, scope)
        if plan.refusals:
            return
        rendered = json.loads(json.dumps(plan_json(plan)))

        room.apply(plan)

        assert patched(documents_of(before), rendered) == documents_of(room.live())
        for change, shown in zip(plan.changes, rendered["resource_changes"], strict=True):
            if change.before is not None and change.after is not None:
                is_equal = change.before.digest == change.after.digest()
                assert (change.action in (Action.NO_OP, Action.ADOPT)) == is_equal == (change.fields == ())
                assert (shown["change"]["before"] == shown["change"]["after"]) == is_equal
        summary = rendered["summary"]
        words = [item["change"]["actions"] for item in rendered["resource_changes"]]
        assert (summary["add"], summary["destroy"]) == (words.count(["create"]), words.count(["delete"]))


def documents_of(state: LiveState) -> dict[str, Any]:
    """The live documents by address."""
    return {item.webhook.address: json.loads(item.webhook.canonical()) for item in state.webhooks}


def patched(documents: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """What the plan's JSON makes of documents."""
    changes = [item for item in plan["resource_changes"] if item["change"]["actions"] != ["forget"]]
    made = dict(documents)
    for item in changes:
        if item["change"]["before"] is not None:
            assert made.pop(item.get("previous_address", item["address"])) == item["change"]["before"]
    for item in changes:
        if item["change"]["after"] is not None:
            assert item["address"] not in made
            made[item["address"]] = item["change"]["after"]
    return made


@FEW
@given(st.permutations(NAMES), st.integers(2, len(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_property_10_names_move_in_chains_and_swaps_with_history_and_deliveries(
    order: list[str], count: int, edited: set[str]
) -> None:
    """Any renaming of distinct webhooks, edited or not, keeps every uid; deliveries and the history follow; saying it
    again moves nothing, and a rollback moves everything back."""
    moves = dict(zip(NAMES[:count], order, strict=False))
    first = ManifestSet("", tuple(webhook(old, method="PUT", query={"of": old}) for old in moves), {})
    second = ManifestSet(
        "",
        tuple(
            webhook(
                new,
                metadata={} if old == new else {"renamed_from": old},
                method="PUT",
                query={"of": old},
                timeout_in_sec=9 if old in edited else 15,
            )
            for old, new in moves.items()
        ),
        {},
    )
    with store_room() as room:
        room.apply(room.plan(first))
        uids = {item.webhook.name: item.uid for item in room.live().webhooks}
        room.accept(*uids.values())

        plan = room.plan(second)
        revision = room.apply(plan)

        after = {item.uid: item.webhook.name for item in room.live().webhooks}
        assert after == {uids[old]: new for old, new in moves.items()}
        assert (plan.summary.add, plan.summary.destroy) == (0, 0)
        assert plan.summary.rename == sum(old != new for old, new in moves.items())
        assert not room.plan(second).has_changes
        deliveries = room.run(room.store.deliveries())
        assert {item.id.partition(":")[0]: (item.webhook, item.state.value) for item in deliveries} == {
            uid: (name, "pending") for uid, name in after.items()
        }
        if revision is None:
            return
        kept = room.run(room.store.revision(revision.number))
        assert kept is not None
        told = {item["address"]: item.get("previous_address") for item in kept.changes}
        assert told == {
            f"webhook.{new}": f"webhook.{old}" if old != new else None
            for old, new in moves.items()
            if old != new or old in edited
        }
        back = make_rollback(room.live(1), room.live(), owner="", unfinished={})
        room.apply(back)
        assert {item.webhook.name: item.uid for item in room.live().webhooks} == uids


@FEW
@given(STEPS, st.sampled_from(OWNERS), POLICIES)
def test_property_11_an_empty_set_of_manifests_is_always_refused(
    steps: list[tuple[ManifestSet, Scope]], owner: str, policy: dict[str, Any]
) -> None:
    """Whatever is live and whatever the policy says, also where everything else is allowed; and with the flag it is not
    refused for that."""
    with store_room() as room:
        _, scope = live_through(room, steps)
        nothing = ManifestSet(owner, (), policy)

        refused = room.plan(nothing, scope, allows=False)

        assert "empty_manifests" in {refusal.code for refusal in refused.refusals}
        assert "empty_manifests" not in {refusal.code for refusal in room.plan(nothing, scope).refusals}


@FEW
@given(STEPS, manifest_sets(has_conflicts=False), st.data())
def test_property_11_one_webhook_less_lifts_no_refusal_of_deletes(
    steps: list[tuple[ManifestSet, Scope]], declared: ManifestSet, data: st.DataObject
) -> None:
    """Neither the limit's nor protection's: whoever deletes more is refused no less."""
    assume(declared.webhooks)
    with store_room() as room:
        live_through(room, [*steps, (declared, Scope())])
        left_out = data.draw(st.integers(0, len(declared.webhooks) - 1))
        fewer = ManifestSet(
            declared.owner, declared.webhooks[:left_out] + declared.webhooks[left_out + 1 :], declared.policy
        )

        more, less = room.plan(declared, allows=False), room.plan(fewer, allows=False)

        assert less.summary.destroy >= more.summary.destroy
        about_deletes = {"too_many_deletes", "protected"}
        assert about_deletes & {refusal.code for refusal in more.refusals} <= {
            refusal.code for refusal in less.refusals
        }


@FEW
@given(st.lists(st.tuples(manifest_sets(), SCOPES), min_size=2, max_size=5), st.data())
def test_property_14_planning_the_manifests_of_a_revision_after_a_rollback_to_it_is_empty(
    steps: list[tuple[ManifestSet, Scope]], data: st.DataObject
) -> None:
    """And the rolled-back owner's webhooks are what they were, by uid and document. Protection that they had holds
    again; what was protected since stays so, unless the revision said `protect: false`."""
    with store_room() as room:
        applied: list[tuple[ManifestSet, Scope]] = []
        for declared, scope in steps:
            plan = room.plan(declared, scope)
            if not plan.refusals and room.apply(plan) is not None:
                applied.append((declared, scope))
        if not applied:
            return
        number = data.draw(st.integers(1, len(applied)))
        declared, scope = applied[number - 1]
        target, before = room.live(number), room.live()

        plan = make_rollback(target, before, owner=declared.owner, unfinished={})
        if plan.refusals:  # another owner has taken a webhook or a name since
            assert any(item.owner != declared.owner for item in before.webhooks)
            return
        room.apply(plan)

        after = room.live()
        assert owned(after, declared.owner) == owned(target, declared.owner) == declared.canonical
        for then in target.webhooks:
            if then.owner == declared.owner:
                now = by_uid(after)[then.uid]
                assert (now.webhook.name, now.digest) == (then.webhook.name, then.digest)
                since = by_uid(before).get(then.uid)
                stays = since is not None and since.is_protected and then.webhook.protect is not False
                assert now.is_protected == (then.is_protected or stays)
        assert not room.plan(declared, scope).has_changes
