"""Whether a receiver's answer is what a webhook's `response_validators` want. Pure.

Called by `egress.deliver` with the bytes that arrived, by `manifest.validate` for the paths. The library is imported
where there is a validator to judge.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler import jsontext
from reconciler.jsontext import JsonValue, Number
from reconciler.models.fault import Fault, Faults, Path, show
from reconciler.models.webhook import ResponseValidator

ANSWER_MAX_BYTES: Final = 64 * 1024  # of an answer that is judged; four times what the record keeps

PATH_SHOWN_MAX: Final = 48  # characters of a path in a fact; what follows it must fit into one line too

Expected = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Miss:
    """What an answer says instead of what is wanted: `fact`, what stands there as JSON (it may hold a secret and is
    long; None where nothing does), and what was `wanted`."""

    fact: str
    actual: str | None = None
    wanted: str = ""


def miss_of(validators: Sequence[ResponseValidator], body: bytes) -> Miss | None:
    """The first validator that does not hold, or why none can be judged; None where all hold.

    A validator holds where its path finds something and all that it finds is expected.
    """
    if len(body) > ANSWER_MAX_BYTES:
        return Miss(f"it is longer than {ANSWER_MAX_BYTES // 1024} KiB")
    if not body.strip():
        return Miss("it is empty")
    try:
        value = jsontext.loads(body.removeprefix(BOM_UTF8))  # which parsers may ignore (RFC 8259, section 8.1)
    except jsontext.DuplicateKeyError:
        return Miss("it has a key twice in one object")
    except jsontext.TooDeepError as exc:
        return Miss(f"it is {exc}")
    except ValueError:
        return Miss("it is not JSON in UTF-8")
    return next((miss for miss in (_miss(validator, value) for validator in validators) if miss is not None), None)


def check_validators(validators: object) -> Faults:
    """The faults of the paths of a manifest's `response_validators`, as written."""
    for index, validator in enumerate(validators if isinstance(validators, list) else ()):
        json_path = validator.get("json_path") if isinstance(validator, dict) else None
        if isinstance(json_path, str) and json_path:
            yield from _check_path(json_path, ("spec", "response_validators", index, "json_path"))


def is_expected(value: JsonValue, expected: Iterable[Expected]) -> bool:
    """Whether a value is one of those expected: equal as JSON; or a number, `true`, `false` or `null` whose text is
    expected, since the vendor's form knows texts only."""
    return any(_equals(value, item) for item in expected)


def _check_path(text: str, path: Path) -> Faults:
    from reconciler.request.jsonpath import PathTextError, compiled

    try:
        compiled(text)
    except PathTextError as exc:
        column = min(exc.index, len(text) - 1) + 1
        yield Fault(
            "validator.json_path",
            path,
            f"`{show(path)}` is not a JSONPath: {exc}",
            "like $.data.status or $.incidents[0].status (RFC 9535)",
            line=1,
            column=column,
            end_column=column + 1,
        )


def _miss(validator: ResponseValidator, value: JsonValue) -> Miss | None:
    from reconciler.request.jsonpath import PathTextError, PathTooCostlyError, find_values

    path, expected = validator.json_path, validator.expected_values
    shown = path if len(path) <= PATH_SHOWN_MAX else f"{path[: PATH_SHOWN_MAX - 1]}…"
    try:
        found = find_values(path, value)
    except (PathTextError, PathTooCostlyError) as exc:
        return Miss(f"{shown} cannot be judged: {exc}")
    wanted = ", ".join(jsontext.dumps(item) for item in expected)
    if not found:
        return Miss(f"{shown} finds nothing", wanted=wanted)
    others = [item for item in found if not is_expected(item, expected)]
    return Miss(f"{shown} is", jsontext.dumps(others[0]), wanted) if others else None


def _equals(value: JsonValue, expected: Expected) -> bool:
    # 1. truth and nothing are no numbers  2. numbers by value  3. texts, and what a text spells
    if value is None or isinstance(value, bool):
        return value is expected or (isinstance(expected, str) and jsontext.dumps(value) == expected)
    if isinstance(value, int | float):
        if isinstance(expected, str):
            return _spelling(value) == expected
        return not isinstance(expected, bool) and expected is not None and value == expected
    return isinstance(value, str) and isinstance(expected, str) and value == expected


def _spelling(value: int | float) -> str:
    return value.text if isinstance(value, Number) else str(value)
