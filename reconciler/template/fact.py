"""What is known of `@first`, `@last` and `@index` in one turn of a loop, and which conditions that decides.

Used by `place`, so that the comma of `{{#unless @last}},{{/unless}}` is there in every turn but the last.
"""

from collections.abc import Iterator
from enum import Enum

from reconciler.template.program import Apply, Body, Branch, Frame, Look, Loop, LoopDetail, Value
from reconciler.template.sketch import bodies_of


class Turn(Enum):
    """A turn of a loop; NONE is a section whose value is no list, so that there is no loop at all."""

    ONLY = "only"
    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"
    NONE = "none"


Facts = tuple[tuple[Frame, Turn], ...]


def verdict(condition: Value, zero_holds: Value | None, facts: Facts) -> bool | None:
    """Whether a condition holds, as far as the turns of the loops around decide it."""
    # 1. a detail of a loop, 2. not, and, or
    if isinstance(condition, Look):
        is_detail = isinstance(condition.base, LoopDetail) and not condition.segments
        return _of_detail(condition.base, zero_holds, facts) if is_detail else None
    if not isinstance(condition, Apply) or zero_holds is not None:
        return None
    parts = [verdict(argument, None, facts) for argument in condition.arguments]
    if condition.helper.name == "not":
        return None if parts[0] is None else not parts[0]
    if condition.helper.name == "and":
        return False if False in parts else None if None in parts else True
    if condition.helper.name == "or":
        return True if True in parts else None if None in parts else False
    return None


def _of_detail(detail: object, zero_holds: Value | None, facts: Facts) -> bool | None:
    assert isinstance(detail, LoopDetail)
    frame: Frame | None = detail.frame
    turns = dict(facts)
    while frame is not None:
        frame = frame.same_as or frame
        turn = turns.get(frame)
        if turn is not Turn.NONE:
            break
        frame = frame.otherwise
    else:
        return False  # outside every loop it is missing
    # 1. nothing is known, 2. @first, 3. @last, 4. @index, which is 0 in the first turn
    if frame is None or turn is None:
        return None
    if detail.name == "first":
        return turn in (Turn.ONLY, Turn.FIRST)
    if detail.name == "last":
        return turn in (Turn.ONLY, Turn.LAST)
    return turn not in (Turn.ONLY, Turn.FIRST) if detail.name == "index" and zero_holds is None else None


def is_first_or_last(value: Value) -> bool:
    """Whether a value is `@first` or `@last`."""
    if not isinstance(value, Look) or value.segments:
        return False
    return isinstance(value.base, LoopDetail) and value.base.name in ("first", "last")


def frames_in(body: Body) -> Iterator[Frame]:
    """The loops whose turns decide conditions in a body."""
    for statement in body.statements:
        if isinstance(statement, Branch):
            yield from _frames_of_value(statement.condition)
        elif isinstance(statement, Loop) and statement.is_section:
            yield from _frames_of_value(statement.value)
            yield statement.frame
        for inner in bodies_of(statement):
            yield from frames_in(inner)


def _frames_of_value(value: Value) -> Iterator[Frame]:
    if isinstance(value, Look) and isinstance(value.base, LoopDetail):
        frame: Frame | None = value.base.frame
        while frame is not None:
            yield frame
            frame = frame.same_as or frame.otherwise
    elif isinstance(value, Apply):
        for argument in value.arguments:
            yield from _frames_of_value(argument)
