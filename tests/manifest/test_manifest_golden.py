"""What people see for each fault: one bad manifest, one problem, one text.

With RECONCILER_REGENERATE=1 the texts are written anew; read them before committing.
"""

import os
from pathlib import Path

import click
import pytest

from reconciler.cli.view import format_problem
from reconciler.manifest.code import CODES
from reconciler.manifest.load import load_manifests

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))
FAULTS_OF_LINE_ONE = {"document-list", "document-without-kind", "document-without-spec", "yaml-alias-bomb"}


def shown(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(path.parent)
    problems = load_manifests([Path(path.name)], tests=True).problems
    return "".join(f"{click.unstyle(format_problem(problem))}\n" for problem in problems)


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_each_bad_manifest_has_one_problem_in_the_words_of_its_golden_text(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault is reported once, where it is, with the way to mend it."""
    text = shown(file, monkeypatch)
    golden = file.with_suffix(".txt")
    if os.environ.get("RECONCILER_REGENERATE"):
        golden.write_text(text, "utf-8")

    assert text == golden.read_text("utf-8")
    assert len(load_manifests([file], tests=True).problems) == 1


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_problem_spans_characters_that_are_there(file: Path) -> None:
    """Editors underline from start to end: both lie on one line of the file, the end after the start."""
    (problem,) = load_manifests([file], tests=True).problems
    rows = file.read_text("utf-8").split("\n")

    assert problem.line and problem.column and problem.end_line and problem.end_column
    assert problem.line == problem.end_line <= len(rows)
    assert problem.column < problem.end_column <= len(rows[problem.line - 1]) + 2
    assert problem.line > 1 or file.stem in FAULTS_OF_LINE_ONE or file.stem == "document-api-version"


def test_no_golden_text_is_left_behind() -> None:
    """A text without its manifest tests nothing."""
    assert {file.stem for file in BAD} == {file.stem for file in (HERE / "bad").glob("*.txt")}


def test_every_code_has_its_rule() -> None:
    """The list of codes is the one place that says what each stands for."""
    used = {problem.code for file in BAD for problem in load_manifests([file], tests=True).problems}

    assert used <= set(CODES)
    assert len(used) > 40


def test_ten_faults_in_one_folder_are_reported_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem of every file at once: syntax, fields, texts, templates, and what only the set shows."""
    text = shown(HERE / "ten", monkeypatch)
    golden = HERE / "ten.txt"
    if os.environ.get("RECONCILER_REGENERATE"):
        golden.write_text(text, "utf-8")

    assert text == golden.read_text("utf-8")
    assert len(load_manifests([HERE / "ten"]).problems) == 10
