"""Laws of the past, on a real store: the way back is exact, drift is what differs, and states compare soundly."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from history_folder import hook
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.apply import Provenance, apply_plan, new_id, read_live
from reconciler.history import read_drift
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import Policy, Project, ProjectSpec, Webhook
from reconciler.plan.change import Allowances
from reconciler.plan.compare import changes_between
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Desired, Plan, make_plan
from reconciler.plan.rollback import make_rollback
from reconciler.store.base import Store
from reconciler.store.open import open_store

T = TypeVar("T")

# What an owner's manifests may say of a webhook, beside its name: so few that equal ones come up often.
VARIANTS: tuple[Mapping[str, Any], ...] = (
    {},
    {"method": "PUT"},
    {"status": "inactive", "headers": {"x-a": "${secret:a}"}},
    {"body_template": {"b": "{{data.id}}", "a": 1}},
)
NAMES = {"": ("a", "b", "c"), "sec": ("x", "y", "z")}
BY = Provenance("ann", 1_700_000_000_000, None)


def webhook(name: str, variant: int, protect: bool | None, renamed_from: str | None) -> Webhook:
    """One of the webhooks that manifests may declare."""
    origin = {"renamed_from": renamed_from} if renamed_from not in (None, name) else {}
    said = hook(name, {"protect": protect, **origin}, **{"url": "https://hooks.example.com/", **VARIANTS[variant]})
    return Webhook.model_validate({"metadata": said["metadata"], "spec": said["spec"]}, strict=False)


@st.composite
def manifest_sets(draw: st.DrawFn) -> Desired:
    """One owner's manifests: some of three names, renames among them, a policy."""
    owner = draw(st.sampled_from(["", "", "sec"]))
    names = draw(st.lists(st.sampled_from(NAMES[owner]), unique=True, min_size=1))
    origins = draw(st.permutations(NAMES[owner]))
    webhooks = [
        webhook(
            name,
            draw(st.integers(0, len(VARIANTS) - 1)),
            draw(st.sampled_from([None, None, False])),
            origin if draw(st.booleans()) else None,
        )
        for name, origin in zip(names, origins, strict=False)
    ]
    policy = Policy(max_delete_percent=draw(st.sampled_from([None, 100])))
    project = Project(spec=ProjectSpec(owner=owner, policy=policy))
    digest = repr(sorted((item.name, item.canonical(), item.metadata.renamed_from) for item in webhooks)) + repr(policy)
    return Desired(tuple(webhooks), project, digest)


histories = st.lists(manifest_sets(), min_size=1, max_size=5)


@contextmanager
def store_of(history: list[Desired]) -> Iterator[tuple[Callable[[Awaitable[T]], T], Store, list[Desired]]]:
    """A store to which these were applied, and what each of its revisions came from."""
    with TemporaryDirectory() as folder, asyncio.Runner() as runner:

        async def fill() -> tuple[Store, list[Desired]]:
            store = open_store(f"sqlite:///{Path(folder) / 'store.db'}", create=True)
            assert store is not None
            await store.__aenter__()
            applied = [desired for desired in history if await publish(store, await planned(store, desired))]
            return store, applied

        store, applied = runner.run(fill())
        try:
            yield runner.run, store, applied  # type: ignore[misc]
        finally:
            runner.run(store.__aexit__())


async def planned(store: Store, desired: Desired) -> Plan:
    """A plan that nothing but ownership refuses."""
    live, unfinished = await read_live(store)
    plan = make_plan(desired, live, unfinished=unfinished)
    return guarded(plan, Allowances(deletes=plan.summary.destroy))


async def publish(store: Store, plan: Plan) -> bool:
    """Whether a revision was made."""
    return await apply_plan(store, plan, plan_id=new_id(), by=BY) is not None


def of_owner(state: LiveState, owner: str) -> dict[str, tuple[str, bytes, bool]]:
    """What an owner has: uid, document and protection by name."""
    return {
        item.webhook.name: (item.uid, item.webhook.canonical(), item.is_protected)
        for item in state.webhooks
        if item.owner == owner
    }


@settings(max_examples=25, deadline=None)
@given(histories, st.data())
def test_property_14_a_rollback_restores_one_owner_exactly_and_no_other(
    history: list[Desired], data: st.DataObject
) -> None:
    """Uids, documents and protection of then; the others' webhooks are not even written again. Property 14: planning
    the manifests of that revision is empty."""
    with store_of(history) as (run, store, applied):
        number = data.draw(st.integers(1, len(applied)))
        owner = applied[number - 1].project.spec.owner
        target, before = run(store.live_state(number)), run(store.live_state())

        plan = make_rollback(target, before, owner=owner, unfinished={})
        run(publish(store, guarded(plan, Allowances(deletes=plan.summary.destroy))))

        after = run(store.live_state())
        assert of_owner(after, owner) == of_owner(target, owner)
        assert after.policies.get(owner, Policy()) == target.policies.get(owner, Policy())
        assert [item for item in after.webhooks if item.owner != owner] == [
            item for item in before.webhooks if item.owner != owner
        ]
        assert not run(planned(store, applied[number - 1])).has_changes
        assert not make_rollback(target, after, owner=owner, unfinished={}).has_changes


@settings(max_examples=25, deadline=None)
@given(histories, st.data())
def test_drift_is_what_differs_from_what_the_manifests_left(history: list[Desired], data: st.DataObject) -> None:
    """For the manifests of any revision: nothing if and only if their owner's webhooks are what they were after the
    last revision that came from them."""
    with store_of(history) as (run, store, applied):
        number = data.draw(st.integers(1, len(applied)))
        desired = applied[number - 1]
        owner = desired.project.spec.owner
        same = [
            index
            for index, item in enumerate(applied, 1)
            if item.digest == desired.digest and item.project.spec.owner == owner
        ]
        live, left = run(store.live_state()), run(store.live_state(same[-1]))

        drift = run(read_drift(store, desired, live))

        assert (drift.base_revision, drift.is_current) == (same[-1], True)
        now, then = of_owner(live, owner), of_owner(left, owner)
        policies = [state.policies.get(owner, Policy()) for state in (left, live)]
        assert bool(drift) == (now != then or policies[0] != policies[1])
        uids = {uid for side in (now, then) for name, (uid, *_) in side.items() if now.get(name) != then.get(name)}
        found = {(item.change.before or _named(live, item.change.name)).uid for item in drift.webhooks}
        assert found == uids
        assert all(item.revision is not None and item.revision.number > same[-1] for item in drift.webhooks)


@settings(max_examples=25, deadline=None)
@given(histories, st.data())
def test_states_compare_soundly(history: list[Desired], data: st.DataObject) -> None:
    """A state with itself: nothing. Two states: what makes the one of the other, and backwards the reverse."""
    with store_of(history) as (run, store, applied):
        numbers = st.integers(0, len(applied))
        one, other = (run(store.live_state(data.draw(numbers))) for _ in range(2))

        forth = changes_between(one.webhooks, other.webhooks)
        back = changes_between(other.webhooks, one.webhooks)

        assert changes_between(one.webhooks, one.webhooks) == ()
        made = {item.webhook.name: item.webhook.canonical() for item in one.webhooks}
        for change in forth:
            if change.before is not None:
                made.pop(change.before.webhook.name, None)
        made |= {change.name: change.after.canonical() for change in forth if change.after is not None}
        assert made == {item.webhook.name: item.webhook.canonical() for item in other.webhooks}
        assert {change.before.uid if change.before else None for change in back} == {
            _named(other, change.name).uid if change.after is not None else None for change in forth
        }


def _named(state: LiveState, name: str) -> LiveWebhook:
    return next(item for item in state.webhooks if item.webhook.name == name)
