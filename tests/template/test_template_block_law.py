"""What holds for every event and every template with blocks: the body parses, and every value arrives as it was."""

import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from template_block_sample import DOCUMENT, EVENT, VALUE, Partials, Room, parsed, plain, text_of
from template_sample import JSON

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.template import check_body, compile_template


@settings(max_examples=400, deadline=None)
@given(EVENT, DOCUMENT)
def test_every_value_arrives_through_blocks_as_it_was(event: Any, document: Any) -> None:
    """Conditions, loops with separators, other contexts, partials and helpers, in strings and outside of them."""
    partials = Partials()
    source = text_of(document.source(partials))

    body = compile_template(source, partials=partials.texts).render(event)

    received = parsed(document, jsontext.loads(body.encode("utf-8")), Room(event, (event,)))
    assert plain(received) == plain(document.value(Room(event, (event,))))
    faults = check_body(source, content_type=JSON, schema={}, partials=partials.texts)
    assert {fault.code for fault in faults if fault.is_error} <= {"template.outside"}  # `../` at the top, @index


TAGS = (
    "{{#if a}}",
    "{{#unless a}}",
    "{{#each a}}",
    "{{#each a as |b c|}}",
    "{{#with a}}",
    "{{#a}}",
    "{{^a}}",
    "{{else}}",
    "{{else if b}}",
    "{{/if}}",
    "{{/unless}}",
    "{{/each}}",
    "{{/with}}",
    "{{/a}}",
    "{{a}}",
    "{{this}}",
    "{{../a}}",
    "{{@index}}",
    "{{@root.a}}",
    "{{b.c}}",
    "{{> p}}",
    "{{> q a}}",
    '{{> (lookup . "a")}}',
    "{{#> r}}",
    "{{/r}}",
    "{{> @partial-block}}",
    '{{#*inline "s"}}',
    "{{/inline}}",
    "{{> s}}",
    "{{json a}}",
    "{{eq a b}}",
    '{{join a ","}}',
    "{{truncate a 2}}",
    "{{date a}}",
    "{{#if @last}}",
    "{{#unless @last}},{{/unless}}",
    "{{lookup a 0}}",
)
JSON_TEXT = ('"', "{", "}", "[", "]", ",", ":", " ", '"k":', '"v"', "1", "null", '\\"', "{\\", "\n  ")
FRAGMENTS = st.lists(st.sampled_from([*TAGS, *TAGS, *JSON_TEXT]), max_size=16).map("".join)
PARTIALS = {"p": '{"x": {{a}} }', "q": "{{#each this}}{{> q}}{{/each}}", "r": "<{{> @partial-block}}>", "s": "text"}


@settings(max_examples=600, deadline=None)
@given(FRAGMENTS, st.sampled_from(["json", "json", "html", "form", "none"]), VALUE)
def test_whatever_compiles_renders_or_says_where_it_cannot(text: str, escape: Any, value: Any) -> None:
    """Nothing but a template error is raised, the limits hold, and what a JSON template gives is JSON."""
    lines = text.split("\n")
    content_type = JSON if escape == "json" else "text/plain"
    faults = check_body(text, content_type=content_type, schema={}, partials=PARTIALS)
    for fault in faults:
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
    try:
        template = compile_template(text, escape=escape, partials=PARTIALS)
    except TemplateError as exc:
        assert any(fault.is_error for fault in faults)
        assert (exc.line, exc.column) != (None, None)
        return
    assert {fault.code for fault in faults if fault.is_error} <= {"template.outside"}
    started = time.process_time()

    try:
        body = template.render({"a": value, "b": [value, value]})
    except TemplateError as exc:
        assert exc.line is None or exc.line <= len(lines)
    else:
        assert escape != "json" or _is_json(body)
    assert time.process_time() - started < 3


def _is_json(body: str) -> bool:
    try:
        jsontext.loads(body.encode("utf-8"))
    except jsontext.DuplicateKeyError:  # keys that an event makes equal: refused when it is sent
        return True
    return True
