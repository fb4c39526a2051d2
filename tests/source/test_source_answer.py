"""What a lone new event is told, and what the log tells of it, is what any request is, written down before."""

import io
import json
import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.dispatch.intake import IntakeAnswer, ItemAnswer
from reconciler.models.event import EventId
from reconciler.observe import log
from reconciler.source.answer import SOURCE, TAKEN, content_of
from reconciler.store.base import EventStatus


def one(event_id: str) -> IntakeAnswer:
    return IntakeAnswer((ItemAnswer(EventId(event_id), EventStatus.ACCEPTED),))


@given(event_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_a_lone_new_event_is_answered_as_any_request(event_id: str) -> None:
    """Whatever its id holds."""
    content = content_of(one(event_id), size=10, began=0.0)

    assert isinstance(content, bytes)
    assert json.loads(content) == one(event_id).to_json()
    assert list(json.loads(content)) == list(one(event_id).to_json())


@pytest.mark.parametrize("form", ["text", "json"])
def test_its_line_in_the_log_is_that_of_any_request(form: Literal["text", "json"]) -> None:
    """But for how long it took, which no two share."""
    stream = io.StringIO()
    log.configure(form, stream, clock=lambda: 1_795_424_400_123_456_789)
    try:
        content_of(one("e"), size=1234, began=0.0)
        facts = one("e").counts()
        log.log("intake.answered", source=SOURCE, status=TAKEN, **facts, bytes=1234, duration_ms=0.5)
    finally:
        log.silence()
    told, wanted = [re.sub(r"(duration_ms\W+)[0-9.]+", r"\1…", line) for line in stream.getvalue().splitlines()]

    assert told == wanted
    assert "…" in told
