"""Partials into the program of the template that includes them: files, inline partials, and the content of blocks.

As in Handlebars 4.7, whatever is defined in a block is known to all that the block includes; an inline partial sees the
contexts around its definition, a file only what it is given. Part of `resolve`.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from reconciler.template.fault import ARGUMENTS, TOO_DEEP, UNKNOWN_HELPER, UNKNOWN_PARTIAL, Source, shown
from reconciler.template.parse import BLOCK_DEPTH_MAX, Parsed, parse
from reconciler.template.program import (
    Again,
    Body,
    Choice,
    Context,
    Frame,
    Include,
    Look,
    Merge,
    Scope,
    Site,
    Spot,
    Statement,
    Value,
    Variable,
    Words,
)
from reconciler.template.syntax import Block, Call, Literal, Partial, Path, Program

if TYPE_CHECKING:
    from reconciler.template.resolve import Resolver

INCLUDE_DEPTH_MAX: Final = 32  # partials in partials
_CONTENT: Final = "@partial-block"


@dataclass(frozen=True, slots=True)
class Definition:
    """An inline partial, or the content of a partial block: a program with the surroundings it was written in."""

    name: str
    program: Program
    site: Site
    scope: Scope | None
    names: Mapping[str, Variable]
    partials: Mapping[str, "Definition"] | None = None  # None: those that are known where it is included
    content: "Definition | None" = None


@dataclass(frozen=True, slots=True)
class Tag:
    """The tag of a partial: what the partial works on, the content between the tags of a partial block, and the line
    that the tag has to itself."""

    spot: Spot
    value: Value | None = None
    block: Definition | None = None
    indent: str = ""
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """Where a statement stands: the text, the contexts, the block parameters, the loop, the partials that are defined
    around it, what `@partial-block` means, and how deep it is."""

    site: Site
    scope: Scope
    names: Mapping[str, Variable] = field(default_factory=dict)
    frame: Frame | None = None
    partials: Mapping[str, Definition] = field(default_factory=dict)
    content: Definition | None = None
    depth: int = 0
    loops: int = 0
    includes: tuple[tuple[Program, Include], ...] = ()


class Includer:
    """Puts partials in, for one template."""

    def __init__(self, resolver: "Resolver", texts: Mapping[str, str]) -> None:
        self.resolver = resolver
        self.texts = texts
        self._parsed: dict[str, Parsed] = {}
        self._reported: set[str] = set()
        self._recursive: dict[int, bool] = {}  # by the identity of a program, which the tree keeps alive

    def with_inline(self, program: Program, room: Room, outside: Room | None) -> Room:
        """The room of a program with the inline partials that it defines, wherever in it they stand."""
        defined = dict(self._inline(program, room, outside))
        return replace(room, partials={**room.partials, **defined}) if defined else room

    def _inline(self, program: Program, room: Room, outside: Room | None) -> Iterator[tuple[str, Definition]]:
        for node in program.body:
            if not isinstance(node, Block) or node.kind != "#*" or not node.call.end:
                continue
            spot = Spot(room.site, node.start, node.end)
            path, params = node.call.path, node.call.params
            if path is None or path.simple_name != "inline":
                hint = 'only `{{#*inline "name"}}` is known'
                self.resolver.fault(spot, UNKNOWN_HELPER, "there is no such decorator", hint)
            elif len(params) != 1 or node.call.named or not isinstance(params[0], Literal):
                hint = 'write `{{#*inline "name"}}`'
                self.resolver.fault(spot, ARGUMENTS, "an inline partial has one name, in quotes", hint)
            else:
                name = params[0].field_name
                scope = outside.scope if outside is not None else None
                yield name, Definition(name, node.program or Program(()), room.site, scope, room.names)

    def include(self, node: Partial | Block, spot: Spot, room: Room) -> Sequence[Statement]:
        """The statement of `{{> name context key=value}}`, or of a partial block with its content."""
        call = node.call
        if len(call.params) > 1:
            message = f"a partial takes one context, not {len(call.params)}"
            self.resolver.fault(spot, ARGUMENTS, message, "give more values by name: `{{> name key=value}}`")
            return ()
        if len(room.includes) >= INCLUDE_DEPTH_MAX or room.depth >= BLOCK_DEPTH_MAX:
            limits = f"{INCLUDE_DEPTH_MAX} levels, or with blocks than {BLOCK_DEPTH_MAX}"
            self.resolver.fault(spot, TOO_DEEP, f"partials are nested deeper than {limits}")
            return ()
        value = self._context(call, spot, room)
        if isinstance(node, Partial):
            tag = Tag(spot, value, None, node.indent, node.is_alone)
        else:
            tag = Tag(spot, value, self._content(node.program or Program(()), room))
        inner = replace(room, depth=room.depth + 1)
        if isinstance(call.callee, Call):
            return (self._choice(call.callee, tag, replace(room, depth=room.depth + 2)),)
        name = name_of(call.callee, room.site.source)
        definition = self._find(name, inner, spot) or tag.block
        if definition is None:
            self._unknown(name, spot, room)
            return ()
        return (self._enter(definition, tag, inner),)

    def _context(self, call: Call, spot: Spot, room: Room) -> Value | None:
        """What the partial works on; None for the context that is there."""
        value = self.resolver.value(call.params[0], room) if call.params else None
        if not call.named:
            return value
        named = tuple((key, self.resolver.value(item, room)) for key, item in call.named)
        return Merge(spot, value or Look(spot, room.scope.context), named)

    @staticmethod
    def _content(program: Program, room: Room) -> Definition:
        return Definition(_CONTENT, program, room.site, room.scope, room.names, room.partials, room.content)

    def _find(self, name: str, room: Room, spot: Spot) -> Definition | None:
        """The partial of a name, if there is one."""
        if name == _CONTENT:
            return room.content
        if name in room.partials:
            return room.partials[name]
        if name not in self.texts:
            return None
        parsed = self._file(name)
        for fault in parsed.faults if name not in self._reported else ():
            message = f"in the partial {shown(name)} at {fault.line}:{fault.column}: {fault.message}"
            self.resolver.fault(spot, fault.code, message, fault.hint)
        self._reported.add(name)
        return Definition(name, parsed.program, Site(parsed.source, name, spot), None, {})

    def _file(self, name: str) -> Parsed:
        if name not in self._parsed:
            self._parsed[name] = parse(self.texts[name])
        return self._parsed[name]

    def _unknown(self, name: str, spot: Spot, room: Room) -> None:
        known = sorted({*self.texts, *room.partials})
        close = difflib.get_close_matches(name, known, n=1)
        # 1. the content of a block, 2. a similar name, 3. other names, 4. none
        if name == _CONTENT:
            hint = "it has a meaning inside a partial that is included as a block: `{{#> name}}…{{/name}}`"
        elif close:
            hint = f"did you mean `{close[0]}`?"
        else:
            hint = f"the partials are: {', '.join(known)}" if known else "there are no partials"
        self.resolver.fault(spot, UNKNOWN_PARTIAL, f"no such partial: {shown(name)}", hint)

    def _choice(self, callee: Call, tag: Tag, room: Room) -> Choice:
        """A partial whose name is a value: any that is known may be meant."""
        label = f"`>{shown(room.site.source.text[callee.start : callee.end])[1:-1]}`"
        options: dict[str, Include | Again] = {}
        for name in sorted({*self.texts, *room.partials}):
            definition = self._find(name, room, tag.spot)
            if definition is not None:
                options[name] = self._enter(definition, tag, room)
        fallback = self._enter(tag.block, tag, room) if tag.block is not None else None
        assert not isinstance(fallback, Again)  # content is no partial that could include itself
        return Choice(tag.spot, label, self.resolver.value(callee, room), options, fallback)

    def _enter(self, definition: Definition, tag: Tag, room: Room) -> Include | Again:
        """A definition at this place."""
        spot, value, block, program = tag.spot, tag.value, tag.block, definition.program
        for known, include in room.includes:
            if known is program and include.frame is not None:
                return Again(spot, include, value or Look(spot, room.scope.context), tag.indent, room.frame)
        is_content = definition.name == _CONTENT
        is_recursive = not is_content and self._may_include_itself(definition, room)
        if is_recursive and value is None:
            value = Look(spot, room.scope.context)
        scope = _scope(room.scope.context if value is None else Context(), definition)
        frame = room.frame
        for _ in range(is_content + (block is not None)):
            frame = Frame(frame, same_as=frame) if frame is not None else None
        label = f"`>{shown(definition.name)[1:-1]}`"
        include = Include(spot, label, definition.name, value, scope, tag.indent, Body(room.site, ()), tag.is_alone)
        if is_recursive:
            include.outer_frame, include.frame = frame, Frame(None)
            frame = include.frame
        inner = Room(
            site=definition.site,
            scope=scope,
            names=definition.names,
            frame=frame,
            partials=room.partials if definition.partials is None else definition.partials,
            content=definition.content if is_content else block or room.content,
            depth=room.depth,
            loops=room.loops,
            includes=(*room.includes, (program, include)),
        )
        if block is not None and block is not definition:
            inner = replace(inner, partials={**inner.partials, **self._handed_over(block, inner)})
        outside = replace(inner, scope=definition.scope) if definition.scope is not None else None
        body = self.resolver.body(program, inner, outside=outside)
        include.body = _with_final_line_feed(body) if definition.site.name == definition.name else body
        return include

    def _handed_over(self, block: Definition, room: Room) -> Mapping[str, Definition]:
        """The inline partials that the content of a partial block defines for the partial."""
        assert block.scope is not None  # content stands in a template
        there = replace(room, scope=block.scope, names=block.names, site=block.site)
        return dict(self._inline(block.program, there, there))

    def _may_include_itself(self, definition: Definition, room: Room) -> bool:
        known = self._recursive.get(id(definition.program))
        if known is None:
            known = self._recursive[id(definition.program)] = self._is_recursive(definition, room)
        return known

    def _is_recursive(self, definition: Definition, room: Room) -> bool:
        """Whether a partial may include itself, by way of others too; a name that is a value may be any."""
        waiting, seen = list(_names_in(definition.site.source, definition.program)), set[str]()
        while waiting:
            name = waiting.pop()
            names = {*self.texts, *room.partials} if name is None else {name}
            if definition.name in names:
                return True
            for item in names - seen:
                seen.add(item)
                if item in room.partials:
                    waiting += _names_in(room.partials[item].site.source, room.partials[item].program)
                elif item in self.texts:
                    waiting += included_names(self.texts[item])
        return False


def _with_final_line_feed(body: Body) -> Body:
    """The body of a partial's file, the line feed at its end apart."""
    last = body.statements[-1] if body.statements else None
    if not isinstance(last, Words) or not last.text.endswith("\n"):
        return body
    end = last.spot.end
    rest = Words(replace(last.spot, end=end - 1), last.text[:-1])
    final = Words(replace(last.spot, start=end - 1), "\n", is_final=True)
    return Body(body.site, (*body.statements[:-1], rest, final))


def _scope(context: Variable, definition: Definition) -> Scope:
    """The contexts that a definition sees: for a file only its own."""
    outer = definition.scope
    if outer is None:
        return Scope(context)
    return outer if outer.context is context else Scope(context, outer, is_dynamic=True)


def name_of(callee: Path | Literal, source: Source) -> str:
    """The name of a partial as it is looked up: `a/b` and `[a b]` without brackets."""
    if isinstance(callee, Literal):
        return callee.field_name
    text, end = source.text, callee.start
    name = "@" if callee.is_data else ""
    for index, segment in enumerate(callee.segments):
        between = text[end : segment.start]
        name += (between.strip() if index or callee.is_scoped else "") + segment.name
        end = segment.end
    return name or text[callee.start : callee.end]


def included_names(text: str) -> tuple[str | None, ...]:
    """The names of the partials that a template includes; None for one that is a value."""
    parsed = parse(text)
    return tuple(_names_in(parsed.source, parsed.program))


def _names_in(source: Source, program: Program) -> Iterator[str | None]:
    for node in program.body:
        if isinstance(node, Partial) or (isinstance(node, Block) and node.kind == "#>"):
            callee = node.call.callee
            yield None if isinstance(callee, Call) else name_of(callee, source)
        if isinstance(node, Block):
            for branch in (node.program, node.inverse):
                if branch is not None:
                    yield from _names_in(source, branch)
