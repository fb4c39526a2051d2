"""The Markdown of a plan: whole, within its size, and not to be broken out of, whatever webhooks say."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import click
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from plan_samples import CASES, Case, desired, hook, live_hook, live_state

from reconciler.cli.view import json_text
from reconciler.cli.view_field import CONCISE, FULL, NORMAL, PlanView
from reconciler.cli.view_markdown import DEFAULT_MAX_BYTES, FULL_PLAN_HINT, MIN_MAX_BYTES, marker_of, plan_markdown
from reconciler.cli.view_plan import plan_lines
from reconciler.models.webhook import Policy
from reconciler.plan.plan import Plan
from reconciler.plan.schema import plan_digest, plan_json

HOSTILE = (
    "```",
    "````\n</details>\n# pwned",
    "</summary></details><details>",
    "<!-- x --> <script>alert(1)</script>",
    "| a | b |\n|---|---|",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200b",
    "\n::error file=x::pwned",
    "::stop-commands::x\n##[error]x ##vso[task.setvariable variable=x]y",
    "@octocat @org/team #1 GH-1 https://evil.example.org",
    "[x](javascript:alert(1)) ![x](https://evil.example.org/x.png)",
    "~~~\n<details open>\n&lt;/details&gt;",
    "\\`\\|\\",
)
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8"), max_size=60),
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=8).map("\n".join),
    st.sampled_from(HOSTILE).map(lambda text: text * 400),
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "body_template": st.one_of(TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2)),
        "headers": st.dictionaries(TEXTS, TEXTS, max_size=2),
        "query": st.dictionaries(TEXTS, st.just("${secret:one}"), max_size=2),
        "status": st.sampled_from(["active", "inactive"]),
        "url": TEXTS.map(lambda text: f"https://a.example.com/{text}"),
    },
)
VIEWS = st.sampled_from([NORMAL, CONCISE, FULL])


def hostile_hook(name: str, said: Mapping[str, Any]) -> Any:
    """A webhook as a store may hold it; manifests would be refused."""
    title = next(iter(said.get("headers", {})), None)
    return hook(name, {"title": title, "labels": dict(said.get("headers", {}))}, **said)


@dataclass(frozen=True, repr=False)
class Made:
    """A plan that a failing example shows in few words."""

    plan: Plan

    def __repr__(self) -> str:
        return f"{self.plan!r:.4000}"


@st.composite
def plans(draw: Any) -> Made:
    """Creates, deletes and updates of hostile webhooks, of a hostile owner, with refusals and warnings that quote."""
    owner, hosts = draw(TEXTS)[:2000], tuple(draw(st.lists(TEXTS.filter(bool), max_size=2)))
    before = {name: draw(SPECS) for name in draw(st.sets(st.sampled_from("abc")))}
    after = {name: draw(SPECS) for name in draw(st.sets(st.sampled_from("bcd")))}
    state = live_state(*(live_hook(hostile_hook(name, said), owner=owner) for name, said in before.items()))
    wanted = desired(*(hostile_hook(name, said) for name, said in after.items()), owner=owner)
    policy = Policy(allowed_hosts=hosts or None, required_labels=("team",))
    project = wanted.project.model_copy(update={"spec": wanted.project.spec.model_copy(update={"policy": policy})})
    return Made(Case(replace(wanted, project=project), state).plan())


def assert_whole(text: str) -> None:
    """What a renderer and a careless reader both take it for: nothing open, nothing of others outside of code."""
    assert text.startswith("<!-- reconciler:plan:")
    assert text.endswith("</sub>\n")
    assert len(re.findall(r"<details", text, re.I)) == len(re.findall(r"</details>", text, re.I))
    assert len(re.findall(r"<summary", text, re.I)) == len(re.findall(r"</summary>", text, re.I))
    assert text.count("```") % 2 == 0
    assert text.count("<!--") == text.count("-->") == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", text)
    assert not re.search(r"(?m)^\s*::", text)
    assert "##[" not in text
    assert "##vso[" not in text
    outside = "".join(part for index, part in enumerate(text.split("```")) if index % 2 == 0)
    for forbidden in ("@", "](", "<script", "# pwned", "evil.example.org<"):
        assert forbidden not in re.sub(r"<code>[^<]*</code>", "", outside)
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        assert token.type in ALLOWED_BLOCKS, token
        if token.type == "fence":
            assert token.info in ("diff", "text")
        for child in token.children or ():
            assert child.type in ALLOWED_INLINE, child


ALLOWED_BLOCKS = {
    *("fence", "html_block", "inline", "heading_open", "heading_close", "paragraph_open", "paragraph_close"),
    *(f"{part}_{side}" for part in ("table", "thead", "tbody", "tr", "th", "td") for side in ("open", "close")),
}
ALLOWED_INLINE = {"text", "code_inline", "html_inline", "softbreak", "strong_open", "strong_close", "text_special"}


@given(plans(), VIEWS, st.integers(MIN_MAX_BYTES, 3 * DEFAULT_MAX_BYTES))
@example(Made(CASES["hostile"].plan()), NORMAL, DEFAULT_MAX_BYTES)
@settings(max_examples=60)
def test_property_08_markdown_is_whole_and_within_its_size_whatever_webhooks_say(
    made: Made, how: PlanView, max_bytes: int
) -> None:
    """Fences and folds are balanced, nothing of others is read as Markdown, HTML, a mention or a command."""
    text = plan_markdown(made.plan, how, max_bytes=max_bytes)

    assert len(text.encode()) <= max_bytes
    assert_whole(text)


@given(plans(), VIEWS)
@example(Made(CASES["hostile"].plan()), NORMAL)
@settings(max_examples=60)
def test_property_08_no_line_of_text_or_json_is_a_command_to_a_pipelines_runner(made: Made, how: PlanView) -> None:
    """Bodies stand in a job's log: `::error` at a line's start, `##[…]` and `##vso[…]` anywhere would be obeyed."""
    lines = list(plan_lines(made.plan, how))
    printed = "\n".join(click.unstyle(line.styled) for line in lines)
    document = plan_json(made.plan)

    assert printed == "\n".join(line.plain for line in lines)
    for text in (printed, json_text(document)):
        assert not re.search(r"(?m)^\s*::", text)
        assert "##[" not in text
        assert "##vso[" not in text
        assert "\x1b" not in text
    assert json.loads(json_text(document)) == json.loads(json.dumps(document))


def test_concise_clips_every_long_value_to_its_size_and_hash() -> None:
    """Also the one long line of a body, old and new, so that a reader can tell the two apart."""
    old, new = '{"a": "' + "x" * 5000 + '"}', '{"a": "' + "x" * 4999 + 'y"}'
    case = Case(
        desired(hook("a", body_template=new, headers={"x-long": "n" * 3000})),
        live_state(live_hook(hook("a", body_template=old, headers={"x-long": "o" * 3000}))),
    )

    lines = [line.plain for line in plan_lines(case.plan(), CONCISE)]

    assert max(map(len, lines)) < 300
    clipped = [line for line in lines if "bytes, sha256" in line]
    assert [line.strip()[0] for line in clipped] == ["-", "+", "~"]
    assert len({line.split("sha256 ")[1] for line in clipped}) == 3
    assert "(3,000 bytes, sha256 " in clipped[2]


def many_created(count: int, name_chars: int = 20, **spec: Any) -> Plan:
    """A plan that creates so many webhooks with names of that length."""
    names = [f"hook-{number:04}".ljust(name_chars, "x") for number in range(count)]
    return Case(desired(*(hook(name, {"labels": {"team": "iam"}}, **spec) for name in names))).plan()


@pytest.mark.parametrize("name_chars", [20, 63])
def test_a_500_webhook_create_names_every_webhook_in_a_comment(name_chars: int) -> None:
    """It does not fit field by field; no webhook is left out, also where all have a new secret."""
    body = '{"event": "{{event_type}}", "id": "{{data.id}}"}' * 20
    plan = many_created(500, name_chars, body_template=body, headers={"x-token": "${secret:token}"})

    text = plan_markdown(plan)

    assert len(text.encode()) < 65_000
    assert all(change.name in text for change in plan.changes)
    assert "### Plan: 500 to add, 0 to change, 0 to destroy." in text.split("<details>")[0]
    assert FULL_PLAN_HINT in text
    assert_whole(text)


def test_detail_goes_in_order_as_the_size_shrinks() -> None:
    """First what stays, then the ends of long values, then the fields, then the table, then the names."""
    long = "x" * 700
    plan = Case(
        desired(*(hook(f"new-{number}", body_template=f"{long}\n" * 20) for number in range(8)), hook("same")),
        live_state(live_hook(hook("same"))),
    ).plan()
    whole = plan_markdown(plan, max_bytes=1_000_000)
    steps = [whole]
    while len(steps[-1].encode()) > MIN_MAX_BYTES and len(steps) < 10:
        steps.append(plan_markdown(plan, max_bytes=max(MIN_MAX_BYTES, len(steps[-1].encode()) - 1)))

    has = {
        "unchanged": ["`same`" in step for step in steps],
        "ends": [step.count(long) > 100 for step in steps],
        "fields": ["spec.body_template" in step for step in steps],
        "table": ["| | Webhook | will be |" in step for step in steps],
        "names": ["new-7" in step for step in steps],
    }

    assert has == {
        "unchanged": [True, False, False, False],
        "ends": [True, True, False, False],
        "fields": [True, True, True, False],
        "table": [False, False, False, True],
        "names": [True, True, True, True],
    }


def test_names_and_counts_are_what_is_left_at_last() -> None:
    """A hundred thousand would not fit either way: the numbers always do."""
    names = plan_markdown(many_created(60, 63), max_bytes=6_000)
    counts = plan_markdown(many_created(600), max_bytes=MIN_MAX_BYTES)

    assert "**created (60):** `hook-0000" in names
    assert "| | Webhook |" not in names
    assert "### Plan: 600 to add" in counts
    assert "hook-0000" not in counts
    assert_whole(names)
    assert_whole(counts)


@pytest.mark.parametrize(
    ("owner", "marker", "expected"),
    [
        ("", None, "default"),
        ("iam", None, "iam"),
        ("iam", "production", "production"),
        ("a--b", None, "ad52c89d4eed62a98ee8ee34d3862ff29d2d1d3ec66cab01ced9f2dd8a3dbc3d"),
    ],
)
def test_the_marker_is_the_owners_or_the_one_given(owner: str, marker: str | None, expected: str) -> None:
    """The same for every plan of that owner, so that one comment is updated in place; a hash where HTML forbids it."""
    first = Case(desired(hook("a"), owner=owner)).plan()
    second = Case(desired(hook("b"), owner=owner)).plan()

    assert marker_of(first, marker) == marker_of(second, marker)
    assert plan_markdown(first, marker=marker).startswith(marker_of(first, marker))
    assert len(marker_of(first, marker)) == len(f"<!-- reconciler:plan:{expected} -->")


def test_the_footer_has_the_digest_of_the_json() -> None:
    """Whoever compares two formats of a plan, or a comment with an artifact, compares these."""
    plan, other = CASES["update"].plan(), CASES["inactivate"].plan()

    assert plan_digest(plan) in plan_markdown(plan)
    assert plan_digest(plan) in plan_markdown(plan, max_bytes=MIN_MAX_BYTES)
    assert plan_digest(other) not in plan_markdown(plan)


def test_marks_stand_in_the_first_column_of_a_diff_fence() -> None:
    """GitHub colours a line by its first character: no text of a webhook ever stands there."""
    fences = plan_markdown(CASES["hostile"].plan()).split("```diff\n")[1:]

    lines = [line for fence in fences for line in fence.split("\n```")[0].split("\n")]
    assert {line[:1] for line in lines} == {"+", " "}
    assert "+   webhook" in fences[0]
    assert "!       spec.status" in plan_markdown(CASES["inactivate"].plan())
