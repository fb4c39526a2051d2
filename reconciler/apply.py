"""A plan into the store, all or nothing; and the file in which a plan waits for its apply.

Called by the command line (and by whatever else applies). Decides nothing about webhooks: what changes is the plan's
business, that nothing moved meanwhile the store's.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import RefusedError, StalePlanError
from reconciler.models.audit import UNKNOWN, Warrant
from reconciler.models.revision import ChangeSet, Hold, LiveState, LiveWebhook, Revision
from reconciler.models.webhook import WebhookUid
from reconciler.plan.change import Action, Change
from reconciler.plan.plan import Plan

if TYPE_CHECKING:
    from reconciler.plan.saved import SavedPlan
    from reconciler.store.base import RevisionStore

REPLAN_HINT = "run `reconciler plan` again and review what it says now"
REBASES_MAX = 50  # each one was lost to an apply that won


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who applies, when (milliseconds since the epoch) and which commit the manifests came from. A rollback may say
    why, and hold the owner's applies from then on. `warrant` is what the audit log says of it."""

    applied_by: str
    applied_at: int
    commit: str | None
    reason: str = ""
    hold: Hold | None = None
    warrant: Warrant = UNKNOWN


async def read_live(store: RevisionStore | None) -> tuple[LiveState, Mapping[WebhookUid, int]]:
    """What a plan compares with: the live state and each webhook's unfinished deliveries. None: no store yet."""
    if store is None:
        return LiveState(lineage="", revision=0, commit=None, webhooks=()), {}
    return await store.live_state(), await store.unfinished()


async def apply_plan(
    store: RevisionStore, plan: Plan, *, plan_id: str, by: Provenance, new_uid: Callable[[], str] | None = None
) -> Revision | None:
    """Publish the plan as a new revision; None, and nothing written, where it changes nothing.

    Raises RefusedError for a refused plan and StalePlanError, with the store as it was, if the store is not at the
    plan's base any more or the plan was applied before.
    """
    if plan.refusals:
        raise RefusedError(plan.refusals[0].message, hint=plan.refusals[0].hint)
    if not plan.has_changes:
        await _check_base(store, plan)
        return None
    made = change_set(plan, plan_id=plan_id, by=by, new_uid=new_uid or new_id)
    return await store.publish(made, warrant=by.warrant)


async def apply_rebased(
    store: RevisionStore, plan: Plan, *, plan_id: str, by: Provenance
) -> tuple[Plan, Revision | None]:
    """Publish the plan, on the live revision if the store has moved on without touching what the plan touches; returns
    it as it was published.

    A rebased plan that a guard refuses is returned with its refusals and not published. Raises RefusedError for a plan
    that was refused before and StalePlanError, with the store as it was, if the plan was used or is not disjoint.
    """
    from reconciler.plan.rebase import rebased

    for _ in range(REBASES_MAX):
        try:
            return plan, await apply_plan(store, plan, plan_id=plan_id, by=by)
        except StalePlanError as exc:
            if exc.is_used:
                raise
            plan = rebased(plan, *await read_live(store))
        if plan.refusals:
            return plan, None
    raise StalePlanError(
        f"the store moved on {REBASES_MAX} times while the plan was rebased; nothing was changed",
        base_revision=plan.base_revision,
        live_revision=plan.base_revision,
        hint="try again when fewer apply at once",
    )


def change_set(plan: Plan, *, plan_id: str, by: Provenance, new_uid: Callable[[], str]) -> ChangeSet:
    """What the store must write; created webhooks get their uid here."""
    from reconciler.plan.schema import history_json

    summary = plan.summary
    return ChangeSet(
        lineage=plan.lineage,
        base_revision=plan.base_revision,
        plan_id=plan_id,
        applied_at=by.applied_at,
        applied_by=by.applied_by,
        commit=by.commit,
        owner=plan.owner,
        upserts=tuple(_upserts(plan, new_uid)),
        deletes=tuple(
            change.before.uid for change in plan.changes if change.action is Action.DELETE and change.before is not None
        ),
        policy=plan.policy_after if plan.has_policy_change else None,
        created=summary.add,
        updated=summary.change,
        renamed=summary.rename,
        deleted=summary.destroy,
        released=tuple(
            change.before.uid for change in plan.changes if change.action is Action.FORGET and change.before is not None
        ),
        adopted=summary.adopt,
        forgotten=summary.forget,
        changes=history_json(plan),
        manifest_digest=plan.manifest_digest or None,
        restores=plan.restores,
        reason=by.reason,
        hold=by.hold,
    )


def new_id() -> str:
    """A UUID as 32 hex digits."""
    return uuid.uuid4().hex


def write_plan(path: Path, saved: SavedPlan) -> None:
    """Write the plan's file whole or not at all, readable by its owner only; of a link, what it leads to is replaced,
    and a pipe or a device is written to. Raises OSError."""
    from reconciler.plan.saved import dump_plan

    raw = dump_plan(saved)
    if path.exists() and not path.is_file():
        path.write_bytes(raw)  # put in its place, a file would be what everybody on this machine takes for /dev/null
    else:
        _put_in_place(path, Path(os.path.realpath(path)), raw)


def read_plan(path: Path) -> SavedPlan:
    """The plan of a file. Raises PlanFileError and OSError."""
    from reconciler.plan.saved import load_plan

    return load_plan(path.read_bytes())


def _put_in_place(path: Path, target: Path, raw: bytes) -> None:
    import tempfile

    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    except OSError as exc:
        exc.filename = str(path)  # the one that a person has named
        raise
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _upserts(plan: Plan, new_uid: Callable[[], str]) -> list[LiveWebhook]:
    return [
        LiveWebhook(
            uid=_uid(change, new_uid),
            owner=plan.owner,
            webhook=change.after,
            digest=change.after.digest(),
            is_protected=change.is_protected_after,
            revision=0,
        )
        for change in plan.changes
        if change.after is not None and change.action is not Action.NO_OP
    ]


def _uid(change: Change, new_uid: Callable[[], str]) -> WebhookUid:
    known = change.before or change.revives
    return known.uid if known is not None else WebhookUid(new_uid())


async def _check_base(store: RevisionStore, plan: Plan) -> None:
    live = await store.live_state()
    if plan.lineage not in ("", live.lineage) or live.revision != plan.base_revision:
        raise StalePlanError(
            f"the plan was made from revision {plan.base_revision}, the store is at revision {live.revision}",
            base_revision=plan.base_revision,
            live_revision=live.revision,
            hint=REPLAN_HINT,
        )
