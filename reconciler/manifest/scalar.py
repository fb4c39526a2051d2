"""Which value a plain (unquoted) YAML scalar stands for, refusing those on which YAML 1.1 and 1.2 disagree.

Called by `manifest.parse` for every plain scalar. What is accepted means the same to every parser: `no`, `0755`,
`12:30:45`, `1_000` and `2026-01-31` are text to some and booleans, numbers or dates to others, so they must be quoted.
"""

import re
from functools import lru_cache
from math import isfinite
from typing import Final

INTEGER_BITS: Final = 64  # what JSON libraries carry unharmed

TYPED_STARTS: Final = frozenset("~.<=+-0123456789ntfNTFyYoO")  # with one of these begins all that is not simply text

_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE: Final = frozenset(("true", "True", "TRUE"))
_FALSE: Final = frozenset(("false", "False", "FALSE"))
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+][0-9]+)?)")  # 1e3 is text in YAML 1.1
_AMBIGUOUS: Final = re.compile(  # what YAML 1.1 (yaml.org/type) or the core schema of 1.2 takes for other than text
    r"""
      (?P<boolean> yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|y|Y|n|N )
    | (?P<date> [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} (?: (?:[Tt]|[ \t]+) [0-9]{1,2}:[0-9]{2}:[0-9]{2} .* )? )
    | (?P<number>
          [-+]?0b[01_]+ | [-+]?0o?[0-7_]+ | [-+]?0x[0-9a-fA-F_]+ | [-+]?[0-9][0-9_]*
        | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
        | [-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?
        | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
      )
    | (?P<special> <<|= )
    """,
    re.VERBOSE,
)
_LONGEST: Final = 64  # characters; a longer number is refused as out of range


class ScalarError(ValueError):
    """A plain scalar that must be quoted, or written otherwise. Carries no value, which may be a secret."""

    def __init__(self, message: str, *, code: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


@lru_cache(maxsize=4096)  # keys above all: `name` could be a number no less than `no` could
def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar. Raises ScalarError."""
    if not text:
        return None
    if text[0] not in TYPED_STARTS:
        return text
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if match := _AMBIGUOUS.fullmatch(text):
        raise _ambiguous(text, match.lastgroup or "")
    return text


def _integer(text: str) -> int:
    if len(text) <= _LONGEST:
        value = int(text)
        if -(2 ** (INTEGER_BITS - 1)) <= value < 2**INTEGER_BITS:
            return value
    raise ScalarError(f"the number does not fit into {INTEGER_BITS} bits", code="yaml.number", hint="quote it")


def _float(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST else float("inf")
    if not isfinite(value):
        raise ScalarError("the number is too large or too long", code="yaml.number", hint="quote it")
    return value


def _ambiguous(text: str, kind: str) -> ScalarError:
    if text == "<<":
        hint = "write the keys out, or put them into the defaults of a Project"
        return ScalarError("merge keys are not taken", code="yaml.merge_key", hint=hint)
    meaning, hint = {
        "boolean": ("true or false", "quote it where text is meant, else write true or false"),
        "date": ("a date", "quote it"),
        "number": ("another number", "quote it where text is meant, else write plain decimal digits"),
        "special": ("a special value", "quote it"),
    }[kind]
    return ScalarError(f"YAML parsers may read it as {meaning}", code="yaml.ambiguous", hint=hint)
