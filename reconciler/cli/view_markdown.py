"""A plan as a comment under a pull request: never over a size, always whole Markdown, whatever names and bodies say.

Called by `plan` and `show`. The first line is a hidden marker by which a pipeline finds its comment again and updates
it in place; the numbers stand outside of anything folded. Text of others stands in fences and code only, where GitHub
and GitLab read no Markdown, no HTML and no mention.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from reconciler import VERSION
from reconciler.cli import view
from reconciler.cli.view_drift import TITLE, drifted_fate, drifted_lines, since_text
from reconciler.cli.view_field import NORMAL, PlanView
from reconciler.cli.view_impact import counts_text, example_lines, impact_title
from reconciler.cli.view_line import Line, disarmed
from reconciler.cli.view_plan import (
    change_lines,
    fate,
    likely_renames,
    mark_of,
    policy_change_lines,
    policy_lines,
    summary_text,
    telling_of,
)
from reconciler.plan.change import Action, Change
from reconciler.plan.drift import Drift
from reconciler.plan.impact import Impact
from reconciler.plan.plan import Plan
from reconciler.plan.schema import plan_digest

DEFAULT_MAX_BYTES: Final = 65_000  # GitHub takes comments of 65,536 characters
MIN_MAX_BYTES: Final = 2_000  # the counts with marker and footer always fit into this
DEFAULT_MARKER: Final = "default"  # of the owner without a name
WHOLE_CHARS: Final = 1_000_000  # of a refusal, which may list every webhook
LONG_CHARS: Final = 2_000
SHORT_CHARS: Final = 300
OWNER_CHARS: Final = 40  # in the footer; the marker tells owners apart
SAID_MAX: Final = 20  # more refusals or warnings are counted, whatever the room
SENDERS_MAX: Final = 5  # so many webhooks are named as senders of a new secret; the plan names them all
FULL_PLAN_HINT: Final = "The plan is too long to be shown whole here; `reconciler show --plan FILE` shows all of it."

_MARKER: Final = re.compile(r"[0-9A-Za-z_.]([0-9A-Za-z_.]|-(?!-)){0,99}")  # `--` would end the HTML comment
_BACKTICKS: Final = re.compile("`{3,}")
_TAG: Final = re.compile(r"<(?=/?(?:details|summary)\b|!--)|(?<=--)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Level:
    """How much is said: `how` of each webhook (None: no blocks), or a table, or names; else only counts. Of a refusal
    or a warning `said_max` characters (0: how many there are); a pair of secret and host each, or how many."""

    how: PlanView | None = None
    has_unchanged: bool = False
    has_table: bool = False
    has_names: bool = False
    said_max: int = 0
    has_secrets: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every field is shown."""
        return self.how is not None and not self.how.clips


def plan_markdown(
    plan: Plan, how: PlanView = NORMAL, *, marker: str | None = None, max_bytes: int = DEFAULT_MAX_BYTES
) -> str:
    """The comment, at most `max_bytes` of UTF-8 (no fewer than MIN_MAX_BYTES), with as much detail as fits.

    What goes first is what stays as it is, then the ends of long values, then the fields, then the table, then names.
    """
    levels = _levels(how)
    for level in levels[:-1]:
        text = _fitted(_parts(plan, level, marker), max_bytes)
        if text is not None:
            return text
    return "".join(_parts(plan, levels[-1], marker))


def marker_of(plan: Plan, marker: str | None) -> str:
    """The hidden first line: `marker`, else the owner; a hash of what HTML comments cannot hold."""
    text = marker or plan.owner or DEFAULT_MARKER
    if not _MARKER.fullmatch(text):
        text = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"<!-- reconciler:plan:{text} -->"


def _levels(how: PlanView) -> tuple[Level, ...]:
    hidden = replace(how, context=0, shows_unchanged=False, counts_hidden=False)
    return (
        Level(how, has_unchanged=True, said_max=WHOLE_CHARS, has_secrets=True),
        Level(hidden, said_max=WHOLE_CHARS, has_secrets=True),
        Level(replace(hidden, clips=True), said_max=LONG_CHARS, has_secrets=True),
        Level(has_table=True, said_max=LONG_CHARS, has_secrets=True),
        Level(has_names=True, said_max=SHORT_CHARS),
        Level(),
    )


def _fitted(parts: Iterable[str], max_bytes: int) -> str | None:
    """The parts together, or None as soon as they are too long."""
    kept: list[str] = []
    size = 0
    for part in parts:
        size += len(part.encode("utf-8", "replace"))
        if size > max_bytes:
            return None
        kept.append(part)
    return "".join(kept)


def _parts(plan: Plan, level: Level, marker: str | None) -> Iterator[str]:
    changed = [change for change in plan.changes if change.action is not Action.NO_OP]
    yield f"{marker_of(plan, marker)}\n### {summary_text(plan)}\n\n"
    yield from _verdict_parts(plan, level)
    yield from _secret_parts(plan, level)
    if plan.drift:
        yield from _drift_parts(plan.drift, level)
    # 1. a block for each webhook, 2. a table, 3. names
    if level.how is not None:
        yield from _block_parts(plan, changed, level.how)
    elif level.has_table:
        yield from _table_parts(changed)
    elif level.has_names:
        yield from _name_parts(changed)
    if level.how is None and plan.has_policy_change:
        yield "The policy will be updated.\n\n"
    if plan.impact is not None:
        yield from _impact_parts(plan.impact, level)
    if level.has_unchanged and len(changed) < len(plan.changes):
        yield from _unchanged_parts(plan.changes)
    if changed and not level.is_whole:
        yield f"{FULL_PLAN_HINT}\n\n"
    yield _footer(plan)


def _verdict_parts(plan: Plan, level: Level) -> Iterator[str]:
    """What refuses the plan, and warnings; where they do not fit, how many of each kind."""
    said = (
        ("Refused: the plan must not be applied", [(item.code, item.message, item.hint) for item in plan.refusals]),
        ("Warnings", [(item.code, f"{item.path}: {item.message}", item.hint) for item in plan.warnings]),
    )
    for title, items in said:
        if not items:
            continue
        if level.said_max and len(items) <= SAID_MAX:
            yield f"**{title}.**\n\n"
            yield _fence("text", (line for item in items for line in _said_lines(*item, level.said_max)))
        else:
            counts = Counter(code for code, *_ in items)
            yield f"**{title}:** {', '.join(f'{code} ({count})' for code, count in sorted(counts.items()))}\n\n"


def _said_lines(code: str, message: str, hint: str, max_chars: int) -> Iterator[str]:
    shown = view.visible(message)
    yield disarmed(f"{code}: {shown if len(shown) <= max_chars else f'{shown[:max_chars]}…'}")
    if hint:
        yield f"  hint: {view.visible(hint)[:max_chars]}"


def _secret_parts(plan: Plan, level: Level) -> Iterator[str]:
    if not plan.new_secrets:
        return
    if not level.has_secrets:
        yield f"**Secrets that a host will receive for the first time:** {len(plan.new_secrets)}\n\n"
        return
    yield "**Secrets that a host will receive for the first time**\n\n| Secret | Host | Webhooks |\n|---|---|---|\n"
    for item in plan.new_secrets:
        listed = ", ".join(map(_code, item.addresses[:SENDERS_MAX]))
        more = f" and {len(item.addresses) - SENDERS_MAX} more" if len(item.addresses) > SENDERS_MAX else ""
        yield f"| {_code(item.secret)} | {_code(item.host)} | {listed}{more} |\n"
    yield "\n"


def _drift_parts(drift: Drift, level: Level) -> Iterator[str]:
    """What was changed by other means: a block for each webhook, or names, or how many."""
    yield f"**{TITLE.removeprefix('Note: ')}.** {since_text(drift)}:\n\n"
    if level.how is not None:
        for drifted in drift.webhooks:
            summary = f"{_code(drifted.change.address)} {drifted_fate(drifted)}"
            yield _details(summary, list(drifted_lines(drifted, level.how)))
        if drift.has_policy_drift:
            lines = policy_change_lines(drift.policy_before, drift.policy_after, level.how)
            yield _details("the policy has been updated in-place", list(lines))
        return
    if level.has_table or level.has_names:
        yield "".join(f"- {_code(item.change.address)} {drifted_fate(item)}\n" for item in drift.webhooks)
    else:
        yield f"- {len(drift.webhooks)} webhooks\n"
    yield "- the policy\n\n" if drift.has_policy_drift else "\n"


def _block_parts(plan: Plan, changed: Iterable[Change], how: PlanView) -> Iterator[str]:
    likely = likely_renames(plan)
    for change in changed:
        lines = change_lines(change, likely.get(change.name), how, telling_of(plan))
        yield _details(f"{_code(change.address)} will be {fate(change)}{_cancels(change)}", lines)
    if plan.has_policy_change:
        yield _details("the policy will be updated in-place", policy_lines(plan, how))


def _impact_parts(impact: Impact, level: Level) -> Iterator[str]:
    """Each webhook with its example, or its counts, or how many are affected."""
    felt = [item for item in impact.webhooks if item.is_felt]
    yield f"**{impact_title(impact)}:** {len(felt)} of {len(impact.webhooks)} changed webhooks affected\n\n"
    if level.how is not None:
        for item in impact.webhooks:
            summary = f"{_code(item.address)} {counts_text(item)}"
            lines = list(example_lines(item.example, level.how))
            yield _details(summary, lines) if lines else f"- {summary}\n\n"
    elif level.has_table:
        yield "".join(f"- {_code(item.address)} {counts_text(item)}\n" for item in felt)
        yield "\n" if felt else ""


def _details(summary: str, lines: Iterable[Line]) -> str:
    fence = _fence("diff", (line.diff for line in lines))
    return f"<details><summary>{summary}</summary>\n\n{fence}</details>\n\n"


def _cancels(change: Change) -> str:
    return f", cancels {change.cancels} pending" if change.cancels else ""


def _table_parts(changed: Iterable[Change]) -> Iterator[str]:
    yield "| | Webhook | will be |\n|:-:|---|---|\n"
    for change in changed:
        old = f" (was {_code(change.previous_address)})" if change.previous_address else ""
        yield f"| {_code(mark_of(change))} | {_code(change.address)} | {fate(change)}{old}{_cancels(change)} |\n"
    yield "\n"


def _name_parts(changed: Iterable[Change]) -> Iterator[str]:
    by_fate: dict[str, list[str]] = {}
    for change in changed:
        by_fate.setdefault(fate(change), []).append(change.name)
    for words, names in sorted(by_fate.items()):
        yield f"**{words} ({len(names)}):**"
        yield from (f"{',' if index else ''} `{name}`" for index, name in enumerate(names))
        yield "\n\n"


def _unchanged_parts(changes: Iterable[Change]) -> Iterator[str]:
    names = [f"`{change.name}`" for change in changes if change.action is Action.NO_OP]
    yield f"<details><summary>{len(names)} unchanged</summary>\n\n{', '.join(names)}\n\n</details>\n\n"


def _footer(plan: Plan) -> str:
    owner = "" if not plan.owner else f"owner {_code(plan.owner[:OWNER_CHARS])} · "
    where = f"revision {plan.base_revision}" if plan.lineage else "no store yet"
    return f"<sub>plan <code>{plan_digest(plan)}</code> · {owner}made from {where} · reconciler {VERSION}</sub>\n"


def _fence(language: str, lines: Iterable[str]) -> str:
    """Lines in a fence that none of them can close; tags that could unbalance the comment are spelt out as well, for
    readers that look for them inside of code."""
    inside = "".join(f"{_TAG.sub(_spelt, _BACKTICKS.sub(_spelt, line))}\n" for line in lines)
    return f"```{language}\n{inside}```\n\n"


def _spelt(match: re.Match[str]) -> str:
    return "".join(f"\\x{ord(character):02x}" for character in match[0])


def _code(text: str) -> str:
    """Text in a code span that nothing in it can end or change: what is no letter or digit stands as an entity."""
    shown = view.visible(text)
    if re.fullmatch(r"[0-9A-Za-z._+~-]+", shown):
        return f"<code>{shown}</code>"
    entities = "".join(item if item.isalnum() or item in " .-" else f"&#{ord(item)};" for item in shown)
    return f"<code>{entities}</code>"
