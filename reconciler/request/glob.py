"""Globs and lists of globs, compiled once: pure text against text.

Used by `match`, which says what the texts are. `*` is any text, `/` and line ends included, `?` any one character; both
sides are compared as they are, whole and case-sensitively.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from reconciler.models.webhook import Globs

Identities = tuple[str, ...]  # every text by which one thing may be named; empty for what is missing
Holds = Callable[[Identities], bool]  # one compiled list, asked about one thing

COMPILED_MAX: Final = 65_536  # distinct lists kept compiled; one costs about 1 kB

_ESCAPABLE: Final = "*?!\\"


def list_holds(globs: Globs, identities: Identities) -> bool:
    """Whether one thing passes one list."""
    return not globs or compile_list(globs)(identities)


@lru_cache(maxsize=COMPILED_MAX)
def compile_list(globs: Globs) -> Holds:
    """A list as one predicate: no positives or one matches any identity, and no negative (`!x`) matches any."""
    positive = _union([glob for glob in globs if not glob.startswith("!")])
    negative = _union([glob[1:] for glob in globs if glob.startswith("!")])

    def holds(identities: Identities) -> bool:
        if positive is not None and not any(positive.fullmatch(text) for text in identities):
            return False
        return negative is None or not any(negative.fullmatch(text) for text in identities)

    return holds


def _union(globs: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(_expression(glob) for glob in globs), re.DOTALL) if globs else None


def _expression(glob: str) -> str:
    """A glob as a regular expression for `fullmatch`.

    `*` is any text, `/` and line ends included, and `?` any one character; `\\` before `*`, `?`, `!` or `\\` takes that
    character as it is, before any other it stands for itself, and so do `[`, `{` and the rest. Each piece between two
    stars is an atomic group, found at its first place and never looked for again: the time is at most the product of
    both lengths, whatever text an event brings.
    """
    pieces = [""]
    characters = iter(range(len(glob)))
    for at in characters:
        character = glob[at]
        if character == "\\" and at + 1 < len(glob) and glob[at + 1] in _ESCAPABLE:
            pieces[-1] += re.escape(glob[next(characters)])
        elif character == "*":
            pieces.append("")
        else:
            pieces[-1] += "." if character == "?" else re.escape(character)
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + ".*" + last
