"""Where a value of the body comes from in the template's text."""

import pytest

from reconciler.template.whence import place_in_template

TEXT = """{
  "a": {"b": "x {{data.id}} y", "c": {{data.n}}},
  "list": [1, {"d": {{#if data.x}}"yes"{{else}}"no"{{/if}}}, "{{z}}"],
  {{#if data.more}}"more": 1,{{/if}}
  "items": [{"first": 0}, {{#each data.items}}{"i": {{this}}}{{#unless @last}},{{/unless}}{{/each}}, 9],
  "part": {{> who}}
}"""
PARTIALS = {"who": '{"name": "{{data.name}}"}'}


def shown(*keys: str | int) -> str:
    """What stands at the place."""
    place = place_in_template(TEXT, keys, partials=PARTIALS)
    assert place is not None
    line, column, end_column = place
    return f"{line}: {TEXT.splitlines()[line - 1][column - 1 : end_column - 1]}"


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (("a", "b"), '2: "x {{data.id}} y"'),
        (("a", "c"), "2: {{data.n}}"),
        (("a",), "2: {"),
        (("list", 0), "3: 1"),
        (("list", 1, "d"), "3: {{#if data.x}}"),
        (("list", 2), '3: "{{z}}"'),
        (("items", 0, "first"), "5: 0"),
        (("part", "name"), "6: {{> who}}"),
    ],
)
def test_a_value_is_placed_where_it_is_written(keys: tuple[str | int, ...], place: str) -> None:
    assert shown(*keys) == place


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (("more",), "4: {{#if data.more}}"),  # the block may write it
        (("items", 3, "i"), "5: {{#each data.items}}"),
        (("a", "other"), "2: {"),  # nobody writes it: what it could stand in
        (("list", 7), "3: ["),
        ((), "1: {"),
    ],
)
def test_what_cannot_be_told_is_placed_nearby(keys: tuple[str | int, ...], place: str) -> None:
    assert shown(*keys) == place


def test_a_template_that_does_not_compile_has_no_places() -> None:
    assert place_in_template('{"a": {{#if x}}', ("a",)) is None
