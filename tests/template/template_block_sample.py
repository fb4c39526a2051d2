"""Documents with blocks in them that know their template and, apart from the implementation, what it must give.

A part of a document gives its `source` as pieces (`Tag` is template, `str` literal JSON text) and its `value` for the
contexts and loops around it.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st
from template_sample import as_utf16, find, text_in_string

from reconciler import jsontext
from reconciler.jsontext import Number

NAMES: Final = ("a", "b", "c")


class Tag(str):
    """A piece of Handlebars."""


class Turn(NamedTuple):
    """One turn of a loop."""

    index: int
    key: Any
    is_last: bool


@dataclass(frozen=True)
class Room:
    """The event, the contexts that `../` climbs, and the loop around."""

    root: Any
    contexts: tuple[Any, ...]
    turn: Turn | None = None

    def enter(self, context: Any, turn: Turn | None = None) -> "Room":
        return Room(self.root, (*self.contexts, context), turn or self.turn)

    def include(self, context: Any) -> "Room":
        """The room of a partial: it can reach the event, and nothing between it and its own context."""
        return Room(self.root, (context,), self.turn)


@dataclass
class Partials:
    """The partials that a template came to need. `level` strings are around what is being written: Handlebars takes a
    partial's text as it is, so it must be spelt for the string that it goes into."""

    texts: dict[str, str] = field(default_factory=dict)
    level: int = 0


def holds(value: Any) -> bool:
    """Whether `#if` takes a value for something."""
    if value is None or value is False or value == "" or value == []:
        return False
    return not (isinstance(value, int | float) and value == 0)


def is_empty(value: Any) -> bool:
    """Whether `#with` takes a value for nothing."""
    return not holds(value) and not (isinstance(value, int | float) and not isinstance(value, bool))


# Expressions


@dataclass(frozen=True)
class Path:
    """A path from the context, the one around it, or the event."""

    start: str  # "", "this.", "../", "@root."
    path: str

    @property
    def source(self) -> str:
        return f"{self.start}{self.path}"

    def value(self, room: Room) -> Any:
        if self.start == "../":
            return find(room.contexts[-2], self.path) if len(room.contexts) > 1 else None
        return find(room.root if self.start == "@root." else room.contexts[-1], self.path)


@dataclass(frozen=True)
class Variable:
    """The context itself or a detail of the loop."""

    source: str

    def value(self, room: Room) -> Any:
        if self.source == "this":
            return room.contexts[-1]
        if room.turn is None:
            return None
        turn = room.turn
        return {"@index": turn.index, "@key": turn.key, "@first": turn.index == 0, "@last": turn.is_last}[self.source]


@dataclass(frozen=True)
class Call:
    """A helper on an expression."""

    name: str
    of: Any

    @property
    def source(self) -> str:
        inner = f"({self.of.source})" if isinstance(self.of, Call) else self.of.source
        return f"{self.name} {inner}" + (' "q\\" "' if self.name == "default" else "")

    def value(self, room: Room) -> Any:
        value = self.of.value(room)
        if self.name == "default":
            return 'q" ' if value is None or value == "" else value
        if self.name in ("upper", "lower"):
            return None if value is None else getattr(text_in_string(value), self.name)()
        if self.name == "first":
            return value[0] if isinstance(value, list) and value else None
        if self.name == "count":
            return len(value) if isinstance(value, list | dict | str) else 0
        return not holds(value)


# Documents


@dataclass(frozen=True)
class Value:
    """An expression outside of strings."""

    of: Any

    def source(self, partials: Partials) -> list[str]:
        return [Tag("{{" + self.of.source + "}}")]

    def value(self, room: Room) -> Any:
        return self.of.value(room)


@dataclass(frozen=True)
class Words:
    """A string of literal text, expressions, conditions and loops."""

    parts: tuple[Any, ...]

    def source(self, partials: Partials) -> list[str]:
        return quoted([piece for part in self.parts for piece in _piece_of(part)])

    def value(self, room: Room) -> Any:
        return "".join(_text_of(part, room) for part in self.parts)


@dataclass(frozen=True)
class Conditional:
    """Text that is there or not."""

    condition: Any
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Repeated:
    """Text for each item."""

    items: Any
    parts: tuple[Any, ...]


def _piece_of(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    if isinstance(part, Conditional | Repeated):
        name = "if" if isinstance(part, Conditional) else "each"
        head = part.condition if isinstance(part, Conditional) else part.items
        inner = [piece for item in part.parts for piece in _piece_of(item)]
        return [Tag(f"{{{{#{name} {head.source}}}}}"), *inner, Tag(f"{{{{/{name}}}}}")]
    return [Tag("{{" + part.source + "}}")]


def _text_of(part: Any, room: Room) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Conditional):
        return "".join(_text_of(item, room) for item in part.parts) if holds(part.condition.value(room)) else ""
    if isinstance(part, Repeated):
        rooms = [room.enter(item, turn) for item, turn in turns_of(part.items.value(room))]
        return "".join(_text_of(item, inner) for inner in rooms for item in part.parts)
    return text_in_string(part.value(room))


def turns_of(value: Any) -> list[tuple[Any, Turn]]:
    """What `#each` goes through."""
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        pairs = list(enumerate(value)) if isinstance(value, list) else []
    return [(item, Turn(index, key, index == len(pairs) - 1)) for index, (key, item) in enumerate(pairs)]


@dataclass(frozen=True)
class If:
    """One document or another; with `opens`, another context for the first."""

    condition: Any
    then: Any
    otherwise: Any
    opens: bool

    def source(self, partials: Partials) -> list[str]:
        name = "with" if self.opens else "if"
        then, otherwise = self.then.source(partials), self.otherwise.source(partials)
        head = Tag(f"{{{{#{name} {self.condition.source}}}}}")
        return [head, *then, Tag("{{else}}"), *otherwise, Tag(f"{{{{/{name}}}}}")]

    def value(self, room: Room) -> Any:
        value = self.condition.value(room)
        if not self.opens:
            return (self.then if holds(value) else self.otherwise).value(room)
        return self.otherwise.value(room) if is_empty(value) else self.then.value(room.enter(value))


@dataclass(frozen=True)
class Each:
    """A list with a document for each item, or an object with one under each key."""

    items: Any
    each: Any
    has_keys: bool

    def source(self, partials: Partials) -> list[str]:
        separator = [Tag("{{#unless @last}}"), ", ", Tag("{{/unless}}")]
        key = ['"', Tag("{{@key}}"), '": '] if self.has_keys else []
        opening, closing = ("{ ", " }") if self.has_keys else ("[", "]")
        body = [*key, *self.each.source(partials), *separator]
        return [opening, Tag(f"{{{{#each {self.items.source}}}}}"), *body, Tag("{{/each}}"), closing]

    def value(self, room: Room) -> Any:
        pairs = [(turn.key, self.each.value(room.enter(item, turn))) for item, turn in turns_of(self.items.value(room))]
        return {str(key): value for key, value in pairs} if self.has_keys else [value for _, value in pairs]


@dataclass(frozen=True)
class Included:
    """A document in a partial of its own, with a context."""

    context: Any
    of: Any

    def source(self, partials: Partials) -> list[str]:
        name = f"p{len(partials.texts)}"
        partials.texts[name] = ""
        pieces = joined(self.of.source(partials))
        for _ in range(partials.level):
            pieces = quoted(pieces)[1:-1]
        partials.texts[name] = text_of(pieces)
        return [Tag(f"{{{{> {name} {self.context.source}}}}}")]

    def value(self, room: Room) -> Any:
        return self.of.value(room.include(self.context.value(room)))


@dataclass(frozen=True)
class Inner:
    """A string that holds an object or a list."""

    of: Any

    def source(self, partials: Partials) -> list[str]:
        partials.level += 1
        pieces = quoted(joined(self.of.source(partials)))
        partials.level -= 1
        return pieces

    def value(self, room: Room) -> Any:
        return self.of.value(room)


@dataclass(frozen=True)
class Container:
    """An object or a list of documents."""

    items: tuple[tuple[str | None, Any], ...]

    @property
    def is_list(self) -> bool:
        return any(key is None for key, _ in self.items)

    def source(self, partials: Partials) -> list[str]:
        pieces: list[str] = ["[" if self.is_list else "{"]
        for index, (key, item) in enumerate(self.items):
            pieces += [", " if index else " ", *(quoted([key]) if key is not None else []), ": " if key else " "]
            pieces += item.source(partials)
        return [*pieces, " ]" if self.is_list else " }"]

    def value(self, room: Room) -> Any:
        values = [(key, item.value(room)) for key, item in self.items]
        return [value for _, value in values] if self.is_list else dict(values)


def joined(pieces: list[str]) -> list[str]:
    """Neighbouring literal texts as one."""
    result: list[str] = []
    for piece in pieces:
        if not isinstance(piece, Tag) and result and not isinstance(result[-1], Tag):
            result[-1] += piece
        else:
            result.append(piece)
    return result


def quoted(pieces: list[str]) -> list[str]:
    """Pieces as they stand in a JSON string; tags stay as they are."""
    inner = [piece if isinstance(piece, Tag) else json.dumps(piece)[1:-1] for piece in pieces]
    return ['"', *inner, '"']


def text_of(pieces: list[str]) -> str:
    """The template's text: Handlebars takes one of two backslashes before a tag away."""
    text = ""
    for piece in joined(pieces):
        text += "\\" if isinstance(piece, Tag) and text.endswith("\\") else ""
        text += piece
    return text


def plain(value: Any) -> Any:
    """A value so that equal means equal: texts as JavaScript compares them, numbers by their digits."""
    if isinstance(value, str):
        return as_utf16(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {as_utf16(key): plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool) else ("number", jsontext.number_text(value))


def parsed(document: Any, body: Any, room: Room) -> Any:
    """A received body with the strings parsed that hold a document, wherever the document says so."""
    if isinstance(document, Inner):
        return parsed(document.of, jsontext.loads(body), room)
    if isinstance(document, If):
        value = document.condition.value(room)
        if not document.opens:
            return parsed(document.then if holds(value) else document.otherwise, body, room)
        return parsed(
            document.otherwise if is_empty(value) else document.then,
            body,
            room if is_empty(value) else room.enter(value),
        )
    if isinstance(document, Each):
        rooms = [room.enter(item, turn) for item, turn in turns_of(document.items.value(room))]
        values = list(body.values()) if document.has_keys else body
        found = [parsed(document.each, item, inner) for item, inner in zip(values, rooms, strict=True)]
        return dict(zip(body, found, strict=True)) if document.has_keys else found
    if isinstance(document, Included):
        return parsed(document.of, body, room.include(document.context.value(room)))
    if isinstance(document, Container):
        values = body if document.is_list else body.values()
        found = [parsed(item, value, room) for (_, item), value in zip(document.items, values, strict=True)]
        return found if document.is_list else dict(zip(body, found, strict=True))
    return body


# Strategies

TEXT = st.lists(
    st.one_of(
        st.characters(),
        st.sampled_from('"\\\n\t\0\x1f{}[]$\u2028\ud83d\udc00'),
        st.sampled_from(["{{a}}", "${secret:s}", '\\"', "null"]),
    ),
    max_size=5,
).map("".join)
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**20), st.sampled_from([Number("1.50"), Number("-0")]), TEXT
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=10,
)
EVENT = st.dictionaries(st.sampled_from(NAMES), VALUE, max_size=3)

_PATH = st.lists(st.sampled_from([*NAMES, "[0]", "[1]"]), max_size=2)
PATH = st.tuples(st.sampled_from(NAMES), _PATH).map(lambda pair: ".".join((pair[0], *pair[1])))
DESCENDING = st.builds(Path, st.sampled_from(["", "this."]), PATH)
LOOKUP = st.one_of(
    DESCENDING,
    st.builds(Path, st.sampled_from(["../", "@root."]), PATH),
    st.sampled_from(["this", "@index", "@key", "@first", "@last"]).map(Variable),
)
HELPERS = st.sampled_from(["default", "upper", "lower", "first", "count", "not"])
EXPRESSION = st.recursive(LOOKUP, lambda inner: st.builds(Call, HELPERS, inner), max_leaves=2)
LITERAL = st.text(st.sampled_from('ab "\\\t\né,:1'), max_size=4)  # no bracket: the text is never a document
PARTS = st.recursive(
    st.lists(st.one_of(LITERAL, EXPRESSION), max_size=3).map(tuple),
    lambda inner: st.lists(
        st.one_of(LITERAL, EXPRESSION, st.builds(Conditional, LOOKUP, inner), st.builds(Repeated, DESCENDING, inner)),
        max_size=3,
    ).map(tuple),
    max_leaves=4,
)
LEAF = st.one_of(st.builds(Value, EXPRESSION), st.builds(Words, PARTS))


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inner, min_size=1, max_size=3).map(lambda found: Container(tuple((None, item) for item in found)))
    fields = st.dictionaries(st.sampled_from(["k", 'l"', "m\\"]), inner, max_size=3)
    return st.one_of(items, fields.map(lambda found: Container(tuple(found.items()))))


DOCUMENT = _containers(
    st.recursive(
        LEAF,
        lambda inner: st.one_of(
            _containers(inner),
            _containers(inner).map(Inner),
            st.builds(If, DESCENDING, inner, inner, st.booleans()),
            st.builds(Each, DESCENDING, inner, st.booleans()),
            st.builds(Included, DESCENDING, inner),
        ),
        max_leaves=8,
    )
)
