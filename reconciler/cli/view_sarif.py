"""Problems as a SARIF 2.1.0 log, for code scanning.

Called by `validate`. Every result has a rule, a message and a region, since viewers drop those without; the codes of
`manifest.code` are the rules. Sections are those of the OASIS standard.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from reconciler import VERSION
from reconciler.cli import view
from reconciler.cli.view_report import remaining, sentences
from reconciler.errors import Problem
from reconciler.manifest.code import CODES

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RESULTS_MAX: Final = 5_000  # a run; GitHub shows no more
ROOT: Final = "%SRCROOT%"  # what relative URIs are relative to, by the name that code scanning gives it

_PLACEHOLDER: Final = re.compile(r"\{(\d+)\}")
_LINK: Final = "]("


def sarif_log(problems: Sequence[Problem]) -> dict[str, Any]:
    """The log as JSON values. Beyond RESULTS_MAX, errors go before warnings and what is left out is counted."""
    shown = list(problems)
    if len(shown) > RESULTS_MAX:
        shown.sort(key=lambda problem: not problem.is_error)
    left_out = shown[RESULTS_MAX:]
    texts = {**CODES, **{problem.code: problem.code for problem in problems if problem.code not in CODES}}
    index_of = {code: index for index, code in enumerate(texts)}
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "reconciler",
                "version": VERSION,
                "semanticVersion": VERSION,
                "rules": [_rule(code, text) for code, text in texts.items()],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(left_out)],
        "results": [_result(problem, index_of[problem.code]) for problem in shown[:RESULTS_MAX]],
    }
    if left_out:
        run["properties"] = {"omitted_results": len(left_out)}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str, text: str) -> dict[str, Any]:
    message = {"text": text}
    return {"id": code, "shortDescription": message, "fullDescription": message, "help": message}


def _invocation(left_out: Sequence[Problem]) -> dict[str, Any]:
    """That the tool ran to its end; and how many results there was no room for (3.20.21)."""
    if not left_out:
        return {"executionSuccessful": True}
    notification = {"level": "warning", "message": {"text": remaining(left_out)}}
    return {"executionSuccessful": True, "toolExecutionNotifications": [notification]}


def _result(problem: Problem, rule_index: int) -> dict[str, Any]:
    return {
        "ruleId": problem.code,
        "ruleIndex": rule_index,
        "level": problem.severity.value,
        "message": {"text": "\n".join(map(_message, sentences(problem)))},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(problem.file), "region": _region(problem)}}],
    }


def _region(problem: Problem) -> dict[str, int]:
    """The place; the end column is the one after the last character, as SARIF has it (3.30.8)."""
    region = {"startLine": problem.line or 1}
    if problem.line is not None and problem.column is not None:
        region["startColumn"] = problem.column
        if problem.end_line is not None and problem.end_column is not None:
            region |= {"endLine": problem.end_line, "endColumn": problem.end_column}
    return region


def _artifact(file: str | None) -> dict[str, str]:
    """The file as a URI, relative to the current folder where it lies in it (3.4.3); also where its name is no text."""
    path = Path(file or ".")
    if path.is_absolute() and not path.is_relative_to(Path.cwd()):
        return {"uri": f"file://{_quoted(str(path))}"}
    relative = path.relative_to(Path.cwd()) if path.is_absolute() else path
    return {"uri": _quoted(str(relative)), "uriBaseId": ROOT}


def _quoted(path: str) -> str:
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:  # no file has such a name
        raw = path.encode("utf-8", "replace")
    return quote(raw, safe="/")


def _message(text: str) -> str:
    """Text that no viewer takes for a placeholder (3.11.5) or an embedded link (3.11.6)."""
    text = _PLACEHOLDER.sub(r"{{\1}}", view.visible(text))
    return text.replace("[", "\\[").replace("]", "\\]") if _LINK in text else text
