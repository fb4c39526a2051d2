"""Syntax faults: all at once, each at its place with a way out; and what only looks like one."""

import pytest
from template_sample import JSON

from reconciler.errors import TemplateError
from reconciler.template import check_body, compile_template

PLAIN = "text/plain"


def faults_of(template: str, content_type: str = PLAIN) -> list[tuple[str, int, int, int]]:
    """Code and place of every fault."""
    faults = check_body(template, content_type=content_type, schema={})
    return [(fault.code, fault.line, fault.column, fault.end_column) for fault in faults]


@pytest.mark.parametrize(
    ("template", "column", "end_column", "message", "hint"),
    [
        ("a {{x", 3, 5, "`{{` is not closed by `}}`", "as many braces"),
        ("a {{x {{y}}", 3, 5, "`{{` is not closed by `}}`", "as many braces"),
        ("a {{x} b", 3, 5, "`{{` is not closed by `}}`", "as many braces"),
        ("a {{{x}} b", 3, 6, "`{{{` is not closed by `}}}`", "as many braces"),
        ("a {{{x", 3, 6, "`{{{` is not closed by `}}}`", "as many braces"),
        ("a {{}} b", 3, 7, "the expression is empty", "name a field"),
        ("a {{ ~}} b", 3, 9, "the expression is empty", "name a field"),
        ("a {{{}}} b", 3, 9, "the expression is empty", "name a field"),
        ("a {{#}} b", 3, 8, "the expression is empty", "name a field"),
        ("{{a[0]}}", 4, 5, "unexpected in an expression: `[`", ".[0]"),
        ("{{a.[0}}", 5, 6, "unexpected in an expression: `[`", ".[0]"),
        ("{{.[0]}}", 3, 4, "a path cannot begin with a separator", "this.[0]"),
        ("{{a!b}}", 4, 5, "unexpected in an expression: `!`", ""),
        ('{{a "b}}', 5, 6, 'unexpected in an expression: `"`', "not closed"),
        ("{{ #if x}}", 4, 5, "unexpected in an expression: `#`", "no space"),
        ("{{ {x} }}", 4, 5, "unexpected in an expression: `{`", "without spaces"),
        ("{{a.this}}", 5, 9, "`this` can only begin a path", "[this]"),
        ("{{a/../b}}", 5, 7, "`..` can only begin a path", "[..]"),
        ("{{@root/../x}}", 9, 11, "`..` can only begin a path", ""),
        ("{{a.@b}}", 5, 6, "unexpected in an expression: `@`", ""),
        ("{{(a b)}}", 3, 4, "unexpected in an expression: `(`", ""),
        ("{{a (b}}", 5, 6, "the parenthesis is not closed", ")"),
        ("{{a (b |)}}", 8, 9, "unexpected in an expression: `|`", ""),
        ("{{#x as |y}}{{/x}}", 6, 10, "block parameters must be names between bars", ""),
        ("{{a/}}", 1, 7, "the expression ends where a name should stand", ""),
        ("{{a b=c d}}", 9, 10, "unexpected in an expression: `d`", ""),
        ("{{a b=}}", 1, 9, "the expression ends where a name should stand", ""),
        ('{{@"a"}}', 4, 7, 'unexpected in an expression: `"a"`', ""),
        ("{{@}}", 1, 6, "the expression ends where a name should stand", ""),
        ("{{! x", 1, 4, "the comment is not closed", "}}"),
        ("{{!-- x }}", 1, 6, "the comment is not closed", "--}}"),
        ("{{#if x}} a", 1, 10, "the block is not closed: `if`", "{{/if}}"),
        ("{{#if x}}{{/each}}", 10, 19, "`each` closes the block `if`", "{{/if}}"),
        ("{{#a}}{{/a b}}", 7, 15, "a closing tag takes no arguments", ""),
        ("a{{/if}}", 2, 9, "`{{/if}}` closes a block that was not opened", "remove"),
        ("a{{else}}", 2, 10, "`{{else}}` stands outside a block", "{{#if"),
        ("a{{^}}", 2, 7, "`{{^}}` stands outside a block", "{{#if"),
        ("{{#if x}}{{else}}{{else}}{{/if}}", 18, 26, "the block has no place for this `else`", "at most one"),
        ("{{#> x}}{{else}}{{/x}}", 9, 17, "the block has no place for this `else`", ""),
        ("{{#each x as ||}}{{/each}}", 11, 15, "block parameters must be names between bars", "as |item index|"),
        ("{{x as |y|}}", 5, 9, "unexpected in an expression: `as |`", ""),
        ("{{{{r}}}} x", 1, 10, "the block is not closed: `r`", "{{{{/r}}}}"),
        ("{{{{r}}}} {{{{/s}}}}", 11, 21, "`s` closes the block `r`", "{{{{/r}}}}"),
        ("a ${b}", 3, 5, "`${` must begin `${secret:name}`", "$${"),
        ("a ${secret:B}", 3, 5, "`${` must begin `${secret:name}`", "a-z"),
        ("a ${var:b}", 3, 5, "`${` must begin `${secret:name}`", "$${"),
        ("a ${{b}}", 3, 5, "`${` must begin `${secret:name}`", "$ {{~"),
        ("{{${secret:a}}}", 3, 5, "a secret cannot stand inside an expression", "outside"),
        ('{{json "${secret:a}"}}', 8, 21, "a secret cannot stand inside an expression", "outside"),
        ("a \ud800 b", 3, 4, "a lone surrogate is not text", ""),
    ],
)
def test_a_syntax_fault_has_a_place_and_a_hint(
    template: str, column: int, end_column: int, message: str, hint: str
) -> None:
    """The first fault is an error at the characters it is about."""
    fault = next(f for f in check_body(template, content_type=PLAIN, schema={}) if f.is_error)

    assert (fault.message, fault.line, fault.column, fault.end_column) == (message, 1, column, end_column)
    assert hint in fault.hint
    with pytest.raises(TemplateError) as caught:
        compile_template(template, escape="none")
    assert (caught.value.message, caught.value.line, caught.value.column) == (message, 1, column)


@pytest.mark.parametrize(
    "template", ["{{#a.[b]}}{{/a.b}}", '{{#"a"}}{{/a}}', "{{#[a]}}{{/a}}", "{{#@root.a}}{{/@root.a}}"]
)
def test_a_closing_tag_may_spell_the_name_in_another_way(template: str) -> None:
    """Brackets and quotes are no part of a name."""
    assert faults_of(template) == []


def test_a_message_moves_no_terminal() -> None:
    """What a template holds is quoted without its control characters, and cut short."""
    faults = check_body("{{\x1b[31m}} {{#\u202ea}}{{/b}} {{" + "x" * 500 + " y}}", content_type=PLAIN, schema={})

    assert all(fault.message.isprintable() and len(fault.message) < 150 for fault in faults)
    assert len(faults) == 3


def test_a_raw_block_holds_text_and_references_to_secrets() -> None:
    """Its mustaches are text; a dollar before a brace means what it means everywhere."""
    assert faults_of("{{{{raw}}}} {{x $${y} ${secret:s} ${z} {{{{/raw}}}}") == [("template.secret", 1, 35, 37)]
    template = compile_template("{{{{raw}}}} {{x $${y} ${secret:s} {{{{/raw}}}}", escape="none")
    assert template.render({}, {"s": "v"}) == " {{x ${y} v "


def test_all_faults_are_reported_at_once_in_order() -> None:
    """One run shows everything there is to mend."""
    template = "{{}}\n{{#if a}}{{a[0]}}{{/each}}\n  {{x}\n{{/if}} ${x}"

    assert faults_of(template) == [
        ("template.syntax", 1, 1, 5),
        ("template.syntax", 2, 13, 14),
        ("template.syntax", 2, 18, 27),
        ("template.syntax", 3, 3, 5),
        ("template.syntax", 4, 1, 8),
        ("template.secret", 4, 9, 11),
    ]


def test_lines_and_columns_count_characters_from_one() -> None:
    """A fault after other lines and after characters outside the basic plane is found by an editor."""
    assert faults_of("é\n👩‍🚀 x {{}}\n")[0][1:] == (2, 7, 11)


def test_a_partial_that_is_not_given_is_named() -> None:
    """The names that there are help to find the right one."""
    with pytest.raises(TemplateError, match="no such partial: `foot`") as caught:
        compile_template("\n {{> foot}}", partials={"head": "", "tail": ""})

    assert (caught.value.line, caught.value.column, caught.value.hint) == (2, 2, "the partials are: head, tail")


def test_a_helper_call_is_still_judged_as_json() -> None:
    """Its place in the body is known before its value is."""
    assert [code for code, *_ in faults_of('{"a": {{json x}}', JSON)] == ["template.not_json"]
    assert [code for code, *_ in faults_of('{"a": {{jsom x}}', JSON)] == [
        "template.unknown_helper",
        "template.not_json",
    ]


def test_a_syntax_fault_hides_no_fault_of_json_that_is_not_there() -> None:
    """A body with a broken tag is judged as JSON when the tag is mended."""
    assert faults_of('{"a": {{x[0]}} }', JSON) == [("template.syntax", 1, 10, 11)]
