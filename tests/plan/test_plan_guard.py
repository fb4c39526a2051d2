"""What refuses a plan, at its exact limits, and the ways out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_samples import Case, desired, hook, live_hook, live_state, many

from reconciler.models.revision import NOBODY
from reconciler.models.webhook import Policy, Webhook
from reconciler.plan.change import Action, Allowances
from reconciler.plan.guard import host_allowed
from reconciler.plan.plan import Scope

OAUTH = {"oauth2": {"token_url": "https://login.example.org/token", "client_id": "c", "client_secret": "${secret:s}"}}


def codes(case: Case) -> list[str]:
    """The codes of what refuses the plan."""
    return [refusal.code for refusal in case.plan().refusals]


def keep(count: int) -> tuple[Webhook, ...]:
    """The first webhooks of `many`."""
    return tuple(hook(f"hook-{number:02}") for number in range(count))


@pytest.mark.parametrize(
    ("owned", "kept", "refused"), [(10, 7, False), (10, 6, True), (9, 1, False), (20, 14, False), (20, 13, True)]
)
def test_default_limit_is_thirty_percent_from_ten_owned_webhooks(owned: int, kept: int, refused: bool) -> None:
    """More than 30 % deletes once ten or more are owned."""
    assert codes(Case(desired(*keep(kept)), live_state(*many(owned)))) == ["too_many_deletes"] * refused


def test_webhooks_of_others_do_not_count_as_owned() -> None:
    """Nine of one's own among a thousand are nine."""
    others = [live_hook(hook(f"other-{number}"), owner="other") for number in range(20)]

    plan = Case(desired(*keep(5)), live_state(*many(9), *others)).plan()

    assert plan.owned == 9
    assert not plan.refusals
    assert plan.summary.destroy == 4


def test_allow_deletes_names_the_exact_number() -> None:
    """Neither more nor fewer than the plan deletes."""
    case = desired(*keep(6)), live_state(*many(10))

    assert codes(Case(*case, allow=Allowances(deletes=4))) == []
    assert codes(Case(*case, allow=Allowances(deletes=3))) == ["too_many_deletes"]
    assert codes(Case(*case, allow=Allowances(deletes=5))) == ["too_many_deletes"]


@pytest.mark.parametrize(
    ("live", "wanted", "refused"),
    [(None, 10, True), (10, None, True), (10, 90, True), (90, 10, True), (50, 50, False), (None, 90, True)],
)
def test_the_stricter_limit_of_live_and_desired_holds(live: int | None, wanted: int | None, refused: bool) -> None:
    """40 % deletes: loosening the limit does not take effect in the same plan, tightening does."""
    state = live_state(*many(10), policies={"": Policy(max_delete_percent=live)})

    assert (
        codes(Case(desired(*keep(6), policy=Policy(max_delete_percent=wanted)), state))
        == ["too_many_deletes"] * refused
    )


def test_an_explicit_limit_holds_for_few_webhooks_too() -> None:
    """`max_delete_percent: 0` means none."""
    state = live_state(*many(2), policies={"": Policy(max_delete_percent=0)})

    assert codes(Case(desired(*keep(1), policy=Policy(max_delete_percent=0)), state)) == ["too_many_deletes"]


def test_an_empty_manifest_set_is_refused_even_where_nothing_is_live() -> None:
    """A wrong PATH in a pipeline must not pass for an intention."""
    assert codes(Case(desired())) == ["empty_manifests"]
    assert codes(Case(desired(), allow=Allowances(empty=True))) == []


def test_allowing_the_empty_set_does_not_allow_mass_deletion() -> None:
    """Each guard has its own way past it."""
    state = live_state(*many(10))

    assert codes(Case(desired(), state, allow=Allowances(empty=True))) == ["too_many_deletes"]
    assert codes(Case(desired(), state, allow=Allowances(deletes=10, empty=True))) == []


def test_protection_outlives_its_line_in_the_manifest() -> None:
    """`protect: true` once applied holds until an explicit false is applied."""
    held = live_hook(hook("a"), is_protected=True)  # the line was removed in an earlier apply

    silent = Case(desired(hook("a", status="inactive"), hook("b")), live_state(held)).plan()
    lifted = Case(desired(hook("a", {"protect": False}), hook("b")), live_state(held)).plan()

    assert [change.is_protected_after for change in silent.changes] == [True, False]
    assert [change.is_protected_after for change in lifted.changes] == [False, False]
    assert codes(Case(desired(hook("b")), live_state(held))) == ["protected"]


def test_protection_is_lifted_in_one_apply_and_deletes_in_the_next() -> None:
    """Once `protect: false` is applied, deletion passes."""
    lifted = live_hook(hook("a", {"protect": False}))

    assert codes(Case(desired(hook("b")), live_state(lifted))) == []


def test_a_rename_is_no_way_around_protection_or_ownership() -> None:
    """A protected webhook stays protected under its new name; another owner's cannot be taken by renaming."""
    moved = Case(
        desired(hook("new", {"renamed_from": "a"})), live_state(live_hook(hook("a", {"protect": True})))
    ).plan()
    foreign = Case(desired(hook("new", {"renamed_from": "a"})), live_state(live_hook(hook("a"), owner="other")))

    assert moved.changes[0].is_protected_after
    assert codes(foreign) == ["foreign_owner"]


def test_a_name_of_another_owner_is_refused_even_if_nothing_would_change() -> None:
    """Two owners that both declare a webhook would fight over it."""
    plan = Case(desired(hook("a"), owner="iam"), live_state(live_hook(hook("a"), owner="platform"))).plan()

    assert [change.action for change in plan.changes] == [Action.NO_OP]
    assert [refusal.code for refusal in plan.refusals] == ["foreign_owner"]
    assert "platform" in plan.refusals[0].message


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("a.example.com", None, True),
        ("a.example.com", (), False),
        ("a.example.com", ("a.example.com",), True),
        ("a.example.com", ("A.Example.com.",), True),
        ("a.example.com", ("*.example.com",), True),
        ("b.a.example.com", ("*.example.com",), True),
        ("example.com", ("*.example.com",), False),
        ("evilexample.com", ("*.example.com",), False),
        ("a.example.com.evil.org", ("*.example.com",), False),
    ],
)
def test_allowed_hosts_are_names_or_everything_under_a_name(
    host: str, allowed: tuple[str, ...] | None, expected: bool
) -> None:
    """`*.example.com` means the names under it, not the name itself."""
    assert host_allowed(host, allowed) is expected


def test_allowed_hosts_judge_unchanged_webhooks_and_token_endpoints() -> None:
    """A tightened policy must hold for everything declared, and for every host that is asked."""
    policy = Policy(allowed_hosts=("hooks.example.com",))
    unchanged = Case(desired(hook("a", auth=OAUTH), policy=policy), live_state(live_hook(hook("a", auth=OAUTH))))

    assert codes(unchanged) == ["host_not_allowed"]
    assert "login.example.org" in unchanged.plan().refusals[0].message


def test_allowed_hosts_of_live_and_desired_must_both_allow() -> None:
    """The intersection; a webhook that is deleted is not judged."""
    state = live_state(live_hook(hook("old")), policies={"": Policy(allowed_hosts=("a.example.com",))})
    policy = Policy(allowed_hosts=("b.example.com",))

    assert codes(Case(desired(hook("x", url="https://a.example.com/"), policy=policy), state)) == ["host_not_allowed"]
    assert codes(Case(desired(hook("x", url="https://b.example.com/"), policy=policy), state)) == ["host_not_allowed"]


def test_required_labels_of_live_and_desired_add_up() -> None:
    """The union; a label without a value is none."""
    state = live_state(policies={"": Policy(required_labels=("team",))})
    policy = Policy(required_labels=("tier",))

    assert codes(Case(desired(hook("x", {"labels": {"team": "a", "tier": "1"}}), policy=policy), state)) == []
    assert codes(Case(desired(hook("x", {"labels": {"tier": "1"}}), policy=policy), state)) == ["label_missing"]
    assert codes(Case(desired(hook("x", {"labels": {"team": "a", "tier": ""}}), policy=policy), state)) == [
        "label_missing"
    ]


def test_everything_that_refuses_is_said_at_once() -> None:
    """Nobody mends one refusal to meet the next."""
    state = live_state(*many(10), live_hook(hook("foreign"), owner="other"))
    case = Case(desired(hook("foreign"), policy=Policy(allowed_hosts=(), required_labels=("team",))), state)

    assert codes(case) == ["foreign_owner", "too_many_deletes", "host_not_allowed", "label_missing"]


def test_adoption_is_the_way_past_another_owners_claim_and_past_nothing_else() -> None:
    """It takes what is declared, by name or by rename; protection, limits and policy judge as ever."""
    state = live_state(
        live_hook(hook("a"), owner="platform", is_protected=True),
        live_hook(hook("b"), owner=NOBODY),
        *(live_hook(hook(f"mine-{number}"), owner="iam") for number in range(10)),
    )
    wanted = desired(
        hook("a"),
        hook("c", {"renamed_from": "b"}),
        owner="iam",
        policy=Policy(allowed_hosts=(), required_labels=("x",)),
    )
    plan = Case(wanted, state, scope=Scope(adopts=True)).plan()

    assert codes(Case(wanted, state))[:2] == ["foreign_owner", "foreign_owner"]
    assert [refusal.code for refusal in plan.refusals] == ["too_many_deletes", "host_not_allowed", "label_missing"]
    assert plan.changes[0].is_protected_after
    assert plan.owned == 10


def test_keeping_is_no_deletion_and_no_way_around_an_empty_set() -> None:
    """What is released counts toward no limit, protected or not; a wrong PATH is still refused."""
    state = live_state(*many(20), live_hook(hook("held"), is_protected=True))

    assert codes(Case(desired(*keep(1)), state)) == ["protected", "too_many_deletes"]
    assert codes(Case(desired(*keep(1)), state, scope=Scope(keeps=True))) == []
    assert codes(Case(desired(), state, scope=Scope(keeps=True))) == ["empty_manifests"]


def test_a_target_is_judged_by_the_desired_policy_too() -> None:
    """It is not applied, but a policy that the same commit tightens is not passed by naming a target."""
    case = Case(
        desired(hook("a", status="inactive"), policy=Policy(allowed_hosts=("other.example.com",))),
        live_state(live_hook(hook("a"))),
        scope=Scope(targets=("a",)),
    )

    assert codes(case) == ["host_not_allowed"]
    assert not case.plan().has_policy_change


@given(st.integers(0, 30), st.integers(0, 30), st.booleans(), st.booleans())
def test_property_11_what_is_allowed_or_kept_never_adds_a_refusal(
    owned: int, kept: int, adopts: bool, keeps: bool
) -> None:
    """Every flag only opens: with it there is no refusal that was not there without it."""
    state = live_state(*many(owned), live_hook(hook("theirs"), owner="other"))
    wanted = desired(*keep(min(kept, owned)), hook("theirs"))

    without = codes(Case(wanted, state))
    with_flags = codes(Case(wanted, state, scope=Scope(adopts=adopts, keeps=keeps), allow=Allowances(empty=True)))

    assert set(with_flags) <= set(without)
