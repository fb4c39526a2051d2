"""What `doctor` finds: checks, each with what it looked at and what is wrong, and how to mend it. Pure.

Made by `dispatch.doctor`, here or in a daemon, carried by the API, shown by the command line: one shape for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.errors import Severity

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble: `subject` is a webhook, a host, a file or an owner, or empty; `fact` follows the grammar of errors,
    `mend` says what to do."""

    severity: Severity
    code: str
    fact: str
    subject: str = ""
    mend: str = ""

    @property
    def is_error(self) -> bool:
        """Whether deliveries suffer from it, or the store does: `doctor` exits 1."""
        return self.severity is Severity.ERROR

    def to_json(self) -> dict[str, Any]:
        """The shape of `doctor --format json`."""
        return {
            "severity": self.severity.value,
            "code": self.code,
            "subject": self.subject,
            "fact": self.fact,
            "mend": self.mend,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `fact` says in words what is so."""

    name: str
    fact: str
    findings: tuple[Finding, ...] = ()

    @property
    def severity(self) -> Severity | None:
        """The worst that was found."""
        severities = {finding.severity for finding in self.findings}
        return next((worst for worst in (Severity.ERROR, Severity.WARNING) if worst in severities), None)

    def to_json(self) -> dict[str, Any]:
        """The shape of `doctor --format json`."""
        return {"name": self.name, "fact": self.fact, "findings": [finding.to_json() for finding in self.findings]}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks, in the order in which people read them."""

    checks: tuple[Check, ...] = field(default=())

    def count(self, severity: Severity) -> int:
        """How many findings are so severe."""
        return sum(finding.severity is severity for check in self.checks for finding in check.findings)

    @property
    def is_well(self) -> bool:
        """Whether nothing is an error."""
        return self.count(Severity.ERROR) == 0

    def to_json(self) -> dict[str, Any]:
        """The shape of `doctor --format json` and of the API."""
        return {
            "format_version": FORMAT_VERSION,
            "well": self.is_well,
            "error_count": self.count(Severity.ERROR),
            "warning_count": self.count(Severity.WARNING),
            "checks": [check.to_json() for check in self.checks],
        }


def diagnosis_of(value: Mapping[str, Any]) -> Diagnosis:
    """What `Diagnosis.to_json` wrote."""
    return Diagnosis(
        tuple(
            Check(check["name"], check["fact"], tuple(_finding_of(finding) for finding in check["findings"]))
            for check in value["checks"]
        )
    )


def _finding_of(value: Mapping[str, Any]) -> Finding:
    return Finding(Severity(value["severity"]), value["code"], value["fact"], value["subject"], value["mend"])
