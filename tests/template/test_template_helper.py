"""Helpers: what each makes of its arguments, alone, in expressions and as blocks."""

from pathlib import Path
from typing import Any

import pytest
from template_sample import JSON

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.jsontext import Number
from reconciler.models.corpus import corpus
from reconciler.models.event import event_schema
from reconciler.models.webhook import Trigger
from reconciler.template import check_body, compile_template
from reconciler.template.helpers import HELPERS

EVENT: dict[str, Any] = {
    "s": "Dana Lévi",
    "q": 'a "b"\n\\c',
    "blank": "  x \n",
    "empty": "",
    "n": 5,
    "zero": 0,
    "price": Number("1.50"),
    "big": 9007199254740993,
    "digits": "7200",
    "yes": True,
    "no": False,
    "null": None,
    "list": ["a", "b", None, "c"],
    "none": [],
    "object": {"k": 1, "m": "v"},
    "bare": {},
    "groups": [{"i": {"name": "x"}, "n": 1}, {"i": {"name": "y"}}, {"i": None}, {}],
    "at": Number("1795424400.851898000"),
}


def value_of(expression: str) -> Any:
    """What an expression gives."""
    return jsontext.loads(compile_template(f"[{{{{{expression}}}}}]").render(EVENT))[0]


def text_of(expression: str) -> str:
    """The same in plain text."""
    return compile_template(f"{{{{{expression}}}}}", escape="none").render(EVENT)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('eq s "Dana Lévi"', True),
        ('eq s "dana lévi"', False),
        ("eq n 5", True),
        ("eq price 1.5", True),
        ("eq price 1.51", False),
        ("eq big 9007199254740992", False),
        ("eq big 9007199254740993", True),
        ('eq digits "7200"', True),
        ("eq digits 7200", False),
        ("eq yes true", True),
        ("eq yes 1", False),
        ("eq no zero", False),
        ("eq null missing", True),
        ("eq null empty", False),
        ("eq list list", True),
        ("eq list none", False),
        ("eq bare (lookup this 'bare')", True),
        ("ne n 5", False),
        ("ne n 6", True),
        ("gt n 4", True),
        ("gt n 5", False),
        ("gte n 5", True),
        ("lt n 5.1", True),
        ("lte n 5", True),
        ("lte n 4", False),
        ("gt big 9007199254740992", True),
        ("gt digits 3600", True),
        ('lt 3600 "7200"', True),
        ('gt "b" "a"', True),
        ('gt "10" "9"', False),
        ("gt s 1", False),
        ("lt s 1", False),
        ("gte null 0", False),
        ("lte null 0", False),
        ("lt list 1", False),
        ("gt yes 0", False),
        ("and n s", True),
        ("and n zero s", False),
        ("and bare yes", True),
        ("or zero empty none", False),
        ("or zero bare", True),
        ("not none", True),
        ("not n", False),
        ("and (gt n 1) (not (eq n 6))", True),
    ],
)
def test_comparisons_answer_true_or_false(expression: str, value: bool) -> None:
    """Exactly, and without ever failing."""
    assert value_of(expression) is value
    assert text_of(expression) == ("true" if value else "false")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("upper s", "DANA LÉVI"),
        ("lower s", "dana lévi"),
        ("upper price", "1.50"),
        ("upper null", None),
        ("trim blank", "x"),
        ("upper (trim blank)", "X"),
        ("truncate s 6", "Dana …"),
        ("truncate s 9", "Dana Lévi"),
        ("truncate s 1", "…"),
        ('truncate s 6 "..."', "Dan..."),
        ('truncate s 2 "..."', ".."),
        ('truncate s length=6 ellipsis=""', "Dana L"),
        ("truncate null 3", None),
        ("truncate big 4", "900…"),
        ('replace s "a" "o"', "Dono Lévi"),
        ('replace s "a" ""', "Dn Lévi"),
        ('replace s new="o" old="a"', "Dono Lévi"),
        ('replace null "a" "b"', None),
        ('default s "x"', "Dana Lévi"),
        ('default empty "x"', "x"),
        ('default null missing empty "x"', "x"),
        ("default null missing", None),
        ('default zero "x"', 0),
        ('default no "x"', False),
        ('default none "x"', []),
        ("join list", "a, b, c"),
        ('join list ""', "abc"),
        ('join list separator="; "', "a; b; c"),
        ("join none", ""),
        ("join s", "Dana Lévi"),
        ("join null", None),
        ('join (pluck groups "i.name")', "x, y"),
        ('join (pluck groups "i")', '{"name":"x"}, {"name":"y"}'),
        ("first list", "a"),
        ("last list", "c"),
        ("first none", None),
        ("last s", None),
        ("count list", 4),
        ("count object", 2),
        ("count s", 9),
        ("count null", 0),
        ("count n", 0),
        ('pluck groups "n"', [1, None, None, None]),
        ('pluck groups "i.name"', ["x", "y", None, None]),
        ('pluck object "length"', [None, 1]),
        ('pluck s "x"', []),
        ("pluck groups missing", [None] * 4),
        ('lookup object "m"', "v"),
        ("lookup list 1", "b"),
        ("lookup object missing", None),
        ("json object", {"k": 1, "m": "v"}),
        ("json s", "Dana Lévi"),
        ("json missing", None),
        ('eq (json object) \'{"k":1,"m":"v"}\'', True),
    ],
)
def test_values_keep_their_type_outside_of_strings(expression: str, value: Any) -> None:
    """An expression of its own gives the helper's value as JSON; `json` stands as the value it was made of."""
    assert value_of(expression) == value


def test_json_in_a_string_is_json_text() -> None:
    """Escaped once more for the string it stands in; in HTML and plain text it is as it is."""
    template = compile_template('{"a": "{{json object}} {{json q}}", "b": {{json q}}, "c": "{\\"d\\": {{json q}}}"}')

    body = jsontext.loads(template.render(EVENT))

    assert body["a"] == '{"k":1,"m":"v"} ' + jsontext.dumps(EVENT["q"])
    assert body["b"] == EVENT["q"]
    assert jsontext.loads(body["c"]) == {"d": EVENT["q"]}
    assert text_of("json object") == '{"k":1,"m":"v"}'
    assert text_of("json null") == "null"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("at", "2026-11-23T09:00:00Z"),
        ('at "%F %T"', "2026-11-23 09:00:00"),
        ('at "%Y/%m/%d %H:%M:%S.%N"', "2026/11/23 09:00:00.851898000"),
        ('at "%L %f"', "851 851898"),
        ('at "%FT%T%:z" "Europe/Berlin"', "2026-11-23T10:00:00+01:00"),
        ('at "%H:%M %Z %z" "America/New_York"', "04:00 EST -0500"),
        ('at "%H:%M" zone="Asia/Kolkata"', "14:30"),
        ('at zone="Asia/Jerusalem"', "2026-11-23T11:00:00+02:00"),
        ('at "%a %A %b %B %e %j %u %y %I %p %s %%"', "Mon Monday Nov November 23 327 1 26 09 AM 1795424400 %"),
        ('0 "%F %T %e"', "1970-01-01 00:00:00  1"),
        ('-1.5 "%T.%N"', "23:59:58.500000000"),
        ('"1795424400.9999999999" "%S %N"', "00 999999999"),
        ('"1719792000" "%F %H:%M" "Europe/Berlin"', "2024-07-01 02:00"),
        ("null", ""),
        ("missing", ""),
        ("empty", ""),
    ],
)
def test_dates_have_their_digits_and_their_zone(arguments: str, text: str) -> None:
    """Nothing is rounded, and no local zone is asked for."""
    assert text_of(f"date {arguments}") == text


def test_a_date_that_is_missing_is_null() -> None:
    """As every other value."""
    assert value_of("date missing") is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("date s", "the value is no time in seconds since 1970"),
        ("date yes", "the value is no time"),
        ("date spaced", "the value is no time"),
        ("date huge", "the value is no time"),
        ("date far", "outside the years 1 to 9999"),
        ("date at s", "unknown directive"),
        ("date at n", "`format` must be a text"),
        ("date at format zone", "there is no such zone"),
        ("truncate s n2", "`length` must be a whole number"),
        ("truncate s price", "`length` must be a whole number"),
        ('replace s empty "x"', "`old` must not be empty"),
    ],
)
def test_what_a_helper_cannot_do_is_a_template_error_at_its_place(expression: str, message: str) -> None:
    """Whoever looks at the dead delivery sees which expression it was."""
    event = {
        **EVENT,
        "huge": Number("1e999999999"),
        "far": 999999999999,
        "s": "%Q",
        "spaced": "1 2",
        "n2": -2,
        "format": "",
        "zone": "x",
    }
    template = compile_template(f'["ok",\n {{{{{expression}}}}}]')

    with pytest.raises(TemplateError, match=message) as caught:
        template.render(event)

    assert (caught.value.line, caught.value.column) == (2, 4)
    assert caught.value.message.startswith(f"`{expression.split()[0]}`: ")


def test_hostile_numbers_are_compared_in_no_time() -> None:
    """Exponents of any length."""
    event = {
        "a": Number("1e999999999"),
        "b": Number("1e-999999999"),
        "c": Number("9" * 50_000),
        "d": Number("1e" + "9" * 30),
    }

    for expression in ("gt a b", "eq a b", "lt c a", "eq c c", "gt a d", "date b", "lte b 0"):
        compile_template(f"[{{{{{expression}}}}}]").render(event)


@pytest.mark.parametrize("name", sorted(HELPERS))
@pytest.mark.parametrize("values", ["s s s", "null null null", "list list list", "object object object", "at yes n"])
def test_a_helper_gives_json_or_a_template_error_for_anything(name: str, values: str) -> None:
    """Whatever types an event brings."""
    helper = HELPERS[name]
    count = len(helper.names)
    text = f"[{{{{{name} {' '.join(values.split()[:count])}}}}}]"

    try:
        body = compile_template(text).render(EVENT)
    except TemplateError as exc:
        assert exc.column is not None
    else:
        assert len(jsontext.loads(body)) == 1


@pytest.mark.parametrize("name", sorted(HELPERS))
def test_a_helper_says_what_it_takes(name: str) -> None:
    """Its docstring begins with how it is called, which messages repeat."""
    helper = HELPERS[name]

    assert helper.call.__doc__ is not None
    assert helper.call.__doc__.startswith(f"`{name} ")
    assert helper.usage.startswith(name)


@pytest.mark.parametrize(
    ("expression", "code", "message", "hint"),
    [
        ("upper", "unknown_field", "the event has no field `upper`", "write `{{upper value}}`"),
        ("uper s", "unknown_helper", "there is no such helper: `uper`", "did you mean `upper`?"),
        ("a.b s", "unknown_helper", "there is no such helper: `a.b`", "a field takes no arguments"),
        ("zzz s", "unknown_helper", "there is no such helper: `zzz`", "the helpers are: and, count, date"),
        ("eq s", "arguments", "`eq` needs `other`", "write `eq value other`"),
        ("not s s", "arguments", "`not` takes at most 1 arguments, not 2", "write `not value`"),
        ("join list sep=1", "arguments", "`join` has no argument of this name: `sep`", "did you mean `separator`?"),
        ("if s", "arguments", "`if` is a block", "write `{{#if …}}…{{/if}}`"),
        ("each", "arguments", "`each` is a block", "write `{{#each …}}…{{/each}}`"),
        ('date at "%Q"', "arguments", "`date`: unknown directive in `format`: `%Q`", "write `date value"),
        ('date at "%F" "Mars"', "arguments", "`date`: there is no such zone: `Mars`", "write `date value"),
        ("truncate s 0", "arguments", "`truncate`: `length` must be a whole number", "write `truncate value length"),
        ('replace s "" "x"', "arguments", "`replace`: `old` must not be empty", "write `replace value old new`"),
        ('lookup object "x"', "unknown_field", "`object` has no field `x`", "its fields are: k"),
        ('pluck rows "nam"', "unknown_field", "an item of `rows` has no field `nam`", "did you mean `name`?"),
    ],
)
def test_a_call_that_cannot_work_is_a_fault_before_anything_is_sent(
    expression: str, code: str, message: str, hint: str
) -> None:
    """With what was meant, or how it is called."""
    text = {"type": "string"}
    rows = {"type": "array", "items": {"type": "object", "properties": {"name": text}}}
    fields = {"s": text, "list": {"type": "array"}, "at": {"type": "number"}, "rows": rows}
    schema = {"type": "object", "properties": {**fields, "object": {"type": "object", "properties": {"k": text}}}}

    (fault,) = check_body(f'{{"a": "{{{{{expression}}}}}"}}', content_type=JSON, schema=schema)

    assert (fault.code, fault.is_error) == (f"template.{code}", True)
    assert fault.message.startswith(message)
    assert hint in fault.hint


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{{#eq s "Dana Lévi"}}y{{else}}n{{/eq}}', "y"),
        ("{{#gt n 7}}y{{else}}n{{/gt}}", "n"),
        ("{{^gt n 7}}y{{/gt}}", "y"),
        ("{{#and n s}}{{s}}{{/and}}", "Dana Lévi"),
        ("{{#if (or zero n)}}y{{/if}}", "y"),
        ("{{#unless (eq n 5)}}y{{else}}n{{/unless}}", "n"),
        ("{{#if (eq n 4)}}4{{else if (eq n 5)}}5{{else}}x{{/if}}", "5"),
        ("{{#if (eq n 4)}}4{{else eq n 5}}5{{else}}x{{/if}}", "5"),
        ("{{#each (pluck groups 'i.name')}}{{this}}{{@index}}{{/each}}", "x0y123"),
        ("{{#with (first groups)}}{{i.name}}{{../n}}{{/with}}", "x5"),
        ("{{#each groups}}{{default i.name 'none'}} {{/each}}", "x y none none "),
        ("{{#each list}}{{#if (eq this 'b')}}[{{this}}]{{/if}}{{/each}}", "[b]"),
        ("{{#each list}}{{upper (lookup ../list @index)}}{{/each}}", "ABC"),
        ("{{json (lookup (last (pluck groups 'i')) 'x')}}", "null"),
    ],
)
def test_helpers_work_in_blocks_and_in_each_other(template: str, text: str) -> None:
    """Those that answer true or false are blocks too."""
    assert compile_template(template, escape="none").render(EVENT) == text


def test_a_field_with_the_name_of_a_helper_is_a_field() -> None:
    """A name without arguments is looked up, so that a custom field called `date` can be written."""
    assert (
        compile_template("{{date}} {{this.json}} {{count}}", escape="none").render({"date": 1, "json": 2, "count": 3})
        == "1 2 3"
    )


def test_a_block_parameter_with_the_name_of_a_helper_is_a_parameter() -> None:
    """The nearest meaning counts."""
    template = "{{#each list as |upper|}}{{upper}}{{/each}}"

    assert compile_template(template, escape="none").render(EVENT) == "abc"
    assert [
        fault.code
        for fault in check_body(
            "{{#each list as |upper|}}{{upper this}}{{/each}}", content_type="text/plain", schema={}
        )
    ] == ["template.unknown_helper"]


def test_the_page_on_templates_names_every_helper_as_it_is_called() -> None:
    """A helper that nobody can find does not exist."""
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
    shortened = {"gte": "`gte …`", "lt": "`lt …`", "lte": "`lte …`"}

    for name, helper in HELPERS.items():
        usage = helper.usage.replace(" […]", "") if helper.is_variadic else helper.usage
        assert shortened.get(name, f"`{usage.removesuffix(' …')}") in page, name


def test_the_example_of_that_page_works() -> None:
    """It has no fault, not even a warning, and gives JSON for every built-in event."""
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
    example = page.split("```handlebars\n")[1].split("```")[0]
    partials = {"person": '{"name": "{{name}}", "mail": "{{email}}"}\n'}

    assert check_body(example, content_type=JSON, schema=event_schema(), partials=partials) == ()
    template = compile_template(example, partials=partials)
    for trigger in Trigger:
        for _, event in corpus(trigger):
            assert set(jsontext.loads(template.render(event))) >= {
                "request",
                "by",
                "for",
                "ends",
                "groups",
                "approvers",
            }
