"""A plan as people read it on a terminal, in the form that users of Terraform know.

Called by `plan`, `apply` and `show`; changes nothing and decides nothing. Names and values come from outside: every
control and bidi character is spelt out before it reaches a terminal.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final, assert_never

from reconciler.cli import view
from reconciler.cli.view_field import NORMAL, PlanView, Side, side_lines
from reconciler.cli.view_line import Line
from reconciler.fork import processors
from reconciler.models.revision import NOBODY, Revision
from reconciler.models.webhook import Policy, Webhook, WebhookName, host_of
from reconciler.plan.change import NAME_PATH, Action, Change, Suggestion, Summary
from reconciler.plan.diff import ABSENT, Path, attributes, default_attributes, is_told
from reconciler.plan.guard import owner_text
from reconciler.plan.plan import Plan

LEGEND: Final = {"+": "create", "~": "update in-place", "-": "destroy", ".": "forget"}


@dataclass(frozen=True, slots=True)
class Telling:
    """How changes are told: `verb` stands before their fate, `why_gone` after the address of what goes; of what goes
    while another webhook takes its name, one of `retaken`, `why_gone` would be untrue and `why_retaken` is said."""

    verb: str = "will be"
    why_gone: str = "is not in the manifests"
    retaken: frozenset[WebhookName] = frozenset()
    why_retaken: str = ""


SHARE_MIN_CHANGES: Final = 500  # some 60 ms of work, many times what a fork costs
USERS_SHOWN: Final = 3  # webhooks named beside a new secret; the JSON has all

PLANNED: Final = Telling()
DONE: Final = Telling("was", "")


def out_plan(plan: Plan, how: PlanView = NORMAL, *, err: bool = False) -> None:
    """The whole plan, on stdout unless it is not the command's result; a long one by several processes."""
    changes = _listed(plan, how)
    count = min(processors(), len(changes) // SHARE_MIN_CHANGES) or 1
    places = [len(changes) * share // count for share in range(count + 1)]
    shares = [partial(_change_blocks, plan, changes[start:stop], how) for start, stop in pairwise(places)]
    view.say_lines(_opening_lines(plan, how), err=err)
    view.say_lines_shared(shares, err=err)
    view.say_lines(_closing_lines(plan, how), err=err)


def plan_lines(plan: Plan, how: PlanView = NORMAL) -> Iterator[Line]:
    """New secrets first, since they are what a reviewer must not miss; then every change; then the impact; then the
    numbers."""
    yield from _opening_lines(plan, how)
    yield from _change_blocks(plan, _listed(plan, how), how)
    yield from _closing_lines(plan, how)


def _listed(plan: Plan, how: PlanView) -> Sequence[Change]:
    if how.shows_unchanged:
        return plan.changes
    return [change for change in plan.changes if change.action is not Action.NO_OP]


def _opening_lines(plan: Plan, how: PlanView) -> Iterator[Line]:
    yield from secret_lines(plan)
    if plan.drift:
        from reconciler.cli.view_drift import drift_lines

        yield from drift_lines(plan.drift, how)
    changed = [change for change in plan.changes if change.action is not Action.NO_OP]
    if changed:
        yield from _legend_lines(changed)


def _change_blocks(plan: Plan, changes: Sequence[Change], how: PlanView) -> Iterator[Line]:
    likely, telling = likely_renames(plan), telling_of(plan)
    for change in changes:
        yield from change_lines(change, likely.get(change.name), how, telling)
        yield Line("")


def _closing_lines(plan: Plan, how: PlanView) -> Iterator[Line]:
    if plan.has_policy_change:
        yield from policy_lines(plan, how)
        yield Line("")
    if plan.impact is not None:
        from reconciler.cli.view_impact import impact_lines

        yield from impact_lines(plan.impact, how)
    yield Line(summary_text(plan), is_bold=plan.has_changes)


def summary_text(plan: Plan) -> str:
    """`Plan: 2 to add, 1 to change, 0 to destroy.`, or that there is nothing to do."""
    if not plan.has_changes and plan.refusals:  # what is refused is not as it should be
        return "No changes. The plan is refused."
    if not plan.has_changes:
        same = "what the manifests say" if plan.restores is None else f"those of revision {plan.restores}"
        return f"No changes. The live webhooks are {same}."
    summary = plan.summary
    extra = _counted((summary.rename, "to rename"), (summary.adopt, "to adopt"), (summary.forget, "to forget"))
    return f"Plan: {summary.add} to add, {summary.change} to change, {summary.destroy} to destroy{extra}."


def applied_text(revision: Revision, summary: Summary) -> str:
    """The last line of an apply."""
    extra = _counted((summary.rename, "renamed"), (summary.adopt, "adopted"), (summary.forget, "forgotten"))
    return (
        f"Apply complete! Resources: {summary.add} added, {summary.change} changed, "
        f"{summary.destroy} destroyed{extra}. Revision {revision.number}."
    )


def _counted(*counts: tuple[int, str]) -> str:
    """What is worth a word only when there is some."""
    return "".join(f", {count} {word}" for count, word in counts if count)


def telling_of(plan: Plan) -> Telling:
    """How a plan's changes are told: what goes in a rollback was not there then."""
    if plan.restores is None:
        return PLANNED
    return Telling(
        why_gone=f"was not live at revision {plan.restores}",
        retaken=frozenset(change.name for change in plan.changes if change.after is not None),
        why_retaken=f"was another webhook at revision {plan.restores}",
    )


def likely_renames(plan: Plan) -> Mapping[WebhookName, Suggestion]:
    """By the name of the webhook that is created."""
    return {item.new: item for item in plan.suggestions}


def secret_lines(plan: Plan) -> Iterator[Line]:
    """Every pair of secret and host that is new."""
    if not plan.new_secrets:
        return
    yield Line("Secrets that a host will receive for the first time:", is_bold=True)
    for item in plan.new_secrets:
        used_by = ", ".join(view.visible(address) for address in item.addresses[:USERS_SHOWN])
        used_by += f" and {len(item.addresses) - USERS_SHOWN} more" if len(item.addresses) > USERS_SHOWN else ""
        yield Line(f"{view.visible(item.secret)} -> {view.visible(item.host)}  ({used_by})", indent=2, mark="+")
    yield Line("")


def _legend_lines(changed: Sequence[Change]) -> Iterator[Line]:
    marks = {mark_of(change) for change in changed}
    yield Line("Actions are indicated with the following symbols:")
    yield from (Line(meaning, indent=2, mark=mark) for mark, meaning in LEGEND.items() if mark in marks)
    yield Line("")
    yield Line("reconciler will perform the following actions:")
    yield Line("")


def mark_of(change: Change) -> str:
    """The symbol of a change; nothing for what stays."""
    match change.action:
        case Action.CREATE:
            return "+"
        case Action.DELETE:
            return "-"
        case Action.FORGET:
            return "."
        case Action.UPDATE | Action.RENAME | Action.ADOPT:
            return "~"
        case Action.NO_OP:
            return ""
        case _ as never:
            assert_never(never)


def fate(change: Change) -> str:
    """What happens to a webhook, after `will be`."""
    match change.action:
        case Action.CREATE:
            return "created"
        case Action.DELETE:
            return "destroyed"
        case Action.FORGET:
            return "released, not destroyed"
        case Action.NO_OP:
            return "left as it is"
        case Action.UPDATE | Action.RENAME | Action.ADOPT:
            words = {
                "renamed": change.action is Action.RENAME,
                "adopted": change.is_adopted and not change.is_released,
                "released": change.is_released,
                "updated in-place": change.is_edit,
            }
            *first, last = (word for word, is_said in words.items() if is_said)
            return f"{', '.join(first)} and {last}" if first else last
        case _ as never:
            assert_never(never)


def change_lines(change: Change, likely: Suggestion | None, how: PlanView, telling: Telling = PLANNED) -> list[Line]:
    """One webhook: its fate, what goes with it, and its block."""
    return [
        Line(f"# {view.visible(change.address)} {telling.verb} {fate(change)}", indent=2, is_bold=True),
        *(Line(f"# {note}", indent=2) for note in notes(change, likely, telling)),
        *block_lines(change, how),
    ]


def block_lines(change: Change, how: PlanView) -> list[Line]:
    """`webhook "NAME" { … }`."""
    mark = mark_of(change)
    opening = Line(f'webhook "{view.visible(change.name)}" {{', indent=2 if mark else 4, mark=mark)
    return [opening, *_inner_lines(change, how), Line("}", indent=4)]


def notes(change: Change, likely: Suggestion | None, telling: Telling = PLANNED) -> Iterator[str]:
    """What a reviewer must know of a change beside its fields."""
    if change.previous_address is not None:
        yield f"(moved from {view.visible(change.previous_address)})"
    if change.is_adopted and change.before is not None:
        yield f"(belonged to {view.visible(owner_text(change.before.owner))} until now)"
    if change.action in (Action.DELETE, Action.FORGET) and telling.why_gone:
        why = telling.why_retaken if change.name in telling.retaken else telling.why_gone
        yield f"(because {view.visible(change.address)} {why})"
    if change.cancels:
        yield f"cancels {change.cancels} pending deliver{'y' if change.cancels == 1 else 'ies'}"
    if change.after is not None and change.was_protected and change.after.protect is None:
        yield "stays protected until `protect: false` is applied"
    if likely is not None and change.action is Action.CREATE:
        yield (
            f"(looks like webhook.{likely.old} -> webhook.{likely.new} ({likely.percent} % same): "
            f"add `renamed_from: {likely.old}` to keep its uid, history and pending deliveries)"
        )


def _inner_lines(change: Change, how: PlanView) -> list[Line]:
    """What the block holds: the fields of a change, or what is worth knowing of a webhook that comes or goes."""
    owners = list(_owner_sides(change))
    if change.action is Action.FORGET:
        return side_lines(owners, how)
    if change.before is not None and change.after is not None:
        sides, hidden, kind = *_changed_sides(change, change.before.webhook, how), "unchanged"
    else:
        sides, hidden, kind = *_whole_sides(change, how), "default"
    lines = side_lines([*owners, *sides], how)
    if hidden and how.counts_hidden:
        lines.append(Line(f"# ({hidden} {kind} attribute{'s' if hidden != 1 else ''} hidden)", indent=8))
    return lines


def _owner_sides(change: Change) -> Iterator[Side]:
    if change.before is not None and (change.is_adopted or change.action is Action.FORGET):
        yield Side(("owner",), change.before.owner, NOBODY if change.adopted_by is None else change.adopted_by)


def _changed_sides(change: Change, before: Webhook, how: PlanView) -> tuple[list[Side], int]:
    """The fields that differ, and how many do not; with `shows_unchanged` these among them."""
    touched = [field.path for field in change.fields]
    rest = [item for item in attributes(before.document()) if not _is_in(item[0], touched)]
    sides = [Side(field.path, field.before, field.after) for field in change.fields]
    if not how.shows_unchanged:
        return sides, len(rest)
    sides += [Side(path, value, value) for path, value in rest]
    return sorted(sides, key=lambda side: side.path), 0


def _whole_sides(change: Change, how: PlanView) -> tuple[list[Side], int]:
    """What a webhook says that comes or goes, and how many defaults are left out."""
    webhook = change.after or (change.before.webhook if change.before else None)
    assert webhook is not None
    document = webhook.document()
    everything = [item for item in attributes(document) if item[0] != NAME_PATH]
    defaults = default_attributes(host_of(document["spec"]["url"]))
    told = everything if how.shows_unchanged else [item for item in everything if is_told(*item, defaults)]
    is_gone = change.after is None
    sides = [Side(path, value if is_gone else ABSENT, ABSENT if is_gone else value) for path, value in told]
    return sides, len(everything) - len(told)


def _is_in(path: Path, touched: Iterable[Path]) -> bool:
    return any(path[: len(other)] == other for other in touched)


def policy_lines(plan: Plan, how: PlanView) -> Iterator[Line]:
    """The change of the owner's policy."""
    owner = f' of owner "{view.visible(plan.owner)}"' if plan.owner else ""
    yield Line(f"# the policy{owner} will be updated in-place", indent=2, is_bold=True)
    yield Line("# (the stricter of both judges this plan; the new one alone judges the next)", indent=2)
    yield from policy_change_lines(plan.policy_before, plan.policy_after, how)


def policy_change_lines(old: Policy, new: Policy, how: PlanView) -> Iterator[Line]:
    """`policy { … }`."""
    yield Line("policy {", indent=2, mark="~")
    before, after = _policy_json(old), _policy_json(new)
    keys = sorted(before.keys() | after.keys())
    sides = [Side((key,), before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    yield from side_lines([side for side in sides if side.before != side.after], how)
    yield Line("}", indent=4)


def _policy_json(policy: Policy) -> dict[str, Any]:
    return {key: value for key, value in policy.model_dump(mode="json").items() if value not in (None, [])}
