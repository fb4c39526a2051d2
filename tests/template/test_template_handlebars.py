"""What Handlebars 4.7 makes of a template, ours makes too; the expected outputs come from the npm package."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import TemplateError
from reconciler.template import compile_template
from reconciler.template.parse import parse
from reconciler.template.syntax import Block, Program, Text

_RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "handlebars.json").read_text("utf-8"))


@pytest.mark.parametrize("case", _RECORDED["cases"], ids=lambda case: repr(case["template"]))
def test_html_mode_gives_what_handlebars_gives(case: dict[str, Any]) -> None:
    """HTML mode is Handlebars as JavaScript has it; what it refuses to compile, we refuse."""
    if case["output"] is None:
        with pytest.raises(TemplateError):
            compile_template(case["template"], escape="html")
        return

    assert compile_template(case["template"], escape="html").render(_RECORDED["context"]) == case["output"]


@pytest.mark.parametrize("case", _RECORDED["cases"], ids=lambda case: repr(case["template"]))
def test_plain_mode_escapes_nothing(case: dict[str, Any]) -> None:
    """Plain mode is the same without escaping."""
    if case["output"] is None:
        return
    escapes = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&#x60;": "`", "&#x3D;": "="}

    output = case["output"]
    for entity, character in reversed(escapes.items()):
        output = output.replace(entity, character)

    assert compile_template(case["template"], escape="none").render(_RECORDED["context"]) == output


@pytest.mark.parametrize("case", _RECORDED["effects"], ids=lambda case: repr(case["template"]))
def test_blocks_and_partials_do_what_they_do_in_handlebars(case: dict[str, Any]) -> None:
    """Blocks, variables, sections, partials and their white space; what fails there fails here."""
    template, partials = case["template"], case.get("partials", {})

    if case["output"] is None:
        with pytest.raises(TemplateError):
            compile_template(template, escape="html", partials=partials).render(_RECORDED["event"])
        return

    assert compile_template(template, escape="html", partials=partials).render(_RECORDED["event"]) == case["output"]


def test_enough_is_compared_with_handlebars() -> None:
    """The recorded cases are not lost by a slip of the generator."""
    assert len(_RECORDED["cases"]) > 90
    assert sum(case["output"] is not None for case in _RECORDED["effects"]) > 240


@pytest.mark.parametrize("tree", _RECORDED["trees"], ids=lambda tree: repr(tree["template"]))
def test_white_space_control_leaves_the_texts_that_handlebars_leaves(tree: dict[str, Any]) -> None:
    """The whole grammar parses; `~` and lines that a tag has to itself work in and around blocks."""
    parsed = parse(tree["template"])

    assert parsed.faults == ()
    assert list(texts(parsed.program)) == tree["texts"]


def texts(program: Program | None) -> Iterator[str]:
    """The literal texts in the order of the tree."""
    for node in program.body if program else ():
        if isinstance(node, Text) and node.value:
            yield node.value
        elif isinstance(node, Block):
            yield from texts(node.program)
            yield from texts(node.inverse)
