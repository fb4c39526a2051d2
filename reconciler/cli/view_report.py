"""What `validate` found, for people and as JSON; the formats of pipelines stand in modules of their own.

Called by `validate`. Whatever a manifest says is harmless in every format: nothing of it is markup, a command of a
runner or a control character.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from reconciler.cli import view
from reconciler.errors import Problem
from reconciler.manifest.code import CODES
from reconciler.manifest.load import Manifests

FORMAT_VERSION: Final = "1.0"  # of the JSON; the first number changes when a reader would break


def out_manifests(manifests: Manifests, paths: Sequence[Path], output_format: str) -> None:
    """The report in one of the formats that `validate` knows, on stdout. `paths` are what was validated."""
    match output_format:
        case "json":
            view.out_json(report_of(manifests.problems))
        case "github":
            from reconciler.cli.view_github import annotations

            for line in annotations(manifests.problems):
                view.out(line)
        case "sarif":
            from reconciler.cli.view_sarif import sarif_log

            view.out_json(sarif_log(manifests.problems))
        case "junit":
            from reconciler.cli.view_junit import junit_xml

            view.out(junit_xml(manifests.outlines, manifests.problems))
        case _:
            view.say_problems(manifests.problems, err=False)
            view.out(("\n" if manifests.problems else "") + summary(manifests, paths))


def summary(manifests: Manifests, paths: Sequence[Path]) -> str:
    """`manifests: 4 webhooks, all valid` or `2 errors and 1 warning in 3 files`."""
    errors = sum(problem.is_error for problem in manifests.problems)
    warnings = len(manifests.problems) - errors
    if errors:
        counts = count(errors, "error") + (f" and {count(warnings, 'warning')}" if warnings else "")
        return f"{counts} in {count(len({problem.file for problem in manifests.problems}), 'file')}"
    where = ", ".join(view.visible(str(path)) for path in paths)
    if not manifests.outlines:
        return f"{where}: no manifests, nothing validated"
    tail = f", all valid, {count(warnings, 'warning')}" if warnings else ", all valid"
    return f"{where}: {count(len(manifests.webhooks), 'webhook')}{tail}"


def count(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sentences(problem: Problem) -> list[str]:
    """What is said of a problem beside its place in the file: the fact, the path in the document, the hint."""
    path = f"at {problem.path}" if problem.path else ""
    hint = f"hint: {problem.hint}" if problem.hint else ""
    return [text for text in (problem.message, path, hint) if text]


def remaining(problems: Sequence[Problem]) -> str:
    """What is said of problems that a format has no room for: `+3 more: 2 errors and 1 warning`."""
    errors = sum(problem.is_error for problem in problems)
    kinds = [count(errors, "error")] * bool(errors)
    kinds += [count(len(problems) - errors, "warning")] * (errors < len(problems))
    return f"+{len(problems)} more: {' and '.join(kinds)}"


def report_of(problems: Sequence[Problem]) -> dict[str, Any]:
    """Problems as JSON, with their counts."""
    errors = sum(problem.is_error for problem in problems)
    return {
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": len(problems) - errors,
        "diagnostics": [_diagnostic(problem) for problem in problems],
    }


def _diagnostic(problem: Problem) -> dict[str, Any]:
    place = None
    if problem.file is not None:
        line, column = problem.line or 1, problem.column or 1
        place = {
            "filename": problem.file,
            "start": {"line": line, "column": column},
            "end": {"line": problem.end_line or line, "column": problem.end_column or column},
        }
    return {
        "severity": problem.severity.value,
        "code": problem.code,
        "summary": problem.message,
        "detail": CODES.get(problem.code, ""),
        "path": problem.path,
        "hint": problem.hint,
        "range": place,
    }
