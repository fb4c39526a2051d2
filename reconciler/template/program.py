"""What a template does once its names are resolved: values, and statements that write, choose, repeat and include.

Built by `resolve`; read by `place` (where each value stands in JSON), `check` (which fields there are) and `emit` (the
function that renders). Everything knows its spot, so that a fault of any stage has its line and column.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from reconciler.errors import Severity
from reconciler.jsontext import JsonValue
from reconciler.template.fault import Source, TemplateFault, shown
from reconciler.template.syntax import Segment

if TYPE_CHECKING:
    from reconciler.template.helpers import Helper

Detail = Literal["index", "key", "first", "last"]


@dataclass(frozen=True, slots=True)
class Site:
    """The text that something stands in; for the text of a partial also its name and the tag that includes it."""

    source: Source
    name: str = ""
    tag: "Spot | None" = None


@dataclass(frozen=True, slots=True)
class Spot:
    """Some characters of a text."""

    site: Site
    start: int
    end: int

    @property
    def visible(self) -> "Spot":
        """The characters of the body itself: for those of a partial, the tag that includes it."""
        spot = self
        while spot.site.tag is not None:
            spot = spot.site.tag
        return spot

    @property
    def origin(self) -> str:
        """What a message says before the fact: which partial it is about, and where; empty for the body itself."""
        if self.site.tag is None:
            return ""
        line, column = self.site.source.locate(self.start)
        return f"in the partial {shown(self.site.name)} at {line}:{column}: "

    def fault(self, code: str, message: str, *, hint: str = "", severity: Severity = Severity.ERROR) -> TemplateFault:
        """The fault of these characters, placed where they are visible."""
        spot = self.visible
        message = f"{self.origin}{message}"
        return spot.site.source.fault(code, message, spot.start, spot.end, hint=hint, severity=severity)


# Variables: what a value can begin at


@dataclass(eq=False, slots=True)
class Context:
    """The value that a template, block or partial works on."""


@dataclass(eq=False, slots=True)
class Frame:
    """What `@index` and its kin mean inside a loop. `outer` is what `@../` leads to; `otherwise`, for a section, what
    they mean where it does not loop; `used` says which of them are wanted."""

    outer: "Frame | None"
    otherwise: "Frame | None" = None
    same_as: "Frame | None" = None
    is_section: bool = False
    used: set[Detail] = field(default_factory=set)

    def use(self, detail: Detail) -> None:
        """Say that a detail is wanted here, and wherever its value may come from."""
        self.used.add(detail)
        for frame in (self.otherwise, self.same_as):
            if frame is not None:
                frame.use(detail)


@dataclass(frozen=True, slots=True)
class LoopDetail:
    """`@index`, `@key`, `@first` or `@last` of a loop."""

    frame: Frame
    name: Detail


@dataclass(eq=False, slots=True)
class Scope:
    """The contexts that `../` climbs. A dynamic scope has a level of its own only where its context is another value
    than the one around it: that is what Handlebars does. `ancestors` are the variables that are needed for it."""

    context: "Variable"
    parent: "Scope | None" = None
    is_dynamic: bool = False
    ancestors: dict[int, "Ancestor"] = field(default_factory=dict)

    def climb(self, depth: int) -> "Variable | None":
        """The context `depth` levels up; None where there is none."""
        scope = self
        while depth and not scope.is_dynamic and scope.parent is not None:
            scope, depth = scope.parent, depth - 1
        if not depth:
            return scope.context
        if scope.parent is None:
            return None
        if depth not in scope.ancestors:
            scope.ancestors[depth] = Ancestor(scope.parent.climb(depth - 1), scope.parent.climb(depth))
        return scope.ancestors[depth]


@dataclass(eq=False, slots=True)
class Ancestor:
    """A context above a dynamic scope: one where the scope has a level of its own, the other where it has none."""

    with_level: "Variable | None"
    without_level: "Variable | None"


Variable = Context | LoopDetail | Ancestor

# Values


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    spot: Spot
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Look:
    """A path from a variable."""

    spot: Spot
    base: Variable
    segments: tuple[Segment, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the path."""
        return tuple(segment.name for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Nothing:
    """A path that leads out of what there is: null when rendered, and a fault for who checks."""

    spot: Spot
    fault: TemplateFault


@dataclass(frozen=True, slots=True)
class Apply:
    """A helper with its arguments."""

    spot: Spot
    helper: "Helper"
    arguments: tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """A partial's context: the fields of a value, and over them those given as hash arguments."""

    spot: Spot
    base: "Value"
    named: tuple[tuple[str, "Value"], ...]


Value = Constant | Look | Nothing | Apply | Merge

# Statements


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Statements in order."""

    site: Site
    statements: tuple["Statement", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Literal text. With `is_final`, the line feed that ends a partial's file; it is left out inside a JSON string."""

    spot: Spot
    text: str
    is_final: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Hole:
    """An expression whose value is written."""

    spot: Spot
    value: Value
    is_escaped: bool


@dataclass(frozen=True, slots=True, eq=False)
class SecretHole:
    """`${secret:name}`."""

    spot: Spot
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """`#if` and its kin. `zero_holds` is the value of `includeZero`: whether 0 counts as something."""

    spot: Spot
    label: str
    condition: Value
    zero_holds: Value | None
    then: Body
    otherwise: Body


@dataclass(frozen=True, slots=True, eq=False)
class With:
    """`#with`: another context, unless it is empty."""

    spot: Spot
    label: str
    value: Value
    scope: Scope
    then: Body
    otherwise: Body


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """`#each`; or a section `{{#x}}`, which loops over a list and else works like `#if` or `#with`."""

    spot: Spot
    label: str
    value: Value
    scope: Scope
    frame: Frame
    then: Body
    otherwise: Body

    @property
    def is_section(self) -> bool:
        """Whether the value decides if there is a loop at all."""
        return self.frame.is_section


@dataclass(eq=False, slots=True)
class Include:
    """A partial or the content of a partial block. Without a value it works on the context around it. `frame` is
    handed over to one that includes itself. The body is filled in once it is resolved."""

    spot: Spot
    label: str
    name: str
    value: Value | None
    scope: Scope
    indent: str
    body: Body
    is_alone: bool = False  # on its line
    frame: Frame | None = None
    outer_frame: Frame | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Again:
    """A partial inside itself; `frame` is the loop that it stands in."""

    spot: Spot
    target: Include
    value: Value
    indent: str
    frame: Frame | None


@dataclass(eq=False, slots=True)
class Choice:
    """`{{> (expression)}}`: the partial that a value names. `unfit` are those that cannot stand here in JSON."""

    spot: Spot
    label: str
    value: Value
    options: dict[str, "Include | Again"]
    otherwise: "Include | None"
    unfit: set[str] = field(default_factory=set)


Statement = Words | Hole | SecretHole | Branch | With | Loop | Include | Again | Choice
