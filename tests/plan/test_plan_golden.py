"""What people and machines read, as files: every action and every refusal. RECONCILER_GOLDEN=write rewrites them."""

import json
import os
import re
from pathlib import Path

import pytest
from plan_samples import CASES, Case

import reconciler.plan
from reconciler.cli.view_field import CONCISE, FULL, NORMAL, PlanView
from reconciler.cli.view_markdown import plan_markdown
from reconciler.cli.view_plan import plan_lines
from reconciler.plan.change import Action
from reconciler.plan.plan import Plan
from reconciler.plan.saved import SavedPlan, dump_plan, load_plan
from reconciler.plan.schema import plan_json

GOLDEN = Path(__file__).parent / "golden"


# How the richest update reads under other options and on a narrow terminal
VIEWS = {
    "update.concise": CONCISE,
    "update.full": FULL,
    "update.narrow": PlanView(width=100),
    "update-everything-is-new.narrow": PlanView(width=80),
    "update-long-body.context-1": PlanView(context=1),
    "create.concise": CONCISE,
    "create.narrow": PlanView(width=80),
    "no-changes.full": FULL,
}


def text_of(plan: Plan, how: PlanView = NORMAL) -> str:
    """The report without colour, followed by what goes to stderr."""
    lines = [line.plain for line in plan_lines(plan, how)]
    lines += [f"warning: {warning.path}: {warning.message}; {warning.hint}" for warning in plan.warnings]
    lines += [f"refused: {refusal.message}; {refusal.hint}" for refusal in plan.refusals]
    return "\n".join(lines) + "\n"


def json_of(plan: Plan) -> str:
    """The document as it is printed."""
    return json.dumps(plan_json(plan), indent=2) + "\n"


def check(name: str, text: str) -> None:
    """Compare with the file of that name."""
    file = GOLDEN / name
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_text_is_what_the_golden_file_shows(name: str) -> None:
    """Every action and refusal reads as reviewed."""
    check(f"{name}.txt", text_of(CASES[name].plan()))


@pytest.mark.parametrize("name", CASES)
def test_json_is_what_the_golden_file_shows(name: str) -> None:
    """Terraform's keys, in the same bytes every time."""
    check(f"{name}.json", json_of(CASES[name].plan()))


@pytest.mark.parametrize("name", CASES)
def test_markdown_is_what_the_golden_file_shows(name: str) -> None:
    """The comment under a pull request."""
    check(f"{name}.md", plan_markdown(CASES[name].plan()))


@pytest.mark.parametrize("name", VIEWS)
def test_options_show_more_or_less_of_the_same_plan(name: str) -> None:
    """`--concise`, `--full`, `--context` and the width of a terminal."""
    check(f"{name}.txt", text_of(CASES[name.partition(".")[0]].plan(), VIEWS[name]))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case, Case)])
def test_a_saved_plan_shows_what_the_plan_showed(name: str) -> None:
    """`show --plan` and `plan` print the same, in every format and detail. A rollback is never saved."""
    plan = CASES[name].plan()

    loaded = load_plan(dump_plan(SavedPlan(plan, "id", 0, "0", None))).plan

    assert text_of(loaded) == text_of(plan)
    assert text_of(loaded, FULL) == text_of(plan, FULL)
    assert plan_markdown(loaded) == plan_markdown(plan)
    assert json_of(loaded) == json_of(plan)


def test_golden_folder_holds_nothing_else() -> None:
    """A case that was renamed leaves no file behind."""
    expected = {f"{name}.{kind}" for name in CASES for kind in ("txt", "json", "md")} | {
        f"{name}.txt" for name in VIEWS
    }

    assert {file.name for file in GOLDEN.iterdir()} == expected


def test_every_action_and_every_refusal_has_a_case() -> None:
    """An action or a guard that is new is shown to a reviewer as files."""
    plans = [case.plan() for case in CASES.values()]
    rooms = Path(reconciler.plan.__file__).parent.glob("*.py")
    codes = {code for file in rooms for code in re.findall(r'Refusal\(\s*"(\w+)"', file.read_text("utf-8"))}

    assert {change.action for plan in plans for change in plan.changes} == set(Action)
    assert {refusal.code for plan in plans for refusal in plan.refusals} == codes
    assert len(codes) > 8
