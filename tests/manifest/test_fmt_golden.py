"""Manifests as people leave them, and how `fmt` leaves them.

With RECONCILER_REGENERATE=1 the expected texts are written anew; read them before committing.
"""

import os
from pathlib import Path

import pytest

from reconciler.errors import Problem
from reconciler.manifest.fmt import format_text

HERE = Path(__file__).parent
UGLY = sorted((HERE / "ugly").glob("*.yaml"))


def problems(text: str) -> list[tuple[str, int | None, int | None]]:
    done = format_text("a.yaml", text)
    assert done.text is None
    return [(problem.code, problem.line, problem.column) for problem in done.problems]


def formatted(text: str) -> str | None:
    return format_text("a.yaml", text).text


@pytest.mark.parametrize("file", UGLY, ids=lambda file: file.stem)
def test_an_ugly_file_becomes_its_golden_text(file: Path) -> None:
    """Keys in order with their comments, one indentation, scalars untouched."""
    text = formatted(file.read_text("utf-8"))
    golden = file.with_suffix(".expected")
    assert text is not None
    if os.environ.get("RECONCILER_REGENERATE"):
        golden.write_text(text, "utf-8")

    assert text == golden.read_text("utf-8")
    assert formatted(text) == text


def test_no_golden_text_is_left_behind() -> None:
    """A text without its manifest tests nothing."""
    assert {file.stem for file in UGLY} == {file.stem for file in (HERE / "ugly").glob("*.expected")}


def test_the_example_manifests_are_laid_out() -> None:
    """What the repository shows is what `fmt` wants."""
    root = HERE.parents[1]
    files = [*root.glob("manifests/**/*.yaml"), *root.glob("docs/**/*.yaml")]

    assert len(files) > 4
    assert [file for file in files if formatted(file.read_text("utf-8")) != file.read_text("utf-8")] == []


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: [\n", "yaml.syntax", 2, 1),
        ("a: 1\na: 2\n", "yaml.duplicate_key", 2, 1),
        ("{{a}}: 1\n{{b}}: 2\n", "yaml.key", 1, 1),
        ("a: !x b\n", "yaml.tag", 1, 4),
        ("a: !", "yaml.tag", 1, 4),
        ("a: 1\nb: &x 2\n", "layout.alias", 2, 4),
        ("%YAML 1.2\n---\na: 1\n", "layout.directive", 1, 1),
        ("- a\n", "document.shape", 1, 1),
        ("a: 1\n---\ntext\n", "document.shape", 3, 1),
        ("a: \x85\n", "yaml.character", 1, 4),
    ],
)
def test_what_cannot_be_understood_is_refused_where_it_stands(text: str, code: str, line: int, column: int) -> None:
    """No text comes back, so that nobody writes it."""
    assert problems(text)[0] == (code, line, column)


def test_every_anchor_and_alias_is_named() -> None:
    """An alias cannot move before its anchor."""
    assert problems("a: &x 1\nb: *x\n") == [("layout.alias", 1, 4), ("layout.alias", 2, 4)]


def test_faults_of_values_are_no_obstacle() -> None:
    """Who mends a manifest may lay it out first."""
    text = "apiVersion: reconciler/v1\nkind: Nonsense\nspec:\n  status: no\n  port: 0755\n  url: ${var:unset} ${bad}\n"

    assert formatted(text) == text


def test_a_final_line_feed_becomes_no_part_of_a_text() -> None:
    """`|` keeps the last line feed, which a file without one at its end does not have."""
    assert formatted("a: |\n  x") == "a: |-\n  x\n"
    assert formatted("a: >+ # c\n  x") == "a: >- # c\n  x\n"


def test_empty_lines_of_a_kept_text_stay_and_no_other_joins_them() -> None:
    """After `|+` an empty line is text: one that stood above a key goes when the key comes to stand there."""
    text = "spec:\n  when: a\n\n  body_template: |+\n    x\n\n  url: b\n\n  filters: {}\n"

    assert formatted(text) == "spec:\n  when: a\n\n  body_template: |+\n    x\n\n  url: b\n\n  filters: {}\n"
    assert formatted(f"kind: Webhook\n{text}") == (
        "kind: Webhook\nspec:\n  url: b\n\n  filters: {}\n\n  body_template: |+\n    x\n\n  when: a\n"
    )


def test_a_problem_is_one_that_people_know() -> None:
    """File, place, path and hint as of every other problem."""
    (problem,) = format_text("a.yaml", "x: &b 1\n").problems

    assert isinstance(problem, Problem)
    assert problem.where == "a.yaml:1:4"
    assert (problem.end_line, problem.end_column) == (1, 6)
    assert problem.message == "anchors and aliases are not laid out"
    assert problem.hint == "write it out, or use the defaults of a Project"


@pytest.mark.parametrize("wrong", ["a: 1\nb: 2\n", "a: 1 # c\nb: x\n", "a: 1 # c\n", "a: 1 # c # c\nb: 2\n", "a: [\n"])
def test_a_layout_that_would_say_something_else_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost comment or another value is found before anybody writes it, whatever the fault in the layout."""
    monkeypatch.setattr("reconciler.manifest.fmt.lay_out", lambda text, sections: wrong)

    done = format_text("a.yaml", "b:  2\na: 1 # c\n")

    assert done.text is None
    assert [problem.code for problem in done.problems] == ["layout.unsafe"]
