"""Problems as JUnit XML, for pipelines that show test reports: a suite for each file, a case for each document.

Called by `validate` and `check`. The XML is ASCII and well-formed whatever manifests say; what XML cannot hold is spelt
out.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree

import click

from reconciler.cli import view
from reconciler.cli.view_report import count
from reconciler.errors import Problem
from reconciler.manifest.load import Outline

NO_FILE: Final = "validate"  # the suite of problems that are of no file

_NO_XML: Final = re.compile("[\ufffe\uffff]")  # beside what is made visible anyway (XML 1.0, section 2.2)


@dataclass(slots=True)
class Case:
    """A document, or a file where nobody knows which of its documents is at fault. `line` counts from 1."""

    name: str
    file: str
    line: int | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """What makes the case fail."""
        return [problem for problem in self.problems if problem.is_error]


@dataclass(slots=True)
class Suite:
    """A file: its documents in order, where they begin, and a case for what belongs to none of them."""

    file: str
    documents: list[Case] = field(default_factory=list)
    whole: Case | None = None

    @property
    def cases(self) -> list[Case]:
        """All cases, the file's own last."""
        return [*self.documents, *([self.whole] if self.whole else [])]

    def put(self, problems: Iterable[Problem]) -> None:
        """Put each problem into the case of its document, else into that of the file."""
        begins = [document.line or 1 for document in self.documents]
        for problem in problems:
            is_of_file = not problem.path and problem.code.startswith(("file.", "yaml."))
            number = 0 if is_of_file else bisect_right(begins, problem.line or 0)
            if not number and self.whole is None:
                self.whole = Case(self.file, self.file)
            case = self.documents[number - 1] if number else self.whole
            assert case is not None
            case.problems.append(problem)


def junit_xml(outlines: Iterable[Outline], problems: Iterable[Problem], *, name: str = "reconciler validate") -> str:
    """The report under a name; its last line is not ended. Warnings do not fail a case, they are its output."""
    suites: dict[str, Suite] = {}
    for outline in outlines:
        suite = suites.setdefault(outline.file, Suite(outline.file))
        suite.documents.append(Case(_name(outline), outline.file, outline.line))
    by_file: dict[str, list[Problem]] = {}
    for problem in problems:
        by_file.setdefault(problem.file or NO_FILE, []).append(problem)
    for file, found in by_file.items():
        suites.setdefault(file, Suite(file)).put(found)
    every = [case for suite in suites.values() for case in suite.cases]
    root = ElementTree.Element("testsuites", _counts(name, every))
    for file, suite in sorted(suites.items()):
        element = ElementTree.SubElement(root, "testsuite", _counts(file, suite.cases))
        for case in suite.cases:
            _add(element, case)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="us-ascii")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text.decode("ascii")


def _name(outline: Outline) -> str:
    prefix = {"Webhook": "webhook.", "WebhookTest": "test."}.get(outline.kind or "")
    if outline.kind == "Project":
        return "project"
    return f"{prefix}{outline.name}" if prefix and outline.name else f"document {outline.index + 1}"


def _counts(name: str, cases: Sequence[Case]) -> dict[str, str]:
    failures = sum(bool(case.errors) for case in cases)
    counts = {"tests": len(cases), "failures": failures, "errors": 0, "skipped": 0, "time": 0}
    return {"name": _clean(name), **{key: str(value) for key, value in counts.items()}}


def _add(suite: ElementTree.Element, case: Case) -> None:
    place = {"file": _clean(case.file)} | ({"line": str(case.line)} if case.line is not None else {})
    attributes = {"classname": _clean(case.file), "name": _clean(case.name), **place, "time": "0"}
    element = ElementTree.SubElement(suite, "testcase", attributes)
    if errors := case.errors:
        first, more = errors[0], f" (+{len(errors) - 1} more)" if len(errors) > 1 else ""
        failure = ElementTree.SubElement(
            element, "failure", {"message": _clean(first.message) + more, "type": _clean(first.code)}
        )
        failure.text = _said(errors)
    if warnings := [problem for problem in case.problems if not problem.is_error]:
        ElementTree.SubElement(element, "system-out").text = f"{count(len(warnings), 'warning')}\n{_said(warnings)}"


def _said(problems: Iterable[Problem]) -> str:
    return _NO_XML.sub(_spelt, "\n".join(click.unstyle(view.format_problem(problem)) for problem in problems))


def _clean(text: str) -> str:
    return _NO_XML.sub(_spelt, view.visible(text))


def _spelt(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
