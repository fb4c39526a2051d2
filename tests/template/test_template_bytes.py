"""Bodies that are made as bytes say what the same template says as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.jsontext import Number
from reconciler.template import compile_template
from reconciler.template.output import OUTPUT_MAX_BYTES, string_text

TEMPLATE = '{"a": "x{{v}}y", "é": ["{{w.0.z}}", "{{v}}"]}'
texts = st.text(st.characters(codec=None, categories=("L", "N", "P", "S", "Z", "C")))
values = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(["1.50", "-0", "1E400"]).map(Number),
    st.lists(texts),
)


@given(values, values)
def test_a_body_of_bytes_has_each_value_as_text_has_it(one: jsontext.JsonValue, two: jsontext.JsonValue) -> None:
    """Whatever it is, what UTF-8 cannot carry included."""
    template = compile_template(TEMPLATE)
    event = {"v": one, "w": [{"z": two}]}

    body = template.encode(event)

    assert template.is_in_utf8
    assert body.decode() == f'{{"a": "x{string_text(one)}y", "é": ["{string_text(two)}", "{string_text(one)}"]}}'
    assert template.render(event) == body.decode()


def test_each_character_of_ascii_is_escaped_alike() -> None:
    """By the quick way, and by the way of all others."""
    text = "".join(map(chr, range(128)))

    assert compile_template('["{{v}}"]').encode({"v": text}).decode() == f"[{jsontext.quote(text)}]"


def test_a_body_of_bytes_has_the_same_limit() -> None:
    """In bytes, since that is what is sent."""
    template = compile_template('["{{v}}"]')

    assert len(template.encode({"v": "a" * (OUTPUT_MAX_BYTES - 4)})) == OUTPUT_MAX_BYTES
    with pytest.raises(TemplateError, match="the body is larger than"):
        template.encode({"v": "é" * (OUTPUT_MAX_BYTES // 2)})
