"""What an engine can tell of its own health: for `dispatch.doctor`, which judges it.

An examination only reads, never in one long transaction, and beside the threads that serve a daemon. Times are
milliseconds since the epoch.
"""

from dataclasses import dataclass
from typing import Protocol

from reconciler.models.webhook import WebhookUid


@dataclass(frozen=True, slots=True)
class Holder:
    """The daemon that serves the store, as it has signed itself."""

    pid: int
    host: str
    started_at: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule of the store that rows break: `fact` says which and how often."""

    code: str
    fact: str


@dataclass(frozen=True, slots=True)
class LooseFile:
    """A file that others than its owner may read or write."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Answered:
    """One recorded attempt's answer: what the receiver's `Date` header said, and when by our clock."""

    url: str
    date: str
    finished_at: int


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found. `due_at` is since when the longest waiting delivery could have been claimed, `expired_at` when
    the oldest lease ended; None where there is none. `left_out` are checks that took too long to end."""

    engine: str
    schema_version: int
    size_bytes: int
    free_bytes: int | None
    total_bytes: int | None
    damage: tuple[str, ...]
    broken: tuple[Broken, ...]
    left_out: tuple[str, ...]
    holder: Holder | None
    due_at: int | None
    expired: int
    expired_at: int | None
    quarantined: int
    lanes: dict[WebhookUid, str | None]  # why nothing is sent, of the webhooks that a daemon has configured
    loose: tuple[LooseFile, ...]
    open_folder: LooseFile | None  # where everybody may put another file in the place of one of the store's
    answered: tuple[Answered, ...]  # newest first


class ExamineStore(Protocol):
    """An engine that can be examined."""

    async def examine(self, *, now: int, is_full: bool = False) -> Examination:
        """Look at everything, each part for a few seconds at most; with `is_full` to its end, and every index with its
        table."""
        ...
