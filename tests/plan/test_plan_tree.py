"""Two values side by side: nothing is lost, nothing is made up, and it does not take for ever."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.align import aligned
from reconciler.plan.tree import Entry, Leaf, Node, Tree, compare, template_tree, text_tree, value_tree

KEYS = st.sampled_from(["id", "name", "a", "b", "é"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "x", "{{y}}", '{"a": 1}']))
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(KEYS, below, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
LISTS = st.lists(VALUES, max_size=4)
ITEMS = st.lists(st.sampled_from("abc"), max_size=12)


def side(tree: Tree | None, entry: Entry, name: str) -> Any:
    """What an entry says of one side, put together from its children where it has some."""
    if not entry.children or not isinstance(tree, Node):
        return tree
    told = [(child.label, side(getattr(child, name), child, name)) for child in entry.children]
    return tree.brackets, [item for item in told if item[1] is not None]


def multiset(value: Any) -> Any:
    """A value without the order of its items, which a matched list shows in the new one."""
    if isinstance(value, Leaf):
        return value.text
    if isinstance(value, Node):
        return value.brackets, sorted(json.dumps((label, multiset(item))) for label, item in value.items)
    brackets, items = value
    return brackets, sorted(json.dumps((label, multiset(item))) for label, item in items)


@given(st.one_of(st.tuples(OBJECTS, OBJECTS), st.tuples(LISTS, LISTS)))
def test_the_entries_hold_both_sides_whole(values: tuple[Any, Any]) -> None:
    """What is shown as gone and kept is the old value, what is shown as kept and come is the new one."""
    before, after = (value_tree(value) for value in values)
    assert isinstance(before, Node)
    assert isinstance(after, Node)

    entry = compare(before, after)

    assert multiset(side(before, entry, "before")) == multiset(before)
    assert multiset(side(after, entry, "after")) == multiset(after)
    assert entry.is_same == (before == after)


@given(ITEMS, ITEMS)
def test_alignment_covers_both_sequences_in_order(old: list[str], new: list[str]) -> None:
    """The ranges follow one another, equal ones are equal, and no two neighbours are of one kind."""
    opcodes = aligned(old, new)

    assert [item for _, start, end, _, _ in opcodes for item in old[start:end]] == old
    assert [item for _, _, _, start, end in opcodes for item in new[start:end]] == new
    assert all(old[a:b] == new[c:d] for name, a, b, c, d in opcodes if name == "equal")
    assert all(a < b or c < d for _, a, b, c, d in opcodes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["x"] * 30_000, ["y", *["x"] * 30_000, "z"]),
        (["x", "y"] * 15_000, ["y", "x"] * 15_001),
        ([str(number % 50) for number in range(30_000)], [str(number % 49) for number in range(30_000)]),
    ],
)
def test_alignment_of_ten_thousands_of_like_items_ends_at_once(old: list[str], new: list[str]) -> None:
    """A hostile body must not hold up a plan; `difflib` would need minutes."""
    began = time.monotonic()

    opcodes = aligned(old, new)

    assert time.monotonic() - began < 5
    assert sum(end - start for _, start, end, _, _ in opcodes) == len(old)


def texts(tree: Tree | None) -> Iterator[str]:
    """Every leaf, depth first."""
    if isinstance(tree, Leaf):
        yield tree.text
    elif isinstance(tree, Node):
        for _, item in tree.items:
            yield from texts(item)


@pytest.mark.parametrize(
    ("template", "leaves"),
    [
        (
            '{"a": "x {{y}} z", "b": {{data.n}}, "c": [1.50, true, null]}',
            ['"x {{y}} z"', "{{data.n}}", "1.50", "true", "null"],
        ),
        ('{"{{k}}": {{{raw}}}}', ["{{{raw}}}"]),
        ('{"a": "${secret:token}"}', ['"${secret:token}"']),
        ('{"a": {{lookup data "b c"}}}', ['{{lookup data "b c"}}']),
        ('{"a": "{{lookup data \'b\'}}"}', ["\"{{lookup data 'b'}}\""]),
        (r'{"m": "{\"id\": \"{{x}}\", \"n\": {{n}}}"}', ['"{{x}}"', "{{n}}"]),
        (r'["\"{{x}}\"", "[not json", "{}"]', [r'"\"{{x}}\""', '"[not json"']),
    ],
)
def test_a_json_template_keeps_its_expressions_as_they_were_written(template: str, leaves: list[str]) -> None:
    """Inside strings, outside of them, and in JSON inside a string."""
    assert list(texts(template_tree(template))) == leaves


@pytest.mark.parametrize(
    "template",
    [
        "",
        "plain {{x}}",
        "{{x}}",
        '"text"',
        '{"a": {{#if x}}1{{else}}2{{/if}}}',
        '{"a": {{> partial}}}',
        '{"a": 1, "a": 2}',
        '{"a": {{x}}{{y}}}',
        '{"a": "{{x"}',
        '{"a": "\ue000"}',
        "[" * 300 + "]" * 300,
    ],
)
def test_what_is_not_one_json_document_is_no_tree(template: str) -> None:
    """It is then compared line by line."""
    assert template_tree(template) is None


def changed(entry: Entry) -> list[tuple[str | None, str, str]]:
    """(label, before, after) of every leaf that differs, depth first."""
    if entry.is_same:
        return []
    if entry.children:
        return [item for child in entry.children for item in changed(child)]
    return [(entry.label, *(" ".join(texts(tree)) for tree in (entry.before, entry.after)))]


def test_list_items_are_matched_by_what_identifies_them() -> None:
    """An item that moved and one before it do not make every item look changed."""
    before = value_tree([{"id": 1, "do": "x"}, {"id": 2, "do": "y"}])
    after = value_tree([{"id": 0, "do": "w"}, {"id": 2, "do": "y"}, {"id": 1, "do": "z"}])
    assert isinstance(before, Node)
    assert isinstance(after, Node)

    entry = compare(before, after)

    assert changed(entry) == [(None, "", '0 "w"'), ('"do"', '"x"', '"z"')]
    assert entry.is_reordered
    assert [child.is_identity for child in entry.children[2].children] == [True, False]


def test_items_without_an_identity_are_compared_in_place() -> None:
    """Two objects of one id are no reason to fail."""
    before, after = (
        value_tree([{"id": 1, "a": 2}, {"id": 1, "a": 2}]),
        value_tree([{"id": 1, "a": 2}, {"id": 1, "a": 3}]),
    )
    assert isinstance(before, Node)
    assert isinstance(after, Node)

    assert changed(compare(before, after)) == [('"a"', "2", "3")]


def test_texts_are_split_at_line_feeds_alone() -> None:
    """U+2028, form feeds and carriage returns are no line ends of a template."""
    assert list(texts(text_tree("a\u2028b\x0cc\rd\ne"))) == ["a\u2028b\x0cc\rd", "e"]
