"""Bodies to items: one event, a JSON array, NDJSON; each item keeps its bytes and is judged alone."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler import jsontext
from reconciler.dispatch.item import (
    EVENT_MAX_BYTES,
    REQUEST_MAX_BYTES,
    REQUEST_MAX_EVENTS,
    PayloadTooLargeError,
    parse_items,
)

NDJSON = "application/x-ndjson"


def raws(body: bytes, content_type: str | None = None) -> list[bytes]:
    return [item.raw for item in parse_items(body, content_type=content_type)]


def problems(body: bytes, content_type: str | None = None) -> list[str | None]:
    return [item.problem for item in parse_items(body, content_type=content_type)]


@pytest.mark.parametrize("around", [b"%s", b"\xef\xbb\xbf%s", b"  %s\r\n", b"\n\n%s\n"])
def test_one_event_keeps_its_bytes(around: bytes) -> None:
    """Digits, escapes, order and inner white space stay; what stands around the JSON text does not belong to it."""
    text = b'{ "event_type" : "A",\n  "n": 1795424400.851898000, "u": "\\u00e9\xc3\xa9" }'

    items = parse_items(around % text)

    assert [(item.raw, item.problem) for item in items] == [(text, None)]
    assert jsontext.dumps(items[0].value["n"]) == "1795424400.851898000"


def test_array_items_keep_their_bytes() -> None:
    """Each is the exact slice of the array."""
    first, second = b'{"a" : 1.50, "b":"\xe7\x94\xb0]"}', b'{"c":"}{\\"[,"}'

    assert raws(b"[ " + first + b" ,\n" + second + b"\t]\n") == [first, second]


def test_empty_array_holds_nothing() -> None:
    """A sender with nothing to say is not at fault."""
    assert parse_items(b" [ ] ") == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"a":1,"a":2}', "duplicate key: 'a'"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":"\xff"}', "not UTF-8: byte 0xff"),
        (b'{"a":"line\nbreak"}', "invalid control character"),
        (b"[" * 250 + b"]" * 250, "nested deeper than 200 levels"),
    ],
)
def test_a_bad_array_item_is_bad_alone(bad: bytes, reason: str) -> None:
    """Where the item's end can be told, its neighbours are taken."""
    good = b'{"event_type":"A"}'

    items = parse_items(b"[" + good + b"," + bad + b"," + good + b"]")

    assert [item.raw for item in items] == [good, bad, good]
    assert [item.problem is None for item in items] == [True, False, True]
    assert reason in (items[1].problem or "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"{",
        b"[",
        b'[{"a":1},',
        b'[{"a":1} {"b":2}]',
        b"[1]]",
        b'{"a":1} x',
        b"\xff\xfe{\x00",
        b"[" * 100_000,
    ],
)
def test_a_body_that_cannot_be_read_is_one_item(body: bytes) -> None:
    """It is kept whole, with the reason."""
    items = parse_items(body)

    assert [item.raw for item in items] == [body.strip()]
    assert items[0].problem


@pytest.mark.parametrize(
    "content_type", [NDJSON, "application/jsonl; charset=utf-8", "Application/NDJSON", None, "text/plain"]
)
def test_lines_are_items(content_type: str | None) -> None:
    """By content type, or since every line starts like an object and the first is one; blank lines do not count."""
    body = b'{"a":1}\r\n\n  {"b":2} \n{"c":\n{"d":4}'

    assert raws(body, content_type) == [b'{"a":1}', b'{"b":2}', b'{"c":', b'{"d":4}']
    assert [problem is None for problem in problems(body, content_type)] == [True, True, False, True]


def test_lines_that_are_no_objects_need_the_content_type() -> None:
    """A line of anything else is bad alone when the sender says NDJSON, else the body is one bad item."""
    body = b'{"a":1}\nhello\n'

    assert [problem is None for problem in problems(body, NDJSON)] == [True, False]
    assert len(problems(body)) == 1


def test_an_indented_event_is_not_lines() -> None:
    """Its first line is no JSON by itself."""
    body = b'{\n"data":\n{\n"id":1}}'

    assert raws(body) == [body]


def test_the_largest_event_is_taken_and_one_byte_more_is_not() -> None:
    """256 KiB an event; the error names the index."""
    largest = b'{"a":"' + b"x" * (EVENT_MAX_BYTES - 8) + b'"}'

    assert raws(b"[" + largest + b"]") == [largest]
    with pytest.raises(PayloadTooLargeError, match="event 1 has 262145 bytes, the limit is 262144") as caught:
        parse_items(b"[{}," + largest[:-2] + b'x"}]')
    assert caught.value.index == 1


@pytest.mark.parametrize("form", [b"[%s]", b"%s"])
def test_a_thousand_events_are_taken_and_one_more_is_not(form: bytes) -> None:
    """1,000 events a request, as array and as lines."""
    separator = b"," if form.startswith(b"[") else b"\n"

    assert len(parse_items(form % separator.join([b"{}"] * REQUEST_MAX_EVENTS))) == REQUEST_MAX_EVENTS
    with pytest.raises(PayloadTooLargeError, match="event 1000 is one too many") as caught:
        parse_items(form % separator.join([b"{}"] * (REQUEST_MAX_EVENTS + 1)))
    assert caught.value.index == REQUEST_MAX_EVENTS


def test_a_request_of_more_than_8_mib_is_refused() -> None:
    """Before anything of it is parsed."""
    with pytest.raises(PayloadTooLargeError, match="8388609 bytes"):
        parse_items(b" " * (REQUEST_MAX_BYTES + 1))


def test_a_large_body_that_cannot_be_read_says_both() -> None:
    """Too large to be kept as one item, and why it is one."""
    with pytest.raises(PayloadTooLargeError, match="cannot be read as more than one: not JSON"):
        parse_items(b"[" + b'{"event_type":"%s"},' % (b"A" * 400) * 900)


good_item = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
good_object = st.dictionaries(st.text(max_size=5), good_item, max_size=4)
dump = st.sampled_from([{"indent": None}, {"ensure_ascii": False}, {"separators": (" , ", " : ")}])


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """An object in one of its spellings, on one line."""
    return json.dumps(draw(good_object), **draw(dump)).encode("utf-8", "surrogatepass")


bad_in_array = st.sampled_from([b'{"a":1,"a":1}', b"NaN", b'{"x":-Infinity}', b'"\xff"', b'{"a":"\t"}'])
bad_line = st.sampled_from([b"{", b'{"a":1', b'{"a":1}}', b"{'a':1}", b'{"a":NaN}', b'{"\xff":1}', b"{x}"])


@given(st.lists(written() | bad_in_array, min_size=1, max_size=8), st.sampled_from([b"", b" ", b"\n", b" \r\n\t"]))
def test_an_array_of_good_and_bad_keeps_bytes_and_order(parts: list[bytes], space: bytes) -> None:
    """Law: whatever the mixture, the items are the parts, and exactly the bad ones have a problem."""
    items = parse_items(b"[" + (space + b"," + space).join(parts) + space + b"]")

    assert [item.raw for item in items] == parts
    for part, item in zip(parts, items, strict=True):
        assert (item.problem is None) == is_good(part)


@given(st.lists(written() | bad_line, min_size=1, max_size=8), st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]))
def test_lines_of_good_and_bad_keep_bytes_and_order(parts: list[bytes], end: bytes) -> None:
    """Law: as for arrays; a line may be broken in any way."""
    items = parse_items(end.join(parts) + end, content_type=NDJSON)

    assert [item.raw for item in items] == parts
    for part, item in zip(parts, items, strict=True):
        assert (item.problem is None) == is_good(part)


def is_good(part: bytes) -> bool:
    try:
        jsontext.loads(part)
    except ValueError:
        return False
    return True


json_like = st.lists(st.sampled_from([bytes((code,)) for code in b'{}[]",:\\ \n1eE.-ntfu\xff']), max_size=60).map(
    b"".join
)


@given(st.binary(max_size=200) | json_like, st.sampled_from([None, NDJSON]))
@example(b"\xef\xbb\xbf", None)
@example(b"[\xef\xbb\xbf]", None)
@example(b"[1,]", None)
def test_any_bytes_are_items(body: bytes, content_type: str | None) -> None:
    """Law: no input raises, and every item either has a value that its bytes say or a problem."""
    for item in parse_items(body, content_type=content_type):
        if item.problem is None:
            assert jsontext.loads(item.raw) == item.value
        else:
            assert item.value is None
