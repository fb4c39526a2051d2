"""Blocks in JSON: where their expressions stand, what must hold at their ends, and what is wrong with them."""

from typing import Any

import pytest
from template_sample import JSON

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.template import check_body, compile_body, compile_template

HOSTILE = 'q" \\ \n\0 {{x}} ,}] 👩‍🚀'
EVENT: dict[str, Any] = {
    "h": HOSTILE,
    "on": True,
    "off": False,
    "none": [],
    "list": [HOSTILE, "b"],
    "one": ["only"],
    "rows": [{"n": HOSTILE, "l": [1, 2]}, {"n": "y", "l": []}],
    "fields": {"a": 1, HOSTILE: HOSTILE},
    "data": {"who": {"name": HOSTILE}},
}


def render(template: str, event: Any = EVENT, **partials: str) -> Any:
    """The body, parsed."""
    return jsontext.loads(compile_template(template, partials=partials).render(event))


@pytest.mark.parametrize(
    ("template", "body"),
    [
        # a value or another
        ('{"a": {{#if on}}"{{h}}"{{else}}null{{/if}}}', {"a": HOSTILE}),
        ('{"a": {{#if off}}"{{h}}"{{else}}null{{/if}}}', {"a": None}),
        ('{"a": {{#if off}}1{{else if none}}2{{else}}{{h}}{{/if}} }', {"a": HOSTILE}),
        ('{"a": {{#with data}}{{who}}{{else}}{}{{/with}} }', {"a": {"name": HOSTILE}}),
        # fields that are there or not
        ('{ {{#if on}}"a": 1,{{/if}} "b": 2}', {"a": 1, "b": 2}),
        ('{ {{#if off}}"a": 1,{{/if}} "b": 2}', {"b": 2}),
        ('{"b": 2{{#if on}}, "a": "{{h}}"{{/if}}}', {"b": 2, "a": HOSTILE}),
        ('{"b": 2{{#if off}}, "a": 1{{/if}}}', {"b": 2}),
        ('{ {{#if on}}"a": 1{{/if}} }', {"a": 1}),
        ('{ {{#if off}}"a": 1{{/if}} }', {}),
        ('{"{{#if on}}a{{else}}b{{/if}}": 1}', {"a": 1}),
        ('{ {{#if on}}"a"{{else}}"b"{{/if}}: 1}', {"a": 1}),
        ('{"a": 1, {{#if on}}"k": 1{{else}}"k": 2{{/if}} }', {"a": 1, "k": 1}),
        # lists
        ("[{{#each list}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]", [HOSTILE, "b"]),
        ('[{{#each list}}"<{{this}}>"{{#unless @last}}, {{/unless}}{{/each}}]', [f"<{HOSTILE}>", "<b>"]),
        ("[{{#each none}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]", []),
        ("[{{#each one}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]", ["only"]),
        ("[{{#each list}}{{#unless @first}},{{/unless}}{{this}}{{/each}}]", [HOSTILE, "b"]),
        ("[{{#each list}}{{#if @first}}{{else}},{{/if}}{{this}}{{/each}}]", [HOSTILE, "b"]),
        ("[{{#each list}}{{#if @index}},{{/if}}{{this}}{{/each}}]", [HOSTILE, "b"]),
        ("[{{#each list}}{{this}}{{#if (not @last)}},{{/if}}{{/each}}]", [HOSTILE, "b"]),
        ("[{{#each list}}{{this}}{{^@last}},{{/@last}}{{/each}}]", [HOSTILE, "b"]),
        ("[{{#each list}}{{#@first}}{{else}},{{/@first}}{{this}}{{/each}}]", [HOSTILE, "b"]),
        ("[{{#each list}}{{this}},{{/each}} null]", [HOSTILE, "b", None]),
        ("[null{{#each list}}, {{this}}{{/each}}]", [None, HOSTILE, "b"]),
        ("[null{{#list}}, {{this}}{{/list}}]", [None, HOSTILE, "b"]),
        ("[{{#each none}}1{{#unless @last}},{{/unless}}{{else}}null{{/each}}]", [None]),
        (
            "[{{#each rows}}{{#each l}}{{this}}{{#unless @last}},{{/unless}}{{else}}0{{/each}}"
            "{{#unless @last}},{{/unless}}{{/each}}]",
            [1, 2, 0],
        ),
        (
            '[{{#each rows}}{"n": "{{n}}", "l": [{{#each l}}"{{../n}}{{this}}"{{#if @last}}{{else}},{{/if}}{{/each}}]}'
            "{{#unless @last}},{{/unless}}{{/each}}]",
            [{"n": HOSTILE, "l": [f"{HOSTILE}1", f"{HOSTILE}2"]}, {"n": "y", "l": []}],
        ),
        ('[{{#with list}}{{#each this}}"{{@index}}"{{#unless @last}},{{/unless}}{{/each}}{{/with}}]', ["0", "1"]),
        # objects
        ('{ {{#each fields}}"{{@key}}": {{this}}{{#unless @last}},{{/unless}}{{/each}} }', {"a": 1, HOSTILE: HOSTILE}),
        (
            '{ {{#each fields as |v k|}}"{{k}}": "{{v}}"{{#unless @last}},{{/unless}}{{/each}} }',
            {"a": "1", HOSTILE: HOSTILE},
        ),
        # inside strings
        ('{"a": "{{#if on}}{{h}}{{else}}-{{/if}}"}', {"a": HOSTILE}),
        ('{"a": "{{#each list}}{{this}}{{#unless @last}}; {{/unless}}{{/each}}"}', {"a": f"{HOSTILE}; b"}),
        ('{"a": "{{#each rows}}{{n}}({{#each l}}{{this}}{{/each}}){{/each}}"}', {"a": f"{HOSTILE}(12)y()"}),
        ('{"a": "x{{#if on}}{{#with data}}{{who.name}}{{/with}}{{/if}}"}', {"a": f"x{HOSTILE}"}),
        ('{"a": {{#if on}}"x"{{else}}"y"{{/if}}, "b": "{{#if off}}x{{/if}}"}', {"a": "x", "b": ""}),
        # strings whose quotes are not in the same branch: plain text
        ('["{{#if on}}a", "b{{/if}}{{h}}"]', ["a", f"b{HOSTILE}"]),
        ('["{{#if off}}a", "b{{/if}}{{h}}"]', [HOSTILE]),
        ('[{{#if on}}"a{{else}}"b{{/if}} {{h}}"]', [f"a {HOSTILE}"]),
        # nothing but space
        ("{{#if on}}{}{{else}}[]{{/if}}", {}),
        ("{{#if off}} {{else}}\n{{/if}}[1]", [1]),
        ("{{{{raw}}}}[1]{{{{/raw}}}}", [1]),
    ],
)
def test_blocks_write_json_whatever_the_values(template: str, body: Any) -> None:
    """Each branch begins where the block does and ends where the others do."""
    assert check_body(template, content_type=JSON, schema={}) == ()
    assert render(template) == body


@pytest.mark.parametrize(
    ("template", "inner"),
    [
        (r'"{\"a\": {{#if on}}\"{{h}}\"{{else}}null{{/if}}}"', {"a": HOSTILE}),
        (r'"{\"a\": [{{#each list}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]}"', {"a": [HOSTILE, "b"]}),
        (r'"[{{#each rows}}{\"n\": \"{{n}}\"}{{#unless @last}},{{/unless}}{{/each}}]"', [{"n": HOSTILE}, {"n": "y"}]),
        (r'"{{#if on}}{\"a\": \"{{h}}\"}{{else}}[]{{/if}}"', {"a": HOSTILE}),
        (r'"{{#if on}}{\"a\": \"{{h}}\"}{{/if}}"', {"a": HOSTILE}),
        (r'"{ {{#each fields}}\"{{@key}}\": {{this}}{{#unless @last}},{{/unless}}{{/each}} }"', EVENT["fields"]),
        (r'"{\"m\": \"{{#each list}}<{{this}}>{{/each}}\"}"', {"m": f"<{HOSTILE}><b>"}),
    ],
)
def test_blocks_inside_a_strings_json_are_escaped_at_both_levels(template: str, inner: Any) -> None:
    """The receiver parses twice and finds the values."""
    assert check_body(template, content_type=JSON, schema={}) == ()
    assert jsontext.loads(render(template)) == inner


def test_a_string_that_is_json_in_some_branches_only_is_plain_text() -> None:
    """What is not JSON whatever is taken is not parsed by anyone."""
    assert render('{"a": "{{#if on}}{ {{h}} {{else}}x{{/if}}"}') == {"a": f"{{ {HOSTILE} "}


def test_a_leaf_of_a_mapping_may_hold_blocks() -> None:
    """As text; one expression alone keeps its type, a block does not."""
    body = {
        "text": "{{#each list}}<{{this}}>\n{{/each}}end",
        "inner": '{"a": [{{#each list}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]}',
        "number": "{{#if on}}{{rows.[0].l.[0]}}{{/if}}",
        "first": "{{first rows}}",
    }

    sent = jsontext.loads(compile_body(body, content_type=JSON).render(EVENT))

    assert sent["text"] == f"<{HOSTILE}>\n<b>\nend"
    assert jsontext.loads(sent["inner"]) == {"a": [HOSTILE, "b"]}
    assert (sent["number"], sent["first"]) == ("1", EVENT["rows"][0])


@pytest.mark.parametrize(
    ("template", "code", "column", "message", "hint"),
    [
        ('{"a": {{#if on}}1{{/if}}}', "branches", 7, "the branches of `#if` end in different contexts", "{{else}}null"),
        ('{"a": {{#if on}}"x{{else}}y"{{/if}}}', "branches", 7, "one inside a string", "same branch"),
        ('{"a": {{#if on}}[{{else}}{}{{/if}}}', "branches", 7, "one inside `{[`, another inside `{`", "same branch"),
        ('{"a": {{#unless on}}{ "b": 1{{/unless}} }', "branches", 7, "the branches of `#unless`", "same branch"),
        ('{"a": 1{{#if on}},{{/if}} "b": 2}', "branches", 8, "the branches of `#if`", ""),
        ("[{{#each list}}[{{/each}}]", "branches", 2, "the turns of `#each` end in different contexts", "same branch"),
        ('[{{#each list}}"{{/each}}]', "branches", 2, "the turns of `#each`", "same branch"),
        ("[{{#each list}}{{this}}{{/each}}]", "not_json", 16, "the JSON needs `,` or `]` here", "{{#unless @last}}"),
        ("[{{#each list}}{{this}},{{/each}}]", "not_json", 34, "the JSON needs a value here, not `]`", ""),
        ("[{{#each list}},{{this}}{{/each}}]", "not_json", 16, "the JSON needs a value or `]` here, not `,`", ""),
        ("[{{#list}}{{this}}{{#unless @last}},{{/unless}}{{/list}}]", "branches", 2, "the turns of `#list`", ""),
        ('{"a": 1, {{#each fields}}"b": 2{{/each}} }', "not_json", 26, "the JSON needs `,` or `}` here", "@last"),
        ('{ {{#each fields}}"b": 2{{#unless @last}},{{/unless}}{{/each}} }', "not_json", 19, "this key twice", ""),
        ('{ "b": 1, {{#if on}}"b": 2{{else}}"c": 3{{/if}} }', "not_json", 21, "the object has this key twice", ""),
        ("[{{#if on}}1{{/if}}, 2]", "not_json", 20, "the JSON needs a value or `]` here, not `,`", "into it"),
        ('{"n": 1{{#if on}}000{{/if}}}', "not_json", 18, "the JSON needs `,` or `}` here", ""),
        ("{{#if on}}[1]{{/if}}", "branches", 1, "the branches of `#if`", ""),
        ("{{#if on}}{{/if}}", "not_json", 11, "the JSON ends too early", ""),
        ('["{{#if on}}a"{{else}}b"{{/if}}, "c]', "not_json", 34, "the string is not closed", ""),
    ],
)
def test_what_would_not_be_json_on_some_way_is_a_fault(
    template: str, code: str, column: int, message: str, hint: str
) -> None:
    """At the block, or at what the block makes wrong; nothing of it can be compiled."""
    (fault,) = check_body(template, content_type=JSON, schema={})

    assert (fault.code, fault.line, fault.column) == (f"template.{code}", 1, column)
    assert message in fault.message
    assert hint in fault.hint
    with pytest.raises(TemplateError):
        compile_template(template)


@pytest.mark.parametrize("template", ['{"a": {{#if on}}1{{/if}}}', "[{{#each list}}{{this}}{{/each}}]"])
def test_outside_json_branches_end_as_they_like(template: str) -> None:
    """Text is text."""
    assert check_body(template, content_type="text/plain", schema={}) == ()


def test_lines_and_columns_are_those_of_the_block() -> None:
    """Inside a template of several lines."""
    template = '{\n  "a": [\n    {{#each list}}\n    "{{this}}"\n    {{/each}}\n  ]\n}'

    (fault,) = check_body(template, content_type=JSON, schema={})

    assert (fault.line, fault.column, fault.end_column) == (4, 5, 15)


# Partials


@pytest.mark.parametrize(
    ("template", "partials", "body"),
    [
        ('{"a": {{> p}} }', {"p": '{"b": "{{h}}"}'}, {"a": {"b": HOSTILE}}),
        ('{"a": {{> p}} }', {"p": '{"b": "{{h}}"}\n'}, {"a": {"b": HOSTILE}}),
        ('{"a": "<{{> p}}>"}', {"p": "{{h}}\n"}, {"a": f"<{HOSTILE}>"}),
        ('{"a": "{{> p}}", "b": {{> p}} }', {"p": "{{h}}"}, {"a": HOSTILE, "b": HOSTILE}),
        (
            '{"a": [{{#each list}}{{> p}}{{#unless @last}},{{/unless}}{{/each}}]}',
            {"p": '"{{this}}"'},
            {"a": [HOSTILE, "b"]},
        ),
        ("[{{> list}}]", {"list": "{{#each list}}{{this}}{{#unless @last}},{{/unless}}{{/each}}"}, [HOSTILE, "b"]),
        ('{"a": 1{{> p}} }', {"p": ', "b": "{{h}}"'}, {"a": 1, "b": HOSTILE}),
        ('{{#*inline "p"}}"{{h}}"{{/inline}}[{{> p}}, {{> p}}]', {}, [HOSTILE, HOSTILE]),
        ('[{{#> wrap}}"{{h}}"{{/wrap}}]', {"wrap": '{"in": {{> @partial-block}} }'}, [{"in": HOSTILE}]),
        ("[{{> p data.who extra=h}}]", {"p": '"{{name}}", "{{extra}}"'}, [HOSTILE, HOSTILE]),
        ('[{{> (lookup this "which")}}]', {"p": "{{h}}", "unfit": '"'}, [HOSTILE]),
        (
            '{"a": "{\\"b\\": \\"{{> p}}\\"}"}',
            {"p": "{{h}}\n"},
            {"a": jsontext.dumps({"b": HOSTILE}).replace('":', '": ')},
        ),
        (
            "{{> node tree}}",
            {"node": '{"n": "{{n}}", "k": [{{#each k}}{{> node}}{{#unless @last}},{{/unless}}{{/each}}]}\n'},
            {"n": HOSTILE, "k": [{"n": "x", "k": []}, {"n": "y", "k": [{"n": "z", "k": []}]}]},
        ),
        ('"{{> text tree}}"', {"text": "{{n}}({{#each k}}{{> text}}{{/each}})"}, f"{HOSTILE}(x()y(z()))"),
    ],
)
def test_a_partial_is_json_where_it_is_included(template: str, partials: dict[str, str], body: Any) -> None:
    """Each inclusion is judged for its own place: once in a string, once outside."""
    tree = {"n": HOSTILE, "k": [{"n": "x", "k": []}, {"n": "y", "k": [{"n": "z", "k": []}]}]}

    assert render(template, {**EVENT, "which": "p", "tree": tree}, **partials) == body


@pytest.mark.parametrize(
    ("template", "partials", "message"),
    [
        ("[{{> p}}]", {"p": '"a'}, "the string is not closed"),
        ("[{{> p}}]", {"p": "{{x}}]"}, "the JSON must end here, not `]`"),
        ("[{{> p}}]", {"p": "{{x}}}"}, "in the partial `p` at 1:6: the JSON needs `,` or `]` here"),
        ("[{{> p}} 1]", {"p": "1"}, "the JSON needs `,` or `]` here"),
        ('["{{> node}}"]', {"node": '{{#if x}}", {{> node}}, "{{/if}}'}, "includes itself in another context"),
        ('{"a": 1{{> node}} }', {"node": '{{#if x}}, "b": 2{{> node}}{{/if}}'}, "includes itself in another context"),
        ("[{{> node}}]", {"node": '{"a": 1, {{> node}} }'}, "includes itself in another context"),
        ("[{{> a}}]", {"a": "{{> b}}", "b": "{{> (lookup this 'x')}}"}, ""),
        ("{{> @partial-block}}", {}, "no such partial: `@partial-block`"),
        ("[{{> p}}]", {"p": "{{#if"}, "in the partial `p` at 1:1"),
        ("[{{#*inline x}}{{/inline}}1]", {}, "an inline partial has one name"),
        ("[{{#*other 'x'}}{{/other}}1]", {}, "no such decorator"),
    ],
)
def test_a_partial_that_does_not_fit_is_a_fault(template: str, partials: dict[str, str], message: str) -> None:
    """In the words of the place where it is included."""
    faults = check_body(template, content_type=JSON, schema={}, partials=partials)

    assert (not message) or any(message in fault.message for fault in faults if fault.is_error)
    if message:
        with pytest.raises(TemplateError):
            compile_template(template, partials=partials)


def test_a_chosen_partial_that_cannot_stand_there_is_an_error_when_it_is_chosen() -> None:
    """The others work."""
    partials = {"fits": "1", "breaks": '"'}
    template = compile_template("[{{> (lookup this 'which')}}]", partials=partials)

    assert template.render({"which": "fits"}) == "[1]"
    with pytest.raises(TemplateError, match="cannot stand here"):
        template.render({"which": "breaks"})
    with pytest.raises(TemplateError, match="no such partial: `other`"):
        template.render({"which": "other"})
    with pytest.raises(TemplateError, match="no such partial"):
        template.render({})


def test_an_error_in_a_partial_says_where_it_is() -> None:
    """The tag in the body, and the place in the partial."""
    template = compile_template("[\n{{> p}}]", partials={"p": '1,\n "{{date x}}"'})

    with pytest.raises(TemplateError, match="in the partial `p` at 2:5: `date`: the value is no time") as caught:
        template.render({"x": "y"})

    assert (caught.value.line, caught.value.column) == (2, 1)


def test_the_same_text_with_other_partials_is_another_template() -> None:
    """What is compiled once is compiled for these very partials."""
    one = compile_template("[{{> p}}]", partials={"p": "1"})

    assert compile_template("[{{> p}}]", partials={"p": "2"}).render({}) == "[2]"
    assert one.render({}) == "[1]"
    assert compile_template("[{{> p}}]", partials={"p": "1"}) is one


def test_an_indented_partial_in_a_leaf_is_indented_line_by_line() -> None:
    """Also where line feeds are written as escapes."""
    body = {"text": "Who:\n  {{> who}}\nEnd"}

    template = compile_body(body, content_type=JSON, partials={"who": "{{h}}\nline two\n"})

    assert jsontext.loads(template.render({"h": "a\\nb\nc"})) == {"text": "Who:\n  a\\nb\n  c\n  line two\nEnd"}


def test_the_line_feed_that_ends_a_file_does_not_end_a_leaf() -> None:
    """A name is a name, whatever the editor does to the partial's file."""
    body = {"who": "{{> who}}", "text": "by {{> who}}!"}

    template = compile_body(body, content_type=JSON, partials={"who": "{{h}}\n"})

    assert jsontext.loads(template.render({"h": "x"})) == {"who": "x", "text": "by x!"}
