"""What every source of events does: bring bytes to intake and wait for its answer before taking more.

Implemented by the modules beside this file. A source never stores, matches or delivers; it acknowledges to its sender
only what intake has answered, so that nothing is lost and nothing piles up in memory.
"""

from dataclasses import dataclass
from typing import Self

from reconciler.dispatch.intake import IntakeAnswer


@dataclass(frozen=True, slots=True)
class Taken:
    """How many items a source has brought in, by what became of them."""

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0

    def plus(self, answer: IntakeAnswer) -> Self:
        """These and one more answer."""
        return type(self)(
            self.accepted + answer.accepted,
            self.duplicates + answer.duplicates,
            self.conflicts + answer.conflicts,
            self.quarantined + answer.quarantined,
        )

    @property
    def total(self) -> int:
        """All of them."""
        return self.accepted + self.duplicates + self.conflicts + self.quarantined
