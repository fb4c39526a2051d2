"""docs/conditions.md says what is so."""

import re
from pathlib import Path

import pytest

from reconciler.models.corpus import complete_event, corpus
from reconciler.models.webhook import Trigger
from reconciler.request.condition import MatchState, Said, compile_when
from reconciler.request.condition_check import WHEN_MAX_CHARACTERS, check_when

PAGE = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text("utf-8")
(BLOCK,) = re.findall(r"```cel\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", BLOCK.splitlines())
def test_an_example_is_valid_and_can_be_told(text: str) -> None:
    """Without so much as a warning; a complete event gives it a yes or a no."""
    verdict = compile_when(text).judge(Said(complete_event(Trigger.REQUEST_CREATED)))

    assert check_when(text) == ()
    assert verdict.state is not MatchState.ERROR


def test_most_examples_hold_for_a_complete_event() -> None:
    """They show something."""
    event = Said(complete_event(Trigger.REQUEST_CREATED))
    states = [compile_when(text).judge(event).state for text in BLOCK.splitlines()]

    assert states.count(MatchState.YES) > len(states) // 2


def test_what_asks_first_can_be_told_of_an_older_payload() -> None:
    """The lines of the page that begin with has() say no to it."""
    older = Said(dict(corpus(Trigger.REQUEST_CREATED))["older payload"])

    for text in BLOCK.splitlines():
        if text.startswith("has("):
            assert compile_when(text).judge(older).state is MatchState.NO, text


def test_the_limit_is_the_one_that_the_page_says() -> None:
    """A longer condition is refused."""
    assert f"{WHEN_MAX_CHARACTERS:,} characters" in PAGE
    assert [fault.code for fault in check_when(f"true || {' ' * WHEN_MAX_CHARACTERS}true")] == ["when.too_large"]
    assert check_when("true || " + "(" * 20 + "true" + ")" * 20) == ()
