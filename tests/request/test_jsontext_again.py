"""What was taken once is read again as the same, digit by digit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import jsontext

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES, st.booleans())
def test_a_document_is_read_again_as_it_was_read_first(value: object, is_ascii: bool) -> None:
    """Law; lone surrogates stand in JSON as escapes only."""
    raw = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "replace")

    assert jsontext.dumps(jsontext.loads_again(raw)) == jsontext.dumps(jsontext.loads(raw))


@pytest.mark.parametrize("digits", ["1795424400.851898000", "-0", "1E400", "12345678901234567890123", "1.0", "0e-7"])
def test_numbers_keep_their_digits(digits: str) -> None:
    """As `loads` has it."""
    assert jsontext.dumps(jsontext.loads_again(f'{{"n":{digits}}}'.encode())) == f'{{"n":{digits}}}'


@pytest.mark.parametrize("text", ["", "{", "NaN", "[1,]", "\xff"])
def test_what_is_no_json_is_an_error(text: str) -> None:
    """A store that somebody edited must not crash the worker in another way."""
    with pytest.raises(ValueError):
        jsontext.loads_again(text.encode("latin-1"))
