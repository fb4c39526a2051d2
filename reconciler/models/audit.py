"""The audit log: who did what to a store, with what, when and why; each entry names the digest of the one before. Pure.

Stores append to it in the transaction of the deed; `audit verify` walks it. An entry's digest is the SHA-256 of its
body, which is canonical JSON; the first one names a digest made of the store's lineage, so that a log fits one store.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from reconciler.models.delivery import iso_time

GENESIS: Final = "reconciler audit log of store "
UNKNOWN_PRINCIPAL: Final = "unknown"  # whoever called a store without saying who he is
UNREADABLE: Final = "unreadable"  # shown as the action of an entry whose body somebody has destroyed
PROBLEMS_MAX: Final = 20  # told of one log; the first one matters most


class AuditAction(StrEnum):
    """What people, and the breaker in their place, may do to a store."""

    APPLY = "apply"
    ROLLBACK = "rollback"
    HOLD = "hold"
    RELEASE = "release"
    PAUSE = "pause"
    RESUME = "resume"
    COMPACT = "compact"
    REPLAY = "replay"
    CANCEL = "cancel"
    REPLAY_EVENT = "replay_event"
    TRIGGER = "trigger"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Warrant:
    """Who acts, for whom, why and when.

    `principal` is what we know: the name of a token, or user@host of who opened the file; `behalf` what he says of
    himself (`--as`, a pipeline's actor). `at` is milliseconds since the epoch; None: the time of the deed itself.
    """

    principal: str = UNKNOWN_PRINCIPAL
    behalf: str = ""
    reason: str = ""
    at: int | None = None


UNKNOWN: Final = Warrant()


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done to what: `subject` is a webhook's name, an owner, an event's id; `details` are JSON values and hold
    no secret."""

    action: AuditAction
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)
    warrant: Warrant = UNKNOWN


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry as it is kept: `digest` is the SHA-256 of `body` in hex. Numbers count from 1 without gaps."""

    number: int
    digest: str
    body: str

    def to_json(self) -> dict[str, Any]:
        """As the API carries it to whoever verifies."""
        return {"number": self.number, "digest": self.digest, "body": self.body}


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a log: how many entries it has, and the digest of the last one; of an empty log the one that its first
    entry will name."""

    lineage: str
    number: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """The shape of the API."""
        return {"lineage": self.lineage, "number": self.number, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry as people see it."""

    number: int
    at: int | None
    principal: str
    behalf: str
    action: str
    subject: str
    reason: str
    details: Mapping[str, Any]
    previous: str
    digest: str

    @classmethod
    def of(cls, row: AuditRow) -> "AuditEntry":
        """The entry of a row; one that somebody has destroyed is shown as unreadable, so that it hides no other."""
        try:
            body = json.loads(row.body)
            return cls(
                number=row.number,
                at=int(body["at"]),
                principal=str(body["principal"]),
                behalf=str(body["behalf"]),
                action=str(body["action"]),
                subject=str(body["subject"]),
                reason=str(body["reason"]),
                details=dict(body["details"]),
                previous=str(body["previous"]),
                digest=row.digest,
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return cls(row.number, None, "", "", UNREADABLE, "", "", {}, "", row.digest)

    @property
    def time(self) -> str | None:
        """When it was done, as RFC 3339; None where somebody has written a time that no calendar has."""
        try:
            return iso_time(self.at)
        except (ValueError, OverflowError, OSError):
            return None

    def to_json(self) -> dict[str, Any]:
        """The shape of `audit list --format json` and of the API."""
        return {
            "number": self.number,
            "at": self.time,
            "principal": self.principal,
            "behalf": self.behalf,
            "action": self.action,
            "subject": self.subject,
            "reason": self.reason,
            "details": dict(self.details),
            "previous": self.previous,
            "digest": self.digest,
        }


def genesis(lineage: str) -> str:
    """What the first entry of a store's log names as the digest before it."""
    return _sha256(f"{GENESIS}{lineage}")


def sealed(deed: Deed, *, number: int, at: int, previous: str) -> AuditRow:
    """The row of a deed behind the entry with the digest `previous`; `at` where the warrant says no time."""
    warrant = deed.warrant
    body = canonical(
        {
            "number": number,
            "at": at if warrant.at is None else warrant.at,
            "principal": warrant.principal,
            "behalf": "" if warrant.behalf == warrant.principal else warrant.behalf,
            "action": deed.action.value,
            "subject": deed.subject,
            "reason": warrant.reason,
            "details": dict(deed.details),
            "previous": previous,
        }
    )
    return AuditRow(number, _sha256(body), body)


def canonical(value: Any) -> str:
    """JSON in one spelling only: keys sorted, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


class Chain:
    """A walk along a log from its first entry, or from a later one, to its head; collects what is wrong.

    `expected` are digests noted elsewhere: each must be met on the way, or as what the first one seen names before it.
    """

    def __init__(self, *, lineage: str, start: int = 1, expected: Iterable[str] = ()) -> None:
        self.problems: list[str] = []
        self.checked = 0
        self._number = start - 1
        self._digest = genesis(lineage) if start == 1 else None  # of the entry before; None: not known
        self._missing = dict.fromkeys(expected)
        self.anchors: dict[str, int] = {}  # the number of each expected digest that was met
        self._meet(self._number, self._digest)

    @property
    def number(self) -> int:
        """The last entry seen."""
        return self._number

    @property
    def digest(self) -> str | None:
        """Its digest; None where nothing was seen."""
        return self._digest

    def add(self, row: AuditRow) -> None:
        """The next entry."""
        expected = self._number + 1
        if row.number != expected:
            self._report(f"entry {expected} is missing: the next one is {row.number}")
        found = _sha256(row.body)
        if found != row.digest:
            self._report(f"entry {row.number} was edited: its digest is not that of what it says")
        self._check_body(row)
        self._number, self._digest = row.number, row.digest
        self.checked += 1
        self._meet(row.number, row.digest)

    def _check_body(self, row: AuditRow) -> None:
        try:
            body = json.loads(row.body)
            number, previous, spelling = body["number"], body["previous"], canonical(body)
        except (ValueError, KeyError, TypeError, RecursionError):
            self._report(f"entry {row.number} cannot be read")
            return
        if spelling != row.body:
            self._report(f"entry {row.number} is not spelt as entries are")
        if number != row.number:
            self._report(f"entry {row.number} was moved: it says that it is entry {number}")
        if self._digest is None:
            self._meet(row.number - 1, str(previous))
        elif previous != self._digest:
            self._report(f"entry {row.number} does not follow the one before it: the digest that it names is another")

    def end(self, head: AuditHead) -> None:
        """The log's end, as the store tells it, after the last entry."""
        if head.number != self._number:
            fact = f"the log should have {head.number} entries, the last one is {self._number}"
            self._report(f"{fact}: the newest are gone" if head.number > self._number else fact)
        elif self._digest is not None and head.digest != self._digest:
            self._report("the head of the log is not the digest of its last entry")
        for digest in self._missing:
            self._report(f"no entry has the digest that was noted: {digest}")

    def _meet(self, number: int, digest: str | None) -> None:
        if digest in self._missing:
            del self._missing[digest]
            self.anchors[digest] = number

    def _report(self, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
