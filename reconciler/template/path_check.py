"""The paths of a template against the schema of its events: through blocks, partials, block parameters and `../`.

Part of `check`. What a value may be is known for every variable of the program, so that a field is looked for where it
is looked up when the template is rendered.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Final

from reconciler.errors import Severity
from reconciler.template.fault import (
    LIST_WITHOUT_INDEX,
    NEWER_FIELD,
    NOT_A_LIST,
    NOT_AN_OBJECT,
    UNKNOWN_FIELD,
    TemplateFault,
    shown,
)
from reconciler.template.helpers import HELPERS
from reconciler.template.lookup import is_index
from reconciler.template.program import (
    Again,
    Ancestor,
    Apply,
    Body,
    Branch,
    Choice,
    Constant,
    Context,
    Hole,
    Include,
    Look,
    Loop,
    LoopDetail,
    Merge,
    Nothing,
    Spot,
    Statement,
    Value,
    Variable,
    With,
)
from reconciler.template.shape import (
    ANYTHING,
    BOOLEAN,
    NUMBER,
    TEXT,
    Schema,
    Shape,
    alternatives,
    distinct,
    items_of,
    kinds,
    step,
)
from reconciler.template.syntax import Segment

_EVENT: Final = "the event"
_SINCE: Final = "x-since"  # in the schema: the year of the payload revision that brought the field

Guard = tuple[Variable, tuple[str, ...]]


def path_faults(body: Body, root: Context, schema: Schema) -> Iterator[TemplateFault]:
    """The faults of all paths of a program, in the order of its statements."""
    walker = _Walker(root, schema)
    walker.body(body, frozenset())
    yield from walker.faults


class _Walker:
    """Goes through the statements; `shapes` says what each variable may be, `labels` how a message calls it."""

    def __init__(self, root: Context, schema: Schema) -> None:
        self.root = root
        self.schema = schema
        self.faults: list[TemplateFault] = []
        self.shapes: dict[Variable, Shape] = {root: alternatives(schema, schema)}
        self.labels: dict[Variable, str] = {root: _EVENT}

    def body(self, body: Body, guards: frozenset[Guard]) -> None:
        for statement in body.statements:
            self._statement(statement, guards)

    def _statement(self, statement: Statement, guards: frozenset[Guard]) -> None:
        match statement:
            case Hole():
                self._shape(statement.value)
                self._check_age(statement.value, guards)
            case Branch():
                self._branch(statement, guards)
            case With():
                self._with(statement, guards)
            case Loop():
                self._loop(statement, guards)
            case Include():
                self._include(statement, guards)
            case Again():
                self._shape(statement.value)
            case Choice():
                self._shape(statement.value)
                for option in (*statement.options.values(), statement.otherwise):
                    if isinstance(option, Include):
                        self._include(option, guards)

    def _branch(self, branch: Branch, guards: frozenset[Guard]) -> None:
        self._shape(branch.condition)
        if branch.zero_holds is not None:
            self._shape(branch.zero_holds)
        known = guards | frozenset(_guards_of(branch.condition))
        self.body(branch.then, known)
        self.body(branch.otherwise, known)  # whoever asks knows that the field may be missing

    def _with(self, block: With, guards: frozenset[Guard]) -> None:
        shape = self._shape(block.value)
        if block.scope.context not in self.shapes:
            self._name(block.scope.context, shape, _text_of(block.value))
        self.body(block.then, guards | frozenset(_guards_of(block.value)))
        self.body(block.otherwise, guards)

    def _loop(self, loop: Loop, guards: frozenset[Guard]) -> None:
        shape = self._shape(loop.value)
        items = items_of(shape, self.schema)
        is_list = any(kinds(schema) & {"array", "object"} for schema in shape)
        label = _text_of(loop.value)
        if loop.is_section:
            others = [schema for schema in shape if kinds(schema) != {"array"}]
            around = loop.scope.parent.context if loop.scope.parent is not None else self.root
            flags = self._of(around) if any("boolean" in kinds(schema) for schema in shape) else []
            self._name(loop.scope.context, distinct([*_lists(shape, self.schema), *others, *flags]), label)
        else:
            if shape and not is_list:
                message = f"{label} is a {_kinds_text(shape)}: {loop.label} needs a list or an object"
                self.faults.append(loop.value.spot.fault(NOT_A_LIST, message, hint="name a list of the event"))
            self._name(loop.scope.context, items, f"an item of {label}")
        known = guards | frozenset(_guards_of(loop.value))
        self.body(loop.then, known)
        self.body(loop.otherwise, known)

    def _include(self, include: Include, guards: frozenset[Guard]) -> None:
        if include.value is not None:
            shape = self._shape(include.value)
            if include.frame is not None:
                shape = ANYTHING  # it may include itself with something else
            self._name(include.scope.context, shape, _text_of(include.value))
        self.body(include.body, guards)

    def _name(self, variable: Variable, shape: Shape, label: str) -> None:
        self.shapes[variable] = shape
        self.labels[variable] = label

    # Values

    def _shape(self, value: Value) -> Shape:
        """What a value may be; the faults of its paths are noted."""
        match value:
            case Constant():
                return _of_constant(value)
            case Nothing():
                self.faults.append(value.fault)
                return ANYTHING
            case Look():
                return self._follow(value.spot, value.base, value.segments)
            case Merge():
                return self._merged(value)
            case Apply():
                return self._applied(value, [self._shape(argument) for argument in value.arguments])

    def _merged(self, value: Merge) -> Shape:
        fields = {key: {"anyOf": self._shape(item)} for key, item in value.named}
        return [
            {**schema, "properties": {**(schema.get("properties") or {}), **fields}}
            if "properties" in schema or not schema
            else {"type": "object", "properties": fields}
            for schema in self._shape(value.base) or ANYTHING
        ]

    def _applied(self, value: Apply, arguments: Sequence[Shape]) -> Shape:
        """What a helper gives."""
        first = arguments[0] if arguments else ANYTHING
        # 1. always of one kind, 2. an item, 3. one of its arguments, 4. and 5. what a literal path finds
        match value.helper.result:
            case "boolean":
                return BOOLEAN
            case "text":
                return TEXT
            case "number":
                return NUMBER
            case "item":
                return _lists(first, self.schema) or ANYTHING
            case "choice":
                return distinct(schema for shape in arguments for schema in shape)
            case _:
                return self._found_by_literal(value, first)

    def _found_by_literal(self, value: Apply, shape: Shape) -> Shape:
        """What `lookup value "key"` and `pluck list "a.b"` find."""
        key = value.arguments[1] if len(value.arguments) > 1 else None
        if not isinstance(key, Constant) or not isinstance(key.value, str):
            return ANYTHING
        is_pluck = value.helper.result == "items"
        names = key.value.split(".") if is_pluck else [key.value]
        here = Context()
        label = _text_of(value.arguments[0])
        self._name(
            here, items_of(shape, self.schema) if is_pluck else shape, f"an item of {label}" if is_pluck else label
        )
        segments = tuple(Segment(name, key.spot.start, key.spot.end) for name in names)
        found = self._follow(key.spot, here, segments)
        return [{"type": "array", "items": {"anyOf": found}}] if is_pluck else found

    def _of(self, variable: Variable) -> Shape:
        """What a variable may be."""
        if isinstance(variable, LoopDetail):
            return {"index": NUMBER, "key": ANYTHING, "first": BOOLEAN, "last": BOOLEAN}[variable.name]
        if isinstance(variable, Ancestor):
            levels = (variable.with_level, variable.without_level)
            return distinct(schema for level in levels if level is not None for schema in self._of(level))
        return self.shapes.get(variable, ANYTHING)

    def _label(self, variable: Variable) -> str:
        if isinstance(variable, Ancestor) and variable.with_level is not None:
            return self._label(variable.with_level)
        return self.labels.get(variable, "the value")

    def _follow(self, spot: Spot, base: Variable, segments: tuple[Segment, ...]) -> Shape:
        """What a path leads to; the first name that the schema does not have is noted."""
        here = self._of(base)
        for index, segment in enumerate(segments):
            following = [target for kind in here if (target := step(kind, segment.name)) is not None]
            if not following:
                if here:
                    self.faults.append(self._describe(spot, base, segments[: index + 1], here))
                return ANYTHING
            here = [deeper for target in following for deeper in alternatives(target, self.schema)]
        return here

    def _describe(self, spot: Spot, base: Variable, segments: tuple[Segment, ...], here: Shape) -> TemplateFault:
        """Why no alternative has the last of these names."""
        *walked, segment = segments
        parent = _spelling([item.name for item in walked])
        what = shown(parent) if parent else self._label(base)
        spot = Spot(spot.site, segment.start, segment.end)
        names = sorted({name for schema in here for name in schema.get("properties") or ()})
        path = parent or "this"
        # 1. an object with other fields, 2. a list, 3. text or a number
        if names:
            message = f"{what} has no field {shown(segment.name)}"
            return spot.fault(UNKNOWN_FIELD, message, hint=self._meant(base, segments, names))
        if any("array" in kinds(schema) for schema in here):
            message = f"{what} is a list: {shown(segment.name)} needs the index of an element before it"
            return spot.fault(LIST_WITHOUT_INDEX, message, hint=f"write {shown(f'{path}.[0].{segment.name}')}")
        message = f"{what} is a {_kinds_text(here)}: it has no field {shown(segment.name)}"
        return spot.fault(NOT_AN_OBJECT, message, hint=f"write {shown(f'{{{{{path}}}}}')}")

    def _meant(self, base: Variable, segments: tuple[Segment, ...], names: list[str]) -> str:
        """Which field was meant."""
        *walked, segment = segments
        close = difflib.get_close_matches(segment.name, names, n=1)
        # 1. a similar name, 2. a field of the event from inside a block, 3. a helper without arguments, 4. unknown
        if close:
            return f"did you mean `{close[0]}`?"
        is_of_event = any(step(schema, segment.name) is not None for schema in self.shapes[self.root])
        if not walked and base is not self.root and is_of_event:
            return f"the event has it: write `@root.{segment.name}`"
        if not walked and segment.name in HELPERS:
            return f"`{segment.name}` is a helper: write {shown(f'{{{{{HELPERS[segment.name].usage}}}}}')}"
        return f"its fields are: {', '.join(names)}"

    # Fields that older payloads lack

    def _check_age(self, value: Value, guards: frozenset[Guard]) -> None:
        """Warn of what is written and may be missing because of the payload's age, unless the template asks first."""
        if isinstance(value, Look):
            self._check_age_of_path(value, guards)
        elif isinstance(value, Apply) and not value.helper.is_predicate:
            arguments = value.arguments[-1:] if value.helper.result == "choice" else value.arguments
            for argument in arguments:
                self._check_age(argument, guards)

    def _check_age_of_path(self, look: Look, guards: frozenset[Guard]) -> None:
        here = self._of(look.base)
        names = look.names
        for index, segment in enumerate(look.segments):
            following = [target for kind in here if (target := step(kind, segment.name)) is not None]
            since = next((target[_SINCE] for target in following if _SINCE in target), None)
            if since is not None and not any(
                (look.base, names[:end]) in guards for end in range(index + 1, len(names) + 1)
            ):
                path = _spelling(list(names[: index + 1]))
                message = f"{shown(path)} is missing from payloads before {since}"
                hint = f"ask first: {shown(f'{{{{#if {path}}}}}')}; or give another value: {shown('{{default …}}')}"
                spot = Spot(look.spot.site, segment.start, segment.end)
                self.faults.append(spot.fault(NEWER_FIELD, message, hint=hint, severity=Severity.WARNING))
                return
            here = [deeper for target in following for deeper in alternatives(target, self.schema)]


def _guards_of(value: Value) -> Iterator[Guard]:
    """The paths that a condition asks for."""
    if isinstance(value, Look):
        yield value.base, value.names
    elif isinstance(value, Apply):
        for argument in value.arguments:
            yield from _guards_of(argument)


def _lists(shape: Shape, root: Schema) -> Shape:
    """What the items of a value may be where it is a list."""
    return items_of([{**schema, "type": "array"} for schema in shape if "array" in kinds(schema)], root)


def _of_constant(value: Constant) -> Shape:
    if isinstance(value.value, bool):
        return BOOLEAN
    if isinstance(value.value, str):
        return TEXT
    return [] if value.value is None else NUMBER


def _kinds_text(shape: Shape) -> str:
    return " or ".join(sorted({kind for schema in shape for kind in kinds(schema)} - {"null"}))


def _text_of(value: Value) -> str:
    """A value as the template writes it."""
    spot = value.spot
    return shown(spot.site.source.text[spot.start : spot.end])


def _spelling(names: Sequence[str]) -> str:
    """A path as a template spells it: `data.access_groups.[0].name`."""
    return ".".join(f"[{name}]" if is_index(name) else name for name in names)
