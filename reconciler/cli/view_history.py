"""What people see of the past: one revision, and the differences between two.

Called by `show` and `diff`; changes nothing and decides nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reconciler.cli import view
from reconciler.cli.view_field import NORMAL, PlanView
from reconciler.cli.view_line import Line
from reconciler.cli.view_plan import DONE, change_lines, policy_change_lines
from reconciler.models.delivery import iso_time
from reconciler.models.revision import Revision
from reconciler.models.webhook import Policy
from reconciler.plan.change import Action, Change

Policies = Mapping[str, tuple[Policy, Policy]]  # by owner, before and after


def revision_lines(revision: Revision) -> Iterator[Line]:
    """Who applied it, when, from where and why."""
    yield Line(f"revision {revision.number}", is_bold=True)
    facts = {
        "applied at": iso_time(revision.applied_at) or "",
        "applied by": revision.applied_by,
        "commit": revision.commit or "",
        "owner": revision.owner,
        "rollback to": "" if revision.restores is None else f"revision {revision.restores}",
        "reason": revision.reason,
        "manifests": revision.manifest_digest or "",
    }
    told = {name: value for name, value in facts.items() if value}
    width = max(map(len, told))
    yield from (Line(f"{name:<{width}}  {view.visible(value)}", indent=2) for name, value in told.items())
    yield Line("")


def history_lines(changes: Iterable[Change], policies: Policies, how: PlanView = NORMAL) -> Iterator[Line]:
    """Every change as a plan shows it, but in the past."""
    for change in changes:
        yield from change_lines(change, None, how, DONE)
        yield Line("")
    for owner, (before, after) in policies.items():
        whose = f' of owner "{view.visible(owner)}"' if owner else ""
        yield Line(f"# the policy{whose} was updated in-place", indent=2, is_bold=True)
        yield from policy_change_lines(before, after, how)
        yield Line("")


def differences_text(changes: Sequence[Change], policies: Policies, between: str) -> str:
    """The last line: how many of each, or that there is none."""
    if not changes and not policies:
        return f"No differences between {between}."
    return f"Differences between {between}: {counts_text(changes, policies)}."


def counts_text(changes: Sequence[Change], policies: Policies) -> str:
    """`2 added, 1 changed, 0 destroyed`, and what else there is."""
    actions = [change.action for change in changes]
    extra = {
        "renamed": actions.count(Action.RENAME),
        "adopted": sum(change.is_adopted and not change.is_released for change in changes),
        "released": sum(change.is_released for change in changes),
    }
    words = [f"{actions.count(Action.CREATE)} added", f"{sum(change.is_edit for change in changes)} changed"]
    words += [
        f"{actions.count(Action.DELETE)} destroyed",
        *(f"{count} {word}" for word, count in extra.items() if count),
    ]
    words += ["the policy changed"] * bool(policies)
    return ", ".join(words)
