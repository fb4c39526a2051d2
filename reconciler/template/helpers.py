"""Every helper that a template may call: look here first.

To add one, write a pure function in the file of its family (`helper_compare`, `helper_text`, `helper_list`,
`helper_date`) and name it in the table below. Its signature is its declaration: parameters with a default may be left
out, and each may be given by name (`{{join names separator="; "}}`). It takes and returns JSON values and raises
nothing but HelperError. The blocks (`#if`, `#each`, …) are no functions and stand in `resolve`.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter
from typing import Final, Literal

from reconciler.jsontext import JsonValue
from reconciler.template import helper_compare, helper_date, helper_list, helper_text

Result = Literal["boolean", "text", "number", "list", "item", "field", "choice", "items"]
BLOCKS: Final = ("if", "unless", "each", "with", "raw")


@dataclass(frozen=True)
class Helper:
    """One helper. `result` says of what kind its value is: `item` an item of its first argument, `items` what is
    plucked from it, `field` what is looked up in it, `choice` one of its arguments. `judges` refuse literal arguments
    before anything is rendered."""

    name: str
    call: Callable[..., JsonValue]
    result: Result
    judges: Mapping[str, Callable[[JsonValue], object]]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The function's parameters in order."""
        return tuple(inspect.signature(self.call).parameters.values())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that may be given by name."""
        return tuple(item.name for item in self.parameters if item.kind is not Parameter.VAR_POSITIONAL)

    @property
    def required(self) -> int:
        """How many arguments it needs."""
        return sum(item.default is Parameter.empty for item in self.parameters[: len(self.names)])

    @property
    def is_variadic(self) -> bool:
        """Whether it takes any number of further arguments."""
        return len(self.parameters) > len(self.names)

    @property
    def is_predicate(self) -> bool:
        """Whether it answers true or false, so that it may be a block: `{{#eq a b}}`."""
        return self.result == "boolean"

    @property
    def weight(self) -> Literal["none", "items", "text"]:
        """What it works through in its first argument, which a rendering's steps count."""
        if self.name in ("json", "join", "pluck"):
            return "items"
        return "text" if self.result == "text" and self.name != "date" else "none"

    @cached_property
    def usage(self) -> str:
        """How it is called: `truncate value length [ellipsis]`."""
        parts = [f"[{name}]" if index >= self.required else name for index, name in enumerate(self.names)]
        return " ".join([self.name, *parts, *(["…"] if self.is_variadic else [])])


def _table(
    *rows: tuple[str, Callable[..., JsonValue], Result]
    | tuple[str, Callable[..., JsonValue], Result, Mapping[str, Callable[[JsonValue], object]]],
) -> dict[str, Helper]:
    return {row[0]: Helper(row[0], row[1], row[2], row[3] if len(row) > 3 else {}) for row in rows}


HELPERS: Final[Mapping[str, Helper]] = _table(
    ("eq", helper_compare.equal, "boolean"),
    ("ne", helper_compare.unequal, "boolean"),
    ("gt", helper_compare.greater, "boolean"),
    ("gte", helper_compare.greater_or_equal, "boolean"),
    ("lt", helper_compare.less, "boolean"),
    ("lte", helper_compare.less_or_equal, "boolean"),
    ("and", helper_compare.both, "boolean"),
    ("or", helper_compare.either, "boolean"),
    ("not", helper_compare.negate, "boolean"),
    ("json", helper_text.to_json, "text"),
    ("upper", helper_text.upper, "text"),
    ("lower", helper_text.lower, "text"),
    ("trim", helper_text.trim, "text"),
    ("truncate", helper_text.truncate, "text", {"length": helper_text.judge_length}),
    ("replace", helper_text.replace, "text", {"old": helper_text.judge_old}),
    ("default", helper_text.default, "choice"),
    ("join", helper_text.join, "text"),
    ("lookup", helper_list.lookup, "field"),
    ("first", helper_list.first, "item"),
    ("last", helper_list.last, "item"),
    ("count", helper_list.count, "number"),
    ("pluck", helper_list.pluck, "items"),
    ("date", helper_date.date, "text", {"format": helper_date.judge_format, "zone": helper_date.zone_of}),
)


def hint_for(name: str, *, is_block: bool) -> str:
    """What may have been meant by an unknown name."""
    names = [*HELPERS, *BLOCKS] if is_block else list(HELPERS)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    known = [item for item in names if not is_block or item in BLOCKS or HELPERS[item].is_predicate]
    return f"the {'blocks' if is_block else 'helpers'} are: {', '.join(sorted(known))}"
