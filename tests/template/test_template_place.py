"""Where an expression stands in JSON decides how its value is written."""

from typing import Any

import pytest
from template_sample import JSON

from reconciler import jsontext
from reconciler.errors import SecretError, TemplateError
from reconciler.jsontext import Number
from reconciler.template import check_body, compile_template

HOSTILE = (
    'quote " backslash \\ line\nbreak tab\t nul\0 \u2028\u2029 emoji 👩‍🚀 rtl \u202eעברית '
    "mustache {{x}} {{{y}}} ${secret:a}"
)


def render(template: str, event: Any, **secrets: str) -> Any:
    """The body, parsed."""
    return jsontext.loads(compile_template(template).render(event, secrets))


@pytest.mark.parametrize(
    "form", ["{{x}}", "{{{x}}}", "{{&x}}", "{{ x }}", "{{{ x }}}", "{{[x]}}", "{{this.x}}", "{{@root.x}}"]
)
def test_every_form_of_an_expression_is_escaped_alike(form: str) -> None:
    """In JSON `{{{x}}}` is no way around escaping."""
    assert render(f'{{"a": "<{form}>"}}', {"x": HOSTILE}) == {"a": f"<{HOSTILE}>"}
    assert render(f'{{"a": {form} }}', {"x": HOSTILE}) == {"a": HOSTILE}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-1, "-1"),
        (Number("1795424400.851898000"), "1795424400.851898000"),
        (Number("1e400"), "1e400"),
        (Number("-0"), "-0"),
        (123456789012345678901234567890, "123456789012345678901234567890"),
        ({"b": [1, None, 'q"']}, '{"b":[1,null,"q\\""]}'),
        ([], "[]"),
        (HOSTILE, HOSTILE),
    ],
)
def test_a_value_in_a_string_is_its_text(value: Any, text: str) -> None:
    """Missing and null are empty, numbers keep their digits, objects and lists are JSON text."""
    assert render('{"a": "<{{x}}>"}', {"x": value}) == {"a": f"<{text}>"}


def test_a_missing_value_in_a_string_is_empty() -> None:
    """As Handlebars has it."""
    assert render('["{{x}}", "{{x.y.[0]}}", "a{{a.b}}b"]', {}) == ["", "", "ab"]


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "",
        None,
        True,
        False,
        0,
        [],
        {},
        {"b": [1, None, 'q"']},
        HOSTILE,
        10**30,
        Number("1.50"),
        Number("1e400"),
    ],
)
def test_a_value_outside_a_string_is_json(value: Any) -> None:
    """The value as it came, whatever its type."""
    body = compile_template('{"a": {{x}}, "b": [{{x}}, {{{x}}}]}').render({"x": value})

    assert body == f'{{"a": {jsontext.dumps(value)}, "b": [{jsontext.dumps(value)}, {jsontext.dumps(value)}]}}'


def test_a_missing_value_outside_a_string_is_null() -> None:
    """So that the body is JSON all the same."""
    assert render('{"a": {{x}}, "b": {{x.y}} }', {}) == {"a": None, "b": None}


@pytest.mark.parametrize("template", ["{{x}}", " {{x}}\n", '"{{x}}"', "[{{x}}]"])
def test_a_body_may_be_any_json_value(template: str) -> None:
    """RFC 8259 allows any value at the top."""
    assert render(template, {"x": "v"}) in ("v", ["v"])


def test_a_closing_brace_may_follow_an_expression_at_once() -> None:
    """How a tag opens decides how it closes; Handlebars in JavaScript would want a space."""
    assert render('{"a":{"b":{{x}}}}', {"x": 1}) == {"a": {"b": 1}}
    assert render('{"a":{"b":{{{x}}}}}', {"x": 1}) == {"a": {"b": 1}}


def test_an_expression_in_an_inner_string_is_escaped_at_both_levels() -> None:
    """The receiver parses twice and finds the value."""
    body = render(r'{"m": "{\"a\": \"<{{x}}>\", \"b\": [\"{{y}}\"]}"}', {"x": HOSTILE, "y": True})

    assert jsontext.loads(body["m"]) == {"a": f"<{HOSTILE}>", "b": ["true"]}


def test_an_expression_outside_an_inner_string_is_a_json_value_there() -> None:
    """The inner context decides in the same way."""
    event = {"x": HOSTILE, "n": Number("1.10"), "o": {"k": [None, HOSTILE]}}

    body = render(r'{"m": "{\"a\": {{x}}, \"n\": {{n}}, \"o\": {{{o}}}, \"none\": {{z}} }"}', event)

    assert body["m"].count("1.10") == 1
    assert jsontext.loads(body["m"]) == {"a": HOSTILE, "n": 1.1, "o": event["o"], "none": None}


def test_json_in_a_string_in_a_string_is_followed() -> None:
    """Three levels deep, escaped three times."""
    inner = jsontext.dumps({"deep": "{{x}}"})
    middle = jsontext.dumps({"middle": inner})

    body = render(jsontext.dumps({"outer": middle}), {"x": HOSTILE})

    assert jsontext.loads(jsontext.loads(body["outer"])["middle"]) == {"deep": HOSTILE}


def test_nesting_beyond_the_limit_is_refused() -> None:
    """Each level doubles the backslashes."""
    text = "{{x}}"
    for _ in range(11):
        text = jsontext.dumps({"a": text})

    with pytest.raises(TemplateError, match="deeper than 8 levels"):
        compile_template(text)


@pytest.mark.parametrize("text", ["{not json {{x}}}", "[{{x}}", "<{{x}}>", "{{x}}", 'say \\"{{x}}\\"', "{{x}}: [1]"])
def test_a_string_that_is_not_json_holds_plain_text(text: str) -> None:
    """Only an object or array that parses is an inner document."""
    expected = text.replace("{{x}}", HOSTILE).replace('\\"', '"')

    assert render(f'{{"a": "{text}"}}', {"x": HOSTILE}) == {"a": expected}


def test_an_expression_may_stand_in_a_key() -> None:
    """A key is a string like any other."""
    assert render('{"<{{x}}>": 1}', {"x": HOSTILE}) == {f"<{HOSTILE}>": 1}


def test_lone_surrogates_arrive_as_escapes() -> None:
    """UTF-8 cannot carry them, JSON's escapes can."""
    template = compile_template(r'{"a": "{{x}}", "b": {{x}}, "m": "{\"c\": \"{{x}}\"}"}')

    body = template.render({"x": "a\ud83d b\udc00"})

    assert body.isascii()
    parsed = jsontext.loads(body)
    assert (parsed["a"], parsed["b"], jsontext.loads(parsed["m"])["c"]) == ("a\ud83d b\udc00",) * 3


def test_a_secret_is_escaped_for_where_it_stands() -> None:
    """A reference is a string value, wherever it is."""
    template = r'{"a": "Bearer ${secret:t}", "b": ${secret:t}, "m": "{\"c\": \"${secret:t}\", \"d\": ${secret:t}}"}'

    body = render(template, {}, t=HOSTILE)

    assert (body["a"], body["b"]) == (f"Bearer {HOSTILE}", HOSTILE)
    assert jsontext.loads(body["m"]) == {"c": HOSTILE, "d": HOSTILE}


def test_a_secret_is_never_scanned_again() -> None:
    """Neither a reference nor an expression in its value means anything."""
    assert render('["${secret:a}", "{{x}}"]', {"x": "${secret:b}"}, a="{{x}} ${secret:b} $${") == [
        "{{x}} ${secret:b} $${",
        "${secret:b}",
    ]


def test_a_doubled_dollar_is_a_literal_reference() -> None:
    """`$${` is how `${` is written."""
    assert render('["$${secret:a}", "$$${x}", "$ {{x}}"]', {"x": 1}) == ["${secret:a}", "$${x}", "$ 1"]


def test_a_secret_without_a_value_is_an_error_that_names_it() -> None:
    """The delivery waits; nothing is sent without it."""
    with pytest.raises(SecretError) as caught:
        compile_template('{"a": "${secret:token}"}').render({})

    assert caught.value.name == "token"


def test_white_space_control_removes_what_is_around_a_tag() -> None:
    """`~` works in JSON as everywhere; a comment alone on its line takes the line with it."""
    template = '{\n  {{! the name }}\n  "a": "$ {{~x~}}  !"\n}'

    assert compile_template(template).render({"x": 5}) == '{\n  "a": "$5!"\n}'


def test_an_escaped_mustache_is_text() -> None:
    """`\\{{x}}` shows the braces."""
    assert render('["\\{{x}} {{x}}"]', {"x": 1}) == ["{{x}} 1"]


def test_three_backslashes_before_an_expression_are_one_in_the_string() -> None:
    """Handlebars takes one of them away, JSON halves the other two."""
    assert render('["C:\\\\\\{{x}}"]', {"x": "temp"}) == ["C:\\temp"]


def fault_of(template: str, schema: dict[str, Any] | None = None) -> tuple[str, int, int, int]:
    """The code and place of a template's only fault."""
    (fault,) = check_body(template, content_type=JSON, schema=schema or {})
    assert fault.message
    return fault.code, fault.line, fault.column, fault.end_column


@pytest.mark.parametrize(
    ("template", "line", "column", "end_column"),
    [
        ("", 1, 1, 2),
        ("  \n", 1, 1, 3),
        ("{{! only a comment }}", 1, 1, 2),
        ("hello {{x}}", 1, 1, 2),
        ('{"a": {{x}}', 1, 12, 13),
        ('{"a": "{{x}}', 1, 7, 8),
        ('{"a": 1\n "b": {{x}}}', 2, 2, 5),
        ('{"a": 1,}', 1, 9, 10),
        ('["{{x}}",]', 1, 10, 11),
        ('{"a": {{x}}{{y}} }', 1, 12, 17),
        ('{"a": 1{{y}} }', 1, 8, 13),
        ('{"a": {{x}}1}', 1, 12, 13),
        ('{"a": -{{x}} }', 1, 7, 8),
        ('{"a": "b\n{{x}}"}', 1, 9, 10),
        ('{"a": "b\t"}', 1, 9, 10),
        ('{"a": "\\x"}', 1, 8, 10),
        ('{"a": "\\\\{{x}}"}', 1, 8, 15),
        ('{"a": "\\u00{{x}}"}', 1, 8, 10),
        ("{'a': {{x}} }", 1, 2, 3),
        ('{"a": {{x}} } x', 1, 15, 16),
        ('{"a": 1, "b": 2, "a": {{x}} }', 1, 18, 21),
        ('{"a": tru}', 1, 7, 8),
        ('{"a": 01}', 1, 8, 9),
        ('{"a" {{x}} }', 1, 6, 11),
        ('{"a": {{! c }}{{~x~}} , \n}', 2, 1, 2),
        ("[[{{x}}", 1, 8, 9),
        ("{ {{x}}: 1}", 1, 3, 8),
        ('{"a": {{x}},\n "b":\n\n', 2, 6, 7),
    ],
)
def test_what_is_not_json_is_a_fault_at_its_place(template: str, line: int, column: int, end_column: int) -> None:
    """With placeholders for its expressions a JSON template must be JSON."""
    assert fault_of(template) == ("template.not_json", line, column, end_column)
    with pytest.raises(TemplateError) as caught:
        compile_template(template)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_string_that_only_looks_like_json_is_a_warning() -> None:
    """A comma that is missing inside a string would send broken JSON to the receiver."""
    template = '{"m": "{\\"a\\": \\"{{x}}\\" \\"b\\": 1}"}'

    (fault,) = check_body(template, content_type=JSON, schema={})

    assert (fault.code, fault.is_error, fault.line, fault.column) == ("template.inner_json", False, 1, 7)
    assert jsontext.loads(compile_template(template).render({"x": "v"})) == {"m": '{"a": "v" "b": 1}'}


def test_other_content_types_are_plain_text() -> None:
    """What is not JSON is not read as JSON, and nothing is escaped."""
    assert check_body('say "{{x}}', content_type="text/plain", schema={}) == ()
    assert compile_template('say "{{x}}', escape="none").render({"x": 'a"b\n'}) == 'say "a"b\n'
