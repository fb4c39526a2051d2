"""`${var:name}`, `$${` and `${secret:name}`: what is put in where, and what is never scanned again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_text import manifest

from reconciler.errors import Problem, ReconcilerError
from reconciler.manifest.load import Manifests, read_variables
from reconciler.manifest.variable import fill
from reconciler.models.webhook import SECRET_REFERENCE, fill_secrets

Load = Callable[..., Manifests]
Problems = Callable[..., tuple[Problem, ...]]


def test_a_variable_is_put_in_before_the_scalar_gets_its_type(load: Load) -> None:
    """Unquoted it becomes a number, a boolean or a list's item; quoted it is text."""
    spec = 'timeout_in_sec: ${var:t}\nretry:\n  retry_unknown: ${var:b}\nquery: {t: "${var:t}"}'

    manifests = load(manifest(spec), variables={"t": "20", "b": "false"})

    webhook_spec = manifests.webhooks[0].spec
    assert manifests.problems == ()
    assert (webhook_spec.timeout_in_sec, webhook_spec.retry.retry_unknown, webhook_spec.query) == (
        20,
        False,
        {"t": "20"},
    )


def test_a_variable_that_makes_an_ambiguous_scalar_is_refused(problems: Problems) -> None:
    """The rules of YAML hold for what stands there in the end."""
    (problem,) = problems(manifest("query:\n  debug: ${var:d}"), variables={"d": "no"})

    assert problem.code == "yaml.ambiguous"


def test_a_value_is_never_scanned_again(load: Load) -> None:
    """Whoever sets a variable can reach neither another variable nor a secret."""
    variables = {"a": "${var:b}${secret:x}", "b": "never"}

    spec = load(manifest('query: {q: "${var:a}"}'), variables=variables).webhooks[0].spec

    assert fill_secrets(spec.query["q"], {}) == "${var:b}${secret:x}"


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("${var:a}{secret:x}", {"a": "$"}),
        ("${var:a}${var:b}", {"a": "$", "b": "{secret:x}"}),
        ("${var:a}${var:b}", {"a": "a$$", "b": "{secret:x}"}),
    ],
)
def test_a_reference_cannot_be_pieced_together(text: str, variables: dict[str, str]) -> None:
    """A `$` and a `{` that meet by substitution stay what they are: text."""
    expected = text
    for name, value in variables.items():
        expected = expected.replace(f"${{var:{name}}}", value)

    assert fill_secrets(fill(text, variables).text, {}) == expected


def test_a_value_that_would_make_a_reference_literal_is_refused(problems: Problems) -> None:
    """`$` before `${secret:x}` would read as an escape and send the reference itself."""
    (problem,) = problems(manifest('query: {q: "${var:a}${secret:x}"}'), variables={"a": "cost in $"})

    assert problem.code == "reference.bad"


@given(st.dictionaries(st.sampled_from("abc"), st.text("$ {}varsect:x", max_size=12), min_size=3))
def test_what_variables_say_arrives_as_they_say_it(variables: dict[str, str]) -> None:
    """For any values, resolving what was filled gives the plain concatenation, and names no secret."""
    filled = fill("<${var:a}|${var:b}{|$${${var:c}>", variables)

    assert not any(match[1] for match in SECRET_REFERENCE.finditer(filled.text))
    assert fill_secrets(filled.text, {}) == f"<{variables['a']}|{variables['b']}{{|${{{variables['c']}>"


@given(
    st.lists(st.sampled_from(["${var:a}", "${var:b}", "x", "$${", "${secret:s}", "yz"]), max_size=8),
    st.dictionaries(st.sampled_from("ab"), st.text("pq$", max_size=4), min_size=2),
)
def test_an_offset_leads_back_to_where_its_character_comes_from(parts: list[str], variables: dict[str, str]) -> None:
    """Characters of the text lead to themselves, those of a value to its reference."""
    text = "".join(parts)
    filled = fill(text, variables)

    for offset, character in enumerate(filled.text):
        source = filled.source_offset(offset)
        assert text[source] == character or text.startswith("${var:", source) or character == "$"


def test_an_unset_variable_names_the_flag_and_the_nearest_name(problems: Problems) -> None:
    """A typing error is told from a forgotten --var."""
    forgotten, mistyped = problems(
        manifest("max_hold: ${var:hold}", name="a"),
        manifest("max_hold: ${var:regoin}", name="b"),
        variables={"region": "5m"},
    )

    assert "--var hold=" in forgotten.hint
    assert "`region`" in mistyped.hint


def test_a_literal_dollar_brace_is_kept_where_secrets_go_and_unescaped_elsewhere(load: Load) -> None:
    """Where a secret may stand it is resolved when sending; a title is final at once."""
    text = manifest('headers: {x-price: "$${a}"}', metadata="title: $${b}")

    webhook = load(text).webhooks[0]

    assert webhook.metadata.title == "${b}"
    assert fill_secrets(webhook.spec.headers["x-price"], {}) == "${a}"


@pytest.mark.parametrize(
    "spec",
    [
        "filters: {resource: ['${secret:x}']}",
        "content_type: ${secret:x}",
        "when: ${secret:x}",
        "filters: {custom_fields: {k: ['${secret:x}']}}",
        "auth: {oauth2: {token_url: 'https://${secret:x}/t', client_id: a, client_secret: '${secret:y}'}}",
    ],
)
def test_a_secret_goes_only_where_it_is_sent_masked(problems: Problems, spec: str) -> None:
    """URL path and query, headers, query, auth, signing and body; nowhere else."""
    assert "secret.misplaced" in [problem.code for problem in problems(manifest(spec))]


def test_secrets_are_taken_everywhere_that_apono_puts_a_token(load: Load) -> None:
    """Header, query parameter, URL query, and the path itself, with or without /invoke."""
    base = "https://acme.workflows.okta.com/api/flo"
    texts = [
        manifest("headers: {x-api-client-token: '${secret:t}'}", name="a", url=f"{base}/x/invoke"),
        manifest("query: {clientToken: '${secret:t}'}", name="b", url=f"{base}/x/invoke"),
        manifest(name="c", url=f"{base}/x/invoke?clientToken=${{secret:t}}"),
        manifest(name="d", url=f"{base}/${{secret:t}}"),
        manifest(name="e", url=f"{base}/${{secret:t}}/invoke"),
    ]

    manifests = load(*texts)

    assert [problem.code for problem in manifests.problems] == ["okta.invoke"]
    assert {webhook.secret_hosts() for webhook in manifests.webhooks} == {(("t", "acme.workflows.okta.com"),)}


def test_variables_of_the_command_line_win_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    """As Terraform's users expect; a file's values are taken as written, so 007 stays 007."""
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("region: eu\ncode: 007\nflag: no\n")
    two.write_text("region: us\nenv: 'prod'\n")

    variables = read_variables(["env=dev", "url=https://a?b=c"], [one, two])

    assert variables == {"region": "us", "code": "007", "flag": "no", "env": "dev", "url": "https://a?b=c"}


@pytest.mark.parametrize("pair", ["novalue", "=x", "a b=c", "1a=b"])
def test_a_variable_that_cannot_be_read_is_refused(pair: str) -> None:
    """NAME=VALUE; and the value is not echoed."""
    with pytest.raises(ReconcilerError, match="--var"):
        read_variables([pair], [])


@pytest.mark.parametrize("text", ["[a]", "a: [b]", "a: {b: c}", "a: 1\na: 2", "a: b: c", "1: x", "a: \x07"])
def test_a_variable_file_that_is_no_mapping_of_scalars_is_refused(tmp_path: Path, text: str) -> None:
    """With one of our errors, never another exception."""
    file = tmp_path / "vars.yaml"
    file.write_text(text)

    with pytest.raises(ReconcilerError):
        read_variables([], [file])


def test_a_value_with_control_characters_is_refused() -> None:
    """What a manifest could not say, a variable cannot either."""
    with pytest.raises(ReconcilerError, match="holds a character"):
        read_variables(["a=\x1b[31m"], [])
