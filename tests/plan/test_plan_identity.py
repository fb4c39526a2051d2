"""Which live webhook a desired one continues: the cases by hand; the laws are in test_plan_laws."""

import pytest
from plan_samples import Case, desired, hook, live_hook, live_state

from reconciler.models.webhook import Webhook
from reconciler.plan.change import Action
from reconciler.plan.plan import Plan, Scope


def moved(name: str, old: str, **spec: object) -> Webhook:
    """A webhook that says `renamed_from`."""
    return hook(name, {"renamed_from": old}, **spec)


def fates(plan: Plan) -> dict[str, tuple[str, str | None]]:
    """Action and uid by name."""
    return {change.name: (change.action.value, change.before.uid if change.before else None) for change in plan.changes}


def test_a_rename_whose_old_name_was_never_applied_creates() -> None:
    """A fresh environment takes the same manifests."""
    assert fates(Case(desired(moved("new", "old"))).plan()) == {"new": ("create", None)}


def test_a_rename_that_was_applied_is_left_alone() -> None:
    """`renamed_from` may stay in the manifest."""
    plan = Case(desired(moved("new", "old")), live_state(live_hook(hook("new"), uid="u"))).plan()

    assert fates(plan) == {"new": ("no-op", "u")}


def test_the_old_name_may_be_used_again_at_once_and_later() -> None:
    """A new webhook under the old name is another one, now and after the apply."""
    wanted = desired(moved("new", "old", url="https://hooks.example.com/old"), hook("old", method="PUT"))
    now = Case(wanted, live_state(live_hook(hook("old"), uid="u"))).plan()
    new, old = live_hook(wanted.webhooks[0], uid="u"), live_hook(wanted.webhooks[1], uid="v")

    assert fates(now) == {"new": ("rename", "u"), "old": ("create", None)}
    assert fates(Case(wanted, live_state(new, old)).plan()) == {"new": ("no-op", "u"), "old": ("no-op", "v")}


def test_a_chain_moves_every_uid_one_further() -> None:
    """b takes a's uid, c takes b's."""
    plan = Case(
        desired(moved("b", "a"), moved("c", "b")), live_state(live_hook(hook("a")), live_hook(hook("b")))
    ).plan()

    assert fates(plan) == {"b": ("rename", "uid-a"), "c": ("rename", "uid-b")}


def test_a_chain_into_a_name_that_stays_moves_nothing() -> None:
    """c stays, so b cannot become c, so a cannot become b."""
    live = live_state(*(live_hook(hook(name)) for name in "abc"))

    plan = Case(desired(moved("b", "a"), moved("c", "b")), live).plan()

    assert fates(plan) == {"a": ("delete", "uid-a"), "b": ("no-op", "uid-b"), "c": ("no-op", "uid-c")}
    assert [warning.path for warning in plan.warnings] == ["webhook.b"]


def test_a_swap_with_an_edit_is_a_swap() -> None:
    """The contents say which way the webhooks went, even if one is edited on the way."""
    live = live_state(live_hook(hook("a")), live_hook(hook("b", method="PUT", when="true")))
    wanted = desired(moved("a", "b", method="PUT", when="false", url="https://hooks.example.com/b"), moved("b", "a"))

    assert fates(Case(wanted, live).plan()) == {"a": ("rename", "uid-b"), "b": ("rename", "uid-a")}


def test_an_edit_after_a_swap_does_not_swap_back() -> None:
    """The lines that said the swap may stay; an edit of one side is an update."""
    live = live_state(
        live_hook(hook("a", method="PUT", url="https://hooks.example.com/b")),
        live_hook(hook("b", url="https://hooks.example.com/a")),
    )
    wanted = desired(
        moved("a", "b", method="PUT", url="https://hooks.example.com/b", status="inactive"),
        moved("b", "a", url="https://hooks.example.com/a"),
    )

    assert fates(Case(wanted, live).plan()) == {"a": ("update", "uid-a"), "b": ("no-op", "uid-b")}


def test_an_ambiguous_swap_moves_nothing_and_says_so() -> None:
    """Where the contents do not tell, deliveries stay where they are."""
    live = live_state(live_hook(hook("a")), live_hook(hook("b")))
    wanted = desired(
        moved("a", "b", url="https://hooks.example.com/x"), moved("b", "a", url="https://hooks.example.com/y")
    )

    plan = Case(wanted, live).plan()

    assert fates(plan) == {"a": ("update", "uid-a"), "b": ("update", "uid-b")}
    assert [warning.code for warning in plan.warnings] == ["rename_without_effect"] * 2


@pytest.mark.parametrize(
    ("owner", "scope"), [("other", Scope()), ("", Scope(keeps=True)), ("", Scope(targets=("b",))), ("", Scope())]
)
def test_a_rename_without_effect_says_only_what_is_so(owner: str, scope: Scope) -> None:
    """What is not renamed may be another owner's, or kept, or out of a plan's reach: nothing is said of its end."""
    live = live_state(live_hook(hook("a"), owner=owner), live_hook(hook("b")))

    (warning,) = Case(desired(moved("b", "a")), live, scope=scope).plan().warnings

    assert warning.message.endswith("webhook.b exists already, so webhook.a is not renamed to it")


def test_a_target_takes_along_who_must_leave_the_name() -> None:
    """One half of a swap cannot be applied alone."""
    live = live_state(live_hook(hook("a")), live_hook(hook("b")), live_hook(hook("c")))
    wanted = desired(
        moved("a", "b", url="https://hooks.example.com/b"),
        moved("b", "a", url="https://hooks.example.com/a"),
        hook("c"),
    )

    assert fates(Case(wanted, live, scope=Scope(targets=("a",))).plan()) == {
        "a": ("rename", "uid-b"),
        "b": ("rename", "uid-a"),
    }


def test_a_version_with_more_defaults_plans_nothing() -> None:
    """A stored digest may stem from a version whose documents had fewer defaults; what counts is today's document."""
    stored = live_hook(hook("a"))
    stored = type(stored)(stored.uid, stored.owner, stored.webhook, "digest-of-an-older-version", False, 1)

    assert [change.action for change in Case(desired(hook("a")), live_state(stored)).plan().changes] == [Action.NO_OP]


def test_what_cannot_be_renamed_conflicts_with_nothing() -> None:
    """Two that both say `renamed_from` and were both created, since the old name was not live then: no refusal later,
    when a webhook of the old name is, and no word of a deletion where one of them moves after all."""
    wanted = desired(moved("b", "a"), moved("c", "a"), hook("a"))
    later = Case(wanted, live_state(*(live_hook(hook(name)) for name in "abc"))).plan()
    free = Case(
        desired(moved("b", "a"), moved("c", "a")), live_state(live_hook(hook("a")), live_hook(hook("b")))
    ).plan()

    assert (fates(later), later.refusals, later.warnings) == (
        {"a": ("no-op", "uid-a"), "b": ("no-op", "uid-b"), "c": ("no-op", "uid-c")},
        (),
        (),
    )
    assert (fates(free), free.refusals, free.warnings) == (
        {"b": ("no-op", "uid-b"), "c": ("rename", "uid-a")},
        (),
        (),
    )
