"""The tree of a template: Handlebars 4.7's statements and expressions, and `${secret:name}`.

Built by `parse`, read by `compile` and `check`. Offsets count characters of the template's text; `end` is exclusive.
"""

from dataclasses import dataclass
from typing import Final

from reconciler import jsontext


@dataclass(frozen=True, slots=True)
class Segment:
    """One name of a path, without the brackets of `[name]`."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Path:
    """`a.b`, `a/[b c]`, `.`, `../a` (depth 1), `@root.a` (data); scoped if it begins with `this`, `.` or `..`, so that
    its first name is neither a helper nor a block parameter."""

    start: int
    end: int
    segments: tuple[Segment, ...]
    depth: int = 0
    is_data: bool = False
    is_scoped: bool = False

    @property
    def simple_name(self) -> str:
        """The name, if the path is nothing but one: that of a field, a helper or a block parameter; else empty."""
        is_simple = len(self.segments) == 1 and not (self.is_data or self.is_scoped)
        return self.segments[0].name if is_simple else ""


@dataclass(frozen=True, slots=True)
class Literal:
    """`"text"`, `12`, `true`, `null` or `undefined`; `kind` is the token's kind, `text` its characters unquoted."""

    start: int
    end: int
    kind: str
    text: str

    @property
    def value(self) -> str | int | float | bool | None:
        """What the literal stands for; `undefined` is null."""
        # 1. text, 2. a number, 3. true and false, 4. null and undefined
        if self.kind == "string":
            return self.text
        if self.kind == "number":
            return _number(self.text)
        return self.text == "true" if self.kind == "boolean" else None

    @property
    def field_name(self) -> str:
        """The field that the literal names where a path is expected, spelt as JavaScript spells its value."""
        return jsontext.number_text(_number(self.text)) if self.kind == "number" else self.text


def _number(text: str) -> int | float:
    """A number literal: `1.50` is 1.5 and `012` is 12, as in JavaScript; more digits than fit are kept as written."""
    if len(text) > jsontext.INT_MAX_DIGITS:
        return jsontext.Number(text)
    number = float(text) if "." in text else int(text)
    return int(number) if number == int(number) else number


@dataclass(frozen=True, slots=True)
class Call:
    """A name with its arguments: what stands in a mustache, at the head of a block, or in parentheses."""

    start: int
    end: int
    callee: "Expression"
    params: tuple["Expression", ...] = ()
    named: tuple[tuple[str, "Expression"], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether there are no arguments."""
        return not self.params and not self.named

    @property
    def path(self) -> Path | None:
        """The callee as a path, a literal being the name of a field as in Handlebars; None for a call."""
        if isinstance(self.callee, Literal):
            name = self.callee
            return Path(name.start, name.end, (Segment(name.field_name, name.start, name.end),))
        return self.callee if isinstance(self.callee, Path) else None


Expression = Path | Literal | Call


@dataclass(frozen=True, slots=True)
class Strip:
    """Where `~` stands: `{{~` takes the white space before the tag away, `~}}` the one after it."""

    before: bool = False
    after: bool = False


NO_STRIP: Final = Strip()


@dataclass(slots=True)
class Text:
    """Literal text; a slice of the template's text, which white space control narrows before the parser returns."""

    start: int
    original: str
    value: str
    end_stripped: bool = False
    start_stripped: bool = False

    @property
    def end(self) -> int:
        """The offset after the last character."""
        return self.start + len(self.value)


@dataclass(frozen=True, slots=True)
class Secret:
    """`${secret:name}`."""

    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Comment:
    """`{{! … }}` or `{{!-- … --}}`."""

    start: int
    end: int
    strip: Strip


@dataclass(frozen=True, slots=True)
class Mustache:
    """`{{x}}`, `{{{x}}}`, `{{&x}}`, or a decorator `{{* x}}`."""

    start: int
    end: int
    strip: Strip
    call: Call
    is_escaped: bool = True
    is_decorator: bool = False


@dataclass(slots=True)
class Partial:
    """`{{> name context key=value}}`; `indent` is what stands before it where it is alone on its line."""

    start: int
    end: int
    strip: Strip
    call: Call
    indent: str = ""
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """Statements in order; `is_chained` marks what follows an `{{else name}}`: one block and nothing else."""

    body: tuple["Statement", ...]
    block_params: tuple[str, ...] = ()
    is_chained: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """`{{#name}}…{{else}}…{{/name}}` and its kin; `start` and `end` are those of the opening tag.

    `kind` is the sign it opens with: `#`, `^`, `#*` (decorator), `#>` (partial) or `{{{{` (raw).
    """

    start: int
    end: int
    kind: str
    call: Call
    program: Program | None
    inverse: Program | None
    open_strip: Strip
    inverse_strip: Strip
    close_strip: Strip


Statement = Text | Secret | Comment | Mustache | Partial | Block
