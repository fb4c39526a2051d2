"""Chunks and tokens into the tree of `syntax`, with every syntax fault of the text at once.

The grammar is Handlebars 4.7's. A tag that cannot be read is reported and left out, so that the rest is still judged.
Called by `compile` and `check`; never raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from reconciler.template import whitespace
from reconciler.template.expression import Tag, Unreadable
from reconciler.template.fault import (
    FAULTS_MAX,
    SHOWN_MAX_CHARS,
    SYNTAX,
    TOO_DEEP,
    TOO_LARGE,
    Source,
    TemplateFault,
    shown,
)
from reconciler.template.syntax import (
    NO_STRIP,
    Block,
    Call,
    Comment,
    Literal,
    Mustache,
    Partial,
    Path,
    Program,
    Secret,
    Statement,
    Strip,
    Text,
)
from reconciler.template.tokenize import Chunk, ChunkKind, TokenKind, tokenize

SOURCE_MAX_CHARS: Final = 65_536  # a body template of 64 KiB is a program; ours are a screenful
BLOCK_DEPTH_MAX: Final = 64  # blocks in blocks, links of an `else` chain included

_BLOCK_SIGNS: Final = {
    ChunkKind.BLOCK: "#",
    ChunkKind.INVERSE_BLOCK: "^",
    ChunkKind.DECORATOR_BLOCK: "#*",
    ChunkKind.PARTIAL_BLOCK: "#>",
    ChunkKind.RAW_BLOCK: "{{{{",
}
_ENDS: Final = frozenset({ChunkKind.END_BLOCK, ChunkKind.ELSE, ChunkKind.ELSE_CHAIN, ChunkKind.END_RAW_BLOCK})
_UNREADABLE: Final = Call(0, 0, Path(0, 0, ()))  # stands for the head of a tag that has been reported


@dataclass(frozen=True, slots=True)
class Parsed:
    """A template's tree, and what is wrong with its syntax; the tree is whole only where nothing is."""

    source: Source
    program: Program
    faults: tuple[TemplateFault, ...]


@lru_cache(maxsize=64)  # judging, compiling and asking for effect follow one another; trees are large
def parse(text: str) -> Parsed:
    """The tree of a template."""
    source = Source(text)
    if len(text) > SOURCE_MAX_CHARS:
        message = f"the template has {len(text):,} characters; at most {SOURCE_MAX_CHARS:,} are allowed"
        return Parsed(source, Program(()), (source.fault(TOO_LARGE, message, 0, 1),))
    surrogate = next((index for index, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)
    if surrogate is not None:
        fault = source.fault(SYNTAX, "a lone surrogate is not text", surrogate, surrogate + 1)
        return Parsed(source, Program(()), (fault,))
    chunks, faults = tokenize(source)
    parser = _Parser(source, chunks, faults)
    program = parser.root()
    faults = sorted(parser.faults, key=lambda fault: (fault.line, fault.column))
    return Parsed(source, program, tuple(faults[:FAULTS_MAX]))


class _Parser:
    """Statements and blocks; what stands inside a tag is read by `Tag`."""

    def __init__(self, source: Source, chunks: Sequence[Chunk], faults: list[TemplateFault]) -> None:
        self.source = source
        self.chunks = chunks
        self.faults = faults
        self.index = 0

    def root(self) -> Program:
        body: list[Statement] = []
        while self.index < len(self.chunks):
            body += self._statements(0)
            if self.index < len(self.chunks):
                self._stray(self.chunks[self.index])
                self.index += 1
        program = Program(tuple(body))
        whitespace.control(program, is_root=True)
        return program

    def _fault(self, chunk: Chunk, message: str, hint: str = "", code: str = SYNTAX) -> None:
        self.faults.append(self.source.fault(code, message, chunk.start, chunk.end, hint=hint))

    def _stray(self, chunk: Chunk) -> None:
        """A closing tag or an `else` without its block."""
        text = shown(self.source.text[chunk.start : chunk.end])
        if chunk.kind is ChunkKind.END_BLOCK:
            self._fault(chunk, f"{text} closes a block that was not opened", "remove it, or open the block before it")
        else:
            self._fault(chunk, f"{text} stands outside a block", "`else` belongs into a block such as `{{#if …}}`")

    def _statements(self, depth: int) -> list[Statement]:
        """Statements up to the end of the text, of the block, or of the block's branch."""
        body: list[Statement] = []
        while self.index < len(self.chunks) and self.chunks[self.index].kind not in _ENDS:
            chunk = self.chunks[self.index]
            self.index += 1
            if chunk.kind is ChunkKind.TEXT:
                body.append(Text(chunk.start, chunk.text, chunk.text))
            elif chunk.kind is ChunkKind.SECRET:
                body.append(Secret(chunk.start, chunk.end, chunk.text))
            elif chunk.kind is ChunkKind.COMMENT:
                body.append(Comment(chunk.start, chunk.end, chunk.strip))
            elif chunk.kind in _BLOCK_SIGNS:
                body.append(self._block(chunk, depth + 1))
            else:
                body.append(self._inline(chunk))
        return body

    def _program(self, depth: int, block_params: tuple[str, ...]) -> Program:
        return Program(tuple(self._statements(depth)), block_params)

    def _inline(self, chunk: Chunk) -> Mustache | Partial:
        call, _ = self._head(chunk)
        if chunk.kind is ChunkKind.PARTIAL:
            return Partial(chunk.start, chunk.end, chunk.strip, call)
        is_decorator = chunk.kind is ChunkKind.DECORATOR
        return Mustache(
            chunk.start, chunk.end, chunk.strip, call, chunk.kind is not ChunkKind.UNESCAPED, is_decorator=is_decorator
        )

    def _head(self, chunk: Chunk) -> tuple[Call, tuple[str, ...]]:
        """What a tag says: a name with its arguments, and block parameters."""
        if chunk.is_broken:
            return _UNREADABLE, ()
        try:
            return Tag(self.source, chunk).head()
        except Unreadable as exc:
            self.faults.append(exc.fault)
            return _UNREADABLE, ()

    def _block(self, opening: Chunk, depth: int) -> Block:
        if depth > BLOCK_DEPTH_MAX:
            self._fault(opening, f"blocks are nested deeper than {BLOCK_DEPTH_MAX} levels", code=TOO_DEEP)
            self.index = len(self.chunks)
            return _block_of(opening, _UNREADABLE, (Program(()), None), (NO_STRIP, NO_STRIP))
        call, block_params = self._head(opening)
        program = self._program(depth, block_params)
        inverse, inverse_strip = self._inverse(opening, depth)
        closing = self._closing(opening, call)
        close_strip = closing.strip if closing else NO_STRIP
        return _block_of(opening, call, (program, inverse), (inverse_strip, close_strip))

    def _inverse(self, opening: Chunk, depth: int) -> tuple[Program | None, Strip]:
        """`{{else}}…`, `{{^}}…` or `{{else name …}}…`, if the block has one."""
        inverse: Program | None = None
        strip = NO_STRIP
        while self.index < len(self.chunks) and self.chunks[self.index].kind in (ChunkKind.ELSE, ChunkKind.ELSE_CHAIN):
            chunk = self.chunks[self.index]
            self.index += 1
            is_chained = chunk.kind is ChunkKind.ELSE_CHAIN
            if inverse is not None or not _may_follow(opening.kind, is_chained=is_chained):
                self._fault(chunk, "the block has no place for this `else`", "a block has at most one `{{else}}`")
                self._program(depth, ())
            else:
                inverse = self._chained(chunk, depth + 1) if is_chained else self._program(depth, ())
                strip = chunk.strip
        return inverse, strip

    def _chained(self, chunk: Chunk, depth: int) -> Program:
        """`{{else name …}}`: a block in the `else` branch that shares its parent's closing tag."""
        if depth > BLOCK_DEPTH_MAX:
            self._fault(chunk, f"blocks are nested deeper than {BLOCK_DEPTH_MAX} levels", code=TOO_DEEP)
            self.index = len(self.chunks)
            return Program(())
        call, block_params = self._head(chunk)
        program = self._program(depth, block_params)
        inverse, inverse_strip = self._inverse(chunk, depth)
        block = _block_of(chunk, call, (program, inverse), (inverse_strip, inverse_strip))
        return Program((block,), is_chained=True)

    def _closing(self, opening: Chunk, call: Call) -> Chunk | None:
        """The block's closing tag; None, with a fault, where it is missing."""
        name = self._name(call)
        short = name if len(name) <= SHOWN_MAX_CHARS else "…"
        expected = f"{{{{{{{{/{short}}}}}}}}}" if opening.kind is ChunkKind.RAW_BLOCK else f"{{{{/{short}}}}}"
        if self.index >= len(self.chunks):
            if opening.is_broken or any(fault.code == TOO_DEEP for fault in self.faults):
                return None
            self._fault(opening, f"the block is not closed: {shown(name)}", f"close it with `{expected}`")
            return None
        closing = self.chunks[self.index]
        self.index += 1
        is_raw = closing.kind is ChunkKind.END_RAW_BLOCK
        closed = call if is_raw else self._head(closing)[0]
        closing_name = closing.text if is_raw else self._name(closed)
        is_same = closing_name == name if is_raw else _identity(closed) in _identities(call)
        if not is_same and _UNREADABLE not in (call, closed):
            self._fault(closing, f"{shown(closing_name)} closes the block {shown(name)}", f"close it with `{expected}`")
        return closing

    def _name(self, call: Call) -> str:
        return self.source.text[call.callee.start : call.callee.end]


def _identity(call: Call) -> tuple[object, ...]:
    """What must be the same in a block's opening and closing tag; `[name]` and `"name"` are spellings of `name`."""
    name = call.callee
    if isinstance(name, Path):
        return (name.is_data, name.depth, *(segment.name for segment in name.segments))
    return (False, 0, name.text if isinstance(name, Literal) else name)


def _identities(call: Call) -> tuple[tuple[object, ...], ...]:
    """How a block's closing tag may name it. A partial block whose name is an expression is closed by the helper's
    name, or, as in Handlebars, by `undefined`."""
    if not isinstance(call.callee, Call):
        return (_identity(call),)
    return _identity(call.callee), (False, 0, TokenKind.UNDEFINED.value)


def _may_follow(kind: ChunkKind, *, is_chained: bool) -> bool:
    """Whether `{{else}}`, or `{{else name}}`, may stand in a block of this kind."""
    return kind in (ChunkKind.BLOCK, ChunkKind.ELSE_CHAIN) or (kind is ChunkKind.INVERSE_BLOCK and not is_chained)


def _block_of(
    opening: Chunk, call: Call, programs: tuple[Program, Program | None], strips: tuple[Strip, Strip]
) -> Block:
    """`strips` are those of the `else` and of the closing tag. As Handlebars has it, the last link of an `else` chain
    ends like the block that it is a link of."""
    sign = _BLOCK_SIGNS.get(opening.kind, "#")
    program, inverse = programs
    inverse_strip, close_strip = strips
    if inverse is not None and inverse.is_chained and inverse.body and isinstance(link := inverse.body[0], Block):
        inverse = replace(inverse, body=(replace(link, close_strip=close_strip),))
    if sign == "^":
        return Block(
            opening.start, opening.end, sign, call, inverse, program, opening.strip, inverse_strip, close_strip
        )
    return Block(opening.start, opening.end, sign, call, program, inverse, opening.strip, inverse_strip, close_strip)
