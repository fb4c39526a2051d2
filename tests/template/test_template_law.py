"""What holds for every event and every template: the body parses, and every value arrives as it was."""

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from template_sample import JSON, as_utf16, find, text_in_string

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.jsontext import Number
from reconciler.template import check_body, compile_body, compile_template

# --- events -------------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
TEXT = st.lists(
    st.one_of(
        st.characters(),
        st.sampled_from('"\\\n\t\r\0\x1f{}[]$\u2028\u2029\ud83d\udc00\U0001f600'),
        st.sampled_from(["{{a}}", "${secret:s}", '\\"', "\\u0041", "null", "\u202eעב"]),
    ),
    max_size=6,
).map("".join)
DIGITS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,29})\.[0-9]{1,9}(e[+-]?[0-9]{1,3})?", fullmatch=True, alphabet="0123456789.e+-"
)
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), DIGITS.map(Number), st.just(Number("-0")), TEXT
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=8,
)
EVENT = st.dictionaries(st.sampled_from(NAMES), VALUE, max_size=3)
PATH = st.lists(st.sampled_from([*NAMES, "[0]", "[1]"]), min_size=0, max_size=3).map(lambda rest: ".".join(rest))
PATH = st.tuples(st.sampled_from(NAMES), PATH).map(lambda pair: ".".join(part for part in pair if part))

# --- templates: a document whose parts know what they must become ---------------------------------------------------


@dataclass(frozen=True)
class Hole:
    """An expression, or a secret."""

    path: str
    form: str

    @property
    def source(self) -> str:
        return self.form.replace("x", self.path)

    def value(self, event: Any) -> Any:
        return SECRET if self.form.startswith("$") else find(event, self.path)


@dataclass(frozen=True)
class Words:
    """A string of literal text and holes."""

    parts: tuple[str | Hole, ...]


@dataclass(frozen=True)
class Inner:
    """A string whose text is a JSON document."""

    document: Any


SECRET = 'se"cr\\et\n{{a}}'
FORM = st.sampled_from(["{{x}}", "{{{x}}}", "{{&x}}", "{{ x }}", "{{@root.x}}", "{{this.x}}", "${secret:s}"])
HOLE = st.builds(Hole, PATH, FORM)
LITERAL = st.text(st.sampled_from('ab "\\\n\té👩,:}1'), max_size=5)  # no `{` or `[`: the text is never a document
WORDS = st.lists(st.one_of(LITERAL, HOLE), max_size=4).map(lambda parts: Words(tuple(parts)))
LEAF = st.one_of(HOLE, WORDS, st.sampled_from([None, True, False, 0, -1.5]))


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["k", 'l"', "m\\"]), inner, max_size=3)
    )


DOCUMENT = st.recursive(
    LEAF, lambda inner: st.one_of(containers(inner), containers(inner).map(Inner)), max_leaves=8
).map(lambda document: document if isinstance(document, list | dict) else [document])

Pieces = list[str | Hole]


def joined(pieces: Pieces) -> Pieces:
    """Neighbouring literal texts as one."""
    result: Pieces = []
    for piece in pieces:
        if isinstance(piece, str) and result and isinstance(result[-1], str):
            result[-1] += piece
        else:
            result.append(piece)
    return result


def quoted(pieces: Pieces) -> Pieces:
    """Pieces as they stand in a JSON string; holes stay as they are."""
    return ['"', *(json.dumps(piece)[1:-1] if isinstance(piece, str) else piece for piece in pieces), '"']


def pieces_of(document: Any) -> Pieces:
    """A document as template text and holes."""
    if isinstance(document, Hole):
        return [document]
    if isinstance(document, Words):
        return quoted(list(document.parts))
    if isinstance(document, Inner):
        return quoted(joined(pieces_of(document.document)))
    if isinstance(document, list):
        inner = [[*([", "] if index else []), *pieces_of(item)] for index, item in enumerate(document)]
        return ["[", *(piece for item in inner for piece in item), "]"]
    if isinstance(document, dict):
        inner = [
            [", " if index else "", *quoted([key]), ": ", *pieces_of(item)]
            for index, (key, item) in enumerate(document.items())
        ]
        return ["{", *(piece for item in inner for piece in item), "}"]
    return [json.dumps(document)]


def source_of(pieces: Pieces) -> str:
    """The template's text: Handlebars takes one of two backslashes before an expression away."""
    text = ""
    for piece in joined(pieces):
        if isinstance(piece, Hole):
            text += "\\" if text.endswith("\\") and not piece.form.startswith("$") else ""
            text += piece.source
        else:
            text += piece
    return text


def expected(document: Any, event: Any) -> Any:
    """What the receiver must find, once strings that are documents have been parsed."""
    if isinstance(document, Hole):
        return plain(document.value(event))
    if isinstance(document, Words):
        words = (text_in_string(p.value(event)) if isinstance(p, Hole) else p for p in document.parts)
        return as_utf16("".join(words))
    if isinstance(document, Inner):
        return expected(document.document, event)
    if isinstance(document, list):
        return [expected(item, event) for item in document]
    if isinstance(document, dict):
        return {key: expected(item, event) for key, item in document.items()}
    return plain(document)


def received(document: Any, body: Any) -> Any:
    """What the receiver finds in a parsed body, strings that are documents parsed."""
    if isinstance(document, Inner):
        return received(document.document, jsontext.loads(body))
    if isinstance(document, list):
        return [received(item, part) for item, part in zip(document, body, strict=True)]
    if isinstance(document, dict):
        assert list(body) == list(document)
        return {key: received(item, body[key]) for key, item in document.items()}
    return plain(body)


def plain(value: Any) -> Any:
    """A value with texts as JavaScript compares them and numbers as their digits."""
    if isinstance(value, str):
        return as_utf16(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool) else ("number", jsontext.number_text(value))


@settings(max_examples=300, deadline=None)
@given(EVENT, DOCUMENT)
def test_every_value_arrives_as_it_was(event: Any, document: Any) -> None:
    """Outside a string, in one, and in a string's JSON: the body parses, texts are equal, digits are equal."""
    source = source_of(pieces_of(document))

    body = compile_template(source).render(event, {"s": SECRET})

    assert [fault for fault in check_body(source, content_type=JSON, schema={}) if fault.is_error] == []
    assert received(document, jsontext.loads(body.encode("utf-8"))) == expected(document, event)


def as_mapping(document: Any) -> Any:
    """A document as a mapping body."""
    if isinstance(document, list):
        return [as_mapping(item) for item in document]
    if isinstance(document, dict):
        return {key: as_mapping(item) for key, item in document.items()}
    if isinstance(document, Hole):
        return source_of([document])
    if isinstance(document, Words):
        return source_of(list(document.parts))
    if isinstance(document, Inner):
        return source_of(pieces_of(document.document))
    return document


def is_plain_words(document: Any) -> bool:
    """Whether no string consists of one expression only, which in a mapping keeps its type."""
    if isinstance(document, list | dict):
        items = document if isinstance(document, list) else document.values()
        return all(map(is_plain_words, items))
    if isinstance(document, Words):
        return [part for part in document.parts if part][1:] != [] or not any(
            isinstance(part, Hole) for part in document.parts
        )
    return not (isinstance(document, Hole) and document.form.startswith("$"))


@settings(max_examples=200, deadline=None)
@given(EVENT, DOCUMENT.filter(is_plain_words))
def test_a_mapping_body_carries_every_value_as_it_was(event: Any, document: Any) -> None:
    """The same law for the other form."""
    body = {"top": as_mapping(document)}

    text = compile_body(body, content_type=JSON).render(event, {"s": SECRET})

    assert received(document, jsontext.loads(text.encode("utf-8"))["top"]) == expected(document, event)


@settings(max_examples=100, deadline=None)
@given(EVENT, DOCUMENT)
def test_a_secret_changes_nothing_but_where_it_stands(event: Any, document: Any) -> None:
    """What people are shown is what is sent, with the value masked."""
    template = compile_template(source_of(pieces_of(document)))

    assert template.render(event, {"s": "value"}).replace("value", "***") == template.render(event, {"s": "***"})


TOKENS = (
    "{{ }} {{{ }}} {{{{ }}}} {{# {{/ {{^}} {{else}} {{! {{!-- --}} {{> {{* ~ {{#if }} {{/if}} {{#a}} {{/a}} {{a}} "
    'a.b .[0] [ ] ( ) = | as @ .. " \' \\ \\\\ ${ $${ ${secret:s} true 1 -2.5 , : { } "a":'
)
FRAGMENTS = st.lists(st.one_of(st.text(max_size=4), st.sampled_from(TOKENS.split(" "))), max_size=12).map("".join)


@settings(max_examples=400, deadline=None)
@given(FRAGMENTS, st.sampled_from(["json", "html", "none"]))
def test_any_text_ends_in_a_template_or_a_positioned_fault(text: str, escape: Any) -> None:
    """Nothing but a template error is raised, and its place lies within the text."""
    content_type = JSON if escape == "json" else "text/plain"
    faults = check_body(text, content_type=content_type, schema={})
    lines = text.split("\n")

    for fault in faults:
        assert fault.message
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
        assert fault.column < fault.end_column <= len(lines[fault.line - 1]) + 2
    try:
        template = compile_template(text, escape=escape)
    except TemplateError as exc:
        assert faults
        assert exc.line is not None
        assert exc.column is not None
    else:
        assert not any(fault.is_error for fault in faults)
        body = template.render({"a": {"b": ['x"']}}, {"s": "y"})
        assert escape != "json" or jsontext.loads(body) is not ...
