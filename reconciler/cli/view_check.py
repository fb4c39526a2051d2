"""What `check` found: a line for each test, what differs as a diff with both places; the same as JSON and JUnit XML.

Whatever a test or a body says is harmless in every format, as in those of `validate`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click

from reconciler import jsontext
from reconciler.cli import view
from reconciler.cli.view_report import report_of
from reconciler.cli.view_table import pad, width_of
from reconciler.errors import Problem, Severity
from reconciler.jsontext import JsonValue
from reconciler.manifest.check import FINDINGS_MAX, CheckResult, Miss, Outcome
from reconciler.manifest.load import Manifests, Outline
from reconciler.request.difference import ABSENT, Absent

MARKS: Final = {
    Outcome.PASSED: click.style("ok     ", fg="green"),
    Outcome.FAILED: click.style("FAIL   ", fg="red", bold=True),
    Outcome.NOT_RUN: click.style("not run", fg="yellow"),
}
SHOWN_MAX: Final = 120  # characters of a value on a line; of a longer one, those around the first that differs
BEFORE: Final = 40  # of them before it
TEXT_MAX: Final = 4096  # characters of a value in JSON
COLUMN_MAX: Final = 48  # columns that names and values are padded to


def out_checked(manifests: Manifests, results: Sequence[CheckResult], output_format: str) -> None:
    """The report in one of the formats that `check` knows, on stdout."""
    problems = [*manifests.problems, *_as_problems(results)]
    match output_format:
        case "json":
            view.out_json(_json(manifests, results))
        case "github":
            from reconciler.cli.view_github import annotations

            for line in annotations(problems, name="reconciler check"):
                view.out(line)
        case "junit":
            from reconciler.cli.view_junit import junit_xml

            view.out(junit_xml(_outlines(manifests, results), problems, name="reconciler check"))
        case _:
            view.say_problems(manifests.problems, err=False)
            if manifests.problems:
                view.out("")
            for line in _lines(results):
                view.out(line)
            view.out(summary(results))


def summary(results: Sequence[CheckResult]) -> str:
    """`12 passed, 1 failed`; tests that could not be run are told where there are any."""
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    told = f"{counts[Outcome.PASSED]} passed, {counts[Outcome.FAILED]} failed"
    return told + (f", {counts[Outcome.NOT_RUN]} not run" if counts[Outcome.NOT_RUN] else "")


# Text


def _lines(results: Sequence[CheckResult]) -> Iterator[str]:
    width = min(max((width_of(view.visible(result.name)) for result in results), default=0), COLUMN_MAX)
    for result in results:
        notes = "".join(f"  ({view.visible(note)})" for note in _notes(result))
        name = pad(view.visible(result.name), width)
        yield f"{MARKS[result.outcome]}  {name}  {view.visible(result.webhook)}{notes}"
        for miss in result.misses:
            yield from _miss_lines(miss)
        if result.count > FINDINGS_MAX:
            yield f"         and {result.count - FINDINGS_MAX} more"
    if results:
        yield ""


def _notes(result: CheckResult) -> tuple[str, ...]:
    """What is noted of a result; a note on what is sent says nothing of a test that was not run."""
    reason = ("there is an error in it, or in its webhook",)
    return reason if result.outcome is Outcome.NOT_RUN else result.notes


def _miss_lines(miss: Miss) -> Iterator[str]:
    finding = miss.finding
    expected_at, written_at = view.visible(miss.expected_at.where), view.visible(miss.written_at.where)
    where = f" {view.visible(finding.where)}" if finding.where and finding.where != finding.keys[0] else ""
    yield f"         {click.style(f'{finding.keys[0]}{where}', bold=True)}: {view.visible(finding.message)}"
    if finding.compares:
        expected, actual = shown(finding.expected, finding.actual)
        width = min(max(width_of(expected), width_of(actual)), COLUMN_MAX)
        yield _marked("-", "red", expected, width, expected_at)
        yield _marked("+", "green", actual, width, written_at)
    else:
        yield f"           expected at {click.style(expected_at, fg='cyan')}"
        yield f"           comes from  {click.style(written_at, fg='cyan')}"
    for note in finding.notes:
        yield f"           {view.visible(note)}"


def _marked(mark: str, colour: str, text: str, width: int, place: str) -> str:
    return f"           {click.style(f'{mark} {pad(text, width)}', fg=colour)}  {click.style(place, fg='cyan')}"


def shown(expected: JsonValue | Absent, actual: JsonValue | Absent) -> tuple[str, str]:
    """Two values on a line each, as JSON; what is not there is `(absent)`. Of long ones, where they begin to differ."""
    texts = [_text(value) for value in (expected, actual)]
    same = next((at for at, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), min(map(len, texts)))
    start = max(0, same - BEFORE) if max(map(len, texts)) > SHOWN_MAX else 0
    return _window(texts[0], start), _window(texts[1], start)


def _window(text: str, start: int) -> str:
    """The part of a text that is shown; a text that ends before it, from its own end."""
    start = min(start, max(0, len(text) - BEFORE))
    end = start + SHOWN_MAX
    return f"{'…' if start else ''}{view.visible(text[start:end])}{'…' if end < len(text) else ''}"


def _text(value: JsonValue | Absent) -> str:
    return "(absent)" if value is ABSENT else jsontext.dumps(value)


# For pipelines


def _as_problems(results: Iterable[CheckResult]) -> Iterator[Problem]:
    """Each miss as a problem where it is expected, and each test that could not be run on account of its webhook."""
    for result in results:
        if result.outcome is Outcome.NOT_RUN:
            message = f"the test was not run: {_notes(result)[0]}"
            yield Problem(Severity.ERROR, "check.not_run", message, "metadata.name", result.file, result.line)
        for miss in result.misses:
            yield _as_problem(miss)


def _as_problem(miss: Miss) -> Problem:
    finding, at = miss.finding, miss.expected_at
    message = f"{finding.where or finding.keys[0]}: {finding.message}"
    if finding.compares:
        expected, actual = shown(finding.expected, finding.actual)
        message = f"{finding.where or finding.keys[0]}: expected {expected}, got {actual}"
    hint = "; ".join([*finding.notes, f"it comes from {miss.written_at.where}"])
    place = (at.line, at.column, at.end_line, at.end_column)
    return Problem(Severity.ERROR, at.code, message, at.path, at.file, *place, hint)


def _outlines(manifests: Manifests, results: Iterable[CheckResult]) -> Iterator[Outline]:
    """Every document but the tests that were not chosen, unless their file has problems, each of which has its case."""
    chosen = {(result.file, result.index) for result in results}
    files = {problem.file for problem in manifests.problems}
    for outline in manifests.outlines:
        if outline.kind != "WebhookTest" or (outline.file, outline.index) in chosen or outline.file in files:
            yield outline


def _json(manifests: Manifests, results: Sequence[CheckResult]) -> dict[str, Any]:
    counts = {_word(outcome): sum(result.outcome is outcome for result in results) for outcome in Outcome}
    return {**report_of(manifests.problems), **counts, "tests": [_result_json(result) for result in results]}


def _word(outcome: Outcome) -> str:
    return outcome.value.replace(" ", "_")


def _result_json(result: CheckResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "webhook": result.webhook,
        "outcome": _word(result.outcome),
        "filename": result.file,
        "line": result.line,
        "notes": list(_notes(result)),
        "failure_count": result.count,
        "failures": [_miss_json(miss) for miss in result.misses],
    }


def _miss_json(miss: Miss) -> dict[str, Any]:
    """`expected` and `actual` are JSON texts, so that numbers keep their digits; null where nothing is there."""
    finding = miss.finding
    return {
        "expectation": finding.keys[0],
        "where": finding.where,
        "message": finding.message,
        "expected": None if finding.expected is ABSENT else _text(finding.expected)[:TEXT_MAX],
        "actual": None if finding.actual is ABSENT else _text(finding.actual)[:TEXT_MAX],
        "notes": list(finding.notes),
        "expected_at": _place(miss.expected_at),
        "comes_from": _place(miss.written_at),
    }


def _place(problem: Problem) -> dict[str, Any]:
    return {"filename": problem.file, "line": problem.line, "column": problem.column, "path": problem.path}
