"""The tokens of one tag into a call: a name with its arguments, paths, literals and subexpressions.

Called by `parse` for each tag; raises `Unreadable` with the fault of the first token that does not fit.
"""

from collections.abc import Callable
from typing import Final

from reconciler.template.fault import SYNTAX, TOO_DEEP, Source, TemplateFault, shown
from reconciler.template.syntax import Call, Expression, Literal, Path, Segment
from reconciler.template.tokenize import Chunk, ChunkKind, Token, TokenKind

CALL_DEPTH_MAX: Final = 32  # subexpressions in subexpressions

_LITERALS: Final = frozenset(
    {TokenKind.STRING, TokenKind.NUMBER, TokenKind.BOOLEAN, TokenKind.UNDEFINED, TokenKind.NULL}
)


class Unreadable(Exception):
    """A tag cannot be read; the fault says why."""

    def __init__(self, fault: TemplateFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Tag:
    """Reads the tokens of one tag from left to right."""

    def __init__(self, source: Source, chunk: Chunk) -> None:
        self.source = source
        self.chunk = chunk
        self.tokens = chunk.tokens
        self.index = 0

    def head(self) -> tuple[Call, tuple[str, ...]]:
        """The call and the block parameters. Raises Unreadable."""
        is_partial = self.chunk.kind in (ChunkKind.PARTIAL, ChunkKind.PARTIAL_BLOCK)
        is_block = self.chunk.kind in (ChunkKind.BLOCK, ChunkKind.INVERSE_BLOCK, ChunkKind.ELSE_CHAIN)
        takes_params = is_block or self.chunk.kind in (ChunkKind.DECORATOR_BLOCK,)
        call = self._call(0, self._param if is_partial else self._name)
        block_params = self._block_params() if takes_params else ()
        if self.index < len(self.tokens):
            raise self._unexpected(self.tokens[self.index])
        if self.chunk.kind is ChunkKind.END_BLOCK and not call.is_plain:
            raise self._unreadable("a closing tag takes no arguments", self.chunk.start, self.chunk.end)
        return call, block_params

    def _peek(self, ahead: int = 0) -> TokenKind | None:
        index = self.index + ahead
        return self.tokens[index].kind if index < len(self.tokens) else None

    def _next(self) -> Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def _unreadable(self, message: str, start: int, end: int, *, hint: str = "", code: str = SYNTAX) -> Unreadable:
        return Unreadable(self.source.fault(code, message, start, end, hint=hint))

    def _unexpected(self, token: Token) -> Unreadable:
        text = shown(self.source.text[token.start : token.end])
        hint = "quote text and put a path's parts together with `.`"
        return self._unreadable(f"unexpected in an expression: {text}", token.start, token.end, hint=hint)

    def _ended(self, what: str) -> Unreadable:
        chunk = self.chunk
        if not self.tokens:
            hint = "name a field: `{{data.id}}`"
            return self._unreadable("the expression is empty", chunk.start, chunk.end, hint=hint)
        return self._unreadable(f"the expression ends where {what} should stand", chunk.start, chunk.end)

    def _call(self, depth: int, callee: Callable[[int], Expression]) -> Call:
        name = callee(depth)
        params: list[Expression] = []
        named: list[tuple[str, Expression]] = []
        while (kind := self._peek()) is not None:
            if kind is TokenKind.ID and self._peek(1) is TokenKind.EQUALS:
                key = self._next().text
                self._next()
                named.append((key, self._param(depth)))
            elif named or not (kind in _LITERALS or kind in (TokenKind.ID, TokenKind.DATA, TokenKind.OPEN_PAREN)):
                break
            else:
                params.append(self._param(depth))
        end = self.tokens[self.index - 1].end
        return Call(name.start, end, name, tuple(params), tuple(named))

    def _param(self, depth: int) -> Expression:
        if self._peek() is not TokenKind.OPEN_PAREN:
            return self._name(depth)
        opening = self._next()
        if depth >= CALL_DEPTH_MAX:
            message = f"expressions are nested deeper than {CALL_DEPTH_MAX} levels"
            raise self._unreadable(message, opening.start, opening.end, code=TOO_DEEP)
        call = self._call(depth + 1, self._name)
        if self._peek() is None:
            message = "the parenthesis is not closed"
            raise self._unreadable(message, opening.start, opening.end, hint="close it with `)`")
        closing = self._next()
        if closing.kind is not TokenKind.CLOSE_PAREN:
            raise self._unexpected(closing)
        return Call(opening.start, closing.end, call.callee, call.params, call.named)

    def _name(self, _depth: int) -> Expression:
        kind = self._peek()
        if kind is None:
            raise self._ended("a name")
        if kind in _LITERALS:
            token = self._next()
            return Literal(token.start, token.end, token.kind.value, token.text)
        if kind is TokenKind.DATA:
            start = self._next().start
            return self._path(start, is_data=True)
        if kind is TokenKind.ID:
            return self._path(self.tokens[self.index].start, is_data=False)
        if kind is TokenKind.SEPARATOR:
            token = self._next()
            hint = "a path begins with a name; `this.[0]` is an element of the whole event"
            raise self._unreadable("a path cannot begin with a separator", token.start, token.end, hint=hint)
        raise self._unexpected(self._next())

    def _path(self, start: int, *, is_data: bool) -> Path:
        parts = [self._part()]
        while self._peek() is TokenKind.SEPARATOR:
            self._next()
            parts.append(self._part())
        segments: list[Segment] = []
        depth = 0
        for part in parts:
            if part.is_literal or part.text not in ("..", ".", "this"):
                segments.append(Segment(part.text, part.start, part.end))
            elif segments:
                message = f"`{part.text}` can only begin a path"
                hint = f"a field of that name is written `[{part.text}]`"
                raise self._unreadable(message, part.start, part.end, hint=hint)
            elif part.text == "..":
                depth += 1
        is_scoped = not is_data and not parts[0].is_literal and parts[0].text in ("..", ".", "this")
        return Path(start, parts[-1].end, tuple(segments), depth, is_data, is_scoped)

    def _part(self) -> Token:
        if self._peek() is None:
            raise self._ended("a name")
        token = self._next()
        if token.kind is not TokenKind.ID:
            raise self._unexpected(token)
        return token

    def _block_params(self) -> tuple[str, ...]:
        if self._peek() is not TokenKind.OPEN_BLOCK_PARAMS:
            return ()
        opening = self._next()
        names: list[str] = []
        while self._peek() is TokenKind.ID:
            names.append(self._next().text)
        if self._peek() is not TokenKind.CLOSE_BLOCK_PARAMS or not names:
            message = "block parameters must be names between bars"
            raise self._unreadable(message, opening.start, opening.end, hint="write `as |item index|`")
        self._next()
        return tuple(names)
