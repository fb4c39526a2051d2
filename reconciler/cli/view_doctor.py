"""A diagnosis as people see it: a line a check, below it what is wrong and how to mend it, and the sum at the end."""

import click

from reconciler.cli import view
from reconciler.errors import Severity
from reconciler.models.diagnosis import Check, Diagnosis, Finding

_MARKS = {None: ("✓", "green"), Severity.WARNING: ("!", "yellow"), Severity.ERROR: ("✗", "red")}


def out_diagnosis(diagnosis: Diagnosis) -> None:
    """All of it on stdout."""
    width = max((len(check.name) for check in diagnosis.checks), default=0)
    for check in diagnosis.checks:
        view.out(_check_line(check, width))
        for finding in check.findings:
            _out_finding(finding, indent=width + 4)
    view.out("")
    view.out(_sum(diagnosis))


def _check_line(check: Check, width: int) -> str:
    return f"{_mark(check.severity)} {click.style(f'{check.name:<{width}}', bold=True)}  {view.visible(check.fact)}"


def _out_finding(finding: Finding, *, indent: int) -> None:
    room = " " * indent
    subject = f"{click.style(view.visible(finding.subject), bold=True)}: " if finding.subject else ""
    view.out(f"{room}{_mark(finding.severity)} {subject}{view.visible(finding.fact)}")
    for line in finding.mend.split("\n") if finding.mend else ():
        view.out(f"{room}  {click.style('mend', fg='cyan')}: {view.visible(line)}")


def _mark(severity: Severity | None) -> str:
    mark, colour = _MARKS[severity]
    return click.style(mark, fg=colour, bold=True)


def _sum(diagnosis: Diagnosis) -> str:
    errors, warnings = diagnosis.count(Severity.ERROR), diagnosis.count(Severity.WARNING)
    if not errors and not warnings:
        return click.style("All is well.", fg="green", bold=True)
    parts = [(errors, "error", "red"), (warnings, "warning", "yellow")]
    return ", ".join(
        click.style(f"{number} {noun}{'' if number == 1 else 's'}", fg=colour, bold=True)
        for number, noun, colour in parts
        if number
    )
