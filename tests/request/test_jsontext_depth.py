"""JSON is taken down to its deepest level and no further, whatever else stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import jsontext

DEEPEST = jsontext.DEPTH_MAX + 1


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_the_deepest_level_is_taken_and_one_more_is_not(opening: str, closing: str) -> None:
    """Objects and lists count alike."""
    count = DEEPEST // (len(closing))
    inner = "[" * (DEEPEST - count * len(closing)) + "]" * (DEEPEST - count * len(closing))
    text = opening * count + (inner or "1") + closing * count

    jsontext.loads(text)
    with pytest.raises(ValueError, match="nested deeper than"):
        jsontext.loads(f"[{text}]")


@given(st.integers(0, 3 * DEEPEST), st.text('[]{}\\"', max_size=400))
def test_breadth_and_brackets_in_texts_are_no_depth(breadth: int, text: str) -> None:
    """However many there are."""
    value = [[{}] for _ in range(breadth)] + [text]

    assert jsontext.loads(jsontext.dumps(value)) == value
