"""Template text into chunks (text, secrets, comments, tags) and the tokens inside tags.

Follows Handlebars 4.7's lexer, with `${secret:name}` and `$${` added, and one thing more allowed: how a tag opens
decides how it closes, so that `{"n": {{x}}}` and `{"n": {{{x}}}}` need no space before JSON's own brace.
Called by `parse`. Never raises: what is wrong becomes a fault, and the tag is marked broken.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.template.fault import FAULTS_MAX, SECRET, SYNTAX, Source, TemplateFault, shown
from reconciler.template.syntax import NO_STRIP, Strip

# JavaScript's \s, which decides what `~` removes and what separates tokens
WHITESPACE: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000\ufeff"
)


class ChunkKind(StrEnum):
    """What a piece of the template is."""

    TEXT = "text"
    SECRET = "secret"
    COMMENT = "comment"
    MUSTACHE = "mustache"
    UNESCAPED = "unescaped"
    DECORATOR = "decorator"
    BLOCK = "block"
    DECORATOR_BLOCK = "decorator_block"
    PARTIAL_BLOCK = "partial_block"
    INVERSE_BLOCK = "inverse_block"
    RAW_BLOCK = "raw_block"
    ELSE = "else"
    ELSE_CHAIN = "else_chain"
    END_BLOCK = "end_block"
    END_RAW_BLOCK = "end_raw_block"
    PARTIAL = "partial"


class TokenKind(StrEnum):
    """What a piece of a tag is."""

    ID = "id"
    SEPARATOR = "separator"
    DATA = "data"
    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    UNDEFINED = "undefined"
    NULL = "null"
    EQUALS = "equals"
    OPEN_PAREN = "open_paren"
    CLOSE_PAREN = "close_paren"
    OPEN_BLOCK_PARAMS = "open_block_params"
    CLOSE_BLOCK_PARAMS = "close_block_params"


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a tag; `text` is unquoted and unbracketed, `is_literal` says that it had brackets."""

    kind: TokenKind
    text: str
    start: int
    end: int
    is_literal: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a template: a text's characters, a secret's or a raw block's name, or a tag's tokens."""

    kind: ChunkKind
    start: int
    end: int
    text: str = ""
    strip: Strip = NO_STRIP
    tokens: tuple[Token, ...] = ()
    is_broken: bool = False  # a fault has been reported; the tokens are not to be looked at


_S: Final = f"[{WHITESPACE}]"
_ID: Final = rf"""[^{WHITESPACE}!"#%-,./;->@\[-^`{{-~]++(?=[=~}}{WHITESPACE}/.)|\]])"""
_LITERAL_END: Final = rf"(?=[~}}{WHITESPACE})\]])"

_STOP: Final = re.compile(r"\$\$\{|\$\{(?:secret:([a-z][a-z0-9_]*)\})?|\{\{")
_RAW_STOP: Final = re.compile(r"\$\$\{|\$\{(?:secret:([a-z][a-z0-9_]*)\})?|\{\{\{\{(?:/([^{}]*)\}\}\}\}|(?!/))")

_OPENING: Final = re.compile(
    rf"""
    \{{\{{\{{\{{(?P<RAW_BLOCK>)
    | \{{\{{(?P<strip>~?)(?:
        (?P<COMMENT>!(?:--)?)
      | (?P<PARTIAL_BLOCK>\#>) | (?P<PARTIAL>>) | (?P<DECORATOR_BLOCK>\#\*) | (?P<BLOCK>\#) | (?P<END_BLOCK>/)
      | (?P<ELSE>(?:\^|[{WHITESPACE}]*else)(?=[{WHITESPACE}]*~?\}}\}}))
      | (?P<INVERSE_BLOCK>\^) | (?P<ELSE_CHAIN>[{WHITESPACE}]*else\b)
      | (?P<UNESCAPED>\{{) | (?P<AMPERSAND>&) | (?P<DECORATOR>\*) | (?P<MUSTACHE>)
    )""",
    re.VERBOSE,
)

_CLOSING: Final = {  # by the kind of the opening; group 1 is the `~`
    ChunkKind.UNESCAPED: (re.compile(r"\}(~?)\}\}"), "}}}", "{{{"),
    ChunkKind.RAW_BLOCK: (re.compile(r"()\}\}\}\}"), "}}}}", "{{{{"),
}
_CLOSING_PLAIN: Final = (re.compile(r"(~?)\}\}"), "}}", "{{")

# The look-ahead in strings and brackets makes one that is never closed fail at once, not character by character.
_SEGMENT: Final = (
    rf"""(?P<ID>{_ID}|\.\.|\.(?=[=~}}{WHITESPACE}/.)|\]]))|(?P<BRACKETED>\[(?=[^\]]*+\])(?:\\\]|[^\]])*\])"""
)
_TOKEN: Final = re.compile(
    rf"""(?P<EQUALS>=)|(?P<OPEN_PAREN>\()|(?P<CLOSE_PAREN>\))|(?P<DATA>@)"""
    rf"""|(?P<STRING>"(?=[^"]*+")(?:\\"|[^"])*"|'(?=[^']*+')(?:\\'|[^'])*')"""
    rf"""|(?P<BOOLEAN>true{_LITERAL_END}|false{_LITERAL_END})|(?P<UNDEFINED>undefined{_LITERAL_END})"""
    rf"""|(?P<NULL>null{_LITERAL_END})|(?P<NUMBER>-?[0-9]+(?:\.[0-9]+)?{_LITERAL_END})"""
    rf"""|(?P<OPEN_BLOCK_PARAMS>as{_S}+\|)|(?P<CLOSE_BLOCK_PARAMS>\|)|{_SEGMENT}|(?P<SEPARATOR>[/.])"""
)
# After a separator everything is a name: `{{a.0}}` and `{{a.true}}` too, which Handlebars takes for literals.
_AFTER_SEPARATOR: Final = re.compile(_SEGMENT)
_ESCAPED: Final = re.compile(r"\\([\\\]])")  # inside brackets
_COMMENT_END: Final = re.compile(r"(~?)\}\}")
_LONG_COMMENT_END: Final = re.compile(r"--(~?)\}\}")
_NAME_RUN: Final = re.compile(rf"""[^{WHITESPACE}!"#%-,./;->@\[-^`{{-~]++""")
_SPACE: Final = re.compile(rf"{_S}+")


def tokenize(source: Source) -> tuple[list[Chunk], list[TemplateFault]]:
    """The chunks of a template in order, and its faults."""
    scanner = _Scanner(source)
    scanner.run()
    return scanner.chunks, scanner.faults


class _Scanner:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.chunks: list[Chunk] = []
        self.faults: list[TemplateFault] = []
        self.text_start = 0  # where the literal text that is being read began

    def run(self) -> None:
        position = 0
        while len(self.faults) < FAULTS_MAX and (match := _STOP.search(self.text, position)):
            position = self._mustache(match.start()) if match[0] == "{{" else self._dollar(match)
        self._flush(len(self.text))

    def _fault(self, message: str, start: int, end: int, *, hint: str = "", code: str = SYNTAX) -> None:
        self.faults.append(self.source.fault(code, message, start, end, hint=hint))

    def _flush(self, end: int) -> None:
        """Literal text ends here."""
        if end > self.text_start:
            self.chunks.append(Chunk(ChunkKind.TEXT, self.text_start, end, self.text[self.text_start : end]))
        self.text_start = end

    def _dollar(self, match: re.Match[str]) -> int:
        """`$${`, `${secret:name}`, or a fault; returns where to read on."""
        start, end = match.span()
        if match[0] == "$${":
            self._flush(start)
            self.text_start = start + 1
            self._flush(end)
        elif match[1]:
            self._flush(start)
            self.chunks.append(Chunk(ChunkKind.SECRET, start, end, match[1]))
            self.text_start = end
        else:
            is_expression = self.text.startswith("{", end)
            self._fault(
                "`${` must begin `${secret:name}`",
                start,
                end,
                code=SECRET,
                hint="for a dollar sign before an expression write `$ {{~`"
                if is_expression
                else "a name is a-z, 0-9 and _, and begins with a letter; for a literal `${` write `$${`",
            )
            return end + 1 if is_expression else end
        return end

    def _mustache(self, start: int) -> int:
        """A tag, or text made of one by a backslash; returns where to read on."""
        before = self.text[self.text_start : start]
        if before.endswith("\\") and not before.endswith("\\\\"):  # \{{x}} is the text {{x}}
            self._flush(start - 1)
            self.text_start = start
            return start + 2
        self._flush(start - 1 if before.endswith("\\\\") else start)  # \\{{x}} is a backslash and a tag
        end = self._tag(start)
        self.text_start = end
        if self.chunks[-1].kind is ChunkKind.RAW_BLOCK:
            end = self._raw_text(end)
            self.text_start = end
        return end

    def _tag(self, start: int) -> int:
        match = _OPENING.match(self.text, start)
        assert match is not None and match.lastgroup is not None  # the last alternative is empty
        name = match.lastgroup
        if name == "COMMENT":
            return self._comment(match)
        if name == "AMPERSAND":
            return self._inside(match, ChunkKind.UNESCAPED, _CLOSING_PLAIN)
        kind = ChunkKind[name]
        return self._inside(match, kind, _CLOSING.get(kind, _CLOSING_PLAIN))

    def _comment(self, match: re.Match[str]) -> int:
        is_long = match["COMMENT"] == "!--"
        # the dashes that open a long comment may close it, as in Handlebars: {{!--}}
        found = (
            _LONG_COMMENT_END.search(self.text, match.end() - 2)
            if is_long
            else _COMMENT_END.search(self.text, match.end())
        )
        if found is None:
            closing = "--}}" if is_long else "}}"
            self._fault("the comment is not closed", *match.span(), hint=f"close it with `{closing}`")
        end = found.end() if found else len(self.text)
        strip = Strip(bool(match["strip"]), bool(found and found[1]))
        self.chunks.append(Chunk(ChunkKind.COMMENT, match.start(), end, strip=strip))
        return end

    def _inside(self, opening: re.Match[str], kind: ChunkKind, closing: tuple[re.Pattern[str], str, str]) -> int:
        """The tokens up to the tag's end."""
        close, close_text, open_text = closing
        tokens: list[Token] = []
        start, position = opening.start(), opening.end()
        while True:
            if space := _SPACE.match(self.text, position):
                position = space.end()
            if found := close.match(self.text, position):
                strip = Strip(bool(opening["strip"]), bool(found[1]))
                self.chunks.append(Chunk(kind, start, found.end(), strip=strip, tokens=tuple(tokens)))
                return found.end()
            is_name = bool(tokens) and tokens[-1].kind is TokenKind.SEPARATOR
            match = (_AFTER_SEPARATOR if is_name else _TOKEN).match(self.text, position)
            if match is None:
                return self._broken(kind, start, position, f"`{open_text}` is not closed by `{close_text}`")
            tokens.append(self._token(match))
            position = match.end()

    def _token(self, match: re.Match[str]) -> Token:
        name, text = match.lastgroup, match[0]
        assert name is not None
        if "${" in text:
            self._secret_inside(*match.span())
        if name == "BRACKETED":
            return Token(TokenKind.ID, _ESCAPED.sub(r"\1", text[1:-1]), *match.span(), is_literal=True)
        if name == "STRING":
            text = text[1:-1].replace(f"\\{text[0]}", text[0])
        return Token(TokenKind[name], text, *match.span())

    def _secret_inside(self, start: int, end: int) -> None:
        hint = "write `${secret:name}` outside the braces"
        self._fault("a secret cannot stand inside an expression", start, end, code=SECRET, hint=hint)

    def _broken(self, kind: ChunkKind, start: int, position: int, unclosed: str) -> int:
        """Report what cannot be read inside a tag and skip to its presumable end."""
        text = self.text
        if name := _NAME_RUN.match(text, position):  # a name may be followed by few characters: find the wrong one
            position = name.end()
        # 1. the end of the text, the next tag, or not enough braces, 2. a character that has no meaning
        if position >= len(text) or text.startswith(("{{", "}"), position):
            end = position + 2 if text.startswith("}}", position) else position
            length = 3 if kind is ChunkKind.UNESCAPED else 2
            hint = "an expression ends with as many braces as it begins with"
            self._fault(unclosed, start, min(start + length, len(text)), hint=hint)
        else:
            if text.startswith("${", position - 1):
                self._secret_inside(position - 1, position + 1)
            else:
                hint = _HINT_OF_CHARACTER.get(text[position], "")
                message = f"unexpected in an expression: {shown(text[position])}"
                self._fault(message, position, position + 1, hint=hint)
            ends = [index for index in (text.find("}}", position), text.find("{{", position)) if index >= 0]
            end = min(ends, default=len(text))
            end += 2 if text.startswith("}}", end) else 0
        while text.startswith("}", end) and kind in _CLOSING:
            end += 1
        self.chunks.append(Chunk(kind, start, end, is_broken=True))
        return end

    def _raw_text(self, start: int) -> int:
        """The text of a raw block up to its `{{{{/name}}}}`; other raw blocks inside it are text."""
        position, depth = start, 1
        while match := _RAW_STOP.search(self.text, position):
            position = match.end()
            if match[0].startswith("$"):
                self._dollar(match)
                continue
            depth += 1 if match[2] is None else -1
            if depth == 0:
                self._flush(match.start())
                self.chunks.append(Chunk(ChunkKind.END_RAW_BLOCK, *match.span(), match[2].strip(WHITESPACE)))
                return position
        self._flush(len(self.text))
        return len(self.text)


_HINT_OF_CHARACTER: Final = {
    "[": "an index is a name of its own: write `.[0]`",
    '"': "the string is not closed",
    "'": "the string is not closed",
    "#": "no space between `{{` and `#`",
    "/": "no space between `{{` and `/`",
    ">": "no space between `{{` and `>`",
    "{": "write `{{{x}}}` without spaces between the braces",
}
