"""The properties of plan and apply together: any order of applies, stale plans, refusals, deliveries and rollbacks on a
real store, with what must be live kept beside it."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from property_set import OWNERS, ManifestSet, manifest_sets
from property_store import StoreRoom, by_uid, owned

from reconciler.errors import RefusedError, StalePlanError
from reconciler.models.delivery import State
from reconciler.models.revision import NOBODY, LiveState
from reconciler.plan.change import Action
from reconciler.plan.plan import Plan, Scope
from reconciler.plan.rollback import make_rollback

SCOPES = st.builds(Scope, adopts=st.booleans(), keeps=st.booleans())


@dataclass(frozen=True)
class Made:
    """A plan, what it was made from, and how many events there were then."""

    declared: ManifestSet
    scope: Scope
    plan: Plan
    events: int


class PlanAndApply(RuleBasedStateMachine):
    """`states` holds what each revision left, from 0; `pending` the uid of each delivery that nothing has ended."""

    plans = Bundle("plans")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.room = StoreRoom(Path(self._folder.name))
        self.states: list[LiveState] = [self.room.live()]
        self.pending: dict[str, str] = {}
        self.used = 0

    def teardown(self) -> None:
        self.room.close()
        self._folder.cleanup()

    # Plans wait in the bundle while others are applied

    @rule(target=plans, declared=manifest_sets(), scope=SCOPES, allows=st.booleans())
    def make_a_plan(self, declared: ManifestSet, scope: Scope, allows: bool) -> Made:
        """Looking changes nothing."""
        commits = self.room.commits()
        plan = self.room.plan(declared, scope, allows=allows)
        assert self.room.commits() == commits
        return Made(declared, scope, plan, self.room.events)

    @rule(made=consumes(plans))
    def apply_a_plan(self, made: Made) -> None:
        """Refused, stale, or exactly what was declared; then, and after a second time, there is nothing left to do."""
        declared, scope, plan = made.declared, made.scope, made.plan
        before = self.states[-1]
        if plan.refusals or plan.base_revision != before.revision:
            with pytest.raises(RefusedError if plan.refusals else StalePlanError):
                self.room.apply(plan)
            assert self.room.live() == before
            return
        documents = self.room.documents()

        revision = self.room.apply(plan, plan_id=f"plan-{self.used}")

        assert (revision is not None) == plan.has_changes
        self.after(plan, documents, events=made.events)
        assert owned(self.states[-1], declared.owner) == declared.canonical
        assert not self.room.plan(declared, scope).has_changes
        if revision is not None:
            with pytest.raises(StalePlanError) as caught:
                self.room.apply(plan, plan_id=f"plan-{self.used}")
            assert caught.value.is_used
            self.used += 1

    @precondition(lambda self: len(self.states) > 1)
    @rule(data=st.data(), owner=st.sampled_from(OWNERS))
    def roll_back(self, data: st.DataObject, owner: str) -> None:
        """The owner's webhooks are those of the revision, the others' are untouched."""
        target = data.draw(st.sampled_from(self.states))
        live, unfinished = self.states[-1], self.room.run(self.room.store.unfinished())
        plan = make_rollback(target, live, owner=owner, unfinished=unfinished)
        if plan.refusals:
            with pytest.raises(RefusedError):
                self.room.apply(plan)
            return
        documents = self.room.documents()

        self.room.apply(plan)

        self.after(plan, documents, events=self.room.events)
        assert owned(self.states[-1], owner) == owned(target, owner)
        uids = {item.uid for item in target.webhooks if item.owner == owner}
        assert uids == {item.uid for item in self.states[-1].webhooks if item.owner == owner}

    @rule(data=st.data())
    def take_an_event(self, data: st.DataObject) -> None:
        """A delivery to each of some active webhooks."""
        uids = sorted(item.uid for item in self.states[-1].webhooks if item.webhook.is_active)
        chosen = data.draw(st.lists(st.sampled_from(uids), unique=True)) if uids else []
        self.room.accept(*chosen)
        self.pending |= {f"{uid}:{self.room.events}": uid for uid in chosen}

    def after(self, plan: Plan, documents: dict[str, tuple[str, bytes, bool]], *, events: int) -> None:
        """What holds after every apply: whose is not the plan's is byte for byte what it was; deletes and inactivations
        have cancelled as many deliveries as the plan said, of the `events` that there were when it was made."""
        if plan.has_changes:
            self.states.append(self.room.live())
        now = self.room.documents()
        touched = {change.before.uid for change in plan.changes if change.before is not None}
        assert {uid: now.get(uid) for uid in documents.keys() - touched} == {
            uid: documents[uid] for uid in documents.keys() - touched
        }
        for change in plan.changes:
            if change.action is Action.FORGET and change.before is not None:
                assert now[change.before.uid] == (NOBODY, *documents[change.before.uid][1:])
        live = by_uid(self.states[-1])
        left = {
            delivery: uid
            for delivery, uid in self.pending.items()
            if uid in live and (live[uid].webhook.is_active or uid not in touched)
        }
        told = sum(change.cancels for change in plan.changes)
        ended = [delivery for delivery in self.pending if delivery not in left]
        assert told == sum(int(delivery.partition(":")[2]) <= events for delivery in ended)
        self.pending = left

    @invariant()
    def every_revision_is_what_it_was(self) -> None:
        """The live one and those before it."""
        assert self.room.live() == self.states[-1]
        number = len(self.states) // 2
        assert self.room.live(number).webhooks == self.states[number].webhooks

    @invariant()
    def deliveries_belong_to_live_webhooks(self) -> None:
        """Pending under the name that their webhook has now."""
        names: dict[str, Any] = {item.uid: item.webhook.name for item in self.states[-1].webhooks}
        pending = {
            item.id: item.webhook for item in self.room.run(self.room.store.deliveries()) if item.state is State.PENDING
        }
        assert pending == {delivery: names[uid] for delivery, uid in self.pending.items()}


PlanAndApply.TestCase.settings = settings(max_examples=25, stateful_step_count=20)


class TestPlanAndApply(PlanAndApply.TestCase):
    """Properties 1, 2, 4, 10 and 14 in any order."""
