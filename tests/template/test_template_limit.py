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
