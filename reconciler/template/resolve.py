"""The tree of a template into a program: names into variables, helpers into functions, blocks into what they do.

The meaning of each block is that of Handlebars 4.7; partials are put in by `Includer`. Called by `compile` and `check`;
never raises: what cannot be resolved is a fault, and nothing stands in its place.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from reconciler.template.fault import (
    ARGUMENTS,
    FAULTS_MAX,
    OUTSIDE,
    TOO_DEEP,
    TOO_LARGE,
    UNKNOWN_HELPER,
    HelperError,
    TemplateFault,
    shown,
)
from reconciler.template.helpers import BLOCKS, HELPERS, Helper, hint_for
from reconciler.template.include import Includer, Room
from reconciler.template.parse import BLOCK_DEPTH_MAX, Parsed
from reconciler.template.program import (
    Apply,
    Body,
    Branch,
    Constant,
    Context,
    Frame,
    Hole,
    Look,
    Loop,
    LoopDetail,
    Nothing,
    Scope,
    SecretHole,
    Site,
    Spot,
    Statement,
    Value,
    With,
    Words,
)
from reconciler.template.syntax import (
    Block,
    Call,
    Comment,
    Expression,
    Literal,
    Mustache,
    Partial,
    Path,
    Program,
    Secret,
    Text,
)

NODES_MAX: Final = 20_000  # statements with all partials put in: partials that include each other twice double
LOOP_DEPTH_MAX: Final = 16  # loops in loops: CPython compiles no more than twenty nested blocks

_DETAILS: Final = ("index", "key", "first", "last")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A program, whole where there are no faults."""

    body: Body
    faults: tuple[TemplateFault, ...]
    is_whole: bool  # whether no statement is left out


def resolve(parsed: Parsed, partials: Mapping[str, str], root: Context) -> Resolved:
    """The program of a template whose partials have these texts; `root` is the variable of the event."""
    resolver = Resolver(partials, root)
    site = Site(parsed.source)
    room = Room(site, Scope(root))
    body = resolver.body(parsed.program, room, outside=None)
    return Resolved(body, tuple(dict.fromkeys(resolver.faults)), resolver.is_whole)


class Resolver:
    """Resolves statements and values; what an expression means depends on the room it stands in."""

    def __init__(self, partials: Mapping[str, str], root: Context) -> None:
        self.root = root
        self.faults: list[TemplateFault] = []
        self.left = NODES_MAX
        self.is_whole = True
        self.includer = Includer(self, partials)

    def fault(self, spot: Spot, code: str, message: str, hint: str = "") -> None:
        """Report a fault, unless there are enough."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(spot.fault(code, message, hint=hint))

    # Statements

    def body(self, program: Program | None, room: Room, *, outside: Room | None) -> Body:
        """The statements of a program; `outside` is the room of the block that it belongs to."""
        if program is None:
            return Body(room.site, ())
        room = self.includer.with_inline(program, room, outside)
        statements: list[Statement] = []
        for node in program.body:
            self.left -= 1
            if self.left == 0:
                message = f"the template has more than {NODES_MAX:,} parts with its partials put in"
                self.fault(Spot(room.site, node.start, node.end), TOO_LARGE, message, "include fewer partials")
            if self.left <= 0:
                break
            found = self._statements(node, Spot(room.site, node.start, node.end), room)
            self.is_whole = self.is_whole and bool(found or _writes_nothing(node))
            statements += found
        return Body(room.site, tuple(statements))

    def _statements(
        self, node: Text | Secret | Comment | Mustache | Partial | Block, spot: Spot, room: Room
    ) -> Sequence[Statement]:
        # 1. text, 2. a secret, 3. a comment, 4. {{x}}, 5. {{> x}}, 6. {{#x}}
        if isinstance(node, Text):
            return (Words(spot, node.value),) if node.value else ()
        if isinstance(node, Secret):
            return (SecretHole(spot, node.name),)
        if isinstance(node, Comment) or not node.call.end:  # a call that could not be read has no characters
            return ()
        if isinstance(node, Mustache):
            return self._mustache(node, spot, room)
        if isinstance(node, Partial) or node.kind == "#>":
            return self.includer.include(node, spot, room)
        return self._block(node, spot, room)

    def _mustache(self, node: Mustache, spot: Spot, room: Room) -> Sequence[Statement]:
        path = node.call.path
        if node.is_decorator:
            self.fault(spot, UNKNOWN_HELPER, "there is no such decorator", 'only `{{#*inline "name"}}` is known')
            return ()
        if node.call.is_plain and path is not None:
            if path.simple_name in BLOCKS and path.simple_name not in room.names:
                self._block_only(path.simple_name, spot)
                return (Hole(spot, Constant(spot, None), node.is_escaped),)
            return (Hole(spot, self.look(path, room), node.is_escaped),)
        return (Hole(spot, self._apply(node.call, room), node.is_escaped),)

    def _block_only(self, name: str, spot: Spot) -> None:
        self.fault(spot, ARGUMENTS, f"`{name}` is a block", f"write `{{{{#{name} …}}}}…{{{{/{name}}}}}`")

    def _block(self, node: Block, spot: Spot, room: Room) -> Sequence[Statement]:
        if node.kind == "#*":
            return ()  # known to `with_inline`
        if room.depth >= BLOCK_DEPTH_MAX:
            self.fault(spot, TOO_DEEP, f"blocks and partials are nested deeper than {BLOCK_DEPTH_MAX} levels")
            return ()
        path = node.call.path
        name = path.simple_name if path and path.simple_name not in room.names else ""
        label = f"`{'#' if node.kind == '^' else node.kind}{shown(self._text(node.call.callee, spot))[1:-1]}`"
        head = replace(spot, end=node.end)
        inner = replace(room, depth=room.depth + 1)
        # 1. the blocks of Handlebars, 2. a helper that answers true or false, 3. an unknown name, 4. a section
        if name in BLOCKS:
            return self._known_block(name, node, head, label, inner)
        if not node.call.is_plain or path is None:
            helper = HELPERS.get(name)
            if helper is not None and helper.is_predicate:
                condition = self._apply(node.call, room)
                return (self._branch(node, condition, None, head, label, inner),)
            self._not_a_block(node.call, helper, head)
            return ()
        return (self._loop(node, self.look(path, room), head, label, inner, is_section=True),)

    def _not_a_block(self, call: Call, helper: Helper | None, spot: Spot) -> None:
        name = self._text(call.callee, spot)
        if helper is not None:
            hint = f"write `{{{{#with ({name} …)}}}}`"
            self.fault(spot, UNKNOWN_HELPER, f"`{name}` gives a value and is no block", hint)
            return
        hint = hint_for(name, is_block=True)
        self.fault(spot, UNKNOWN_HELPER, f"there is no such block: {shown(name)}", hint)

    def _known_block(self, name: str, node: Block, spot: Spot, label: str, room: Room) -> Sequence[Statement]:
        """`#if`, `#unless`, `#each`, `#with` and `raw`."""
        call = node.call
        wanted = 0 if name == "raw" else 1
        if len(call.params) != wanted:
            hint = f"write `{{{{#{name} value}}}}`" if wanted else "write `{{{{raw}}}}…{{{{/raw}}}}`"
            takes = "exactly one argument" if wanted else "no arguments"
            self.fault(spot, ARGUMENTS, f"{label} takes {takes}, not {len(call.params)}", hint)
            return ()
        known = ("includeZero",) if name in ("if", "unless") else ()
        for key, item in call.named:
            if key not in known:
                self._unknown_name(label, key, known, Spot(spot.site, item.start, item.end))
        if name == "raw":
            return self.body(node.program, room, outside=room).statements
        value = self.value(call.params[0], room)
        if name in ("if", "unless"):
            zero = next((self.value(item, room) for key, item in call.named if key == "includeZero"), None)
            is_negative = name == "unless"
            return (self._branch(node, value, zero, spot, label, room, is_negative=is_negative),)
        if name == "each":
            return (self._loop(node, value, spot, label, room, is_section=False),)
        return (self._with(node, value, spot, label, room),)

    def _unknown_name(self, label: str, key: str, known: Sequence[str], spot: Spot) -> None:
        close = [name for name in known if name.startswith(key)] or difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"it knows: {', '.join(known)}" if known else ""
        self.fault(spot, ARGUMENTS, f"{label} has no argument of this name: {shown(key)}", hint)

    def _branch(
        self,
        node: Block,
        condition: Value,
        zero: Value | None,
        spot: Spot,
        label: str,
        room: Room,
        *,
        is_negative: bool = False,
    ) -> Branch:
        then = self.body(node.program, room, outside=room)
        otherwise = self.body(node.inverse, room, outside=room)
        if is_negative:
            then, otherwise = otherwise, then
        return Branch(spot, label, condition, zero, then, otherwise)

    def _with(self, node: Block, value: Value, spot: Spot, label: str, room: Room) -> With:
        scope = _enter(value, room.scope)
        names = dict(zip(self._block_params(node), (scope.context,), strict=False))
        inner = replace(room, scope=scope, names={**room.names, **names})
        then = self.body(node.program, inner, outside=room)
        return With(spot, label, value, scope, then, self.body(node.inverse, room, outside=room))

    def _loop(self, node: Block, value: Value, spot: Spot, label: str, room: Room, *, is_section: bool) -> Loop:
        if room.loops >= LOOP_DEPTH_MAX:
            self.fault(spot, TOO_DEEP, f"loops are nested deeper than {LOOP_DEPTH_MAX} levels")
        frame = Frame(room.frame, room.frame if is_section else None, is_section=is_section)
        is_child = isinstance(value, Look) and value.base is room.scope.context and not is_section
        scope = Scope(Context(), room.scope, is_dynamic=not is_child)
        params = self._block_params(node)
        names = dict(zip(params, (scope.context, LoopDetail(frame, "key")), strict=False))
        if len(params) > 1:
            frame.use("key")
        inner = replace(room, scope=scope, frame=frame, names={**room.names, **names}, loops=room.loops + 1)
        then = self.body(node.program, inner, outside=room)
        otherwise = self.body(node.inverse, room, outside=room)
        return Loop(spot, label, value, scope, frame, then, otherwise)

    @staticmethod
    def _block_params(node: Block) -> tuple[str, ...]:
        program = node.inverse if node.kind == "^" else node.program
        return program.block_params if program else ()

    @staticmethod
    def _text(callee: Expression, spot: Spot) -> str:
        return spot.site.source.text[callee.start : callee.end]

    # Values

    def value(self, expression: Expression, room: Room) -> Value:
        """An argument."""
        if isinstance(expression, Literal):
            return Constant(Spot(room.site, expression.start, expression.end), expression.value)
        return self._apply(expression, room) if isinstance(expression, Call) else self.look(expression, room)

    def look(self, path: Path, room: Room) -> Value:
        """A path, from where it begins: loop details and the root, a block parameter, or a context."""
        spot = Spot(room.site, path.start, path.end)
        if path.is_data:
            return self._data(path, spot, room)
        first = path.segments[0].name if path.segments else ""
        if not path.is_scoped and first in room.names:
            return Look(spot, room.names[first], path.segments[1:])
        context = room.scope.climb(path.depth)
        if context is None:
            text = shown(self._text(path, spot))
            hint = "inside a partial, only what it is given can be reached" if spot.site.tag else ""
            return Nothing(spot, spot.fault(OUTSIDE, f"{text} leads above everything there is", hint=hint))
        return Look(spot, context, path.segments)

    def _data(self, path: Path, spot: Spot, room: Room) -> Value:
        name, rest = (path.segments[0].name, path.segments[1:]) if path.segments else ("", ())
        frame, climbs = room.frame, path.depth
        while climbs and frame is not None:
            frame, climbs = frame.outer, climbs - 1
        text = shown(self._text(path, spot))
        if name == "root" and not climbs:
            return Look(spot, self.root, rest)
        if name not in (*_DETAILS, "root"):
            close = difflib.get_close_matches(name, (*_DETAILS, "root"), n=1)
            hint = f"did you mean `@{close[0]}`?" if close else "there are @root, @index, @key, @first and @last"
            return Nothing(spot, spot.fault(UNKNOWN_HELPER, f"there is no such variable: {text}", hint=hint))
        if frame is None:
            hint = "it has a value inside `{{#each …}}` only"
            return Nothing(spot, spot.fault(OUTSIDE, f"{text} stands outside a loop", hint=hint))
        detail = next(item for item in _DETAILS if item == name)
        frame.use(detail)
        return Look(spot, LoopDetail(frame, detail), rest)

    def _apply(self, call: Call, room: Room) -> Value:
        """A helper with its arguments."""
        spot, path = Spot(room.site, call.start, call.end), call.path
        name = path.simple_name if path and path.simple_name not in room.names else ""
        helper = HELPERS.get(name)
        if helper is None:
            text = self._text(call.callee, spot)
            # 1. a block, 2. a field with arguments, 3. an unknown helper
            if name in BLOCKS:
                self._block_only(name, spot)
            elif not name:
                hint = "a field takes no arguments"
                self.fault(spot, UNKNOWN_HELPER, f"there is no such helper: {shown(text)}", hint)
            else:
                hint = hint_for(name, is_block=False)
                self.fault(spot, UNKNOWN_HELPER, f"there is no such helper: {shown(text)}", hint)
            return Constant(spot, None)
        return Apply(spot, helper, self._arguments(call, helper, spot, room))

    def _arguments(self, call: Call, helper: Helper, spot: Spot, room: Room) -> tuple[Value, ...]:
        """The arguments in the order of the helper's parameters."""
        values = [self.value(param, room) for param in call.params]
        named = {key: self.value(value, room) for key, value in call.named}
        for key, value in named.items():
            if key not in helper.names:
                self._unknown_name(f"`{helper.name}`", key, helper.names, value.spot)
        if len(values) > len(helper.names) and not helper.is_variadic:
            message = f"`{helper.name}` takes at most {len(helper.names)} arguments, not {len(values)}"
            self.fault(spot, ARGUMENTS, message, f"write `{helper.usage}`")
            return ()
        for index, name in list(enumerate(helper.names))[len(values) :]:
            if name in named:
                values.append(named[name])
            elif index < helper.required:
                message = f"`{helper.name}` needs `{name}`"
                self.fault(spot, ARGUMENTS, message, f"write `{helper.usage}`")
                return ()
            else:
                values.append(Constant(spot, helper.parameters[index].default))
        for name, value in zip(helper.names, values, strict=False):
            self._judge(helper, name, value)
        return tuple(values)

    def _judge(self, helper: Helper, name: str, value: Value) -> None:
        """Refuse a literal argument that the helper can do nothing with."""
        judge = helper.judges.get(name)
        if judge is None or not isinstance(value, Constant):
            return
        try:
            judge(value.value)
        except HelperError as exc:
            self.fault(value.spot, ARGUMENTS, f"`{helper.name}`: {exc}", f"write `{helper.usage}`")


def _enter(value: Value, scope: Scope) -> Scope:
    """The scope of `#with` on a value. Handlebars makes no new level for the context that is there already."""
    if isinstance(value, Look) and value.base is scope.context:
        return Scope(Context(), scope) if value.segments else scope
    return Scope(Context(), scope, is_dynamic=True)


def _writes_nothing(node: Text | Secret | Comment | Mustache | Partial | Block) -> bool:
    """Whether there is nothing to write where the statement stands."""
    if isinstance(node, Text):
        return not node.value
    return isinstance(node, Comment) or (isinstance(node, Block) and node.kind in ("#*", "{{{{"))
