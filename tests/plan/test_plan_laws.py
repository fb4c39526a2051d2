"""Laws of planning, whatever the webhooks are."""

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from plan_samples import NOTHING, OWN, desired, hook, live_hook, live_state

from reconciler.apply import Provenance, change_set
from reconciler.cli.view_plan import plan_lines
from reconciler.errors import StalePlanError
from reconciler.models.revision import NOBODY, ChangeSet, LiveState
from reconciler.models.webhook import Policy, Webhook, WebhookUid
from reconciler.plan.change import Action
from reconciler.plan.diff import ABSENT, BODY_PATH, FieldChange, field_changes
from reconciler.plan.guard import judge
from reconciler.plan.plan import Plan, Scope, make_plan
from reconciler.plan.rebase import rebased
from reconciler.plan.saved import SavedPlan, dump_plan, load_plan
from reconciler.plan.schema import plan_json

KEYS = st.sampled_from(["a", "b", "x-team", "__private", "a.b", "quote\"d'", "root['x']", "é"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), TEXTS)
BODIES = st.one_of(
    st.none(),
    TEXTS,
    st.dictionaries(
        KEYS, st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(KEYS, SCALARS, max_size=2))
    ),
)
SPECS = st.fixed_dictionaries(
    {"url": st.sampled_from(["https://a.example.com/1", "https://b.example.com/2", "https://x.workflows.okta.com/f"])},
    optional={
        "status": st.sampled_from(["active", "inactive"]),
        "headers": st.dictionaries(
            KEYS, st.one_of(TEXTS, st.sampled_from(["${secret:one}", "${secret:two}"])), max_size=3
        ),
        "triggers": st.lists(st.sampled_from(["RequestCreated", "RequestFailed", "Manual"]), min_size=1, unique=True),
        "filters": st.fixed_dictionaries(
            {},
            optional={
                "resource": st.lists(st.sampled_from(["*", "db-*"]), max_size=2),
                "custom_fields": st.dictionaries(KEYS, st.just(["x"])),
            },
        ),
        "body_template": BODIES,
        "query": st.dictionaries(KEYS, TEXTS, max_size=2),
        "retry": st.fixed_dictionaries({}, optional={"max_attempts": st.integers(1, 3), "jitter": st.floats(0, 1)}),
        "rate_limit": st.one_of(st.just("unlimited"), st.fixed_dictionaries({"per_second": st.floats(1, 9)})),
        "response_validators": st.lists(
            st.fixed_dictionaries({"json_path": st.just("$.a"), "expected_values": st.lists(SCALARS, min_size=1)}),
            max_size=2,
        ),
        "when": st.just("true"),
    },
)
NAMES = ("a", "b", "c", "d")
BY = Provenance(applied_by="me", applied_at=0, commit=None)


@st.composite
def webhook_sets(draw: Callable[[Any], Any], *, with_renames: bool = False) -> tuple[Webhook, ...]:
    """Some webhooks with names of a small stock; with renames, each old name is claimed once at most."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    olds = draw(st.permutations(NAMES)) if with_renames else NAMES
    webhooks = []
    for name, old in zip(names, olds, strict=False):
        metadata = {"renamed_from": old} if with_renames and old != name and draw(st.booleans()) else {}
        if draw(st.booleans()):
            metadata["protect"] = draw(st.booleans())
        webhooks.append(hook(name, metadata, **draw(SPECS)))
    return tuple(webhooks)


@st.composite
def live_states(draw: Callable[[Any], Any]) -> LiveState:
    """Webhooks of the default owner and of another one."""
    webhooks = draw(webhook_sets())
    return live_state(*(live_hook(webhook) for webhook in webhooks), live_hook(hook("foreign"), owner="other"))


def published(state: LiveState, changes: ChangeSet) -> LiveState:
    """What the store's publish makes of a state."""
    gone = {*changes.deletes, *(item.uid for item in changes.upserts)}
    kept = [
        replace(item, owner=NOBODY) if item.uid in changes.released else item
        for item in state.webhooks
        if item.uid not in gone
    ]
    policies = state.policies if changes.policy is None else {**state.policies, changes.owner: changes.policy}
    names = [item.webhook.name for item in (*kept, *changes.upserts)]
    assert len(names) == len(set(names))
    return live_state(*kept, *changes.upserts, policies=policies, revision=state.revision + 1)


def applied(plan: Plan, state: LiveState) -> LiveState:
    """The state after the plan was applied."""
    return published(state, change_set(plan, plan_id="p", by=BY, new_uid=uids("new")))


def uids(prefix: str) -> Callable[[], str]:
    """New ones, in order."""
    numbers = itertools.count()
    return lambda: f"{prefix}-{next(numbers)}"


def plan_for(webhooks: tuple[Webhook, ...], state: LiveState, scope: Scope = OWN) -> Plan:
    """The plan of the default owner."""
    return make_plan(desired(*webhooks), state, unfinished={}, scope=scope)


def owned(state: LiveState) -> dict[str, bytes]:
    """The default owner's webhooks as canonical bytes."""
    return {item.webhook.name: item.webhook.canonical() for item in state.webhooks if item.owner == ""}


@given(webhook_sets())
def test_planning_what_is_live_is_empty(webhooks: tuple[Webhook, ...]) -> None:
    """plan(x, x) changes nothing."""
    plan = plan_for(webhooks, live_state(*map(live_hook, webhooks)))

    assert not plan.has_changes
    assert [change.action for change in plan.changes] == [Action.NO_OP] * len(webhooks)


@given(webhook_sets(with_renames=True), live_states())
def test_property_02_applying_a_plan_makes_live_what_is_desired(
    webhooks: tuple[Webhook, ...], state: LiveState
) -> None:
    """apply(plan(d, l), l) == d for what is owned; what is not owned stays byte for byte."""
    after = applied(plan_for(webhooks, state), state)

    assert owned(after) == {webhook.name: webhook.canonical() for webhook in webhooks}
    assert [item for item in after.webhooks if item.owner == "other"] == [
        item for item in state.webhooks if item.owner == "other"
    ]


@given(webhook_sets(with_renames=True), live_states())
def test_property_01_planning_again_after_apply_is_empty(webhooks: tuple[Webhook, ...], state: LiveState) -> None:
    """A second apply has nothing to do, also where `renamed_from` stays in the manifests."""
    after = applied(plan_for(webhooks, state), state)

    assert not plan_for(webhooks, after).has_changes


@st.composite
def shared_states(draw: Callable[[Any], Any]) -> LiveState:
    """Webhooks of the default owner, of another one and of nobody, under names that manifests may say too."""
    owners = st.sampled_from(["", "other", NOBODY])
    return live_state(*(live_hook(webhook, owner=draw(owners)) for webhook in draw(webhook_sets())))


@given(webhook_sets(with_renames=True), shared_states())
def test_adopting_makes_everything_declared_ones_own(webhooks: tuple[Webhook, ...], state: LiveState) -> None:
    """The declared are owned as they are declared, with their uids; nobody else loses anything; again is empty."""
    scope = Scope(adopts=True)
    plan = plan_for(webhooks, state, scope)
    after = applied(plan, state)

    assert owned(after) == {webhook.name: webhook.canonical() for webhook in webhooks}
    continued = {change.before.uid for change in plan.changes if change.before is not None}
    assert all(item in after.webhooks for item in state.webhooks if item.owner != "" and item.uid not in continued)
    assert not plan_for(webhooks, after, scope).has_changes
    assert not [refusal for refusal in judge(plan) if refusal.code == "foreign_owner"]


@given(webhook_sets(with_renames=True), shared_states())
def test_keeping_deletes_nothing_and_changes_no_webhook_it_releases(
    webhooks: tuple[Webhook, ...], state: LiveState
) -> None:
    """Every uid lives on; what was released is the same but for its owner; again is empty."""
    scope = Scope(adopts=True, keeps=True)
    plan = plan_for(webhooks, state, scope)
    after = applied(plan, state)

    now = {item.uid: item for item in after.webhooks}
    released = [change.before for change in plan.changes if change.action is Action.FORGET and change.before]
    assert {item.uid for item in state.webhooks} <= now.keys()
    assert all(now[item.uid] == replace(item, owner=NOBODY) for item in released)
    assert owned(after) == {webhook.name: webhook.canonical() for webhook in webhooks}
    assert not plan_for(webhooks, after, scope).has_changes


@given(webhook_sets(with_renames=True), webhook_sets(), shared_states())
def test_a_disjoint_change_of_others_does_not_alter_what_a_rebased_plan_does(
    webhooks: tuple[Webhook, ...], others: tuple[Webhook, ...], state: LiveState
) -> None:
    """Where a plan may be rebased, applying it after what others applied is as if they had come second; where it may
    not, the store has changed under it."""
    plan = replace(plan_for(webhooks, state, Scope(adopts=True)), refusals=())
    theirs = make_plan(desired(*others, owner="other"), state, unfinished={})
    meanwhile = published(state, change_set(theirs, plan_id="q", by=BY, new_uid=uids("other")))
    try:
        moved = rebased(plan, meanwhile, {})
    except StalePlanError as exc:
        assert exc.live_revision == meanwhile.revision
        assert touched(plan) & (touched(theirs) | {change.name for change in theirs.changes})
        return

    mine_last = applied(moved, meanwhile)
    mine_first = applied(plan, state)
    assert moved.base_revision == meanwhile.revision
    names = touched(plan)
    assert [item for item in mine_last.webhooks if item.webhook.name in names] == [
        item for item in mine_first.webhooks if item.webhook.name in names
    ]
    assert {item.uid for item in meanwhile.webhooks} - {item.uid for item in mine_last.webhooks} == {
        change.before.uid for change in plan.changes if change.action is Action.DELETE and change.before
    }


def touched(plan: Plan) -> set[str]:
    """Every name that a plan takes or leaves."""
    changes = [change for change in plan.changes if change.action is not Action.NO_OP]
    return {change.name for change in changes} | {change.before.webhook.name for change in changes if change.before}


@given(webhook_sets(with_renames=True), live_states(), st.randoms(use_true_random=False))
def test_property_05_the_order_of_manifests_does_not_matter(
    webhooks: tuple[Webhook, ...], state: LiveState, shuffle: random.Random
) -> None:
    """The same bytes in every format, whatever order webhooks and live rows come in."""
    shuffled, rows = list(webhooks), list(state.webhooks)
    shuffle.shuffle(shuffled)
    shuffle.shuffle(rows)
    state_shuffled = LiveState(state.lineage, state.revision, state.commit, tuple(rows), state.policies)

    first, second = plan_for(webhooks, state), plan_for(tuple(shuffled), state_shuffled)

    assert json.dumps(plan_json(first)) == json.dumps(plan_json(second))
    assert list(plan_lines(first)) == list(plan_lines(second))
    assert dump_plan(SavedPlan(first, "p", 0, "", None)) == dump_plan(SavedPlan(second, "p", 0, "", None))


@given(webhook_sets(with_renames=True), live_states())
def test_uids_are_never_lost_shared_or_moved_to_another_owner(webhooks: tuple[Webhook, ...], state: LiveState) -> None:
    """Each uid of the old state is deleted, or lives on under one name; the plan says which."""
    plan = plan_for(webhooks, state)
    after = applied(plan, state)

    uids = [item.uid for item in after.webhooks]
    deleted = {change.before.uid for change in plan.changes if change.action is Action.DELETE and change.before}
    assert len(uids) == len(set(uids))
    assert {item.uid for item in state.webhooks} - set(uids) == deleted
    names_after = {item.uid: item.webhook.address for item in after.webhooks}
    for change in plan.changes:
        if change.action in (Action.UPDATE, Action.RENAME, Action.NO_OP) and change.before is not None:
            assert names_after[change.before.uid] == change.address


@given(SPECS, SPECS)
def test_property_06_fields_are_the_whole_difference(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Applying the fields to `before` gives `after`, canonical byte for canonical byte; none is idle."""
    before, after = hook("a", **first), hook("b", **second)

    fields = field_changes(before.document(), after.document())

    assert patched(before.document(), fields) == after.canonical()
    assert list(fields) == sorted(fields, key=lambda field: field.path)
    assert len({field.path for field in fields}) == len(fields)


def patched(document: dict[str, Any], fields: tuple[FieldChange, ...]) -> bytes:
    """The document with the fields put in, as canonical bytes."""
    for field in fields:
        place = document
        for key in field.path[:-1]:
            place = place.setdefault(key, {})
        if field.after is ABSENT:
            del place[field.path[-1]]
        else:
            place[field.path[-1]] = field.after
    return Webhook.model_validate(
        {"metadata": document["metadata"], "spec": document["spec"]}, strict=False
    ).canonical()


@given(webhook_sets(with_renames=True), live_states())
def test_a_saved_plan_is_the_plan(webhooks: tuple[Webhook, ...], state: LiveState) -> None:
    """What is loaded writes and shows the same as what was saved."""
    plan = plan_for(webhooks, state)

    loaded = load_plan(dump_plan(SavedPlan(plan, "p", 7, "0.1", "c0ffee")))

    assert loaded == SavedPlan(loaded.plan, "p", 7, "0.1", "c0ffee")
    assert owned(applied(loaded.plan, state)) == owned(applied(plan, state))
    assert list(plan_lines(loaded.plan)) == list(plan_lines(plan))


@given(st.integers(0, 30), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 100)))
def test_property_11_more_deletes_never_turn_a_refusal_into_a_pass(
    owned_count: int, kept: int, percent: int | None
) -> None:
    """Guards are monotone; the limit is exact to the webhook."""
    state = live_state(
        *(live_hook(hook(f"h{number}")) for number in range(owned_count)),
        policies={"": Policy(max_delete_percent=percent)},
    )

    def is_refused(count: int) -> bool:
        wanted = desired(*(hook(f"h{number}") for number in range(count)), policy=Policy(max_delete_percent=percent))
        refusals = judge(make_plan(wanted, state, unfinished={}))
        return any(refusal.code == "too_many_deletes" for refusal in refusals)

    kept = min(kept, owned_count)
    assert is_refused(kept) <= is_refused(max(kept - 1, 0))
    deletes = owned_count - kept
    limit = percent if percent is not None else (30 if owned_count >= 10 else 100)
    assert is_refused(kept) == (deletes * 100 > limit * owned_count)


@given(st.permutations(NAMES), st.integers(1, 4))
def test_property_10_names_move_in_chains_and_cycles_with_their_uids(order: tuple[str, ...], count: int) -> None:
    """Any renaming of distinct webhooks, swaps and longer cycles included, keeps every uid."""
    live = [hook(name, url=f"https://hooks.example.com/of-{name}") for name in NAMES[:count]]
    moves = dict(zip(NAMES[:count], order[:count], strict=True))
    wanted = tuple(
        hook(new, {"renamed_from": old} if old != new else {}, url=f"https://hooks.example.com/of-{old}")
        for old, new in moves.items()
    )
    state = live_state(*map(live_hook, live))

    plan = plan_for(wanted, state)
    after = applied(plan, state)

    assert {item.uid: item.webhook.name for item in after.webhooks} == {f"uid-{old}": new for old, new in moves.items()}
    assert plan.summary.change == plan.summary.add == plan.summary.destroy == 0
    assert not plan_for(wanted, after).has_changes


@given(webhook_sets(), live_states(), st.sampled_from(["a", "b", "[cd]", "?"]))
@settings(max_examples=50)
def test_a_target_touches_only_what_it_names(webhooks: tuple[Webhook, ...], state: LiveState, target: str) -> None:
    """Every other webhook stays as it is, declared or not, and so does the policy."""
    wanted = desired(*webhooks, policy=Policy(required_labels=("team",)))

    plan = make_plan(wanted, state, unfinished={WebhookUid("uid-a"): 1}, scope=Scope(targets=(target,)))
    after = applied(plan, state)

    changed = {change.name for change in plan.changes}
    untouched = [item for item in state.webhooks if item.webhook.name not in changed]
    assert changed <= {"a": {"a"}, "b": {"b"}, "[cd]": {"c", "d"}, "?": set(NAMES)}[target]
    assert all(item in after.webhooks for item in untouched)
    assert after.policies == state.policies


def test_a_first_plan_creates_everything() -> None:
    """Where no store is, every webhook is new and the plan remembers that there was none."""
    plan = plan_for((hook("b"), hook("a")), NOTHING)

    assert plan.lineage == ""
    assert [(change.address, change.action) for change in plan.changes] == [
        ("webhook.a", Action.CREATE),
        ("webhook.b", Action.CREATE),
    ]
    assert BODY_PATH not in [field.path for change in plan.changes for field in change.fields]
