"""Globs and lists of globs, compiled once: pure text against text.

Used by `match`, which says what the texts are. `*` is any text, `/` and line ends included, `?` any one character; both
sides are compared as they are, whole and case-sensitively.
"""

import re
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache
from itertools import groupby
from typing import Final

from reconciler.models.webhook import Globs

Identities = tuple[str, ...]  # every text by which one thing may be named; empty for what is missing
Holds = Callable[[Identities], bool]  # one compiled list, asked about one thing

COMPILED_MAX: Final = 65_536  # distinct lists kept compiled; one costs about 1 kB

_ESCAPABLE: Final = "*?!\\"
_Piece = list[str | None]  # the characters between two stars; None for `?`


class Part(IntEnum):
    """Which part of a text is known of all that a glob matches; the smaller, the cheaper to look up."""

    WHOLE = 0
    BEGIN = 1
    END = 2
    INNER = 3


def list_holds(globs: Globs, identities: Identities) -> bool:
    """Whether one thing passes one list."""
    return not globs or compile_list(globs)(identities)


@lru_cache(maxsize=COMPILED_MAX)
def compile_list(globs: Globs) -> Holds:
    """A list as one predicate: no positives or one matches any identity, and no negative (`!x`) matches any. Compiled
    when it is first asked, since of ten thousand webhooks an event concerns a few."""
    positive: Callable[[str], bool] | None = None
    negative: Callable[[str], bool] | None = None
    is_compiled = False

    def holds(identities: Identities) -> bool:
        nonlocal positive, negative, is_compiled
        if not is_compiled:
            positive = _any_of(positives(globs))
            negative = _any_of([glob[1:] for glob in globs if glob.startswith("!")])
            is_compiled = True
        if positive is not None and not any(map(positive, identities)):
            return False
        return negative is None or not any(map(negative, identities))

    return holds


def positives(globs: Globs) -> list[str]:
    """Those of a list of which one must match, if there are any."""
    return [glob for glob in globs if not glob.startswith("!")]


def literal_of(glob: str) -> tuple[Part, str] | None:
    """What every text that the glob matches is, begins with, ends in or holds, the longest of these; None where nothing
    is known."""
    runs = _runs(glob)
    if len(runs) == 1 and runs[0] is not None:
        return Part.WHOLE, runs[0]
    begin, end = runs[0] or "", runs[-1] or ""
    if begin or end:
        return (Part.BEGIN, begin) if len(begin) >= len(end) else (Part.END, end)
    inner = max((run for run in runs if run), key=len, default="")
    return (Part.INNER, inner) if inner else None


def _any_of(globs: list[str]) -> Callable[[str], bool] | None:
    """Whether a text is matched by any; what has no wildcard is looked up."""
    if not globs:
        return None
    known = [literal_of(glob) for glob in globs]
    exact = frozenset(found[1] for found in known if found is not None and found[0] is Part.WHOLE)
    others = [glob for glob, found in zip(globs, known, strict=True) if found is None or found[0] is not Part.WHOLE]
    if not others:
        return exact.__contains__
    pattern = re.compile("|".join(map(_expression, others)), re.DOTALL)
    return lambda text: text in exact or pattern.fullmatch(text) is not None


def _runs(glob: str) -> list[str | None]:
    """The literal texts of a glob in order, the first where it begins and the last where it ends, None where there is a
    wildcard instead."""
    if "?" not in glob and "\\" not in glob:
        pieces = glob.split("*")
        return [pieces[0]] if len(pieces) == 1 else [*pieces[:-1], None, pieces[-1]]
    runs: list[str | None] = []
    for number, piece in enumerate(_pieces(glob)):
        if number or not piece:
            runs.append(None)
        for is_literal, run in groupby(piece, lambda item: item is not None):
            runs.append(_joined(run) if is_literal else None)
    return runs


def _pieces(glob: str) -> list[_Piece]:
    """A glob cut at its stars. `\\` before `*`, `?`, `!` or `\\` takes that character as it is, before any other it
    stands for itself, and so do `[`, `{` and the rest."""
    pieces: list[_Piece] = [[]]
    characters = iter(range(len(glob)))
    for at in characters:
        character = glob[at]
        if character == "\\" and at + 1 < len(glob) and glob[at + 1] in _ESCAPABLE:
            pieces[-1].append(glob[next(characters)])
        elif character == "*":
            pieces.append([])
        else:
            pieces[-1].append(None if character == "?" else character)
    return pieces


def _joined(run: Iterable[str | None]) -> str:
    return "".join(item for item in run if item is not None)


def _expression(glob: str) -> str:
    """A glob as a regular expression for `fullmatch`: `*` is any text, `/` and line ends included, `?` any one
    character.

    Each piece between two stars is an atomic group, found at its first place and never looked for again: the time is at
    most the product of both lengths, whatever text an event brings.
    """
    pieces = ["".join("." if item is None else re.escape(item) for item in piece) for piece in _pieces(glob)]
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + ".*" + last
