"""A plan on a store that has moved on: what stands in its way, and what is judged anew."""

from dataclasses import replace

import pytest
from plan_samples import Case, desired, hook, live_hook, live_state, many

from reconciler.errors import StalePlanError
from reconciler.models.revision import NOBODY, LiveState, LiveWebhook
from reconciler.models.webhook import Policy, WebhookUid
from reconciler.plan.change import Action, Allowances
from reconciler.plan.plan import Plan, Scope
from reconciler.plan.rebase import rebased
from reconciler.plan.saved import SavedPlan, dump_plan, load_plan

A, B, C = (live_hook(hook(name)) for name in "abc")
BASE = live_state(A, B, C, revision=1)
PLAN = Case(desired(hook("a", method="PUT"), hook("c"), hook("new")), BASE).plan()  # updates a, deletes b, creates new


def moved(*webhooks: LiveWebhook, policies: dict[str, Policy] | None = None) -> LiveState:
    """The store one revision later."""
    return live_state(*webhooks, policies=policies, revision=2)


def changed(live: LiveWebhook, **facts: object) -> LiveWebhook:
    """A webhook as revision 2 left it."""
    return replace(live, revision=2, **facts)  # type: ignore[arg-type]


def test_what_the_plan_does_not_touch_may_move() -> None:
    """Another webhook was changed, deleted, made; the plan's own changes stay what was reviewed."""
    other = live_hook(hook("other"), owner="platform")
    state = moved(A, B, changed(C, digest="another"), changed(other))

    fresh = rebased(PLAN, state, {A.uid: 3, B.uid: 5})

    assert fresh.base_revision == 2
    assert [(change.name, change.action) for change in fresh.changes] == [
        ("a", Action.UPDATE),
        ("b", Action.DELETE),
        ("new", Action.CREATE),
    ]
    assert [change.cancels for change in fresh.changes] == [0, 5, 0]
    assert [change.after for change in fresh.changes[:1]] == [change.after for change in PLAN.changes[:1]]


@pytest.mark.parametrize(
    ("state", "fact"),
    [
        (moved(changed(A), B, C), "webhook.a (changed by revision 2)"),
        (moved(replace(A, digest="edited"), B, C), "webhook.a (changed by revision 1)"),
        (moved(A, changed(B, owner=NOBODY), C), "webhook.b (changed by revision 2)"),
        (moved(replace(A, is_intact=False), B, C), "webhook.a (edited in the database)"),
        (moved(A, C), "webhook.b (deleted)"),
        (moved(A, B, C, changed(live_hook(hook("new"), owner="other"))), "webhook.new (made by revision 2)"),
        (moved(A, B, C, policies={"": Policy(max_delete_percent=5)}), "the policy"),
    ],
)
def test_what_moved_under_the_plan_is_named(state: LiveState, fact: str) -> None:
    """A changed, released, deleted webhook, a name that was taken, the owner's policy."""
    with pytest.raises(StalePlanError) as caught:
        rebased(PLAN, state, {})

    assert fact in caught.value.message
    assert (caught.value.base_revision, caught.value.live_revision) == (1, 2)


def test_many_that_moved_are_counted() -> None:
    """A message is no list of a thousand webhooks."""
    live = many(30)
    plan = Case(desired(*(hook(f"hook-{n:02}", method="PUT") for n in range(30))), live_state(*live)).plan()

    with pytest.raises(StalePlanError, match="and 20 more"):
        rebased(plan, moved(*map(changed, live)), {})


@pytest.mark.parametrize("lineage", ["", "another"])
def test_another_store_is_never_rebased_upon(lineage: str) -> None:
    """Nor is a plan that was made where no store was."""
    with pytest.raises(StalePlanError, match="another store"):
        rebased(replace(PLAN, lineage=lineage), moved(A, B, C), {})


def test_names_that_move_inside_the_plan_are_not_taken() -> None:
    """A swap stands in nobody's way but its own."""
    swap = Case(
        desired(
            hook("a", {"renamed_from": "b"}, url="https://hooks.example.com/b"),
            hook("b", {"renamed_from": "a"}, url="https://hooks.example.com/a"),
        ),
        live_state(A, B),
    ).plan()

    assert rebased(swap, moved(A, B, changed(C)), {}).summary.rename == 2


def deleting(deletes: int, owned: int, allow: Allowances) -> Plan:
    """A plan that deletes so many of so many."""
    wanted = desired(*(hook(f"hook-{number:02}") for number in range(owned - deletes)))
    return Case(wanted, live_state(*many(owned)), allow=allow).plan()


def test_the_guard_judges_the_rebased_plan_by_the_live_numbers() -> None:
    """3 of 10 were allowed; when only 5 are left, they are too many, unless exactly 3 were allowed by name."""
    left = moved(*(item for item in many(10) if item.webhook.name in ("hook-00", "hook-07", "hook-08", "hook-09")))
    few = {"": Policy(max_delete_percent=30)}
    for allow, expected in ((Allowances(), ["too_many_deletes"]), (Allowances(deletes=3), [])):
        plan = replace(deleting(3, 10, allow), policy_before=few[""])

        fresh = rebased(plan, replace(left, policies=few), {})

        assert plan.refusals == ()
        assert (fresh.owned, [refusal.code for refusal in fresh.refusals]) == (4, expected)


def test_a_release_is_rebased_too() -> None:
    """Nothing of it is cancelled."""
    plan = Case(desired(hook("a")), live_state(A, B), scope=Scope(keeps=True)).plan()

    fresh = rebased(plan, moved(A, B, changed(C)), {WebhookUid("uid-b"): 4})

    assert [(change.name, change.action, change.cancels) for change in fresh.changes] == [
        ("a", Action.NO_OP, 0),
        ("b", Action.FORGET, 0),
    ]


def test_a_saved_plan_is_rebased_like_the_plan() -> None:
    """What the file holds masked is taken from the store again."""
    loaded = load_plan(dump_plan(SavedPlan(PLAN, "p", 0, "", None))).plan
    state = moved(A, B, C, changed(live_hook(hook("other"), owner="platform")))

    assert rebased(loaded, state, {}) == rebased(PLAN, state, {})
