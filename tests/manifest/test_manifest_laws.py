"""Laws over generated webhooks and arbitrary texts."""

import string
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.manifest.code import CODES
from reconciler.manifest.format import dump_document
from reconciler.manifest.load import Manifests, load_manifests
from reconciler.manifest.parse import parse
from reconciler.models.field import format_duration, parse_duration
from reconciler.models.webhook import SECRET_REFERENCE, Webhook

BAD = Path(__file__).parent / "bad"

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
awkward = st.sampled_from(
    [
        "",
        "y",
        "no",
        "1e3",
        "0o17",
        "1_0",
        "12:30",
        "2026-01-31",
        "<<",
        "=",
        "~",
        "null",
        "*a",
        "!b",
        "a: b",
        "# c",
        " d",
        "- e",
    ]
)
lines = awkward | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
printable = st.text(string.ascii_letters + string.digits + " !#$%&'()*+,-./:;<=>?@[]^_{}|~", max_size=20).map(str.strip)
references = st.from_regex(r"\$\{secret:[a-z][a-z0-9_]{0,8}\}", fullmatch=True)
globs = st.lists(lines.filter(lambda text: text not in ("", "!") and "${" not in text), max_size=3).map(tuple)
durations = st.builds(timedelta, microseconds=st.integers(1, 366 * 86_400 * 10**6))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | lines.filter(lambda text: "{" not in text),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(lines.filter(lambda key: "${" not in key), inner, max_size=3)
    ),
    max_leaves=6,
)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


specs = st.fixed_dictionaries(
    {
        "url": st.sampled_from(
            ["https://hooks.example.com/in", "https://a.example.com/${secret:x}?y=1", "https://b.example.com"]
        ),
        "triggers": st.lists(st.sampled_from(["RequestCreated", "RequestFailed", "Manual"]), min_size=1, max_size=3),
    },
    optional={
        "status": st.sampled_from(["active", "inactive"]),
        "method": st.sampled_from(["POST", "PUT", "PATCH"]),
        "headers": st.dictionaries(
            st.sampled_from(["x-a", "X-B", "accept"]), references | printable.filter(lambda text: "${" not in text)
        ),
        "query": st.dictionaries(lines.filter(lambda key: key and "${" not in key), references, max_size=2),
        "filters": optional(
            integration=optional(id=globs, name=globs, type=globs),
            resource=globs,
            approval=st.sampled_from(["manual", "automatic"]),
            custom_fields=st.dictionaries(lines.filter(lambda key: "${" not in key), globs, max_size=2),
        ),
        "body_template": st.sampled_from(
            [
                '{"a": "{{data.id}}"}',
                "{}",
                '{\n  "a": "{{data.id}}"\n}\n',
                '  {"a":\n1}',
                "\n{}\n\n",
                "{}  \n",
                '{"a": "$${b}"}\n',
            ]
        )
        | st.dictionaries(names, json_values, max_size=3),
        "timeout_in_sec": st.integers(1, 65),
        "retry": optional(
            schedule=st.lists(durations.map(format_duration), min_size=1, max_size=4),
            jitter=st.floats(0, 1),
            max_attempts=st.integers(1, 1000),
            retry_unknown=st.booleans(),
        ),
        "rate_limit": st.just("unlimited") | st.fixed_dictionaries({"per_second": st.floats(0.001, 1000)}),
        "ordering": st.sampled_from(["request", "none"]),
        "max_hold": durations.map(format_duration),
        "response_validators": st.lists(
            st.fixed_dictionaries(
                {
                    "json_path": st.just("$.a"),
                    "expected_values": st.lists(st.none() | st.booleans() | st.integers(-9, 9) | lines, min_size=1),
                }
            ),
            max_size=2,
        ),
    },
)
metadatas = st.fixed_dictionaries(
    {"name": names},
    optional={"title": lines, "labels": st.dictionaries(lines, lines, max_size=2), "protect": st.booleans()},
)
webhooks = st.builds(
    lambda metadata, spec: Webhook.model_validate({"metadata": metadata, "spec": _listed(spec)}), metadatas, specs
)


def _listed(value: Any) -> Any:
    """Tuples as the lists that YAML has."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


@given(webhooks)
def test_a_stored_document_reads_back_equal(webhook: Webhook) -> None:
    """`from_document(canonical()) == webhook`, and canonical bytes tell webhooks apart."""
    again = Webhook.from_document(webhook.canonical())

    assert again == webhook
    assert again.canonical() == webhook.canonical()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(webhook=webhooks)
def test_a_written_webhook_loads_equal(webhook: Webhook, tmp_path: Path) -> None:
    """parse(dump(w)) == w, without an error; so what is shown or exported can be applied again."""
    file = tmp_path / "hook.yaml"
    file.write_text(dump_document(webhook.document()), "utf-8")

    manifests = load_manifests([file])

    assert [problem for problem in manifests.problems if problem.is_error] == []
    assert manifests.webhooks == (webhook,)


@given(st.timedeltas(timedelta(microseconds=1), timedelta(days=366)))
def test_a_duration_reads_back_equal(duration: timedelta) -> None:
    """The shortest spelling loses no microsecond."""
    assert parse_duration(format_duration(duration)) == duration


@given(st.from_regex(r"\A[0-9]{1,15}(\.[0-9]{0,9})?[smhd]?\Z"))
def test_a_duration_is_read_or_refused(text: str) -> None:
    """Also one that no clock could hold."""
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert timedelta(0) <= duration <= timedelta(days=366)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(order=st.permutations(range(6)), cuts=st.lists(st.integers(1, 5), unique=True))
def test_the_order_of_documents_and_files_is_irrelevant(order: list[int], cuts: list[int], tmp_path: Path) -> None:
    """However the documents are spread over files, the set is the same."""
    documents = [
        f"apiVersion: reconciler/v1\nkind: Webhook\nmetadata: {{name: hook-{number}}}\n"
        f"spec: {{url: 'https://h{number}.example.com/', triggers: [Manual]}}\n"
        for number in range(5)
    ] + ["apiVersion: reconciler/v1\nkind: Project\nspec: {defaults: {timeout_in_sec: 9}}\n"]
    shuffled = [documents[number] for number in order]
    bounds = [0, *sorted(cuts), 6]
    for file in tmp_path.glob("*.yaml"):
        file.unlink()
    for number, (begin, end) in enumerate(pairwise(bounds)):
        (tmp_path / f"{number}.yaml").write_text("---\n".join(shuffled[begin:end]))

    manifests = load_manifests([tmp_path])

    assert manifests.problems == ()
    assert [webhook.name for webhook in manifests.webhooks] == [f"hook-{number}" for number in range(5)]
    assert {webhook.spec.timeout_in_sec for webhook in manifests.webhooks} == {9}


FRAGMENTS = [
    *"[]{}:,-#&*!|>'\"%@`\t \n$\\09a~=.<?",
    *("${", "${var:x}", "${secret:y}", "$${", "{{", "}}", "{{data.id}}", "\n  ", "\n- ", "---\n", "...\n", "!!int "),
    *("&a ", "*a", "<<: ", "null", "no", "0755", "\u2028", "\x00", "\U0001f600", "- - - ", "spec:", "metadata: "),
    *("kind: Webhook\n", "apiVersion: reconciler/v1\n", "triggers: [Manual]\n", "url: https://a.example.com\n"),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_ends_in_problems(text: str, load: Callable[..., Manifests]) -> None:
    """No text raises; every problem has a code that is listed and a place."""
    for problem in load(text, variables={"x": "1"}).problems:
        assert problem.code in CODES
        assert problem.line is not None and problem.column is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_any_mutation_of_a_manifest_ends_in_problems(data: st.DataObject, load: Callable[..., Manifests]) -> None:
    """Nearly sound texts reach further into the loader than noise does."""
    files = sorted(BAD.glob("*.yaml"))
    text = data.draw(st.sampled_from(files)).read_text("utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 20)))
        text = text[:at] + data.draw(st.sampled_from([*FRAGMENTS, ""])) + text[until:]

    for problem in load(text, variables={"x": "1"}).problems:
        assert problem.code in CODES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=st.binary(max_size=60))
def test_any_bytes_end_in_problems(raw: bytes, tmp_path: Path) -> None:
    """What is not text at all is a problem as well."""
    (tmp_path / "a.yaml").write_bytes(raw)

    assert all(problem.code in CODES for problem in load_manifests([tmp_path]).problems)


plain_scalars = st.from_regex(r"[-+.~<=nNyYoOtTfF0-9_:eExXabinf]{1,8}", fullmatch=True)


@given(plain_scalars)
def test_property_12_an_unquoted_scalar_that_is_taken_means_the_same_to_other_parsers(text: str) -> None:
    """Against PyYAML's own resolver (YAML 1.1): the same value, or ours refuses it."""
    parsed = parse("a.yaml", f"- {text}\n", {})
    if parsed.problems or not parsed.documents:
        return

    theirs = yaml.safe_load(f"- {text}\n")
    assert parsed.documents[0].value == theirs
    assert [type(item) for item in parsed.documents[0].value] == [type(item) for item in theirs]


def test_no_reference_is_hidden_from_the_webhook() -> None:
    """The grammar of references is one for loading and for sending."""
    assert SECRET_REFERENCE.findall("$${secret:a} ${secret:b}") == ["", "b"]
