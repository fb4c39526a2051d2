"""The tests of a judged set, run: what came otherwise than expected, where it is expected and where it was written.

Called by `check`. Sends nothing and opens no store; a webhook is read and compiled once, however many tests it has.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from reconciler.errors import Problem
from reconciler.manifest.load import Manifests, ManifestTest
from reconciler.manifest.rehearse import leaf_of
from reconciler.models.event import Event
from reconciler.models.fault import Fault, Path
from reconciler.models.webhook import Webhook
from reconciler.request.expect import BODY, Finding, judge_expectation
from reconciler.request.render import blank_secrets
from reconciler.template.whence import place_in_json, place_in_template

FINDINGS_MAX: Final = 50  # of one test that are placed and shown; more tell a reader nothing new


class Outcome(StrEnum):
    """What came of a test. `not run`: it has an error itself, or its webhook has."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Miss:
    """A finding with its places: that of what expects it, and that of what wrote it, which may be in another file."""

    finding: Finding
    expected_at: Problem
    written_at: Problem


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One test; `line` is that of its name, `index` counts the documents of its file from 0. `misses` are the first
    FINDINGS_MAX of `count`; `notes` say what a reader must know beside the outcome."""

    name: str
    webhook: str
    file: str
    line: int
    index: int
    outcome: Outcome
    misses: tuple[Miss, ...] = ()
    count: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Run:
    """A test that was run."""

    test: ManifestTest
    webhook: Webhook
    event: Event
    findings: tuple[Finding, ...]


def run_tests(manifests: Manifests, targets: Sequence[str] = ()) -> tuple[CheckResult, ...]:
    """The results, in the order of files and documents. `targets` are globs over the names of the tested webhooks;
    none: all tests. `manifests` must have been loaded with their tests."""
    webhooks: Mapping[str, Webhook] = {webhook.name: webhook for webhook in manifests.webhooks}
    chosen = [test for test in manifests.tests if is_chosen(webhook_of(test), targets)]
    order = {str(name): number for number, name in enumerate(manifests.sources)}
    results: dict[int, CheckResult] = {}
    runs: dict[int, _Run] = {}
    # those of one webhook, and webhooks of one file, one after the other: what was read last is at hand
    for number, test in sorted(enumerate(chosen), key=lambda item: order.get(webhook_of(item[1]), -1)):
        webhook = webhooks.get(webhook_of(test))
        if test.ready is None or webhook is None:
            results[number] = _result(test, Outcome.NOT_RUN)
            continue
        findings = judge_expectation(webhook, test.ready.event, test.ready.test.spec.expect)
        outcome = Outcome.FAILED if findings else Outcome.PASSED
        results[number] = replace(_result(test, outcome), count=len(findings), notes=_notes(webhook))
        if findings:
            runs[number] = _Run(test, webhook, test.ready.event, findings[:FINDINGS_MAX])
    for number, misses in _placed(manifests, runs).items():
        results[number] = replace(results[number], misses=misses)
    return tuple(results[number] for number in range(len(chosen)))


def untested(manifests: Manifests) -> tuple[Webhook, ...]:
    """The webhooks without a test."""
    tested = {webhook_of(test) for test in manifests.tests}
    return tuple(webhook for webhook in manifests.webhooks if webhook.name not in tested)


def webhook_of(test: ManifestTest) -> str:
    """The name of the webhook that a test is about, as far as it says one."""
    if test.ready is not None:
        return test.ready.test.spec.webhook
    spec = test.document.get("spec")
    name = spec.get("webhook") if isinstance(spec, Mapping) else None
    return name if isinstance(name, str) else ""


def is_chosen(webhook: str, targets: Sequence[str]) -> bool:
    """Whether a webhook's name fits one of the globs; where there are none, all do."""
    return not targets or any(fnmatchcase(webhook, target) for target in targets)


def _result(test: ManifestTest, outcome: Outcome) -> CheckResult:
    name = test.name or f"document {test.index + 1}"
    return CheckResult(name, webhook_of(test), test.file, test.line, test.index, outcome)


def _notes(webhook: Webhook) -> tuple[str, ...]:
    return () if webhook.is_active else ("the webhook is inactive: nothing is sent",)


# Places


def _placed(manifests: Manifests, runs: Mapping[int, _Run]) -> dict[int, tuple[Miss, ...]]:
    """What was found, with its places, by the number of the test. Asked for file by file: each is read once more."""
    wanted: list[tuple[str, int, Fault]] = []
    for run in runs.values():
        source = manifests.sources[run.webhook.name]
        for finding in run.findings:
            wanted.append((run.test.file, run.test.index, _expectation_fault(run, finding)))
            wanted.append((source.file, source.index, _source_fault(run, finding)))
    places = iter(_in_order(manifests, wanted))
    return {
        number: tuple(Miss(finding, next(places), next(places)) for finding in run.findings)
        for number, run in runs.items()
    }


def code_of(finding: Finding) -> str:
    """The kind of a failure: `check.body`."""
    return f"check.{finding.keys[0]}"


def _in_order(manifests: Manifests, wanted: Iterable[tuple[str, int, Fault]]) -> list[Problem]:
    by_file: dict[str, list[tuple[int, int, Fault]]] = {}
    for number, (file, index, fault) in enumerate(wanted):
        by_file.setdefault(file, []).append((number, index, fault))
    found: dict[int, Problem] = {}
    for file, items in by_file.items():
        problems = manifests.places(file, [(index, fault) for _, index, fault in items])
        found.update(zip((number for number, _, _ in items), problems, strict=True))
    return [found[number] for number in sorted(found)]


def _expectation_fault(run: _Run, finding: Finding) -> Fault:
    """Where in the test's document something is expected."""
    fault = Fault(code_of(finding), ("spec", "expect", *finding.keys), finding.message)
    if finding.text_keys and run.test.ready is not None:
        text = getattr(run.test.ready.test.spec.expect, str(finding.keys[0]))
        line, column, end_column = place_in_json(text, finding.text_keys)
        return replace(fault, line=line, column=column, end_column=end_column)
    return fault if finding.expected_line is None else replace(fault, line=finding.expected_line, column=1)


def _source_fault(run: _Run, finding: Finding) -> Fault:
    """Where in the webhook's document something was written."""
    path, code = finding.source, code_of(finding)
    if path != BODY:
        return Fault(code, path, finding.message)
    spec = run.webhook.spec
    if finding.line is not None:
        leaf = leaf_of(spec, run.event.payload, blank_secrets(run.webhook))
        return Fault(code, (*path, *leaf), finding.message, line=finding.line, column=finding.column)
    if not isinstance(spec.body_template, str):
        return Fault(code, (*path, *finding.body_keys), finding.message)
    return _template_fault(spec.body_template, spec.partials, finding, path, code)


def _template_fault(template: str, partials: Mapping[str, str], finding: Finding, path: Path, code: str) -> Fault:
    place = place_in_template(template, finding.body_keys, partials=partials) if finding.where.startswith("$") else None
    if place is None:
        return Fault(code, path, finding.message)
    line, column, end_column = place
    return Fault(code, path, finding.message, line=line, column=column, end_column=end_column)
