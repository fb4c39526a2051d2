"""What a template may cost when it is rendered: bytes, steps and depth.

A `Meter` goes along with one rendering; compiled code asks it now and then. Every limit raises LimitError, which
`compile` turns into a TemplateError with the place.
"""

from typing import Final

from reconciler.jsontext import JsonValue
from reconciler.template.output import OUTPUT_MAX_BYTES, OutputTooLargeError, indented

STEPS_MAX: Final = 200_000  # turns of loops times statements in them; the largest events take some ten thousand
RECURSION_MAX: Final = 200  # partials inside themselves: as deep as an event can be nested
ASK_EVERY: Final = 32  # steps

_UNITS_PER_STEP: Final = 32  # characters or items that a helper works on
_CONTAINER_STEPS: Final = 1_000  # what the JSON text of a list or object may cost before it is cut short


class LimitError(ValueError):
    """A limit is exceeded; the message names it."""


class Meter:
    """What one rendering has cost so far."""

    __slots__ = ("depth", "seen", "size")

    def __init__(self) -> None:
        self.size = 0  # characters in the first `seen` pieces
        self.seen = 0
        self.depth = 0

    def check(self, steps: int, pieces: list[str]) -> int:
        """When to ask again, in steps. Raises LimitError for too many, OutputTooLargeError for too much text."""
        if steps > STEPS_MAX:
            raise LimitError(f"the template takes more than {STEPS_MAX:,} steps")
        self.size += sum(map(len, pieces[self.seen :]))
        self.seen = len(pieces)
        if self.size > OUTPUT_MAX_BYTES:
            raise OutputTooLargeError
        return steps + ASK_EVERY

    def fold(self, pieces: list[str], start: int, indent: str, levels: int) -> None:
        """Indent the lines of what has been written from piece `start` on."""
        self.check(0, pieces)
        text = "".join(pieces[start:])
        pieces[start:] = [indented(text, indent, levels)]
        self.size += len(pieces[start]) - len(text)
        self.seen = len(pieces)

    def enter(self) -> None:
        """A partial is inside itself once more. Raises LimitError."""
        self.depth += 1
        if self.depth > RECURSION_MAX:
            raise LimitError(f"a partial includes itself more than {RECURSION_MAX} times")

    def leave(self) -> None:
        """The partial ends."""
        self.depth -= 1


def weigh(value: JsonValue, result: JsonValue) -> int:
    """The steps of a helper that works through its first argument."""
    return 1 + (_units(value) + _units(result)) // _UNITS_PER_STEP


def weigh_text(value: JsonValue, result: JsonValue) -> int:
    """The steps of a helper that works through the text of its first argument."""
    return weigh(value, result) + (_CONTAINER_STEPS if isinstance(value, list | dict) else 0)


def _units(value: JsonValue) -> int:
    return len(value) if isinstance(value, list | dict | str) else 1
