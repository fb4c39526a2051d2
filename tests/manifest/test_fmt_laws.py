"""Laws of `fmt` over generated manifests, over mutated ones and over any lines at all."""

import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ugly_manifest import MARK, Ugly, ugly_manifests

from reconciler.manifest.fmt import format_text
from reconciler.manifest.format import dump_document
from reconciler.manifest.parse import parse

HERE = Path(__file__).parent
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FEWER = settings(RELAXED, max_examples=60)  # a whole manifest each

LINES = [
    *("a: 1", "b:", "c: # z", "- x", "-", "- d: 1", "- - y", "# c", "#", "", "  ", "text", "more # no", "? q", ": r"),
    *(
        "e: |",
        "f: |+",
        "g: >-",
        "h: |2",
        "? |",
        "- |\t#q",
        "aa: >+ # q",
        "i: [a,",
        "b]",
        "b, # w",
        "j: {k: l,",
        "m: n}",
    ),
    *("o: 'q", "q'", 'p: "r\\', '\\ s"', "---", "--- # t", "...", "%YAML 1.2", "spec:", "metadata:", "kind: Webhook"),
    *("status: a", "url: b", "name: x", "title: y", "apiVersion: z", "t: !x", "t: !", "u: v\tw", "\tx", "v: &x", "*x"),
    *(
        "{}: 1",
        "w: 'a''b' # c",
        "-  [a , b ]  # k",
        "key : v",
        "'y' : z",
        '"y": z',
        "[a]: b",
        "\ufeff",
        "\x85",
        "no: 0755",
    ),
]


def formatted(text: str) -> str:
    done = format_text("a.yaml", text)
    assert done.text is not None, done.problems
    return done.text


def values(text: str) -> list[object]:
    return [document.value for document in parse("a.yaml", text, {}).documents]


@FEWER
@given(ugly_manifests())
def test_property_09_a_formatted_manifest_says_the_same(ugly: Ugly) -> None:
    """The same documents, the exact text of every scalar included."""
    assert values(ugly.text) == ugly.values

    assert values(formatted(ugly.text)) == ugly.values


@FEWER
@given(ugly_manifests())
def test_property_09_every_comment_is_kept_and_none_added(ugly: Ugly) -> None:
    """Each exactly once, whatever moves; only spaces at its end go."""
    comments = re.findall(f"# *{MARK}.*", formatted(ugly.text))

    assert sorted(comments) == sorted(ugly.comments)


@FEWER
@given(ugly_manifests())
def test_property_09_what_is_formatted_stays_as_it_is(ugly: Ugly) -> None:
    """Idempotence."""
    once = formatted(ugly.text)

    assert formatted(once) == once


@FEWER
@given(ugly_manifests())
def test_the_layout_is_one(ugly: Ugly) -> None:
    """Outside of scalars: known keys in the schema's order, indentation even, one separator, the last line ended."""
    once = formatted(ugly.text)

    for document in parse("a.yaml", once, {}).documents:
        head = [key for key in document.value if key != "extra"]
        assert head == [key for key in ("apiVersion", "kind", "metadata", "spec") if key in head]
    assert once.endswith("\n") and not once.endswith("---\n") and not once.startswith(("\n", "---"))
    assert "---\n---" not in once and "\n..." not in once
    assert once.count("\n---") >= len(ugly.values) - 1
    for line in once.split("\n"):
        if MARK in line and line.lstrip().startswith("#"):
            assert (len(line) - len(line.lstrip())) % 2 == 0


def check(text: str) -> None:
    """The laws for a text of which nobody knows whether it is a manifest."""
    done = format_text("a.yaml", text)
    if done.text is None:
        assert done.problems
        assert "layout.unsafe" not in {problem.code for problem in done.problems}
        return
    assert done.problems == ()
    assert values(done.text) == values(text)
    assert format_text("a.yaml", done.text).text == done.text


@RELAXED
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(LINES)), max_size=10),
    st.sampled_from(["", "\n", "\n\n", " "]),
)
def test_any_lines_are_laid_out_or_refused(lines: list[tuple[int, str]], end: str) -> None:
    """Whatever stands where."""
    check("\n".join(" " * indent + line for indent, line in lines) + end)


@RELAXED
@given(data=st.data())
def test_a_mutated_manifest_is_laid_out_or_refused(data: st.DataObject) -> None:
    """Nearly sound texts reach further than noise does."""
    files = sorted([*HERE.glob("bad/*.yaml"), *HERE.glob("ugly/*.yaml")])
    text = data.draw(st.sampled_from(files)).read_text("utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 20)))
        piece = data.draw(
            st.sampled_from([*"[]{}:,-#&*!|>'\" \n\\?", "\n  ", "\n\n", "\n# c\n", "\n---\n", "|+\n", ""])
        )
        text = text[:at] + piece + text[until:]

    check(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@RELAXED
@given(st.dictionaries(st.sampled_from(["a", "b", "c d", "e:"]), json_values, min_size=1, max_size=3))
def test_what_export_writes_is_laid_out_already(body: dict[str, object]) -> None:
    """One layout, not two."""
    spec = {"url": "https://hooks.example.com", "triggers": ["Manual"], "body_template": body}
    text = dump_document({"apiVersion": "reconciler/v1", "kind": "Webhook", "metadata": {"name": "hook"}, "spec": spec})

    assert formatted(text) == text
