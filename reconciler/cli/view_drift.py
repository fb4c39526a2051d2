"""Drift as people read it: beside a plan, and as the result of `drift`.

Called by `view_plan`, `view_markdown` and `drift`; changes nothing and decides nothing. Each field is shown from what
was applied to what is live.
"""

from collections.abc import Iterator
from typing import Final

from reconciler.cli import view
from reconciler.cli.view_field import NORMAL, PlanView
from reconciler.cli.view_line import Line
from reconciler.cli.view_plan import Telling, block_lines, fate, notes, policy_change_lines
from reconciler.models.revision import Revision
from reconciler.plan.drift import Cause, Drift, Drifted

OUTSIDE: Final = Telling("has been", "")
TITLE: Final = "Note: Objects have changed outside of these manifests"


def drift_lines(drift: Drift, how: PlanView = NORMAL) -> Iterator[Line]:
    """The section of a plan: a note, every webhook that drifted, the policy."""
    yield Line(TITLE, is_bold=True)
    yield Line("")
    yield Line(f"{since_text(drift)}, the following was changed by other means; `->` leads to what is live now.")
    yield Line("")
    for drifted in drift.webhooks:
        yield from drifted_lines(drifted, how)
        yield Line("")
    if drift.has_policy_drift:
        owner = f' of owner "{view.visible(drift.owner)}"' if drift.owner else ""
        yield Line(f"# the policy{owner} has been updated in-place", indent=2, is_bold=True)
        yield from policy_change_lines(drift.policy_before, drift.policy_after, how)
        yield Line("")


def drifted_lines(drifted: Drifted, how: PlanView) -> Iterator[Line]:
    """One webhook: what happened to it, by whom, and its block."""
    change = drifted.change
    yield Line(f"# {view.visible(change.address)} {drifted_fate(drifted)}", indent=2, is_bold=True)
    yield Line(f"# ({drifted_by(drifted)})", indent=2)
    yield from (Line(f"# {note}", indent=2) for note in notes(change, None, OUTSIDE))
    yield from block_lines(change, how)


def drifted_fate(drifted: Drifted) -> str:
    """What happened, after the address."""
    return "was edited in the database" if drifted.cause is Cause.EDITED else f"has been {fate(drifted.change)}"


def drifted_by(drifted: Drifted) -> str:
    """Who did it, as far as it is known."""
    if drifted.cause is Cause.EDITED:
        return "its stored document is not the one that was applied: it fails its digest"
    return f"by {revision_text(drifted.revision)}" if drifted.revision is not None else "by a later revision"


def revision_text(revision: Revision) -> str:
    """`revision 3, a rollback to revision 1, by ann`."""
    kind = f", a rollback to revision {revision.restores}" if revision.restores is not None else ""
    owner = f" for owner `{view.visible(revision.owner)}`" if revision.owner else ""
    return f"revision {revision.number}{kind}, by {view.visible(revision.applied_by)}{owner}"


def since_text(drift: Drift) -> str:
    """Since when things drift."""
    if drift.base_revision is None:
        return "Though these manifests were never applied"
    which = "their last apply" if drift.is_current else "the last apply"
    return f"Since {which}, revision {drift.base_revision}"


def drift_summary(drift: Drift) -> str:
    """The last line of `drift`: how many drifted, or that nothing did."""
    if not drift:
        if drift.base_revision is None:
            return "No drift: these manifests were never applied."
        same = f"No drift. What is live is what revision {drift.base_revision} left"
        return f"{same}." if drift.is_current else f"{same}; the manifests have changed since, see `reconciler plan`."
    count = len(drift.webhooks)
    webhooks = f"{count} webhook{'' if count == 1 else 's'}"
    parts = [webhooks] * bool(count) + ["the policy"] * drift.has_policy_drift
    return f"Drift: {' and '.join(parts)}, live revision {drift.live_revision}."
