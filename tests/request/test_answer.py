"""What answers count as delivered (`request.answer`), and JSONPath within bounds (`request.jsonpath`)."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpath_rfc9535 import JSONPathEnvironment

from reconciler import jsontext
from reconciler.models.webhook import ResponseValidator
from reconciler.request.answer import ANSWER_MAX_BYTES, Miss, check_validators, is_expected, miss_of
from reconciler.request.jsonpath import PathTextError, PathTooCostlyError, compiled, find_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def wants(json_path: str, *expected: Any) -> ResponseValidator:
    return ResponseValidator.model_validate({"json_path": json_path, "expected_values": expected})


def miss(body: Any, *validators: ResponseValidator) -> Miss | None:
    return miss_of(validators, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("value", "expected", "is_held"),
    [
        *(("ok", ["ok"], True), ("ok", ["done", "ok"], True), ("OK", ["ok"], False), ("", [""], True)),
        *((200, [200], True), (200, [200.0], True), (200.0, [200], True), (1.5, [1.5], True), (200, [201], False)),
        *((200, ["200"], True), (1.50, ["1.5"], True), ("200", [200], False)),
        *((True, [True], True), (True, ["true"], True), (False, ["false"], True), (True, [False], False)),
        *((True, [1], False), (1, [True], False), (0, [False], False), ("true", [True], False)),
        *((None, [None], True), (None, ["null"], True), (None, [""], False), ("null", [None], False)),
        (0, [None], False),
        *(({}, ["{}"], False), ([], ["[]"], False), (["ok"], ["ok"], False)),
    ],
)  # fmt: skip
def test_an_expected_value_is_compared_as_json_and_a_text_also_by_its_spelling(
    value: Any, expected: list[Any], is_held: bool
) -> None:
    """The vendor's form has texts only, so `"200"` expects 200 too; but who writes 200 means the number."""
    assert (miss({"a": value}, wants("$.a", *expected)) is None) is is_held


def test_a_number_is_spelt_as_the_receiver_wrote_it() -> None:
    assert miss(b'{"a": 1.50}', wants("$.a", "1.50")) is None
    assert miss(b'{"a": 1.50}', wants("$.a", "1.5")) is not None
    assert miss(b'{"a": 1.50}', wants("$.a", 1.5)) is None


def test_a_path_must_find_something_and_all_that_it_finds_must_be_expected() -> None:
    """One failed item among many is a failure; an empty list proves nothing."""
    each = wants("$.items[*].status", "ok", "skipped")

    assert miss({"items": [{"status": "ok"}, {"status": "skipped"}]}, each) is None
    assert miss({"items": [{"status": "ok"}, {"status": "bad"}]}, each) == Miss(
        "$.items[*].status is", '"bad"', '"ok", "skipped"'
    )
    assert miss({"items": []}, each) == Miss("$.items[*].status finds nothing", None, '"ok", "skipped"')


def test_every_validator_must_hold_and_the_first_that_does_not_is_told() -> None:
    one, two = wants("$.a", 1), wants("$.b", 2)

    assert miss({"a": 1, "b": 2}, one, two) is None
    assert miss({"a": 1, "b": 3}, one, two) == Miss("$.b is", "3", "2")
    assert miss({"a": 0, "b": 3}, one, two) == Miss("$.a is", "0", "1")


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        (b"<html>", "it is not JSON in UTF-8"),
        (b'{"a": "\xff"}', "it is not JSON in UTF-8"),
        (b'{"a": "ok"', "it is not JSON in UTF-8"),
        (b'{"a": NaN}', "it is not JSON in UTF-8"),
        (b"[" * 5000 + b"]" * 5000, "it is nested deeper than 200 levels"),
        (b'{"a": "ok", "a": "ok"}', "it has a key twice in one object"),
        (b'{"a": "' + b"x" * ANSWER_MAX_BYTES + b'"}', "it is longer than 64 KiB"),
    ],
)
def test_an_answer_that_cannot_be_judged_does_not_count(body: bytes, fact: str) -> None:
    assert miss(body, wants("$.a", "ok")) == Miss(fact)


def test_a_byte_order_mark_is_no_part_of_an_answer() -> None:
    assert miss(b'\xef\xbb\xbf{"a": "ok"}', wants("$.a", "ok")) is None


@given(
    value=JSON, path=st.sampled_from(["$", "$.a", "$.*", "$..a", "$..*", "$[?@.a]", "$..[?@ == 1]", "$[?@.a == $.b]"])
)
def test_paths_find_what_the_library_finds(value: Any, path: str) -> None:
    """Law: the bounds change nothing but the cost."""
    assert find_values(path, value) == JSONPathEnvironment().find(path, value).values()


@given(value=JSON)
def test_a_value_is_expected_by_itself(value: Any) -> None:
    """Law: for scalars; nothing but a scalar is ever expected."""
    is_scalar = not isinstance(value, dict | list)
    assert is_expected(value, [value] if is_scalar else [jsontext.dumps(value)]) is is_scalar


DEEP: Any = 0
for _ in range(190):
    DEEP = {"a": DEEP, "b": [DEEP] if isinstance(DEEP, int) else []}
HARD = "ab" * 40 + "dc"  # (a|b|ab)*c tries every way to take it apart
WIDE = {"x": [1] * 9000, "y": [1] * 9000, "z": [{"a": number} for number in range(3000)]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$..*..*..*..*", DEEP),
        ("$..[?@..zz]", DEEP),
        ("$.z[?$.x == $.y]", WIDE),
        ("$.z[?count($..*) == 0]", WIDE),
        ("$..*", WIDE),
        ("$.a[?match(@, '(a|b|ab)*c')]", {"a": [HARD]}),
        ("$.a[?search(@, '(a|b|ab)*c')]", {"a": [HARD] * 2000}),
        ("$.a[?search(@, 'y')]", {"a": ["x"] * 2000}),
        ("$" + "..a" * 80, DEEP),
    ],
)
def test_no_path_and_no_answer_make_us_wait(path: str, value: Any) -> None:
    """What would take hours is given up; a bound of a second leaves room for a busy machine."""
    began = time.process_time()

    with pytest.raises(PathTooCostlyError):
        find_values(path, value)

    assert time.process_time() - began < 2.0


def test_what_costs_too_much_does_not_count_as_delivered() -> None:
    """The reason says what was too much."""
    assert miss({"a": [HARD]}, wants("$.a[?match(@, '(a|b|ab)*c')]", "x")) == Miss(
        "$.a[?match(@, '(a|b|ab)*c')] cannot be judged: match() takes longer than 10 ms"
    )


def test_a_found_list_is_shown_although_it_cost_all_the_steps() -> None:
    """Showing what was found takes no more of the steps."""
    found = miss({"a": [[1] * 10_000]}, wants("$.a[*]", "ok"))

    assert found is not None
    assert found.actual is not None
    assert found.actual.startswith("[1,1,1")


@pytest.mark.parametrize(
    ("pattern", "text", "is_found"),
    [("a.c", "abc", True), ("a.c", "a\nc", False), ("a.c", "a\rc", False), ("[.]", "x", False), ("[.]", ".", True),
     (r"a\.c", "abc", False), (r"\p{Lu}+", "ÄB", True), ("b", "abc", False)],
)  # fmt: skip
def test_patterns_are_i_regexps(pattern: str, text: str, is_found: bool) -> None:
    """RFC 9485, section 5.3: a full stop is anything but a line's end; match() is the whole text."""
    path = f"$[?match(@, {json.dumps(pattern)})]"

    assert (find_values(path, [text]) == [text]) is is_found


@pytest.mark.parametrize(
    ("path", "why", "index"),
    [
        ("data.status", "expected '$', found 'd'", 0),
        ("$.data[", "unbalanced brackets", 7),
        ("$[?foo(@)]", "function 'foo' is not defined", 3),
        ("$[?match(@.a, @.b)]", "the pattern of match() is not a text", 3),
        ("$[?search(@.a, '(?<=x)y')]", "the pattern of search() is no I-Regexp (RFC 9485)", 3),
        ("$" + ".a" * 200, "it has more than 256 characters", 256),
    ],
)
def test_a_text_that_is_no_path_is_told_with_its_place(path: str, why: str, index: int) -> None:
    with pytest.raises(PathTextError) as caught:
        compiled(path)

    assert (str(caught.value), caught.value.index) == (why, index)


@given(st.text(alphabet="$.[]()?@*'\"=!<>&|,:-ab01 \\", max_size=40).map(lambda text: f"${text}"))
def test_any_text_is_a_path_or_a_fault(text: str) -> None:
    """Law: nothing else comes out of a manifest's text, and what is judged sound can be applied."""
    if not list(check_validators([{"json_path": text, "expected_values": ["x"]}])):
        assert isinstance(find_values(text, {"a": [1, {"b": "0"}]}), list)


def test_what_is_of_another_type_is_passed_over() -> None:
    """The model reports that."""
    for value in (None, 1, "x", {}, [None], [{"json_path": 1}], [{"json_path": ""}], [[]]):
        assert list(check_validators(value)) == []
