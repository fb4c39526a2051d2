"""The tokens file: what may stand in it, what is said of what may not, and how a changed one is taken."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ManifestError
from reconciler.web import token as token_module
from reconciler.web.token import Role, Tokens, read_tokens

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
KEY = f"whsec_{OTHER}"
PRIVATE = f"whsk_{OTHER}"
SHA256 = hashlib.sha256(OTHER.encode()).hexdigest()
FILE = f"""\
ci: {{token: "{TOKEN}", roles: [apply, ingest]}}
auditor:
  sha256: {SHA256}
  roles: [read]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.yaml"
    path.touch(0o600)
    return path


def test_a_token_is_found_by_its_value_or_by_its_digest(file: Path) -> None:
    """Who may change something may read what is changed."""
    file.write_text(FILE)

    tokens = Tokens.load(file)

    ci, auditor = tokens.find(TOKEN), tokens.find(OTHER)
    assert ci is not None and auditor is not None
    assert (ci.name, ci.roles) == ("ci", {Role.READ, Role.APPLY, Role.INGEST})
    assert (auditor.name, auditor.roles) == ("auditor", {Role.READ})
    assert tokens.warnings == ()


def test_a_list_of_named_entries_says_the_same(file: Path) -> None:
    """For those who generate the file."""
    file.write_text(json.dumps([{"name": "ops", "token": TOKEN, "roles": ["operate"]}]))

    found = Tokens.load(file).find(TOKEN)

    assert found is not None
    assert (found.name, found.roles) == ("ops", {Role.READ, Role.OPERATE})


def test_a_role_to_send_events_reads_nothing(file: Path) -> None:
    """A token in a vendor's form must not open what others have requested."""
    file.write_text(f"apono: {{token: {TOKEN}, roles: [ingest]}}")

    found = Tokens.load(file).find(TOKEN)

    assert found is not None and found.roles == {Role.INGEST}


@given(presented=st.text() | st.sampled_from([TOKEN[:-1], TOKEN + "0", TOKEN.upper(), OTHER.upper(), SHA256, ""]))
def test_nothing_else_is_a_token(presented: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither a part of one, nor the digest that stands in the file, nor any text."""
    path = tmp_path_factory.getbasetemp() / "laws.yaml"
    path.write_text(FILE)
    path.chmod(0o600)

    assert (Tokens.load(path).find(presented) is not None) is (presented in (TOKEN, OTHER))


@pytest.mark.parametrize(
    ("text", "where", "fact"),
    [
        ("", "", "the tokens file has no token"),
        ("ci: {", "2:1", "not YAML"),
        ("just text", "1:1", "the file must be a mapping"),
        ("ci: [read]", "1:5", "ci must be a mapping"),
        (f"ci: {{token: {TOKEN}}}", "1:1", "`roles` is missing"),
        (f"ci: {{token: {TOKEN}, roles: read}}", "1:54", "`roles` must be a list of at least one role"),
        (f"ci: {{token: {TOKEN}, roles: []}}", "1:54", "`roles` must be a list of at least one role"),
        (f"ci: {{token: {TOKEN}, roles: [read, admin]}}", "1:61", "not a role: admin"),
        (f"ci: {{token: {TOKEN}, roles: [1]}}", "1:55", "a role must be text"),
        ("ci: {roles: [read]}", "1:1", "`token`, `sha256` or `signing_keys` is missing"),
        (f"ci: {{signing_keys: [{KEY}], roles: [read]}}", "1:1", "who signs may send events only"),
        (f"ci: {{signing_keys: [{KEY}], token: {TOKEN}, roles: [ingest]}}", "1:1", "`token` and `signing_keys` stand"),
        (f"ci: {{signing_keys: {KEY}, roles: [ingest]}}", "1:20", "`signing_keys` must be a list of 1 to 8 keys"),
        ("ci: {signing_keys: [], roles: [ingest]}", "1:20", "`signing_keys` must be a list of 1 to 8 keys"),
        (f"ci: {{signing_keys: [{TOKEN}], roles: [ingest]}}", "1:21", "not a signing key"),
        (f"ci: {{signing_keys: [{PRIVATE}], roles: [ingest]}}", "1:21", "not a signing key"),
        (f"ci: {{token: {TOKEN}, sha256: {SHA256}, roles: [read]}}", "1:1", "`token` and `sha256` stand both"),
        (f"ci: {{token: {TOKEN[1:]}, roles: [read]}}", "1:13", "`token` has 31 characters, fewer than 32"),
        (f"ci: {{token: '{TOKEN} {TOKEN}', roles: [read]}}", "1:13", "`token` holds characters that no bearer"),
        (f"ci: {{token: {'a' * 4097}, roles: [read]}}", "1:13", "`token` has more than 4096 characters"),
        (f"ci: {{token: [{TOKEN}], roles: [read]}}", "1:13", "`token` has 0 characters"),
        (f"ci: {{sha256: {SHA256[1:]}, roles: [read]}}", "1:14", "`sha256` must be 64 hex digits"),
        (f"ci: {{token: {TOKEN}, role: [read], roles: [read]}}", "1:47", "unknown key: role"),
        (f"'a b': {{token: {TOKEN}, roles: [read]}}", "1:1", "bad name: a b"),
        (f"a: {{token: {TOKEN}, roles: [apply], owners: iam}}", "1:70", "`owners` must be a list of texts"),
        (f"a: {{token: {TOKEN}, roles: [apply], owners: []}}", "1:70", "`owners` must be a list of texts"),
        (f"a: {{token: {TOKEN}, roles: [apply], owners: [1]}}", "1:70", "`owners` must be a list of texts"),
        (f"a: {{token: {TOKEN}, roles: [operate], owners: [iam]}}", "1:1", "`owners` has no effect here"),
        (f"1: {{token: {TOKEN}, roles: [read]}}", "1:1", "a key must be text"),
        (f"ci: {{token: {TOKEN}, token: {OTHER}, roles: [read]}}", "1:47", "duplicate key: token"),
        (f"- {{token: {TOKEN}, roles: [read]}}", "1:3", "`name` is missing or no text"),
        (
            f"a: {{token: {OTHER}, roles: [read]}}\nb: {{sha256: {SHA256}, roles: [read]}}",
            "2:1",
            "`b` has the token of",
        ),
        (
            f"- {{name: a, token: {OTHER}, roles: [read]}}\n- {{name: a, token: {TOKEN}, roles: [read]}}",
            "2:10",
            "duplicate",
        ),
    ],
)
def test_what_may_not_stand_there_is_said_with_its_place_and_never_quoted(
    file: Path, text: str, where: str, fact: str
) -> None:
    """A refused file is shown to people; a token in it, even in the wrong place, is not."""
    file.write_text(text)

    with pytest.raises(ManifestError) as caught:
        Tokens.load(file)

    problems = caught.value.problems
    assert any(
        fact in problem.message and problem.where == ":".join(filter(None, (str(file), where))) for problem in problems
    )
    for problem in problems:
        assert not any(secret in f"{problem}" for secret in (TOKEN[1:], OTHER, "a" * 33))


@pytest.mark.parametrize(
    "text", [f"{TOKEN}: [read]", f"ci: {{{TOKEN}: x, roles: [read]}}", f"ci: {{token: x, roles: [{TOKEN}]}}"]
)
def test_a_token_in_the_wrong_place_is_not_quoted_either(file: Path, text: str) -> None:
    """As a name, a key or a role."""
    file.write_text(text)

    _, problems = read_tokens(file)

    assert problems
    assert TOKEN not in f"{problems}"


def test_every_problem_is_said_at_once(file: Path) -> None:
    """Nobody mends a file in rounds."""
    file.write_text("a: {token: short, roles: [king]}\nb: {roles: [read]}\n")

    _, problems = read_tokens(file)

    assert [(problem.line, problem.code) for problem in problems] == [
        (1, "tokens-token"),
        (1, "tokens-roles"),
        (2, "tokens-token"),
    ]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622, 0o602])
def test_a_file_that_others_may_read_or_change_is_warned_of(file: Path, mode: int) -> None:
    """0600 is advised, since the file may hold tokens, and says who may do what."""
    file.write_text(FILE)
    file.chmod(mode)

    (warning,) = Tokens.load(file).warnings

    deed = "changed" if mode & 0o022 else "read"
    assert (warning.is_error, warning.code) == (False, "tokens-mode")
    assert warning.message == f"the tokens file may be {deed} by others: mode {mode:04o}"
    assert f"chmod 600 {file}" in warning.hint


def test_a_changed_file_is_taken_at_the_next_request(file: Path) -> None:
    """A token that is taken out opens nothing any more."""
    file.write_text(FILE)
    tokens = Tokens.load(file)

    replacement = file.with_suffix(".new")
    replacement.write_text(f"late: {{token: {OTHER}, roles: [read]}}")
    replacement.replace(file)

    found = tokens.find(OTHER)
    assert found is not None and found.name == "late"
    assert tokens.find(TOKEN) is None


@pytest.mark.parametrize("broken", ["ci: {", "", None])
def test_a_broken_new_file_keeps_the_old_tokens(file: Path, broken: str | None) -> None:
    """An edit under way locks nobody out; the next good file is taken."""
    file.write_text(FILE)
    tokens = Tokens.load(file)
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)

    assert tokens.find(TOKEN) is not None

    file.write_text(f"late: {{token: {OTHER}, roles: [read]}}")
    os.utime(file, ns=(1, 1))  # whatever the clock of the file system can tell
    assert tokens.find(TOKEN) is None


def test_a_token_that_is_taken_away_while_the_file_is_read_is_unknown(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that starts in the midst of a rotation must not hold the old token for as long as it runs."""
    file.write_text(FILE)

    def read(path: Path) -> object:
        found = read_tokens(path)
        file.write_text(FILE.replace(TOKEN, "another-" + TOKEN))
        monkeypatch.undo()
        return found

    monkeypatch.setattr(token_module, "read_tokens", read)
    tokens = Tokens.load(file)

    assert tokens.find(TOKEN) is None
    assert tokens.find("another-" + TOKEN) is not None
