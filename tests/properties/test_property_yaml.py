"""Properties 12 and 13: manifests mean what every parser says they mean, and faults are told where they stand."""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reconciler.manifest.load import load_manifests
from reconciler.manifest.parse import parse

SURPRISES = (
    *(
        "no",
        "on",
        "y",
        "N",
        "~",
        "null",
        "NULL",
        "Null",
        "true",
        "TRUE",
        "tRue",
        "0755",
        "0o17",
        "0x1F",
        "0b11",
        "1_000",
    ),
    *("12:30:45", "1:1", "1e3", "1.0e+3", "1.5", "-0", "-0.0", "+1", ".5", "1.", ".inf", "-.INF", ".nan", "2026-01-31"),
    *("2026-01-31T10:00:00Z", "<<", "=", "!", "!x", "!!str 1", "*a", "&a b", "&a", "- x", "? x", ": x", "a: b", "a:b"),
    *(
        "a #b",
        "a# b",
        "#",
        "'it''s'",
        "'no'",
        '"\\u00e9"',
        '"a\\\n b"',
        "|\n  x\n  y",
        ">-\n  x\n  y",
        "|2\n    x",
        "%a",
        "@a",
    ),
    *(
        "`a",
        "{a: no}",
        "[no, 0755]",
        "{a: 1, a: 2}",
        "{a, b}",
        "[a b, c]",
        "{? a : b}",
        "é",
        "\u2028",
        "\x85",
        "\ufeff",
        "a\tb",
    ),
    *(
        "99999999999999999999",
        "18446744073709551615",
        "1.0e+999",
        "0.1",
        "",
        " ",
        "[]",
        "{}",
        "---",
        "...",
        "--- a",
        "a\n b",
    ),
)
PIECES = st.one_of(st.sampled_from(SURPRISES), st.from_regex(r"[-+.~<=nNyYoOtTfF0-9_:eExXabinf]{1,8}", fullmatch=True))
KEYS = st.sampled_from(["a", "b", "no", "1", "a b", "'q'", '"q"', "é", "<<", "? k\n", "[k]", "~", "&x k", "- "])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Blocks of keys, items, scalars and comments, mostly sound."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        indent = "  " * draw(st.sampled_from([0, 0, 0, 1, 1, 2]))
        kind = draw(st.sampled_from(["key", "key", "key", "item", "scalar", "comment", "open"]))
        piece, key = draw(PIECES), draw(KEYS)
        lines.append(
            indent
            + {"key": f"{key}: {piece}", "item": f"- {piece}", "scalar": piece, "comment": "# c", "open": f"{key}:"}[
                kind
            ]
        )
    return "\n".join(lines) + "\n"


def yaml_1_1(text: str) -> list[Any]:
    """PyYAML by libyaml; it lets the last of two equal keys win."""
    return [value for value in yaml.load_all(text, yaml.CSafeLoader) if value is not None]


def yaml_1_2(text: str) -> list[Any]:
    """ruamel.yaml, in pure Python."""
    return [plain(value) for value in YAML(typ="safe", pure=True).load_all(text) if value is not None]


def plain(value: Any) -> Any:
    """Without the parser's own types."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=600)
@example("a: no\n")
@example("a: 0o17\n")
@given(documents() | st.lists(PIECES, min_size=1, max_size=3).map("\n".join))
def test_property_12_what_is_taken_means_the_same_to_yaml_1_1_and_1_2(text: str) -> None:
    """Values, types, the order of keys; what the two read differently, or only one reads, is refused with its place."""
    ours = parse("a.yaml", text, {})

    if ours.problems:
        for problem in ours.problems:
            assert problem.line is not None and problem.column is not None
            assert 1 <= problem.line <= len(text.splitlines()) + 1
        return
    values = [document.value for document in ours.documents if document.value is not None]
    assert repr(yaml_1_1(text)) == repr(values)
    try:
        other = yaml_1_2(text)
    except YAMLError:  # it refuses tabs inside of a plain scalar, which the grammar allows (YAML 1.2.2, rule 132)
        assert "\t" in text
    else:
        assert repr(other) == repr(values)


BOMBS = {
    "aliases": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)),
    "aliases in keys": "? &a0 [x, x]\n: 1\n" + "".join(f"? &a{n} [*a{n - 1}, *a{n - 1}]\n: 1\n" for n in range(1, 40)),
    "a loop": "a: &a {b: *a}\n",
    "brackets": "a: " + "[" * 200_000 + "\n",
    "braces": "a: " + "{a: " * 100_000 + "\n",
    "dashes": "- " * 100_000 + "x\n",
    "indentation": "\n".join(" " * n + "a:" for n in range(3_000)) + "\n",
    "documents": "---\n{}\n" * 30_000,
    "a long scalar": "a: " + "x" * 20_000_000 + "\n",
    "many keys": "a:\n" + "".join(f"  k{n}: 1\n" for n in range(300_000)),
    "a long number": "a: " + "9" * 2_000_000 + "\n",
    "an open quote": "a: '" + "x\n" * 500_000,
    "one long line of references": "a: " + "${secret:x}" * 20_000 + "\n",
    "anchors": "".join(f"k{n}: &a{n} x\n" for n in range(5_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_property_12_bombs_are_bounded_in_time_and_memory(
    name: str, tmp_path: Path, command_env: dict[str, str]
) -> None:
    """A process of a gigabyte and ten seconds of processor time refuses each, and says where."""
    (tmp_path / "bomb.yaml").write_text(BOMBS[name], "utf-8")

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))

    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "validate", "bomb.yaml", "--format", "json"],
        cwd=tmp_path,
        env=command_env,
        capture_output=True,
        check=False,
        preexec_fn=confine,
    )

    assert done.returncode == 1, (done.returncode, done.stderr[-2000:])
    report = json.loads(done.stdout)
    assert report["error_count"] > 0
    assert all(item["range"]["start"]["line"] >= 1 for item in report["diagnostics"])


# Property 13 ---------------------------------------------------------------------------------------------------------

SOUND: dict[str, Any] = {
    "apiVersion": "reconciler/v1",
    "kind": "Webhook",
    "metadata": {"name": "hook", "title": "A title", "labels": {"team": "iam"}, "protect": False},
    "spec": {
        "status": "active",
        "method": "POST",
        "url": "https://hooks.example.com/in",
        "headers": {"x-one": "1", "x-two": "${secret:two}"},
        "query": {"source": "s"},
        "triggers": ["RequestCreated", "RequestFailed"],
        "filters": {"integration": {"type": ["Postgresql"], "name": ["*-prod"]}, "approval": "manual"},
        "body_template": '{"who": "{{data.requester.email}}", "id": "{{data.id}}"}',
        "timeout_in_sec": 15,
        "response_validators": [{"json_path": "$.status", "expected_values": ["ok"]}],
        "retry": {"schedule": ["5s", "5m"], "jitter": 0.2, "max_attempts": 10, "give_up_after": "96h"},
        "rate_limit": {"per_second": 9, "burst": 1},
        "max_concurrency": 16,
        "ordering": "request",
        "max_hold": "1h",
    },
}
MARK = "zzqq"
NUMBER = 987_654_321  # too large for every field that takes a number
MUTATIONS: list[tuple[tuple[str | int, ...], Any]] = [
    (("apiVersion",), MARK),
    (("kind",), MARK),
    (("metadata", "name"), f"{MARK}_UPPER"),
    (("metadata", "protect"), MARK),
    (("metadata", "renamed_from"), f"{MARK}_UPPER"),
    (("spec", "status"), MARK),
    (("spec", "method"), MARK),
    (("spec", "url"), f"http://{MARK}.example.com/"),
    (("spec", "url"), f"https://{MARK}.example.com:8443/"),
    (("spec", "url"), f"{MARK} no url"),
    (("spec", "triggers", 1), MARK),
    (("spec", "headers", "x-two"), f"{MARK}\u0007"),
    (("spec", "filters", "approval"), MARK),
    (("spec", "filters", "integration", "type", 0), ""),
    (("spec", "timeout_in_sec"), NUMBER),
    (("spec", "timeout_in_sec"), MARK),
    (("spec", "retry", "schedule", 1), MARK),
    (("spec", "retry", "jitter"), NUMBER),
    (("spec", "retry", "max_attempts"), MARK),
    (("spec", "retry", "give_up_after"), MARK),
    (("spec", "rate_limit", "per_second"), MARK),
    (("spec", "rate_limit"), MARK),
    (("spec", "max_concurrency"), MARK),
    (("spec", "ordering"), MARK),
    (("spec", "max_hold"), MARK),
    (("spec", "body_template"), f'{{"who": "{{{{data.{MARK}}}}}"}}'),
    (("spec", "body_template"), f'{{"who": "{{{{#{MARK} x}}}}{{{{/{MARK}}}}}"}}'),
    (("spec", "response_validators", 0, "json_path"), f"{MARK}["),
]
UNKNOWN_KEYS: list[tuple[str | int, ...]] = [
    (),
    ("metadata",),
    ("spec",),
    ("spec", "filters"),
    ("spec", "filters", "integration"),
    ("spec", "retry"),
    ("spec", "rate_limit"),
    ("spec", "response_validators", 0),
]


def mutated(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy with another value at that place."""
    if not path:
        return value
    key, *rest = path
    if isinstance(document, list):
        return [mutated(item, tuple(rest), value) if index == key else item for index, item in enumerate(document)]
    return {**document, key: mutated(document.get(key), tuple(rest), value)}


class Layout(yaml.SafeDumper):
    """Writes each text in the next of the styles that were drawn, or in the one that it needs."""

    styles: Iterator[str | None]


def _write(dumper: Layout, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=next(dumper.styles))


Layout.add_representer(str, _write)


def laid_out(document: Mapping[str, Any], data: st.DataObject) -> str:
    """The document in a layout that was drawn: styles of scalars, flow or block, indentation, comments, other documents
    before it, the line's end."""
    drawn = data.draw(st.lists(st.sampled_from([None, None, "'", '"', "|", ">"]), min_size=7, max_size=7))
    Layout.styles = iter(drawn * 40)
    text = yaml.dump(
        dict(document),
        Dumper=Layout,
        indent=data.draw(st.integers(2, 6)),
        width=data.draw(st.sampled_from([20, 80, 10_000])),
        default_flow_style=data.draw(st.sampled_from([False, False, None, True])),
        allow_unicode=True,
        sort_keys=data.draw(st.booleans()),
    )
    before = data.draw(st.sampled_from(["", "# a comment\n\n", "---\n", "# é日\n---\n", "%YAML 1.1\n---\n"]))
    return before + text


def told(tmp_path: Path, text: str, ends: str) -> list[tuple[str, str]]:
    """(code, what stands at its place) of each error."""
    file = tmp_path / "a.yaml"
    file.write_bytes(text.replace("\n", ends).encode())
    rows = text.split("\n")
    errors = [problem for problem in load_manifests([file]).problems if problem.is_error]
    return [(error.code, rows[(error.line or 0) - 1][(error.column or 0) - 1 :]) for error in errors]


RELAXED = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(st.sampled_from(MUTATIONS), st.data(), st.sampled_from(["\n", "\r\n"]))
def test_property_13_a_mutated_value_is_told_at_its_token(
    tmp_path: Path, mutation: tuple[tuple[str | int, ...], Any], data: st.DataObject, ends: str
) -> None:
    """Whatever the layout: the place of every error is where the unsound value begins in the file, which may be its
    quote or the sign of a block; of a template or a character, where the unsound part of it does."""
    path, value = mutation
    document = mutated(SOUND, path, value)
    text = laid_out(document, data)
    assume(list(yaml.safe_load_all(text))[-1] == document)

    found = told(tmp_path, text, ends)

    assert found, text
    for code, at in found:
        if path == ("spec", "body_template"):
            assert MARK in at[: len(MARK) + len("data.")], (code, at, text)
        elif value == "":
            assert at[:2] in ("''", '""') or is_block(at), (code, at, text)
        elif "\a" in str(value):
            assert at.startswith("\\a"), (code, at, text)
        else:
            assert at.lstrip("'\"").startswith(str(value)[:9].split()[0]) or is_block(at), (code, at, text)


def is_block(at: str) -> bool:
    """Whether a block scalar begins there, whose text stands on the lines below."""
    return re.fullmatch(r"[|>][-+0-9]*", at) is not None


@RELAXED
@given(st.sampled_from(UNKNOWN_KEYS), st.data(), st.sampled_from(["\n", "\r\n"]))
def test_property_13_an_unknown_key_is_told_at_the_key(
    tmp_path: Path, path: tuple[str | int, ...], data: st.DataObject, ends: str
) -> None:
    """Not at its value and not at its mapping."""
    text = laid_out(mutated(SOUND, (*path, MARK), {"any": [1]}), data)

    found = told(tmp_path, text, ends)

    assert [at.lstrip("'\"")[: len(MARK)] for _, at in found] == [MARK], text
