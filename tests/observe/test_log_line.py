"""The log: one line per fact, whatever the fact holds."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.models.delivery import Outcome
from reconciler.observe import log as logging_room
from reconciler.observe.log import Format, Pattern, configure, log, silence


@pytest.fixture(autouse=True)
def _silent_afterwards() -> Iterator[None]:
    yield
    silence()


def written(form: Any, event: str, **facts: Any) -> str:
    stream = io.StringIO()
    configure(form, stream, clock=lambda: 1_795_424_400_851_898_000)
    log(event, **facts)
    return stream.getvalue()


def test_text_is_the_event_and_its_facts() -> None:
    """Time, event, key=value; what is not known is left out; words stay bare."""
    line = written("text", "delivery.attempted", id="dlv_1", attempt=1, outcome=Outcome.DELIVERED, status=None, ok=True)

    assert line == "2026-11-23T09:00:00.851Z delivery.attempted id=dlv_1 attempt=1 outcome=delivered ok=true\n"


def test_json_is_one_object_a_line() -> None:
    """The event's name first, every fact as a field with its type."""
    line = written("json", "delivery.attempted", id="dlv_1", attempt=1, ms=1.5, status=None)

    assert list(json.loads(line).items())[:2] == [("event", "delivery.attempted"), ("at", "2026-11-23T09:00:00.851Z")]
    assert json.loads(line) | {"id": "dlv_1", "attempt": 1, "ms": 1.5, "status": None} == json.loads(line)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a=b", '"a=b"'),
        ("line\nbreak", '"line\\nbreak"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("\u202egnp", '"\\u202egnp"'),
        ("\x7f", '"\\u007f"'),
        ("\ud800", '"\\ud800"'),
        ("田中", "田中"),
        (2**64, "0x10000000000000000"),
        pytest.param(10**9000, f"{10**9000:#x}"[:255] + "…", id="a number of 9,000 digits"),
        (float("inf"), "inf"),
    ],
)
def test_values_stay_one_word_on_one_line(value: Any, shown: str) -> None:
    """Nothing of a value acts on a terminal or looks like another field."""
    assert written("text", "e", k=value) == f"2026-11-23T09:00:00.851Z e k={shown}\n"


def test_long_values_are_cut() -> None:
    """At 256 characters: a body or a token file never gets into the log whole."""
    assert len(json.loads(written("json", "e", k="x" * 10_000))["k"]) == logging_room.VALUE_MAX_CHARACTERS


@given(
    st.dictionaries(
        st.from_regex("[a-z]{2,8}", fullmatch=True).filter(lambda key: key not in ("event", "at")),
        st.text() | st.floats() | st.integers(),
    )
)
def test_any_fact_is_one_readable_line(facts: dict[str, Any]) -> None:
    """Law: one line in both forms; the JSON one is JSON."""
    for form in ("text", "json"):
        line = written(form, "e", **facts)
        assert line.count("\n") == 1 and line.rstrip("\n").isprintable()
    assert set(json.loads(line)) == {"event", "at", *facts}


@pytest.mark.parametrize("form", ["text", "json"])
@given(
    texts=st.tuples(st.text(max_size=3) | st.just("plain"), st.just("plain") | st.integers(250, 260).map("x".__mul__)),
    number=st.integers(-(2**62), 2**62),
    measured=st.floats(0.0, 1e12),
    outcome=st.none() | st.sampled_from(Outcome) | st.sampled_from(["two words", "100%", 'say "hi"', 7, 1.5]),
)
def test_a_pattern_writes_what_log_writes_or_nothing(
    form: Format, texts: tuple[str, str], number: int, measured: float, outcome: Any
) -> None:
    """Law, for both forms: what cannot stand in a line as it is, is left to `log`."""
    pattern = Pattern("e", a=str, b=str, gone=type(None), number=int, outcome=outcome, ms=float, none=None)
    stream = io.StringIO()
    configure(form, stream, clock=lambda: 1_795_424_400_851_898_000)

    is_written = pattern.write(*texts, None, number, measured)

    a, b = texts
    facts = {"a": a, "b": b, "gone": None, "number": number, "outcome": outcome, "ms": round(measured, 1), "none": None}
    assert stream.getvalue() == (written(form, "e", **facts) if is_written else "")
    assert is_written or texts != ("plain", "plain")


def test_a_pattern_writes_nothing_before_it_is_configured() -> None:
    silence()

    assert Pattern("e", a=str, b=str).write("x", "y")


async def test_lines_are_gathered_however_they_are_made_and_those_of_other_threads_are_not() -> None:
    """While the loop's lines wait, a thread beside it must not touch them."""
    stream = Counting()
    configure("text", stream, clock=lambda: 0, gathers=True)

    log("one")
    Pattern("two", a=str, b=str).write("x", "y")
    beside = threading.Thread(target=log, args=["beside"])
    beside.start()
    beside.join()
    log("three")

    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["beside"]
    await asyncio.sleep(0)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["beside", "one", "two", "three"]
    assert stream.writes == 2


def test_nothing_is_written_before_it_is_configured() -> None:
    """Commands that live shortly have no log."""
    stream = io.StringIO()
    configure("text", stream)
    silence()

    log("e")

    assert stream.getvalue() == ""


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """A full disk or a closed pipe must not end deliveries."""
    stream = io.StringIO()
    configure("text", stream)
    stream.close()

    log("e", k="v")


async def test_gathered_lines_are_written_once_a_round_of_the_loop_in_their_order() -> None:
    """One call of the system for all attempts that end together."""
    stream = Counting()
    configure("text", stream, clock=lambda: 0, gathers=True)

    log("one")
    log("two")

    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["one", "two"]
    assert stream.writes == 1


async def test_a_thread_beside_the_loop_writes_at_once() -> None:
    """It has no round to wait for."""
    stream = Counting()
    configure("text", stream, gathers=True)

    await asyncio.to_thread(log, "e")

    assert stream.writes == 1


def test_what_a_loop_left_is_written_by_flush() -> None:
    """The last lines of a daemon are the ones that matter."""
    stream = Counting()
    configure("text", stream, gathers=True)

    async def last_words() -> None:
        asyncio.get_running_loop().call_soon(log, "last")
        log("e")

    asyncio.run(last_words())
    logging_room.flush()

    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["e", "last"]


class Counting(io.StringIO):
    """Counts how often something is written."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)
