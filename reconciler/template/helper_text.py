"""Helpers that make text: `json upper lower trim truncate replace default join`.

In the table of `helpers`. A number counts as its digits, a list or object as its JSON text; null stays null, so that
what is missing stays missing. What a helper makes is bounded by OUTPUT_MAX_BYTES, like the body.
"""

from typing import Final

from reconciler import jsontext
from reconciler.jsontext import JsonValue
from reconciler.template.fault import HelperError
from reconciler.template.output import OUTPUT_MAX_BYTES, text_of

LENGTH_MAX: Final = 1_000_000  # of `truncate`: longer than any body


def to_json(value: JsonValue) -> str:
    """`json value`: its JSON text; missing is `null`. As an expression of its own it stands where JSON may stand."""
    return _bounded(jsontext.dumps(value))


def upper(value: JsonValue) -> str | None:
    """`upper value`: its text in capital letters."""
    return None if value is None else text_of(value).upper()


def lower(value: JsonValue) -> str | None:
    """`lower value`: its text in small letters."""
    return None if value is None else text_of(value).lower()


def trim(value: JsonValue) -> str | None:
    """`trim value`: its text without white space at both ends."""
    return None if value is None else text_of(value).strip()


def truncate(value: JsonValue, length: JsonValue, ellipsis: JsonValue = "…") -> str | None:
    """`truncate value length [ellipsis="…"]`: its text, at most `length` characters with the ellipsis that marks a cut.

    Raises HelperError for a length that is not a whole number from 1 to LENGTH_MAX.
    """
    judge_length(length)
    if value is None:
        return None
    text = text_of(value)
    if len(text) <= length:
        return text
    mark = text_of(ellipsis)[:length]
    return text[: length - len(mark)] + mark


def judge_length(length: JsonValue) -> None:
    """Raise HelperError for what is no length."""
    if type(length) is not int or not 1 <= length <= LENGTH_MAX:
        raise HelperError(f"`length` must be a whole number from 1 to {LENGTH_MAX:,}")


def replace(value: JsonValue, old: JsonValue, new: JsonValue) -> str | None:
    """`replace value old new`: its text with every `old` replaced.

    Raises HelperError for an empty `old` and for a text that becomes too large.
    """
    judge_old(old)
    if value is None:
        return None
    text, before, after = text_of(value), text_of(old), text_of(new)
    if len(after) > len(before) and text.count(before) * (len(after) - len(before)) > OUTPUT_MAX_BYTES:
        raise HelperError(_TOO_LARGE)
    return _bounded(text.replace(before, after))


def judge_old(old: JsonValue) -> None:
    """Raise HelperError for what cannot be looked for."""
    if old in (None, ""):
        raise HelperError("`old` must not be empty")


def default(value: JsonValue, fallback: JsonValue, *fallbacks: JsonValue) -> JsonValue:
    """`default value fallback …`: the first that is neither missing, null nor empty text; false and 0 count. Null if
    there is none."""
    return next((item for item in (value, fallback, *fallbacks) if item not in (None, "")), None)


def join(value: JsonValue, separator: JsonValue = ", ") -> str | None:
    """`join list [separator=", "]`: the texts of its items, without those that are null. What is no list is its text.

    Raises HelperError for a text that becomes too large.
    """
    if not isinstance(value, list):
        return None if value is None else text_of(value)
    between = text_of(separator)
    if len(value) * len(between) > OUTPUT_MAX_BYTES:
        raise HelperError(_TOO_LARGE)
    return _bounded(between.join(text_of(item) for item in value if item is not None))


_TOO_LARGE: Final = f"the text is larger than {OUTPUT_MAX_BYTES:,} bytes"


def _bounded(text: str) -> str:
    if len(text) > OUTPUT_MAX_BYTES:
        raise HelperError(_TOO_LARGE)
    return text
