"""Places inside scalars: from the text that YAML gives back to the characters that stand in the file."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_text import manifest
from yaml import ScalarNode

from reconciler.errors import Problem
from reconciler.manifest.compose import compose
from reconciler.manifest.load import load_manifests
from reconciler.manifest.spans import Tree

Problems = Callable[..., tuple[Problem, ...]]

BODIES = {
    "literal": 'body_template: |\n  {\n    "who": "{{data.requester.emial}}"\n  }',
    "literal, indentation said": 'body_template: |2-\n    {\n     "who": "{{data.requester.emial}}"\n    }',
    "literal, deeply indented": 'body_template: |\n        {\n         "who": "{{data.requester.emial}}"\n        }',
    "literal, blank lines, comment": 'body_template: |+  # body\n\n  {\n\n    "who": "{{data.requester.emial}}"}\n\n',
    "folded": 'body_template: >-\n  {"a": 1,\n  "who": "{{data.requester.emial}}",\n\n  "b": 2}',
    "folded, more indented": 'body_template: >\n  {\n    "who": "{{data.requester.emial}}"\n  }',
    "single-quoted": 'body_template: \'{"it": "isn\'\'t", "who": "{{data.requester.emial}}"}\'',
    "single-quoted over lines": 'body_template: \'{"a": 1,\n\n    "who": "{{data.requester.emial}}"}\'',
    "double-quoted": 'body_template: "{\\"\\u0061\\": 1,\\n \\"who\\": \\"{{data.requester.emial}}\\"}"',
    "double-quoted over lines": 'body_template: "{\\"a\\": 1, \\\n    \\"who\\":\n    \\"{{data.requester.emial}}\\"}"',
    "anchored": 'body_template: &body |\n  {"who": "{{data.requester.emial}}"}',
    "mapping": 'body_template:\n  fields:\n    - who: "{{data.requester.emial}}"',
    "after a variable": 'body_template: |\n  {"${var:long}": "${var:long}", "who": "{{data.requester.emial}}"}',
    "after an escape": 'body_template: |\n  {"a": "$${x}", "who": "{{data.requester.emial}}"}',
    "wide characters": 'body_template: |\n  {"å𝄞é": "日本", "who": "{{data.requester.emial}}"}',
}


@pytest.mark.parametrize("spec", BODIES.values(), ids=BODIES.keys())
def test_a_template_fault_points_at_its_characters(problems: Problems, spec: str) -> None:
    """Whatever the scalar's style, the problem's place is where the wrong name stands in the file."""
    text = manifest(spec)
    expected = [(number, row.index("emial") + 1) for number, row in enumerate(text.split("\n"), 1) if "emial" in row]

    (problem,) = problems(text, variables={"long": "a much longer text"})

    assert (problem.code, [(problem.line, problem.column)]) == ("template.unknown_field", expected)
    assert problem.end_column == expected[0][1] + len("emial")


@pytest.mark.parametrize("style", ["|", ">", "'", '"', None])
@settings(deadline=None)
@given(words=st.lists(st.text("ab'\"\\{}é日:#-", min_size=1, max_size=6), min_size=1, max_size=8), data=st.data())
def test_property_13_every_visible_character_is_found_again(
    style: str | None, words: list[str], data: st.DataObject
) -> None:
    """For texts of any kind as PyYAML would write them: a character's place holds that character."""
    separators = data.draw(st.lists(st.sampled_from([" ", "\n", "\n\n"]), min_size=len(words), max_size=len(words)))
    value = "".join(word + separator for word, separator in zip(words, separators, strict=True)).rstrip()
    text = yaml.dump({"key": {"deep": value}}, default_style=style, width=20, allow_unicode=True)
    (root,) = compose(text)
    tree = Tree(root, text, {})
    (node,) = [value for _, value in root.value[0][1].value]
    assert isinstance(node, ScalarNode) and node.value == value
    rows = text.split("\n")

    for offset, character in enumerate(value):
        if character.isspace():
            continue
        span = tree.offset_span(node, offset, offset + 1)
        at = rows[span.line - 1][span.column - 1 :]
        assert at.startswith((character, "\\"))


def test_a_fault_in_a_reference_points_at_the_reference(problems: Problems) -> None:
    """Not at the scalar's beginning: a body may be long."""
    text = manifest('body_template: |\n  {\n    "a": "x ${evn:HOME}"\n  }')

    (problem,) = problems(text)

    assert (problem.line, problem.column, problem.end_column) == (10, 15, 26)


def test_two_documents_of_one_file_have_places_of_their_own(problems: Problems) -> None:
    """Lines count from the file's beginning."""
    text = manifest("timeout_in_sec: 0", name="a") + "---\n" + manifest("timeout_in_sec: 0", name="b")

    assert [problem.line for problem in problems(text)] == [8, 17]


def test_a_key_is_pointed_at_where_the_key_is_wrong(problems: Problems) -> None:
    """And the value where the value is."""
    key, value = problems(manifest("heders: {}\nmethod: HEAD"))

    assert (key.column, key.end_column, value.column, value.end_column) == (3, 9, 11, 15)


def test_of_two_equal_keys_the_last_is_judged(problems: Problems) -> None:
    """The value that would count is the one whose place is shown, and the doubling is said beside it."""
    codes = [(problem.code, problem.line) for problem in problems(manifest("max_hold: 5s\nmax_hold: 5s"))]

    assert codes == [("yaml.duplicate_key", 9)]


def test_lines_count_after_windows_line_ends(tmp_path: Path) -> None:
    """A carriage return is no line of its own."""
    (tmp_path / "a.yaml").write_bytes(manifest("timeout_in_sec: 0").replace("\n", "\r\n").encode())

    (problem,) = load_manifests([tmp_path]).problems

    assert (problem.line, problem.column) == (8, 19)
