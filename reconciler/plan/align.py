"""Two sequences side by side in bounded time: what stayed, went and came.

Called for the lines of texts, the items of lists and the words of URLs, which anybody may have written: `difflib`
alone takes minutes for ten thousand lines that are all alike.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from typing import Final

PAIRS_MAX: Final = 50_000  # of equal items to be considered, some 100 ms at the worst

Opcode = tuple[str, int, int, int, int]


def aligned(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Opcode]:
    """`difflib`'s opcodes: (equal | replace | delete | insert, ranges of old and new), in order, together all of both.

    Where too many items are alike, what lies between a common beginning and a common end counts as replaced.
    """
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    old_end, new_end = len(old) - end, len(new) - end
    result: list[Opcode] = [("equal", 0, start, 0, start)] if start else []
    result += _middle(old[start:old_end], new[start:new_end], start)
    if end:
        result.append(("equal", old_end, len(old), new_end, len(new)))
    return result


def _common(old: Sequence[Hashable], new: Sequence[Hashable]) -> int:
    """How many items at the beginning are equal."""
    return next(
        (index for index, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), min(len(old), len(new))
    )


def _middle(old: Sequence[Hashable], new: Sequence[Hashable], start: int) -> list[Opcode]:
    if not old and not new:
        return []
    counts, others = Counter(old), Counter(new)
    if sum(count * others[item] for item, count in counts.items()) > PAIRS_MAX:
        return [("replace", start, start + len(old), start, start + len(new))]
    opcodes = SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    return [(name, *(start + index for index in ranges)) for name, *ranges in opcodes]  # type: ignore[misc]
