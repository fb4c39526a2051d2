"""Pathological templates and events cost little and end in a template error."""

import sys
import time
from typing import Any

import pytest
from template_sample import JSON, OKTA

from reconciler.errors import TemplateError
from reconciler.jsontext import Number
from reconciler.template import check_body, compile_body, compile_template
from reconciler.template.output import OUTPUT_MAX_BYTES
from reconciler.template.parse import SOURCE_MAX_CHARS

CPU_SECONDS = 3.0  # generous for a machine that others share; what is quadratic takes minutes

FULL = SOURCE_MAX_CHARS


@pytest.mark.parametrize(
    "text",
    [
        "{" * FULL,
        "}" * FULL,
        "{{" * (FULL // 2),
        "{{x}}" * (FULL // 5),
        "{{[" * (FULL // 3),
        '{{"' * (FULL // 3),
        '{{"\\' * (FULL // 4),
        "{{x " * (FULL // 4),
        "{{(" * (FULL // 3),
        "{{x " + "(" * 60_000,
        "{{x " + "y " * 30_000 + "}}",
        "{{x" + ".y" * 30_000 + "}}",
        "{{#a}}" * (FULL // 6),
        "{{#a}}" + "{{else a}}" * (FULL // 11),
        "{{/a}}" * (FULL // 6),
        "{{{{a}}}}" * (FULL // 9),
        "{{!--" * (FULL // 5),
        "{{! x }}\n" * (FULL // 9),
        "\n" * FULL,
        "\n" * (FULL // 2) + "{{! x }}" + " " * (FULL // 2 - 8),
        "${" * (FULL // 2),
        "${secret:a}" * (FULL // 11),
        "\\" * FULL,
        "\\{{" * (FULL // 3),
        '"' * FULL,
        '"' + "\\" * (FULL - 1),
        "[" * FULL,
        '{"a":' * (FULL // 5),
        '"[' * (FULL // 2),
        '"' + "\\\\" * (FULL // 2 - 1) + '"',
        '["' + '{\\"a\\":' * (FULL // 8) + '{{x}}"]',
        '{"a": "' + "x" * (FULL - 20) + "{{x}}",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_hostile_template_is_judged_in_linear_time(text: str) -> None:
    """No text of the allowed size keeps a check busy, and the number of faults is bounded."""
    started = time.process_time()

    faults = check_body(text[:FULL], content_type=JSON, schema={"properties": {"a": {}}})
    faults += check_body(text[:FULL], content_type="text/plain", schema={"properties": {"a": {}}})

    assert time.process_time() - started < CPU_SECONDS
    assert len(faults) <= 300


def test_a_template_over_the_limit_is_refused() -> None:
    """Before anything else is done with it."""
    (fault,) = check_body("x" * (FULL + 1), content_type=JSON, schema={})

    assert fault.code == "template.too_large"
    with pytest.raises(TemplateError, match="65,537 characters"):
        compile_template("x" * (FULL + 1))


def test_output_is_bounded_while_it_is_written() -> None:
    """A small template over a large event does not fill the memory."""
    template = compile_template("[" + ",".join(["{{x}}"] * 1000) + "]")

    with pytest.raises(TemplateError, match="larger than 1,048,576 bytes"):
        template.render({"x": "y" * 200_000})


def test_output_is_counted_in_bytes() -> None:
    """What is sent counts, not how many characters it has."""
    fits = "é" * ((OUTPUT_MAX_BYTES - 2) // 2)
    template = compile_template('"{{x}}"')

    assert len(template.render({"x": fits}).encode("utf-8")) == OUTPUT_MAX_BYTES
    with pytest.raises(TemplateError, match="larger"):
        template.render({"x": f"{fits}é"})


def test_backslashes_that_double_are_bounded() -> None:
    """JSON in a string in a string multiplies what is escaped."""
    text = "{{x}}"
    for _ in range(7):
        text = compile_body({"a": text.replace("{{x}}", "@@")}, content_type=JSON).render({}).replace("@@", "{{x}}")

    with pytest.raises(TemplateError, match="larger"):
        compile_template(text).render({"x": '"' * 250_000})
    with pytest.raises(TemplateError, match="larger"):
        compile_template(text.replace("{{x}}", "${secret:x}")).render({}, {"x": '"' * 250_000})


@pytest.mark.parametrize("escape", ["json", "html", "none"])
def test_an_event_nested_too_deeply_is_a_template_error(escape: Any) -> None:
    """The stack is not ours to exhaust."""
    value: Any = 1
    for _ in range(sys.getrecursionlimit() * 3):
        value = [value]

    with pytest.raises(TemplateError, match="nested too deeply") as caught:
        compile_template('["x", {{x}}]', escape=escape).render({"x": value})

    assert (caught.value.line, caught.value.column) == (1, 7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
def test_a_value_that_is_not_json_is_a_template_error(value: Any) -> None:
    """With the place of the expression."""
    with pytest.raises(TemplateError, match="cannot be written") as caught:
        compile_template('{"a":\n {{x}} }').render({"x": value})

    assert (caught.value.line, caught.value.column) == (2, 2)


@pytest.mark.parametrize("name", ["blocks", "chain", "calls", "loops", "sections"])
def test_nesting_has_a_limit(name: str) -> None:
    """At the limit it parses, one deeper is a fault."""

    def codes(depth: int) -> set[str]:
        text = {
            "blocks": "{{#if a}}" * depth + "{{/if}}" * depth,
            "chain": "{{#if a}}" + "{{else if a}}" * (depth - 1) + "{{/if}}",
            "calls": "{{not " + "(not " * (depth // 2) + "a" + ")" * (depth // 2) + "}}",
            "loops": "{{#each a}}" * (depth // 4) + "{{/each}}" * (depth // 4),
            "sections": "{{#a}}" * (depth // 4) + "{{/a}}" * (depth // 4),
        }[name]
        return {fault.code for fault in check_body(text, content_type="text/plain", schema={})}

    assert codes(64) == set()
    assert codes(68) >= {"template.too_deep"}


def test_a_body_of_eight_expressions_renders_in_microseconds(events: dict[str, Any]) -> None:
    """A bound of five times what a quiet machine needs: a slip in the design shows, a busy neighbour does not."""
    body = OKTA.replace('"fields": {', '"fields": {"a": "{{data.justification}}", "b": {{data.creation_date}},')
    template = compile_template(body)
    event = events["created_single_resource"]

    def once() -> float:
        started = time.process_time()
        for _ in range(200):
            template.render(event)
        return (time.process_time() - started) / 200

    assert min(once() for _ in range(10)) < 75e-6


def test_numbers_keep_any_number_of_digits() -> None:
    """Python's limit on the digits of an integer is none of the event's concern."""
    digits = "9" * 5000

    assert compile_template('["{{x}}",{{x}}]').render({"x": Number(digits)}) == f'["{digits}",{digits}]'


def spend(template: str, event: Any, *, escape: Any = "none", partials: dict[str, str] | None = None) -> str:
    """The message of the error that a rendering ends in, within bounded time."""
    compiled = compile_template(template, escape=escape, partials=partials or {})
    started = time.process_time()

    with pytest.raises(TemplateError) as caught:
        compiled.render(event)

    assert time.process_time() - started < CPU_SECONDS
    return caught.value.message


def test_steps_are_bounded() -> None:
    """Loops in loops over the largest event that there may be, writing nothing."""
    event = {"l": [0] * 100_000}
    nested = "{{#each @root.l}}" * 5 + "{{/each}}" * 5

    assert "more than 200,000 steps" in spend(nested, event)
    assert "more than 200,000 steps" in spend("{{#each l}}" + "{{#if this}}x{{/if}}" * 40 + "{{/each}}", event)
    assert len(compile_template("{{#each l}}x{{/each}}", escape="none").render(event)) == 100_000


def test_the_place_of_a_loop_that_takes_too_long_is_told() -> None:
    """Which of the loops it was."""
    template = compile_template("a\n {{#each l}}{{#each ../l}}{{/each}}{{/each}}", escape="none")

    with pytest.raises(TemplateError) as caught:
        template.render({"l": list(range(1000))})

    assert (caught.value.line, caught.value.column) in ((2, 2), (2, 13))


@pytest.mark.parametrize(
    "template",
    [
        "{{#each l}}{{/each}}{{#each l}}{{#if (json @root)}}{{/if}}{{/each}}",
        "{{#each l}}{{#if (join @root.l)}}{{/if}}{{/each}}",
        "{{#each l}}{{#if (truncate @root 1)}}{{/if}}{{/each}}",
        "{{#each l}}{{#if (count (pluck @root.l 'x'))}}{{/if}}{{/each}}",
        "{{#each l}}{{#if (upper @root.text)}}{{/if}}{{/each}}",
        "{{#each l}}{{#with (replace @root.text 'x' 'y')}}{{/with}}{{/each}}",
        "{{#each l}}{{#eq @root.text @root.same}}{{/eq}}{{#each @root.l}}{{/each}}{{/each}}",
    ],
)
def test_work_that_writes_nothing_is_bounded(template: str) -> None:
    """What helpers work through counts as steps."""
    event = {"l": [None] * 20_000, "text": "x" * 200_000, "same": "x" * 199_999 + "y"}

    assert "steps" in spend(template, event)


def test_output_is_bounded_inside_loops_and_straight_on() -> None:
    """Before the memory is full."""
    event = {"l": [0] * 50_000, "text": "y" * 200_000}

    assert "larger than 1,048,576 bytes" in spend("{{#each l}}{{@root.text}}{{/each}}", event)
    assert "larger than 1,048,576 bytes" in spend("{{text}}" * 8_000, event)
    assert "larger than 1,048,576 bytes" in spend("{{#each l}}" + "{{@root.text}}" * 100 + "{{/each}}", event)


@pytest.mark.parametrize(
    "expression", ["replace text 'y' long", "join l long", "replace (replace text 'y' 'yyyy') 'y' long"]
)
def test_helpers_make_no_text_larger_than_a_body(expression: str) -> None:
    """Texts of the template and of the event do not multiply."""
    event = {"text": "y" * 200_000, "l": ["a"] * 10_000, "long": "z" * 10_000}

    assert "larger than 1,048,576 bytes" in spend(f"{{{{{expression}}}}}", event)


def test_a_partial_that_includes_itself_for_ever_ends() -> None:
    """By depth, or by what it writes."""
    assert "includes itself more than 200 times" in spend("{{> p}}", {}, partials={"p": "{{> p}}"})
    assert "more than 200 times" in spend("{{> p}}", {}, partials={"p": "{{> q}}", "q": "{{#if true}}{{> p}}{{/if}}"})
    chain: Any = {}
    for _ in range(60):
        chain = {"k": [chain]}
    assert "steps" in spend("{{> p}}", chain, partials={"p": "{{#each k}}{{> p}}{{> p}}{{/each}}"})


def test_partials_that_double_are_refused_when_they_are_put_in() -> None:
    """A few lines would be a million statements."""
    partials = {f"p{n}": f"{{{{> p{n + 1}}}}}{{{{> p{n + 1}}}}}" for n in range(30)} | {"p30": "x"}
    started = time.process_time()

    faults = check_body("{{> p0}}", content_type="text/plain", schema={}, partials=partials)

    assert {fault.code for fault in faults} == {"template.too_large"}
    with pytest.raises(TemplateError, match="more than 20,000 parts"):
        compile_template("{{> p0}}", escape="none", partials=partials)
    assert time.process_time() - started < CPU_SECONDS


def test_partials_nested_too_deeply_are_refused() -> None:
    """A chain is as long as its limit."""
    partials = {f"p{n}": f"{{{{> p{n + 1}}}}}" for n in range(40)} | {"p40": "x"}

    assert compile_template("{{> p10}}", escape="none", partials=partials).render({}) == "x"
    with pytest.raises(TemplateError, match="deeper than 32 levels"):
        compile_template("{{> p0}}", escape="none", partials=partials)


@pytest.mark.parametrize("escape", ["json", "none"])
def test_the_deepest_template_compiles_and_renders(escape: Any) -> None:
    """Python nests no more than twenty loops and a hundred blocks; our limits lie below."""
    loops = "{{#each l}}" * 16 + '{{#if (eq ../x "y")}}0{{else}}{{../../x}}1{{/if}}' + "{{/each}}" * 16
    text = "{{#if x}}" * 40 + "x" + "{{/if}}" * 40
    source = f'"{loops}{text}"' if escape == "json" else loops + text
    tree: Any = [1]
    for _ in range(16):
        tree = {"l": [tree], "x": "v"}

    rendered = compile_template(source, escape=escape).render(tree)

    assert rendered.strip('"') == "v1x"


def test_ways_through_blocks_are_not_counted_one_by_one() -> None:
    """Branches after branches and loops in loops are read in linear time, or refused."""
    many = "[" + "{{#if a}}1{{else}}2{{/if}}," * 2_000 + "0]"
    deep = "[" + "{{#each a}}[" * 16 + "1" + "]{{#unless @last}},{{/unless}}{{/each}}" * 16 + "]"
    marks = "".join(f"{{{{#if @{'../' * n}last}}}}x{{{{/if}}}}" for n in range(16))
    wide = '"' + "{{#each a}}" * 16 + marks + "{{/each}}" * 16 + '"'
    started = time.process_time()

    for template in (many, deep, wide):
        check_body(template, content_type=JSON, schema={})

    assert time.process_time() - started < CPU_SECONDS
    assert check_body(many, content_type=JSON, schema={}) == ()
    assert check_body(deep, content_type=JSON, schema={}) == ()


def test_contexts_that_may_be_the_same_are_climbed_in_bounded_time() -> None:
    """Whether `../` has a level depends on the values; the code for it does not double with each block."""
    template = "{{#with ../this}}" * 60 + "{{" + "../" * 200 + "x}}" + "{{/with}}" * 60
    started = time.process_time()

    compile_template(template, escape="none").render({"x": 1})
    compile_template("{{#a}}" * 16 + "{{" + "../" * 40 + "x}}" + "{{/a}}" * 16, escape="none").render(
        {"a": True, "x": 1}
    )

    assert time.process_time() - started < CPU_SECONDS


HOSTILE_NAMES = (
    "__class__",
    "__class__.__mro__.[1]",
    "x.__init__.__globals__",
    "x.__getitem__",
    "x.items",
    "x.keys",
    "l.append",
    "l.__len__",
    "s.format",
    "s.upper",
    "n.real",
    "this.__dict__",
    "constructor.constructor",
    "__proto__",
)


@pytest.mark.parametrize("path", HOSTILE_NAMES)
def test_no_path_leads_to_python(path: str) -> None:
    """Neither as a path nor by a helper that takes one; a field of that name is a field."""
    event: dict[str, Any] = {"x": {"y": 1}, "l": [1], "s": "text", "n": 1}
    last = path.rsplit(".", maxsplit=1)[-1].strip("[]")

    assert compile_template(f"[{{{{{path}}}}}]").render(event) == "[null]"
    assert compile_template(f"[{{{{lookup x '{last}'}}}}]").render(event) == "[null]"
    assert compile_template(f"[{{{{pluck l '{path}'}}}}]").render(event) == "[[null]]"
    assert compile_template(f"[{{{{x.[{last}]}}}}]").render({"x": {last: "own"}}) == '["own"]'


@pytest.mark.parametrize(
    "name", ["__import__('os')", "x'); import os; ('", "{0}", "%s", "\n", "k1", "put", "out", "c0"]
)
def test_nothing_of_a_template_becomes_code(name: str) -> None:
    """Names, literals, texts, partials and block parameters are constants, whatever they spell."""
    template = (
        f"{{{{[{name}]}}}}|{name}|{{{{#each l as |put k1|}}}}{{{{put}}}}{{{{k1}}}}{{{{@root.[{name}]}}}}{{{{/each}}}}|"
        f'{{{{default missing "{name}"}}}}|{{{{> [p] out=[{name}]}}}}'
    )

    rendered = compile_template(template, escape="none", partials={"p": f"{name}{{{{out}}}}"}).render(
        {name: "v", "l": ["i"]}
    )

    assert rendered == f"v|{name}|i0v|{name}|{name}v"


@pytest.mark.parametrize("count", [16, 17, 200, 5_000])
def test_a_path_may_have_any_number_of_names(count: int) -> None:
    """Python's parser has limits where ours has none."""
    keys, indices = "a" + ".a" * (count - 1), "a" + ".[0]" * (count - 1)
    objects: Any = 7
    lists: Any = 7
    for _ in range(min(count, 300)):
        objects = {"a": objects}
    for _ in range(min(count - 1, 300)):
        lists = [lists]
    found = 7 if count <= 300 else None

    assert compile_template(f"[{{{{{keys}}}}}]").render(objects) == compile_template("[{{v}}]").render({"v": found})
    rendered = compile_template(f"[{{{{{indices}}}}}]").render({"a": lists})
    assert rendered == compile_template("[{{v}}]").render({"v": found})


def test_blocks_and_partials_share_one_depth() -> None:
    """Each kind of nesting that there is, as deep as it may be: it compiles, or it is refused."""
    partials = {
        "deep": "{{#if x}}" * 30 + "{{> (lookup this 'next')}}" + "{{/if}}" * 30,
        "again": "{{#each l}}{{#with this}}{{> again}}{{/with}}{{/each}}",
        "chain": "{{#if x}}{{> chain2}}{{/if}}",
        "chain2": "{{#if x}}{{> chain}}{{> (lookup this 'next')}}{{/if}}",
    }
    for template in ("{{> deep}}", "{{> again}}", "{{> chain}}", "{{#each l}}" * 16 + "{{> chain}}" + "{{/each}}" * 16):
        try:
            compiled = compile_template(template, escape="none", partials=partials)
        except TemplateError as exc:
            assert "deeper" in exc.message or "parts" in exc.message
        else:
            assert compiled.render({}) == ""


def test_thousands_of_strings_are_placed_in_linear_time() -> None:
    """A large body of the allowed size."""
    template = "[" + ",".join('"{{x}}"' for _ in range(7_000)) + "]"
    started = time.process_time()

    assert compile_template(template).render({"x": 1}).count('"1"') == 7_000
    assert time.process_time() - started < CPU_SECONDS


def test_faults_of_one_template_are_bounded() -> None:
    """Beyond fifty of a kind it is no template."""
    assert len(check_body("{{no such}}" * 5_000, content_type="text/plain", schema={})) <= 100
