"""The operator's binding file, and who may read which value for which host."""

import os
from pathlib import Path

import pytest

from reconciler.egress import secrets
from reconciler.egress.secrets import VALUE_MAX_BYTES, SecretResolver, read_bindings
from reconciler.errors import ManifestError, Problem, SecretError, Severity
from reconciler.models.binding import Binding
from reconciler.models.webhook import Webhook

VALUE = "f00dfeed" * 4
URL = "https://acme.workflows.okta.com/api/flo/abc/invoke"


def webhook(url: str = URL, **headers: str) -> Webhook:
    """A webhook that sends these headers."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    document = {
        "metadata": {"name": "okta"},
        "spec": {"url": url, "headers": fields, "triggers": ["RequestCreated"]},
    }
    return Webhook.model_validate(document, strict=False)


def bind(folder: Path, text: str, mode: int = 0o600) -> Path:
    """A binding file."""
    path = folder / "secrets.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    """A value in the environment."""
    monkeypatch.setenv("OKTA_TOKEN", VALUE)
    return VALUE


def test_a_bound_secret_is_resolved_for_its_host(tmp_path: Path, token: str) -> None:
    """Exactly the names that the webhook refers to, and the masker knows the value from then on."""
    path = bind(
        tmp_path,
        "okta: {from: env:OKTA_TOKEN, hosts: [ACME.workflows.okta.com.]}\n"
        "other: {from: env:NOT_SET, hosts: [acme.workflows.okta.com]}\n",
    )
    resolver = SecretResolver.load(path)

    values = resolver.values(webhook(x_api_client_token="${secret:okta}"))

    assert values == {"okta": VALUE}
    assert resolver.masker.mask(VALUE) == "***"
    assert resolver.unresolved(webhook(x_api_client_token="${secret:okta}")) is None


def test_what_was_read_just_before_is_not_read_again_but_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several webhooks, the first has a secret read for all; who may have it is asked for each."""
    monkeypatch.setenv("OKTA_TOKEN", VALUE)
    resolver = SecretResolver.load(bind(tmp_path, "okta: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}\n"))
    read: dict[str, str] = {}
    one, other = webhook(x_token="${secret:okta}"), webhook("https://other.example.com/x", x_token="${secret:okta}")

    resolver.values(one, read=read)
    monkeypatch.setenv("OKTA_TOKEN", "another-value")

    assert resolver.values(one, read=read) == read == {"okta": VALUE}
    assert resolver.values(one, read={}) == {"okta": "another-value"}
    with pytest.raises(SecretError, match="is bound to other hosts"):
        resolver.values(other, read=read)


def test_a_jwk_may_have_lines_and_other_values_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As editors and `jq` write it; anything else that has them would split a header."""
    path = bind(tmp_path, "okta: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}")
    hook = webhook(x_api_client_token="${secret:okta}")
    jwk = '{\n\t"kty": "EC",\n  "d": "abc"\n}'

    monkeypatch.setenv("OKTA_TOKEN", jwk)
    assert SecretResolver.load(path).values(hook) == {"okta": jwk}

    monkeypatch.setenv("OKTA_TOKEN", f"{VALUE}\n{VALUE}")
    with pytest.raises(SecretError, match="control characters"):
        SecretResolver.load(path).values(hook)


def test_a_file_is_read_beside_the_binding_file_and_its_last_line_end_dropped(tmp_path: Path) -> None:
    """Editors end files with a line end; only one is theirs."""
    (tmp_path / "token").write_text(f"{VALUE}\n")
    path = bind(tmp_path, "okta: {from: file:token, hosts: [acme.workflows.okta.com]}")

    assert SecretResolver.load(path).values(webhook(x_token="${secret:okta}")) == {"okta": VALUE}


def test_a_private_key_may_have_lines(tmp_path: Path) -> None:
    """PEM is the one kind of value that does."""
    key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
    (tmp_path / "key").write_text(key + "\n")
    path = bind(tmp_path, "okta: {from: file:key, hosts: [acme.workflows.okta.com]}")

    assert SecretResolver.load(path).values(webhook(x_token="${secret:okta}")) == {"okta": key}


def test_a_wildcard_binds_the_hosts_under_a_domain_of_ones_own(tmp_path: Path, token: str) -> None:
    """Not the domain itself."""
    path = bind(tmp_path, 'okta: {from: env:OKTA_TOKEN, hosts: ["*.example.com"]}')
    resolver = SecretResolver.load(path)

    assert resolver.unresolved(webhook("https://a.b.example.com/x", x_token="${secret:okta}")) is None
    assert resolver.unresolved(webhook("https://example.com/x", x_token="${secret:okta}")) is not None
    assert resolver.unresolved(webhook("https://notexample.com/x", x_token="${secret:okta}")) is not None


def test_an_unbound_secret_names_itself_the_host_and_the_remedy(tmp_path: Path) -> None:
    """With a binding file and without one."""
    for resolver, where in (
        (SecretResolver.load(None), "to a file, and name the file by `--secrets`"),
        (SecretResolver.load(bind(tmp_path, "")), "to the binding file"),
    ):
        with pytest.raises(SecretError) as caught:
            resolver.values(webhook(x_token="${secret:okta}"))

        assert caught.value.name == "okta"
        assert caught.value.message == "secret `okta` is not bound: wanted for acme.workflows.okta.com"
        assert caught.value.hint == f"add `okta: {{from: env:NAME, hosts: [acme.workflows.okta.com]}}` {where}"
        assert resolver.unresolved(webhook(x_token="${secret:okta}")) == caught.value.message


def test_a_secret_bound_to_other_hosts_is_never_read(tmp_path: Path) -> None:
    """A pull request cannot send a secret to a host of its choosing: not even the file is opened."""
    path = bind(tmp_path, "okta: {from: file:does-not-exist, hosts: [acme.workflows.okta.com]}")

    with pytest.raises(SecretError) as caught:
        SecretResolver.load(path).values(webhook("https://evil.example.com/", x_token="${secret:okta}"))

    assert caught.value.message == (
        "secret `okta` is bound to other hosts than evil.example.com: acme.workflows.okta.com"
    )


def test_an_oauth_secret_is_judged_by_the_token_host(tmp_path: Path, token: str) -> None:
    """It is sent there, not to the receiver."""
    path = bind(tmp_path, "okta: {from: env:OKTA_TOKEN, hosts: [acme.okta.com]}")
    oauth = {"token_url": "https://acme.okta.com/oauth2/v1/token", "client_id": "x", "client_secret": "${secret:okta}"}
    hook = webhook()
    spec = hook.spec.model_dump(mode="json", exclude_none=True) | {"auth": {"oauth2": oauth}}
    hook = Webhook.model_validate({"metadata": {"name": "okta"}, "spec": spec}, strict=False)

    assert SecretResolver.load(path).values(hook) == {"okta": VALUE}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"short12", "has 7 characters, fewer than 8"),
        (b"two\nlines-of-text", "holds control characters"),
        (b"with-a-tab\tinside", "holds control characters"),
        (b"two-line-ends\n\n", "holds control characters"),
        (b"nul-\0-byte-inside", "holds control characters"),
        (b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", "is not UTF-8"),
        (b"x" * (VALUE_MAX_BYTES + 1), "is larger than 64 KiB"),
    ],
)
def test_a_value_that_cannot_be_used_is_described_but_never_shown(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """The error names the secret, its hosts and the reason."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    path = bind(tmp_path, "okta: {from: file:token, hosts: [acme.workflows.okta.com]}")

    with pytest.raises(SecretError) as caught:
        SecretResolver.load(path).values(webhook(x_token="${secret:okta}"))

    assert caught.value.message.startswith("secret `okta` for acme.workflows.okta.com cannot be read: ")
    assert reason in caught.value.message
    text = (content or b"").decode("latin-1").strip()
    assert not text or text not in caught.value.message + caught.value.hint


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is to set it where the command runs."""
    monkeypatch.delenv("OKTA_TOKEN", raising=False)
    path = bind(tmp_path, "okta: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}")

    with pytest.raises(SecretError) as caught:
        SecretResolver.load(path).values(webhook(x_token="${secret:okta}"))

    assert "the variable OKTA_TOKEN is not set" in caught.value.message
    assert caught.value.hint == "set OKTA_TOKEN where this command runs"


def test_a_changed_binding_file_is_taken_over(tmp_path: Path, token: str) -> None:
    """A running daemon needs no restart."""
    path = bind(tmp_path, "")
    resolver = SecretResolver.load(path)
    assert resolver.changed() is False

    bind(tmp_path, "okta: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}")

    assert resolver.changed() is True
    assert resolver.reload() == ()
    assert resolver.changed() is False
    assert resolver.unresolved(webhook(x_token="${secret:okta}")) is None


@pytest.mark.parametrize("when", ["load", "reload"])
def test_a_binding_file_that_changes_while_it_is_read_counts_as_changed(
    tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Else a host that the operator takes away in that moment would be sent the secret until the next change."""
    okta = "okta: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}"
    path = bind(tmp_path, okta)
    resolver = SecretResolver.load(path)

    def read(path: Path) -> tuple[dict[str, Binding], tuple[Problem, ...]]:
        found = read_bindings(path)
        if "okta" in found[0]:
            bind(tmp_path, "")
        return found

    monkeypatch.setattr(secrets, "read_bindings", read)
    if when == "load":
        resolver = SecretResolver.load(path)
    else:
        assert resolver.reload() == ()
    assert resolver.unresolved(webhook(x_token="${secret:okta}")) is None

    assert resolver.changed() is True
    resolver.reload()
    assert resolver.unresolved(webhook(x_token="${secret:okta}")) is not None


def test_a_broken_binding_file_keeps_the_old_one_and_says_so_once(tmp_path: Path, token: str) -> None:
    """A typo must not stop deliveries that worked."""
    path = bind(tmp_path, "okta: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}")
    resolver = SecretResolver.load(path)

    bind(tmp_path, "okta: {from: env:OKTA_TOKEN}")

    assert [problem.code for problem in resolver.reload()] == ["missing-key"]
    assert resolver.unresolved(webhook(x_token="${secret:okta}")) is None
    assert resolver.changed() is False


def test_a_rotated_secret_file_counts_as_a_change_and_is_read_anew(tmp_path: Path) -> None:
    """Values are read for each request; the old one stays masked."""
    (tmp_path / "token").write_text("old-value-1")
    path = bind(tmp_path, "okta: {from: file:token, hosts: [acme.workflows.okta.com]}")
    resolver = SecretResolver.load(path)
    resolver.values(webhook(x_token="${secret:okta}"))
    (tmp_path / "new").write_text("new-value-2")

    os.replace(tmp_path / "new", tmp_path / "token")

    assert resolver.changed() is True
    assert resolver.values(webhook(x_token="${secret:okta}")) == {"okta": "new-value-2"}
    assert resolver.masker.mask("old-value-1 new-value-2") == "*** ***"
    assert resolver.reload() == ()
    assert resolver.changed() is False


def test_what_is_bound_is_masked_whoever_it_is_sent_to(tmp_path: Path, token: str) -> None:
    """A receiver may repeat what another webhook sent it, or an old value that is bound for that; what cannot be read,
    and is not referred to, is nobody's trouble."""
    (tmp_path / "old").write_text("old-value-1")
    hosts = "hosts: [acme.workflows.okta.com]"
    text = f"okta: {{from: env:OKTA_TOKEN, {hosts}}}\nold: {{from: file:old, {hosts}}}\n"
    text += f"none: {{from: file:none, {hosts}}}\n"
    path = bind(tmp_path, text)
    resolver = SecretResolver.load(path)

    assert resolver.values(webhook(x_token="${secret:okta}")) == {"okta": VALUE}
    assert resolver.masker.mask("old-value-1") == "***"

    (tmp_path / "new").write_text("new-value-2")
    bind(tmp_path, f"{text}new: {{from: file:new, {hosts}}}\n")
    resolver.reload()
    resolver.values(webhook(x_token="${secret:okta}"))
    assert resolver.masker.mask("old-value-1 new-value-2") == "*** ***"


def test_a_file_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    """It holds no values, but names where they are."""
    resolver = SecretResolver.load(bind(tmp_path, "", mode=0o644))

    assert [(item.severity, item.code, item.message) for item in resolver.warnings] == [
        (Severity.WARNING, "secrets-mode", "the binding file may be read by others: mode 0644")
    ]


BROKEN = {
    "not a mapping": ("- a\n", "1:1 secrets-type: the file must be a mapping"),
    "not yaml": ("a: [\n", "2:1 secrets-yaml: not YAML: did not find expected node content"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1 secrets-yaml: not YAML: but found another document"),
    "bad name": ("Okta-Token: {from: env:A, hosts: [a.example]}\n", "1:1 secret-name: bad name: Okta-Token"),
    "key that is no text": ("1: {from: env:A, hosts: [a.example]}\n", "1:1 secrets-type: a key must be text"),
    "duplicate name": (
        "a: {from: env:A, hosts: [a.example]}\na: {from: env:B, hosts: [a.example]}\n",
        "2:1 duplicate-key: duplicate key: a",
    ),
    "duplicate key": ("a: {from: env:A, from: env:B, hosts: [a.example]}\n", "1:18 duplicate-key: duplicate key: from"),
    "unknown key": ("a: {from: env:A, host: a.example, hosts: [a.example]}\n", "1:18 unknown-key: unknown key: host"),
    "no from": ("a: {hosts: [a.example]}\n", "1:1 missing-key: `from` is missing"),
    "no hosts": ("a:\n  from: env:A\n", "1:1 missing-key: `hosts` is missing"),
    "no mapping": ("a: env:A\n", "1:4 secrets-type: a must be a mapping"),
    "from without a kind": (
        "a: {from: hunter2hunter2, hosts: [a.example]}\n",
        "1:11 secret-from: `from` is neither env:NAME nor file:PATH",
    ),
    "from of another kind": (
        "a: {from: vault:hunter2hunter2, hosts: [a.example]}\n",
        "1:11 secret-from: `from` is neither env:NAME nor file:PATH",
    ),
    "bad variable": (
        "a: {from: env:A-B, hosts: [a.example]}\n",
        "1:11 secret-from: `from` is neither env:NAME nor file:PATH",
    ),
    "from that is a number": (
        "a: {from: 12345678, hosts: [a.example]}\n",
        "1:11 secret-from: `from` is neither env:NAME nor file:PATH",
    ),
    "empty path": (
        'a: {from: "file:", hosts: [a.example]}\n',
        "1:11 secret-from: `from` is neither env:NAME nor file:PATH",
    ),
    "no host": ("a: {from: env:A, hosts: []}\n", "1:25 secret-hosts: `hosts` must be a list of at least one host"),
    "hosts as text": (
        "a: {from: env:A, hosts: a.example}\n",
        "1:25 secret-hosts: `hosts` must be a list of at least one host",
    ),
    "host with a scheme": (
        "a: {from: env:A, hosts: [https://a.example]}\n",
        "1:26 secret-hosts: host refused: a host has no scheme and no path: https://a.example",
    ),
    "host with a path": (
        "a: {from: env:A, hosts: [a.example/x]}\n",
        "1:26 secret-hosts: host refused: a host has no scheme and no path: a.example/x",
    ),
    "host with a port": (
        'a: {from: env:A, hosts: ["a.example:443"]}\n',
        "1:26 secret-hosts: host refused: a host has no port: a.example:443",
    ),
    "host that is an address": (
        "a: {from: env:A, hosts: [b.example, 127.0.0.1]}\n",
        "1:37 secret-hosts: host refused: the host is an IP address: 127.0.0.1",
    ),
    "host that is a number": ("a: {from: env:A, hosts: [1]}\n", "1:26 secret-hosts: host refused: must be a host name"),
    "wildcard inside": (
        "a: {from: env:A, hosts: [a.*.example]}\n",
        "1:26 secret-hosts: host refused: a wildcard stands only in front, as *.example.com: a.*.example",
    ),
    "wildcard alone": (
        'a: {from: env:A, hosts: ["*"]}\n',
        "1:26 secret-hosts: host refused: a wildcard stands only in front, as *.example.com: *",
    ),
}
SHARED = [
    *("com", "co.uk", "okta.com", "workflows.okta.com", "oktapreview.com", "workflows.oktapreview.com", "slack.com"),
    *("service-now.com", "azurewebsites.net", "workers.dev", "herokuapp.com", "amazonaws.com", "s3.amazonaws.com"),
    *("on.aws", "lambda-url.us-east-1.on.aws", "github.io", "run.app", "a.run.app", "pages.dev", "ngrok-free.app"),
    *("logic.azure.com", "azure.com", "webhook.office.com", "webhook.site", "nosuchtoplevel"),
]


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_of_a_binding_file_has_its_place_and_its_words(tmp_path: Path, name: str) -> None:
    """Golden: `line:column code: message`; never a word of what could be a secret."""
    text, expected = BROKEN[name]

    with pytest.raises(ManifestError) as caught:
        SecretResolver.load(bind(tmp_path, text))

    assert [f"{item.line}:{item.column} {item.code}: {item.message}" for item in caught.value.problems] == [expected]
    assert all("hunter2" not in str(item) for item in caught.value.problems)
    assert all(item.file == str(tmp_path / "secrets.yaml") for item in caught.value.problems)


@pytest.mark.parametrize("domain", SHARED)
def test_a_wildcard_over_a_domain_of_many_tenants_is_refused(tmp_path: Path, domain: str) -> None:
    """Any other tenant's host would be allowed to receive the secret."""
    with pytest.raises(ManifestError) as caught:
        SecretResolver.load(bind(tmp_path, f'a: {{from: env:A, hosts: ["*.{domain}"]}}'))

    assert [item.message for item in caught.value.problems] == [
        f"host refused: a wildcard over a domain that many tenants share: *.{domain}"
    ]


@pytest.mark.parametrize("domain", ["example.com", "hooks.example.co.uk", "acme.okta.com", "acme.service-now.com"])
def test_a_wildcard_over_a_domain_of_one_tenant_is_fine(tmp_path: Path, domain: str) -> None:
    """Who owns the domain owns every name under it."""
    SecretResolver.load(bind(tmp_path, f'a: {{from: env:A, hosts: ["*.{domain}"]}}'))


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    """One run, one repair."""
    text = "A: {}\nb: {from: x, hosts: []}\nc: {from: env:C, hosts: [c.example], extra: 1}\n"

    with pytest.raises(ManifestError) as caught:
        SecretResolver.load(bind(tmp_path, text))

    assert [(item.line, item.code) for item in caught.value.problems] == [
        (1, "secret-name"),
        (2, "secret-from"),
        (2, "secret-hosts"),
        (3, "unknown-key"),
    ]


@pytest.mark.parametrize(("content", "code"), [(None, "secrets-unreadable"), (b"\xff", "secrets-encoding")])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None, code: str) -> None:
    """Missing, or no text."""
    path = tmp_path / "secrets.yaml"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)

    with pytest.raises(ManifestError) as caught:
        SecretResolver.load(path)

    assert [item.code for item in caught.value.problems] == [code]


def test_a_binding_file_of_any_size_is_bounded(tmp_path: Path) -> None:
    """It is a file of a few lines."""
    with pytest.raises(ManifestError) as caught:
        SecretResolver.load(bind(tmp_path, "#" * (1024 * 1024 + 1)))

    assert [item.code for item in caught.value.problems] == ["secrets-size"]


@pytest.mark.parametrize("prefix", ["whsec_", "whsk_"])
def test_a_signing_key_is_hidden_without_its_prefix_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """Receivers' libraries take keys either way. What is too short to be one blots out no ordinary words."""
    path = bind(tmp_path, "okta: {from: env:SIGNING_KEY, hosts: [acme.workflows.okta.com]}\n")
    resolver = SecretResolver.load(path)
    for value, text, shown in (
        (f"{prefix}{VALUE}", f"key {VALUE}", "key ***"),
        (f"{prefix}the", f"the {prefix}the", "the ***"),
    ):
        monkeypatch.setenv("SIGNING_KEY", value)
        resolver.values(webhook(x_api_client_token="${secret:okta}"))

        assert resolver.masker.mask(text) == shown
