"""What is read and written the quick way says the same as what is read and written the careful way."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler import jsontext

KEYS = st.text('ab"\\\u2028é\ud800', max_size=2)
NUMBERS = st.sampled_from(["0", "-0", "1.50", "1E400", "-1e-7", "9" * 30, "18446744073709551615", "1e16", "0.00001"])
TEXTS = st.text() | st.text('"\\{}[]\x00\x1f\x7f\u2028\u2029\ud800\U0001f600')


def literal(text: str) -> str:
    return json.dumps(text)


@st.composite
def documents(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON as somebody might write it: white space, escapes and equal keys included."""
    kind = draw(st.integers(0, 5 if depth else 3))
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    if kind < 2:
        return literal(draw(TEXTS))
    if kind < 4:
        return draw(NUMBERS | st.sampled_from(["null", "true", "false"]))
    inner = draw(st.lists(documents(depth=depth - 1), max_size=4))
    if kind == 4:
        return f"[{space}{f',{space}'.join(inner)}{space}]"
    return f"{{{space}{','.join(f'{literal(draw(KEYS))}{space}:{item}' for item in inner)}{space}}}"


def has_twins(text: str) -> bool:
    """Whether an object has a key twice, by the standard library."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=look)
    return found


@given(documents())
@example(r'{"a":"\"","b":1}')
@example(r'{"a\\":1,"a\\":"\""}')
@example('{"a":{"b":"","b":""}}')
def test_a_key_that_stands_twice_is_seen_wherever_it_stands(text: str) -> None:
    """Whatever else the document holds."""
    if has_twins(text):
        with pytest.raises(jsontext.DuplicateKeyError):
            jsontext.loads(text.encode())
    else:
        assert jsontext.dumps(jsontext.loads(text.encode())) == jsontext.dumps(jsontext.loads_again(text.encode()))


@given(documents())
def test_the_canonical_form_is_what_is_written_with_sorted_keys(text: str) -> None:
    """Byte by byte: fingerprints of events are made of it."""
    if has_twins(text):
        return
    value, canonical = jsontext.read(text)

    assert canonical in (None, jsontext.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass"))
    assert canonical == jsontext.canonical(value)


@pytest.mark.parametrize(
    "text",
    ['{"b":1.50,"a":[-0,1E400,0.00001,1e16]}', '{"é":"\x7f😀","\\u0000":"\\"\\\\"}', "[9223372036854775807]"],
)
def test_most_documents_have_a_canonical_form(text: str) -> None:
    """What is left to the slow way is rare."""
    value, canonical = jsontext.read(text)

    assert canonical is not None and canonical.decode() == jsontext.dumps(value, sort_keys=True)


@pytest.mark.parametrize("text", ['"\\ud800"', "9" * 30, '"\u2028"'])
def test_what_the_quick_writer_would_write_otherwise_is_left_to_the_slow_one(text: str) -> None:
    """A lone surrogate, a long integer, a line end of JavaScript's."""
    assert jsontext.read(text)[1] is None


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", "NaN", "{} {}", '{"a":1}x', "\ufeff{}"])
def test_what_is_no_json_is_an_error_the_quick_way_too(text: str) -> None:
    """With white space around it a document is one."""
    with pytest.raises(ValueError):
        jsontext.loads(text)

    assert jsontext.loads(' \n{"a": 1}\t ') == {"a": 1}
