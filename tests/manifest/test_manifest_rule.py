"""Rules on texts that the golden manifests do not show: what passes, what does not, and what is never said aloud."""

from collections.abc import Callable
from typing import Any

import pytest
from manifest_text import manifest

from reconciler.errors import Problem
from reconciler.manifest.load import Manifests
from reconciler.models.rule import check_spec
from reconciler.models.url import is_secret_name
from reconciler.models.webhook import Webhook

Load = Callable[..., Manifests]
Problems = Callable[..., tuple[Problem, ...]]

OKTA = "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke"
CANARY = "hunter2-canary-91c7"


def codes(**spec: Any) -> list[str]:
    """The codes of a spec's faults, warnings too."""
    return [fault.code for fault in check_spec({"url": "https://hooks.example.com/in", **spec})]


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "HTTPS://Hooks.Example.com/In",
        "https://hooks.example.com./in",
        "https://hooks.example.com/a%20b/;p=1,2?x=(1)&y=@:!$'*+~",
        "https://hooks.example.com/${secret:path}?q=${secret:query}",
        "https://xn--bcher-kva.example.com/",
        f"https://hooks.example.com/{'0123456789abcdef' * 4}",
    ],
)
def test_sound_urls_pass(url: str) -> None:
    """Also a trailing dot, percent-encoding, and 64 hex digits away from Okta."""
    assert codes(url=url) == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://hooks.example.com/", "url.scheme"),
        ("https:hooks.example.com/", "url.scheme"),
        ("//hooks.example.com/", "url.scheme"),
        ("https://hooks.example.com:/", "url.port"),
        ("https://@hooks.example.com/", "url.user_info"),
        ("https://hooks.example.com#", "url.fragment"),
        ("https://127.0.0.1./", "url.host"),
        ("https://0177.0.0.1/", "url.host"),
        ("https://127.1/", "url.host"),
        ("https://[::ffff:10.0.0.1]/", "url.host"),
        ("https://LOCALHOST/", "url.host"),
        ("https://a.localhost/", "url.host"),
        ("https://intranet/", "url.host"),
        ("https://１２７.0.0.1/", "url.host"),
        ("https://bücher.example.com/", "url.host"),
        ("https://a..example.com/", "url.host"),
        ("https://hooks.example.com/a\nb", "url.character"),
        ("https://hooks.example.com/\ue000", "url.character"),
        ("https://hooks.example.com/${secret:a}/é", "url.character"),
        ("${secret:scheme}://hooks.example.com/", "url.scheme"),
        ("https://hooks.example.com\\@evil.example.com/", "url.user_info"),
        ("https://hooks.example.com/?next=<alias>", "secret.placeholder"),
    ],
)
def test_unsound_urls_are_refused(url: str, code: str) -> None:
    """Of a URL and of a token_url alike."""
    oauth2 = {"token_url": url, "client_id": "a", "client_secret": "${secret:s}"}

    assert code in codes(url=url)
    assert code in codes(auth={"oauth2": oauth2})


@pytest.mark.parametrize(
    "host", ["acme.workflows.okta.com", "acme.workflows.oktapreview.com", "ACME.Workflows.Okta.com"]
)
def test_okta_rules_hold_on_production_and_preview(host: str) -> None:
    """GET and POST only, /invoke expected."""
    assert codes(url=f"https://{host}/api/flo/x", method="DELETE") == ["okta.method", "okta.invoke"]
    assert codes(url=f"https://{host}/api/flo/x/invoke", method="GET") == []


def test_okta_rules_do_not_hold_elsewhere() -> None:
    """Other receivers take any method and path; a name that merely ends alike is another host."""
    assert codes(url="https://notworkflows.okta.com.example.com/api/flo/x", method="PUT") == []


@pytest.mark.parametrize("where", ["header and url", "header and parameter"])
def test_oktas_token_in_header_and_query_is_refused_in_both_spellings(where: str) -> None:
    """Okta asks not to send both."""
    spec: dict[str, Any] = {"headers": {"X-API-Client-Token": "${secret:t}"}, "url": OKTA}
    if where == "header and url":
        spec["url"] = f"{OKTA}?clientToken=${{secret:t}}"
    else:
        spec["query"] = {"clienttoken": "${secret:t}"}

    assert codes(**spec) == ["okta.token_twice"]


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "authorization", "Cookie", "x-api-client-token", "clientToken", "DD-API-KEY", "x_api_key"),
        *("token", "accessToken", "x-webhook-secret", "client_secret", "password", "dbPassword", "apikey", "x-token"),
    ],
)
def test_names_that_carry_secrets_are_known(name: str) -> None:
    """authorization, cookie, x-api-client-token, clientToken, and names ending in -key, -token, -secret, password."""
    assert is_secret_name(name)
    assert codes(headers={name: "literal"}) == ["secret.literal"]
    assert codes(query={name: "literal"}) == ["secret.literal"]
    assert codes(url=f"https://hooks.example.com/?{name}=literal") == ["secret.literal"]
    assert codes(headers={name: "Bearer ${secret:t}"}) == []


@pytest.mark.parametrize(
    "name", ["x-team", "content-language", "tokens", "keyboard", "secretary", "x-key-id", "monkey"]
)
def test_other_names_may_hold_literals(name: str) -> None:
    """A rule that cries wolf is switched off."""
    assert not is_secret_name(name)


def test_an_escaped_reference_is_a_literal() -> None:
    """`$${secret:t}` sends the text `${secret:t}`."""
    assert codes(headers={"authorization": "$${secret:t}"}) == ["secret.literal"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "host",
            "Content-Length",
            "transfer-encoding",
            "Connection",
            "keep-alive",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
        ),
        *("proxy-authorization", "Proxy-Connection", "webhook-id", "Webhook-Signature", "x-reconciler-test"),
    ],
)
def test_headers_of_the_connection_and_of_the_daemon_cannot_be_set(name: str) -> None:
    """Whoever sets them could smuggle a second request, or pass for another delivery."""
    assert "header.reserved" in codes(headers={name: "${secret:x}"})


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\x00b", "a\x7f", "é", "😀", "\ue000", "${secret:a}\n"])
def test_header_values_are_printable_ascii_on_one_line(value: str) -> None:
    """RFC 9110, section 5.5, without its obsolete parts."""
    assert codes(headers={"x-a": value}) == ["header.value"]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n", "é", "(a)", '"a"'])
def test_header_names_are_tokens(name: str) -> None:
    """RFC 9110, section 5.6.2."""
    assert "header.name" in codes(headers={name: "a"})


def test_the_user_name_may_be_a_secret() -> None:
    """The colon of a reference is none of the name."""
    assert codes(auth={"basic": {"username": "ci-${secret:u}", "password": "${secret:p}"}}) == []


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({}, "auth.kind"),
        ({"bearer": {"token": "${secret:t}"}, "basic": {"username": "u", "password": "${secret:p}"}}, "auth.kind"),
        ({"bearer": {"token": "literal"}}, "secret.literal"),
        ({"basic": {"username": "u", "password": "literal"}}, "secret.literal"),
        ({"basic": {"username": "u:v", "password": "${secret:p}"}}, "auth.basic"),
        ({"basic": {"username": "${secret:u}:v", "password": "${secret:p}"}}, "auth.basic"),
        ({"mtls": {"certificate": "${secret:c}", "private_key": "literal"}}, "secret.literal"),
        ({"oauth2": {"token_url": "https://a.example.com/t", "client_id": "c"}}, "auth.oauth2"),
        (
            {"oauth2": {"token_url": "https://a.example.com/t", "client_id": "c", "private_key": "${secret:k}"}},
            "auth.oauth2",
        ),
        (
            {
                "oauth2": {
                    "token_url": "https://a.example.com/t",
                    "client_id": "c",
                    "client_secret": "${secret:s}",
                    "algorithm": "RS256",
                }
            },
            "auth.oauth2",
        ),
        (
            {
                "oauth2": {
                    "token_url": "https://a.example.com/t",
                    "client_id": "c",
                    "client_secret": "${secret:s}",
                    "scopes": ["one two"],
                }
            },
            "auth.scope",
        ),
        (
            {
                "oauth2": {
                    "token_url": "https://a.example.com/t",
                    "client_id": "c",
                    "private_key": "${secret:k}",
                    "key_id": "k1",
                    "algorithm": "RS256",
                    "client_secret_in": "body",
                }
            },
            "auth.oauth2",
        ),
        ({"bearer": {"token": "Bearer ${secret:t}"}}, "auth.bearer"),
    ],
)
def test_credentials_are_of_one_kind_whole_and_bound(auth: dict[str, Any], code: str) -> None:
    """Exactly one kind; a client secret or a key with its id and algorithm; nothing in plain text."""
    assert code in codes(auth=auth)


def test_oauth2_in_both_forms_passes() -> None:
    """A client secret, by header or body, or a private key."""
    base = {"token_url": "https://acme.okta.com/oauth2/v1/token", "client_id": "0oa1"}
    key = {"private_key": "${secret:k}", "key_id": "k1", "algorithm": "RS256"}

    assert codes(auth={"oauth2": {**base, "client_secret": "${secret:s}"}}) == []
    assert codes(auth={"oauth2": {**base, "client_secret": "${secret:s}", "client_secret_in": "body"}}) == []
    assert codes(auth={"oauth2": {**base, **key, "scopes": ["okta.workflows.invoke.manage"]}}) == []


@pytest.mark.parametrize(
    ("changed", "warnings"),
    [
        ({}, 0),
        ({"scopes": ["okta.users.read"]}, 1),
        ({"scopes": None}, 1),
        ({"token_url": "https://acme.okta.com/oauth2/default/v1/token"}, 1),
        ({"private_key": None, "key_id": None, "algorithm": None, "client_secret": "${secret:s}"}, 1),
    ],
)
def test_tokens_that_no_flow_takes_are_warned_of(changed: dict[str, Any], warnings: int) -> None:
    """What Okta's help says; another receiver may want just that."""
    sound = {
        "token_url": "https://acme.okta.com/oauth2/v1/token",
        "client_id": "0oa1",
        "scopes": ["okta.workflows.invoke.manage"],
        "private_key": "${secret:k}",
        "key_id": "k1",
        "algorithm": "RS256",
    }
    oauth2 = {name: value for name, value in {**sound, **changed}.items() if value is not None}
    okta = f"https://acme.workflows.okta.com/api/flo/{'0' * 32}/invoke"

    assert codes(url=okta, auth={"oauth2": oauth2}) == ["okta.oauth"] * warnings
    assert codes(url="https://hooks.example.com/in", auth={"oauth2": oauth2}) == []


def test_auth_and_an_authorization_header_exclude_each_other() -> None:
    """mTLS does not use the header and may stand beside it."""
    headers = {"Authorization": "${secret:a}"}

    assert "auth.header" in codes(headers=headers, auth={"bearer": {"token": "${secret:t}"}})
    assert codes(headers=headers, auth={"mtls": {"certificate": "${secret:c}", "private_key": "${secret:k}"}}) == []


@pytest.mark.parametrize("ca", ["/etc/ssl/internal.pem", "x${secret:ca}", "${secret:a}${secret:b}", "$${secret:ca}"])
def test_an_authority_is_the_operators_by_name(ca: str) -> None:
    """A pull request names what is trusted; it can neither bring nor change it."""
    assert codes(tls={"ca": ca}) == ["tls.ca"]
    assert codes(tls={"ca": "${secret:internal_ca}"}) == []


@pytest.mark.parametrize(
    ("key", "is_sound"),
    [
        ({"key": "${secret:k}"}, True),
        ({"key": "${secret:k}", "not_before": "2026-01-01T00:00:00Z", "not_after": "2026-02-01T00:00:00+01:00"}, True),
        ({"key": "${secret:k}", "not_before": "2026-01-01"}, False),
        ({"key": "${secret:k}", "not_before": "soon"}, False),
        ({"key": "${secret:k}", "not_before": "2026-02-01T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"}, False),
        ({"key": "whsec_literal"}, False),
    ],
)
def test_signing_keys_are_bound_and_their_windows_in_order(key: dict[str, Any], is_sound: bool) -> None:
    """RFC 3339 times with their offset."""
    assert (codes(signing={"keys": [key, {"key": "${secret:next}"}]}) == []) == is_sound


@pytest.mark.parametrize(
    ("content_type", "is_sound"),
    [
        *(("application/json", True), ("application/vnd.api+json; charset=UTF-8", True), ('a/b; c="d e"', True)),
        *(("json", False), ("application/", False), ("a/b;", False), ("a/b; charset=utf-16", False), ("a/b\n", False)),
    ],
)
def test_content_types_are_media_types_in_utf8(content_type: str, is_sound: bool) -> None:
    """RFC 9110, section 8.3.1."""
    assert (codes(content_type=content_type) == []) == is_sound


def test_rules_pass_over_what_is_of_another_type() -> None:
    """The models report that; no rule may fall over it."""
    for value in (None, 1, True, "text", [], [1], {}, {"a": [1]}):
        for field in (*Webhook.model_fields["spec"].annotation.model_fields, "metadata"):  # type: ignore[union-attr]
            list(check_spec({"url": "https://hooks.example.com/in", field: value}))


@pytest.mark.parametrize(
    "spec",
    [
        f"headers: {{authorization: Bearer {CANARY}}}",
        f"headers: {{x-api-key: [{CANARY}]}}",
        f"headers: {{x-api-key: {{{CANARY}: 1}}}}",
        f"query: {{token: {CANARY}}}",
        f'query: {{token: "{CANARY}\\n"}}',
        f"auth: {{bearer: {{token: {CANARY}}}}}",
        f"auth: {{bearer: {CANARY}}}",
        f"auth: {{basic: {{username: u, password: {CANARY}}}}}",
        f"signing: {{keys: [{{key: {CANARY}}}]}}",
        f"signing: {CANARY}",
        f"auth: {{oauth2: {{token_url: 'https://u:{CANARY}@a.example.com', client_id: c, client_secret: {CANARY}}}}}",
    ],
)
def test_a_secret_in_plain_text_is_never_repeated(problems: Problems, spec: str) -> None:
    """Pipelines keep their logs for years."""
    found = problems(manifest(spec))

    assert found
    assert CANARY not in repr([(problem.message, problem.hint) for problem in found])


@pytest.mark.parametrize(
    "url",
    [
        f"https://u:{CANARY}@a.example.com/",
        f"https://a.example.com/?token={CANARY}",
        f"https://a.example.com:{CANARY}/",
    ],
)
def test_a_secret_in_a_url_is_never_repeated(problems: Problems, url: str) -> None:
    """Nor is what stands where a port should."""
    found = problems(manifest(url=url))

    assert found
    assert CANARY not in repr([(problem.message, problem.hint) for problem in found])
