"""A plan as people read it, in the form that users of Terraform know.

Called by `plan`, `apply` and `show`; changes nothing and decides nothing. Names and values come from outside: every
control and bidi character is spelt out before it reaches a terminal.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, assert_never

import click

from reconciler import jsontext
from reconciler.cli import view
from reconciler.models.revision import Revision
from reconciler.models.webhook import Metadata, Policy, Spec, Trigger, Webhook, WebhookName
from reconciler.plan.change import Action, Change
from reconciler.plan.diff import ABSENT, BODY_PATH, Path, attributes, value_at
from reconciler.plan.plan import Plan
from reconciler.plan.redact import MASK, shown

COLOURS: Final = {"+": "green", "~": "yellow", "-": "red", ".": "red"}
LEGEND: Final = {"+": "create", "~": "update in-place", "-": "destroy", ".": "forget"}
ALWAYS_SHOWN: Final = frozenset({("spec", key) for key in ("status", "method", "url", "triggers")})
CONTEXT_LINES: Final = 3  # unchanged lines around a changed one of a body template


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `mark` is `+`, `~`, `-` or empty and stands `indent` columns in, two before the text."""

    text: str
    indent: int = 0
    mark: str = ""
    is_bold: bool = False

    @property
    def plain(self) -> str:
        """Without colour."""
        return f"{' ' * self.indent}{self.mark}{' ' if self.mark else ''}{self.text}".rstrip(" ")

    @property
    def styled(self) -> str:
        """With colour, which the output takes away again where it does not belong."""
        mark = f"{click.style(self.mark, fg=COLOURS[self.mark])} " if self.mark else ""
        text = click.style(self.text, bold=True) if self.is_bold else self.text
        return f"{' ' * self.indent}{mark}{text}".rstrip(" ")


def out_plan(plan: Plan, *, err: bool = False) -> None:
    """The whole plan, on stdout unless it is not the command's result."""
    view.say("\n".join(line.styled for line in plan_lines(plan)), err=err)


def plan_lines(plan: Plan) -> Iterator[Line]:
    """New secrets first, since they are what a reviewer must not miss; then every change; then the numbers."""
    yield from _secret_lines(plan)
    changed = [change for change in plan.changes if change.action is not Action.NO_OP]
    if changed:
        yield from _legend_lines(changed)
    for change in changed:
        yield from _change_lines(change)
        yield Line("")
    if plan.has_policy_change:
        yield from _policy_lines(plan)
        yield Line("")
    yield Line(summary_text(plan), is_bold=plan.has_changes)


def summary_text(plan: Plan) -> str:
    """`Plan: 2 to add, 1 to change, 0 to destroy.`, or that there is nothing to do."""
    if not plan.has_changes:
        return "No changes. The live webhooks are what the manifests say."
    summary = plan.summary
    rename = f", {summary.rename} to rename" if summary.rename else ""
    return f"Plan: {summary.add} to add, {summary.change} to change, {summary.destroy} to destroy{rename}."


def applied_text(revision: Revision) -> str:
    """The last line of an apply."""
    renamed = f", {revision.renamed} renamed" if revision.renamed else ""
    return (
        f"Apply complete! Resources: {revision.created} added, {revision.updated} changed, "
        f"{revision.deleted} destroyed{renamed}. Revision {revision.number}."
    )


def _secret_lines(plan: Plan) -> Iterator[Line]:
    if not plan.new_secrets:
        return
    yield Line("Secrets that a host will receive for the first time:", is_bold=True)
    for item in plan.new_secrets:
        used_by = ", ".join(view.visible(address) for address in item.addresses)
        yield Line(f"{view.visible(item.secret)} -> {view.visible(item.host)}  ({used_by})", indent=2, mark="+")
    yield Line("")


def _legend_lines(changed: Sequence[Change]) -> Iterator[Line]:
    marks = {_mark(change) for change in changed}
    yield Line("Actions are indicated with the following symbols:")
    yield from (Line(meaning, indent=2, mark=mark) for mark, meaning in LEGEND.items() if mark in marks)
    yield Line("")
    yield Line("reconciler will perform the following actions:")
    yield Line("")


def _mark(change: Change) -> str:
    match change.action:
        case Action.CREATE:
            return "+"
        case Action.DELETE:
            return "-"
        case Action.FORGET:
            return "."
        case Action.UPDATE | Action.RENAME | Action.ADOPT | Action.NO_OP:
            return "~"
        case _ as never:
            assert_never(never)


def _change_lines(change: Change) -> Iterator[Line]:
    yield Line(f"# {view.visible(change.address)} will be {_fate(change)}", indent=2, is_bold=True)
    yield from (Line(f"# {note}", indent=2) for note in _notes(change))
    mark = _mark(change)
    yield Line(f'webhook "{view.visible(change.name)}" {{', indent=2, mark=mark)
    yield from _attribute_lines(change)
    yield Line("}", indent=4)


def _fate(change: Change) -> str:
    match change.action:
        case Action.CREATE:
            return "created"
        case Action.UPDATE:
            return "updated in-place"
        case Action.RENAME:
            return "renamed and updated in-place" if change.is_edit else "renamed"
        case Action.ADOPT:
            return "adopted"
        case Action.DELETE:
            return "destroyed"
        case Action.FORGET:
            return "released"
        case Action.NO_OP:
            return "left as it is"
        case _ as never:
            assert_never(never)


def _notes(change: Change) -> Iterator[str]:
    if change.previous_address is not None:
        yield f"(moved from {view.visible(change.previous_address)})"
    if change.action is Action.DELETE:
        yield f"(because {view.visible(change.address)} is not in the manifests)"
    if change.cancels:
        yield f"cancels {change.cancels} pending deliver{'y' if change.cancels == 1 else 'ies'}"
    if change.after is not None and change.is_protected_after and change.after.metadata.protect is None:
        yield "stays protected until `protect: false` is applied"


def _attribute_lines(change: Change) -> Iterator[Line]:
    """What the block holds: the fields of a change, or what is worth knowing of a webhook that comes or goes."""
    if change.fields:
        assert change.before is not None
        sides = [(field.path, field.before, field.after) for field in change.fields]
        touched = [path for path, _, _ in sides]
        rest = [path for path, _ in attributes(change.before.webhook.document()) if not _is_in(path, touched)]
        hidden, kind = len(rest), "unchanged"
    else:
        webhook = change.after or (change.before.webhook if change.before else None)
        assert webhook is not None
        document, defaults = webhook.document(), _defaults(webhook)
        everything = [(path, value) for path, value in attributes(document) if path != ("metadata", "name")]
        told = [item for item in everything if item[0] in ALWAYS_SHOWN or value_at(defaults, item[0]) != item[1]]
        sides = [(path, value, ABSENT) if change.after is None else (path, ABSENT, value) for path, value in told]
        hidden, kind = len(everything) - len(told), "default"
    width = max((len(_spelt(path)) for path, *_ in sides), default=0)
    for path, before, after in sides:
        yield from _field_lines(path, shown(path, before), shown(path, after), width)
    if hidden:
        yield Line(f"# ({hidden} {kind} attribute{'s' if hidden != 1 else ''} hidden)", indent=8)


def _is_in(path: Path, touched: Iterable[Path]) -> bool:
    return any(path[: len(other)] == other for other in touched)


@cache
def _defaults_at(url: str) -> Mapping[str, Any]:
    """The document of a webhook that says no more than it must; some defaults follow from the host."""
    spec = Spec(url=url, triggers=(Trigger.REQUEST_CREATED,))
    return Webhook(metadata=Metadata(name=WebhookName("name")), spec=spec).document()


def _defaults(webhook: Webhook) -> Mapping[str, Any]:
    return _defaults_at(f"https://{webhook.host}/")


def _field_lines(path: Path, before: Any, after: Any, width: int) -> Iterator[Line]:
    mark = "+" if before is ABSENT else "-" if after is ABSENT else "~"
    name = f"{_spelt(path):<{width}}"
    # 1. a body template, line by line; 2. a list on both sides, item by item; 3. anything else, on one line
    if path == BODY_PATH:
        yield from _body_lines(_spelt(path), mark, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield Line(f"{name} = [", indent=6, mark=mark)
        yield from _diff_lines([_text(item) for item in before], [_text(item) for item in after], 0, "element")
        yield Line("]", indent=8)
    elif mark == "~":
        yield Line(f"{name} = {_text(before)} -> {_text(after)}", indent=6, mark=mark)
    else:
        value, end = (after, "") if mark == "+" else (before, " -> null")
        yield Line(f"{name} = {_text(value)}{end}", indent=6, mark=mark)


def _body_lines(name: str, mark: str, before: Any, after: Any) -> Iterator[Line]:
    yield Line(f"{name} = <<-EOT", indent=6, mark=mark)
    old, new = _body_text(before), _body_text(after)
    if mark == "~":
        if old == new:
            yield Line("# (the same text, as a mapping on one side and as text on the other)", indent=12)
        yield from _diff_lines(_split(old, new), _split(new, old), CONTEXT_LINES, "line")
    else:
        yield from (Line(_item(text), indent=12) for text in _split(new or old, new or old))
    yield Line("EOT", indent=8)


def _body_text(body: Any) -> str:
    """A mapping body as JSON in its author's order, which is the order that is sent."""
    if body is ABSENT:
        return ""
    return body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _split(text: str, other: str) -> list[str]:
    """Lines by \\n alone. Where only one of two texts ends with a line's end, the other's last line says so."""
    if text.endswith("\n"):
        return text[:-1].split("\n")
    lines = text.split("\n")
    if other.endswith("\n"):
        lines[-1] += "  # (no line end)"
    return lines


def _diff_lines(old: list[str], new: list[str], context: int, unit: str) -> Iterator[Line]:
    """Removed and added items in place; unchanged ones further than `context` from a change are counted."""
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    operations = matcher.get_opcodes()
    for number, (operation, old_start, old_end, new_start, new_end) in enumerate(operations):
        if operation != "equal":
            yield from (Line(_item(text), indent=10, mark="-") for text in old[old_start:old_end])
            yield from (Line(_item(text), indent=10, mark="+") for text in new[new_start:new_end])
            continue
        head = context if number > 0 else 0
        tail = context if number < len(operations) - 1 else 0
        hidden = old_end - old_start - head - tail
        if hidden <= 1 and context:  # a note that hides one line is no shorter than the line
            head, tail, hidden = old_end - old_start, 0, 0
        yield from (Line(_item(text), indent=12) for text in old[old_start : old_start + head])
        if hidden > 0:
            yield Line(f"# ({hidden} unchanged {unit}{'s' if hidden != 1 else ''} hidden)", indent=12)
        yield from (Line(_item(text), indent=12) for text in old[old_end - tail : old_end] if tail)


def _item(text: str) -> str:
    return "\t".join(view.visible(part) for part in text.split("\t"))  # a tab is no harm, and templates have them


def _policy_lines(plan: Plan) -> Iterator[Line]:
    owner = f' of owner "{view.visible(plan.owner)}"' if plan.owner else ""
    yield Line(f"# the policy{owner} will be updated in-place", indent=2, is_bold=True)
    yield Line("# (the stricter of both judges this plan; the new one alone judges the next)", indent=2)
    yield Line("policy {", indent=2, mark="~")
    before, after = _policy_json(plan.policy_before), _policy_json(plan.policy_after)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if old != new:
            yield from _field_lines((key,), old, new, len(key))
    yield Line("}", indent=4)


def _policy_json(policy: Policy) -> dict[str, Any]:
    return {key: value for key, value in policy.model_dump(mode="json").items() if value not in (None, [])}


def _spelt(path: Path) -> str:
    """`spec.headers.x-api-client-token`; a key that would read as a path stands in quotes."""
    return ".".join(_key(key) for key in path)


def _key(key: str) -> str:
    is_plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if is_plain else view.visible(jsontext.quote(key))


def _text(value: Any) -> str:
    """A value on one line, as JSON; what is masked stands without quotes."""
    return MASK if value == MASK else view.visible(json.dumps(value, ensure_ascii=False))
