"""A body as a mapping whose leaves are templates."""

from typing import Any

import pytest
from template_sample import JSON

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.jsontext import Number
from reconciler.template import check_body, compile_body

EVENT: dict[str, Any] = {"s": 'q"\\\n', "n": Number("1.50"), "t": True, "z": None, "o": {"k": [1, 'x"']}, "l": []}


def render(body: Any, **secrets: str) -> Any:
    return jsontext.loads(compile_body(body, content_type=JSON).render(EVENT, secrets))


def test_a_leaf_that_is_one_expression_keeps_its_type() -> None:
    """Text stays text, a number a number with its digits, what is missing becomes null."""
    body = {name: f"{{{{{name}}}}}" for name in (*EVENT, "missing")}

    text = compile_body(body, content_type=JSON).render(EVENT)

    assert jsontext.loads(text) == {**EVENT, "missing": None}
    assert '"n":1.50' in text


@pytest.mark.parametrize("leaf", ["{{n}}", "{{{n}}}", "{{&n}}", "{{! c }}{{n}}", " {{~n~}} \n"])
def test_comments_and_stripped_space_leave_an_expression_alone(leaf: str) -> None:
    """What counts is what remains of the leaf."""
    assert compile_body({"a": leaf}, content_type=JSON).render(EVENT) == '{"a":1.50}'


@pytest.mark.parametrize(
    ("leaf", "text"),
    [
        ("", ""),
        ("text", "text"),
        ('a "quote" \\ and\nline', 'a "quote" \\ and\nline'),
        (" {{n}}", " 1.50"),
        ("{{n}}{{t}}", "1.50true"),
        ("<{{s}}>", '<q"\\\n>'),
        ("{{z}}{{missing}}", ""),
        ("{{o}}!", '{"k":[1,"x\\""]}!'),
        ("$${x} \\{{n}}", "${x} {{n}}"),
        ("${secret:p}", 'p"w'),
        ("{{s}}${secret:p}", 'q"\\\np"w'),
    ],
)
def test_every_other_leaf_is_a_string(leaf: str, text: str) -> None:
    """Escaped once; the leaf's own text is what the receiver reads."""
    assert render({"a": leaf}, p='p"w') == {"a": text}


def test_a_leaf_that_is_json_is_escaped_at_both_levels() -> None:
    """The receiver parses the string and finds the values."""
    body = render({"m": '{"a": "<{{s}}>", "b": {{o}}, "c": {{missing}}}'})

    assert jsontext.loads(body["m"]) == {"a": f"<{EVENT['s']}>", "b": EVENT["o"], "c": None}


def test_other_leaves_stand_as_they_are() -> None:
    """Numbers, booleans, nulls, lists and mappings, in the author's order."""
    body = {"z": 1, "a": [True, None, 1.5, Number("2.50"), [], {}, {"b": "{{n}}"}], "e": 10**25}

    text = compile_body(body, content_type=JSON).render(EVENT)

    assert text == '{"z":1,"a":[true,null,1.5,2.50,[],{},{"b":1.50}],"e":10000000000000000000000000}'


def test_an_empty_mapping_is_an_empty_object() -> None:
    """Nothing is a body too."""
    assert compile_body({}, content_type=JSON).render(EVENT) == "{}"


def test_bodies_that_look_alike_are_told_apart() -> None:
    """What is compiled once is compiled for this very body."""
    bodies: list[Any] = [
        {"a": 1},
        {"a": True},
        {"a": 1.0},
        {"a": "1"},
        {"a": Number("1.00")},
        {"a": [1]},
        {"a": ["[", 1]},
    ]

    texts = [compile_body(body, content_type=JSON).render({}) for body in bodies]

    assert texts == ['{"a":1}', '{"a":true}', '{"a":1.0}', '{"a":"1"}', '{"a":1.00}', '{"a":[1]}', '{"a":["[",1]}']
    assert compile_body({"b": 1, "a": 2}, content_type=JSON).render({}) == '{"b":1,"a":2}'
    assert compile_body({"a": 2, "b": 1}, content_type=JSON).render({}) == '{"a":2,"b":1}'


def test_a_body_is_compiled_once() -> None:
    """The same body gives the same template."""
    assert compile_body({"a": "{{x}}"}, content_type=JSON) is compile_body({"a": "{{x}}"}, content_type=JSON)
    assert compile_body('{"a": {{x}} }', content_type=JSON) is compile_body('{"a": {{x}} }', content_type="text/a+json")


def test_as_many_bodies_as_a_store_has_webhooks_stay_compiled() -> None:
    """Ten thousand webhooks take turns without one of them being read again."""
    first = compile_body({"n": "{{x}}"}, content_type=JSON), compile_body("[{{x}}, -1]", content_type=JSON)

    for number in range(2_000):
        compile_body({"n": number}, content_type=JSON)
        compile_body(f"[{number}]", content_type=JSON)

    assert compile_body({"n": "{{x}}"}, content_type=JSON) is first[0]
    assert compile_body("[{{x}}, -1]", content_type=JSON) is first[1]


def test_faults_carry_the_keys_to_their_leaf(schema: dict[str, Any]) -> None:
    """Line and column count inside the leaf's text."""
    body = {
        "a": {"b": ["ok {{data.id}}", "x\n {{data.idd}}"]},
        "c": "{{#iff data.id}}{{/iff}}",
        "d": "{{",
        "e": '{"x": {{data.id}} "y": 1}',
        "{{k}}": 1,
    }

    faults = check_body(body, content_type=JSON, schema=schema)

    assert [(fault.code, fault.path, fault.line, fault.column) for fault in faults] == [
        ("template.unknown_field", ("a", "b", 1), 2, 9),
        ("template.unknown_helper", ("c",), 1, 1),
        ("template.syntax", ("d",), 1, 1),
        ("template.inner_json", ("e",), 1, 1),
        ("template.bad_leaf", ("{{k}}",), 1, 1),
    ]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"{{k}}": 1}, ("{{k}}",)),
        ({"${secret:k}": 1}, ("${secret:k}",)),
        ({"a": {1: 2}}, ("a",)),
        ({"a": [object()]}, ("a", 0)),
        ({"a": float("nan")}, ("a",)),
    ],
)
def test_what_cannot_stand_in_a_mapping_is_an_error(body: Any, path: tuple[str | int, ...]) -> None:
    """Keys are literal text, leaves are JSON."""
    (fault,) = check_body(body, content_type=JSON, schema={})

    assert (fault.code, fault.path, fault.is_error) == ("template.bad_leaf", path, True)
    with pytest.raises(TemplateError):
        compile_body(body, content_type=JSON)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
def test_a_mapping_needs_a_json_content_type(content_type: str) -> None:
    """It is sent as JSON or not at all."""
    (fault,) = check_body({"a": 1}, content_type=content_type, schema={})

    assert (fault.code, fault.is_error) == ("template.bad_leaf", True)
    with pytest.raises(TemplateError, match="not JSON"):
        compile_body({"a": 1}, content_type=content_type)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json", "text/x+json "],
)
def test_json_content_types_are_known(content_type: str) -> None:
    """`application/json` and every `+json` suffix, parameters aside."""
    assert compile_body({"a": "{{n}}"}, content_type=content_type).render(EVENT) == '{"a":1.50}'


def test_a_mapping_nested_too_deeply_is_an_error() -> None:
    """The receiver's parser has a limit too."""
    body: Any = "leaf"
    for _ in range(300):
        body = {"a": body}

    (fault,) = check_body(body, content_type=JSON, schema={})

    assert fault.code == "template.too_deep"
