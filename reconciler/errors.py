"""What can go wrong, as values and as exceptions; imported by every room, imports none.

A `Problem` is a fact about something a person wrote (manifest, binding file, event), with its position.
A `ReconcilerError` means *we* cannot go on; its `exit_code` is the table of the command line.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_CHANGES: Final = 2  # only under --detailed-exitcode
EXIT_REFUSED: Final = 3  # a guard or policy
EXIT_STALE: Final = 4  # a stale plan, or the loser of two applies
EXIT_USAGE: Final = 64  # EX_USAGE of sysexits.h; click's own 2 would read as "changes"
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT


class Severity(StrEnum):
    """How bad a problem is: an error stops, a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fact about one place.

    `path` is the dotted path inside the document (`spec.headers.x-api-client-token`), `line` and `column` count
    from 1, `message` follows the grammar "fact: value" in lower case, `hint` says how to mend it.
    """

    severity: Severity
    code: str
    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    hint: str = ""

    @property
    def is_error(self) -> bool:
        """Whether this problem stops the command."""
        return self.severity is Severity.ERROR

    @property
    def where(self) -> str:
        """`file:line:column`, as far as known."""
        parts = [self.file or ""]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(part for part in parts if part)


class ReconcilerError(Exception):
    """The root of all our exceptions; `hint` is the way out, shown on a line of its own."""

    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class OptionError(ReconcilerError):
    """An option of the command line, or the variable that stands for it, cannot be read: nothing was done."""

    exit_code = EXIT_USAGE


class ManifestError(ReconcilerError):
    """The manifests cannot be used; carries every problem of every file at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        errors = sum(problem.is_error for problem in problems)
        super().__init__(f"the manifests have {errors} error{'s' if errors != 1 else ''}")
        self.problems = problems


class RefusedError(ReconcilerError):
    """A guard or a policy refuses the plan: the message says the number, the limit and the way out."""

    exit_code = EXIT_REFUSED


class StalePlanError(ReconcilerError):
    """The store moved on since the plan was made, or the plan was used before (`is_used`)."""

    exit_code = EXIT_STALE

    def __init__(
        self, message: str, *, base_revision: int, live_revision: int, hint: str = "", is_used: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.base_revision = base_revision
        self.live_revision = live_revision
        self.is_used = is_used


class StoreError(ReconcilerError):
    """The store cannot be opened, read or written."""


class StoreBusyError(StoreError):
    """Another process holds what this one needs (a second daemon on one file)."""


class NotInStoreError(StoreError):
    """The caller named what the store does not hold, or wants what it cannot hold: asking again changes nothing."""


class StoreLostError(StoreError):
    """The store's file was deleted, replaced or damaged under this process: no waiting brings it back."""


class SecretError(ReconcilerError):
    """A secret is not bound, is bound to other hosts, or cannot be read. Never carries a value."""

    def __init__(self, message: str, *, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class TemplateError(ReconcilerError):
    """A template cannot be compiled or rendered; `line` and `column` count from 1 inside the template's text."""

    def __init__(self, message: str, *, line: int | None = None, column: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.line = line
        self.column = column
