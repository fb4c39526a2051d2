"""What a binding file lets through and what not, against whoever would like to have it otherwise."""

import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.egress import operator_file
from reconciler.egress.operator_file import READS_MAX, read_whole
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import ManifestError, SecretError
from reconciler.models.binding import Binding, SecretSource
from reconciler.models.webhook import Webhook, secret_names

VALUE = "f00dfeed" * 4
HOST = "acme.workflows.okta.com"


def webhook(reference: str = "${secret:okta}", host: str = HOST) -> Webhook:
    """A webhook that sends a reference in a header."""
    spec = {"url": f"https://{host}/in", "headers": {"x-a": reference}, "triggers": ["RequestCreated"]}
    return Webhook.model_validate({"metadata": {"name": "okta"}, "spec": spec}, strict=False)


def bind(folder: Path, source: str, hosts: str = HOST, name: str = "okta") -> SecretResolver:
    """A resolver of one binding, whose texts are written in double quotes."""
    path = folder / "secrets.yaml"
    path.write_text(f'{name}: {{from: "{source}", hosts: ["{hosts}"]}}')
    path.chmod(0o600)
    return SecretResolver.load(path)


def secret_file(path: Path, value: str = VALUE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value)
    path.chmod(0o600)
    return path


# Names and hosts


@pytest.mark.parametrize(
    "text",
    [
        "../okta",
        "/etc/passwd",
        "okta/../okta2",
        "Okta",
        "o.kta",
        "o-kta",
        "env:OKTA",
        "ｏkta",
        "okta ",
        "okta\0",
        "okta\n",
        "",
    ],
)
def test_a_reference_is_a_name_and_nothing_else(text: str) -> None:
    """What is no name refers to nothing: no path, no variable, no look-alike."""
    assert secret_names(f"${{secret:{text}}}") == frozenset()


def test_a_name_is_no_prefix_of_another(tmp_path: Path) -> None:
    """A binding of `okta` is none of `okta2`, nor of `okt`."""
    secret_file(tmp_path / "token")
    resolver = bind(tmp_path, "file:token")

    assert resolver.values(webhook()) == {"okta": VALUE}
    for reference in ("${secret:okta2}", "${secret:okt}", "${secret:okta_}"):
        with pytest.raises(SecretError, match="is not bound"):
            resolver.values(webhook(reference))


@pytest.mark.parametrize(
    "host",
    [
        *("okta.com.evil.example", "evil-okta.com", "evilokta.com", "okta.co", "okta.comm", "okta.com.co"),
        *("sub.okta.com", "okta.com-evil.example", "0kta.com", "xn--kta-bedt.com", "com", "okta.org"),
    ],
)
def test_a_host_is_bound_by_its_whole_name(tmp_path: Path, host: str) -> None:
    """Neither what begins nor what ends like it."""
    secret_file(tmp_path / "token")
    resolver = bind(tmp_path, "file:token", "okta.com")

    with pytest.raises(SecretError, match="is bound to other hosts"):
        resolver.values(webhook(host=host))


@pytest.mark.parametrize("host", ["ACME.workflows.okta.com", "acme.workflows.okta.com.", "Acme.Workflows.Okta.Com."])
def test_case_and_a_closing_dot_make_no_other_host(tmp_path: Path, host: str) -> None:
    """On either side (RFC 4343; RFC 1034, section 3.1)."""
    secret_file(tmp_path / "token")

    assert bind(tmp_path, "file:token", host).values(webhook()) == {"okta": VALUE}
    assert bind(tmp_path, "file:token").values(webhook(host=host)) == {"okta": VALUE}


@given(
    bound=st.from_regex(r"(\*\.)?[a-c]{1,2}\.[a-c]{1,2}(\.[a-c])?", fullmatch=True),
    host=st.from_regex(r"([a-c]{1,2}\.){1,3}[a-c]{1,2}", fullmatch=True),
)
def test_a_binding_allows_its_host_or_the_names_under_its_domain(bound: str, host: str) -> None:
    """Law: label by label."""
    labels, given_labels = bound.removeprefix("*.").split("."), host.split(".")
    is_under = len(given_labels) > len(labels) and given_labels[-len(labels) :] == labels

    allowed = Binding("a", SecretSource.ENV, "A", (bound,)).allows(host)

    assert allowed == (is_under if bound.startswith("*.") else given_labels == labels)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "o\\u212Ata.com",
            "\\u043Ekta.com",
            "okta\\u3002com",
            "\\u2460.com",
            "\\u0130.com",
            "\\u017Fo.com",
            "okta\\u200B.com",
        ),
        *(
            "okta.com..",
            "*.okta.com..",
            "*.a.example..",
            "a..b.com",
            ".okta.com",
            "okta.com ",
            " okta.com",
            "ok ta.com",
        ),
        *(
            "okta.com\\0",
            "okta.com\\n",
            "okta.com\\t",
            "okta.com\\e",
            "okta.com/",
            "u@okta.com",
            "okta.com#",
            "okta.com?",
        ),
        *("okta.com:443", "https://okta.com", "a_b.com", "-a.com", "%61.com", "127.1", "0x7f.1", "[::1]", "localhost"),
        *("*", "*.", "**.okta.com", "*.*.okta.com", "okta.*", "*okta.com", "*.OKTA.com", "*.Workflows.Okta.com."),
    ],
)
def test_an_odd_host_is_refused(tmp_path: Path, host: str) -> None:
    """Whatever folds, looks or reads as a host that it is not written as."""
    with pytest.raises(ManifestError) as caught:
        bind(tmp_path, "env:OKTA_TOKEN", host)

    assert [problem.code for problem in caught.value.problems] == ["secret-hosts"]
    assert "host refused" in caught.value.problems[0].message


# Files


@pytest.mark.parametrize("place", ["token", "deep/token", "../token", "deep/../../token", "./a/b/../../token"])
def test_a_path_leads_from_the_binding_file(tmp_path: Path, place: str) -> None:
    """Wherever the command runs; the operator may name any file, and nobody else can."""
    folder = tmp_path / "etc"
    for made in ("deep", "a/b"):
        (folder / made).mkdir(parents=True)
    secret_file((folder / place).resolve())

    assert bind(folder, f"file:{place}").values(webhook()) == {"okta": VALUE}


def test_a_path_is_taken_as_it_is_written(tmp_path: Path) -> None:
    """Not as a shell would: no home folder, no variable, no pattern."""
    for name in ("~", "$HOME", "t*", " token ", "tokén", "%2e%2e"):
        secret_file(tmp_path / "odd" / name)
        assert bind(tmp_path, f"file:odd/{name}").values(webhook()) == {"okta": VALUE}


def test_links_are_followed_and_their_change_is_seen(tmp_path: Path) -> None:
    """Secrets are mounted so: `token` leads to `..data/token`, and `..data` to a folder that is replaced as a whole."""
    secret_file(tmp_path / "first" / "token", "the-old-value")
    secret_file(tmp_path / "second" / "token", "the-new-value")
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "token").symlink_to("..data/token")
    resolver = bind(tmp_path, "file:token")
    assert resolver.values(webhook()) == {"okta": "the-old-value"}

    (tmp_path / "new").symlink_to("second")
    os.replace(tmp_path / "new", tmp_path / "..data")

    assert resolver.changed()
    assert resolver.values(webhook()) == {"okta": "the-new-value"}
    assert resolver.masker.mask("the-old-value the-new-value") == "*** ***"


def test_a_binding_file_behind_a_link_names_files_beside_the_link(tmp_path: Path) -> None:
    """That is the place that the operator named."""
    secret_file(tmp_path / "token")
    (tmp_path / "elsewhere").mkdir()
    bind(tmp_path / "elsewhere", "file:token")
    (tmp_path / "secrets.yaml").symlink_to("elsewhere/secrets.yaml")

    assert SecretResolver.load(tmp_path / "secrets.yaml").values(webhook()) == {"okta": VALUE}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/proc/self/environ", "holds control characters"),
        ("/proc/self/fd", "is a directory"),
        ("/proc/self/mem", "input/output error"),
        ("/dev/zero", "not a regular file"),
        ("/dev/tty", ""),
        (".", "is a directory"),
        ("loop", "too many levels of symbolic links"),
        ("dangling", "no such file or directory"),
        ("token/../token", "not a directory"),
        ("x" * 300, "file name too long"),
    ],
)
def test_what_is_no_file_of_a_secret_is_refused(tmp_path: Path, path: str, reason: str) -> None:
    """At once, in words that quote nothing of it."""
    secret_file(tmp_path / "token")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")

    with pytest.raises(SecretError) as caught:
        bind(tmp_path, f"file:{path}").values(webhook())

    assert reason in caught.value.message
    assert VALUE not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("has_writer", [False, True])
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path, has_writer: bool) -> None:
    """Neither as the file of a secret nor as the binding file; nor does a socket."""
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR) if has_writer else None
    try:
        with pytest.raises(SecretError, match="not a regular file"):
            bind(tmp_path, "file:pipe").values(webhook())
        with pytest.raises(ManifestError) as caught:
            SecretResolver.load(tmp_path / "pipe")
        assert caught.value.problems[0].message == "the binding file cannot be read: not a regular file"
    finally:
        if descriptor is not None:
            os.close(descriptor)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "s"))
        with pytest.raises(SecretError, match="no such device or address"):
            bind(tmp_path, "file:s").values(webhook())


def test_a_file_that_is_replaced_is_read_as_it_was_or_is(tmp_path: Path) -> None:
    """Never half of one and half of the other."""
    values = {"a" * 60_000, "b" * 60_000}
    for value in values:
        secret_file(tmp_path / value[0], value)
    secret_file(tmp_path / "token", "a" * 60_000)
    resolver = bind(tmp_path, "file:token")
    is_over = threading.Event()

    def replace() -> None:
        while not is_over.is_set():
            for value in values:
                secret_file(tmp_path / "new", value)
                os.replace(tmp_path / "new", tmp_path / "token")

    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        found = {resolver.values(webhook())["okta"] for _ in range(100)}
    finally:
        is_over.set()
        replacing.join()
    assert found <= values


def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes in place leaves half a value for a moment; it is never sent."""
    path = secret_file(tmp_path / "token", "half-of-it")
    resolver = bind(tmp_path, "file:token")
    seen: list[object] = []

    def written_meanwhile(status: os.stat_result) -> object:
        if len(seen) == 1:
            path.write_text("half-of-it-and-the-rest")
            status = path.stat()
        seen.append((status.st_mtime_ns, status.st_size))
        return seen[-1]

    monkeypatch.setattr(operator_file, "_state_of", written_meanwhile)
    assert read_whole(path, max_bytes=100)[0] == b"half-of-it-and-the-rest"

    monkeypatch.setattr(operator_file, "_state_of", lambda _: seen.append(None) or len(seen))
    seen.clear()
    with pytest.raises(SecretError, match="it was changed while it was read"):
        resolver.value("okta")
    assert len(seen) == 2 * READS_MAX


def test_a_variable_that_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 stand in variables too."""
    monkeypatch.setitem(os.environb, b"OKTA_TOKEN", b"\xff\xfe" * 8)

    with pytest.raises(SecretError, match="holds control characters"):
        bind(tmp_path, "env:OKTA_TOKEN").values(webhook())


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (f"{VALUE}\n", VALUE),
        (f"{VALUE}\r\n", VALUE),
        (f" {VALUE} \n", f" {VALUE} "),
        ("\ufeff" + VALUE, None),
        (f"{VALUE}\n\n", None),
        (f"\n{VALUE}", None),
        (f"{VALUE}\x85", None),
        (f"{VALUE}\u2028", None),
        (f"{VALUE}\u200b", None),
        (f"{VALUE}\u00a0", None),
        ("1234567\n", None),
        ("12345678", "12345678"),
        ("pässwörd", "pässwörd"),
    ],
)
def test_one_line_end_is_the_editors_and_nothing_else(tmp_path: Path, content: str, value: str | None) -> None:
    """Everything that does not show is refused, but for blanks."""
    (tmp_path / "token").write_bytes(content.encode())
    resolver = bind(tmp_path, "file:token")

    if value is None:
        with pytest.raises(SecretError):
            resolver.values(webhook())
    else:
        assert resolver.values(webhook()) == {"okta": value}


# Access tokens

ORG_TOKEN = "https://acme.okta.com/oauth2/v1/token"


def client(host: str, token_url: str) -> Webhook:
    """A webhook of an OAuth client whose secret is bound to the token endpoint's host."""
    oauth2 = {"token_url": token_url, "client_id": "0oa1", "client_secret": "${secret:okta}"}
    spec = {"url": f"https://{host}/in", "triggers": ["RequestCreated"], "auth": {"oauth2": oauth2}}
    return Webhook.model_validate({"metadata": {"name": "okta"}, "spec": spec}, strict=False)


@pytest.mark.parametrize(
    ("token_url", "said", "host", "may"),
    [
        (ORG_TOKEN, None, "acme.workflows.okta.com", True),
        (ORG_TOKEN, None, "acme.okta.com", True),
        (ORG_TOKEN, None, "evil.example.com", False),
        (ORG_TOKEN, None, "evil.workflows.okta.com", False),
        (ORG_TOKEN, None, "acme.workflows.okta.com.example.com", False),
        (ORG_TOKEN, None, "acme.workflows.oktapreview.com", False),
        (ORG_TOKEN.replace("acme.okta", "ACME.Okta"), None, "evil.example.com", False),
        (ORG_TOKEN + "?x=y", None, "evil.example.com", False),
        (ORG_TOKEN.replace("okta.com", "oktapreview.com"), None, "acme.workflows.oktapreview.com", True),
        (ORG_TOKEN.replace("/oauth2/", "/oauth2/default/"), None, "api.example.com", True),
        ("https://login.example.com/token", None, "api.example.org", True),
        ("https://login.example.com/token", "api.example.org", "api.example.org", True),
        ("https://login.example.com/token", "api.example.org", "evil.example.com", False),
        ("https://login.example.com/token", "*.api.example.org", "eu.api.example.org", True),
        (ORG_TOKEN, "gateway.example.com", "gateway.example.com", True),
        (ORG_TOKEN, "gateway.example.com", "acme.workflows.okta.com", False),
    ],
)
def test_an_access_token_goes_where_the_operator_lets_it(
    tmp_path: Path, token_url: str, said: str | None, host: str, may: bool
) -> None:
    """Whoever may propose a manifest must not have a token sent to a host of his, by a client that is trusted."""
    source = secret_file(tmp_path / "token")
    token_host = token_url.split("/")[2].lower()
    more = "" if said is None else f', token_hosts: ["{said}"]'
    path = tmp_path / "secrets.yaml"
    path.write_text(f'okta: {{from: "file:{source}", hosts: [{token_host}]{more}}}')
    path.chmod(0o600)

    reason = SecretResolver.load(path).unresolved(client(host, token_url))

    assert reason == (None if may else f"access tokens of secret `okta` may not be sent to {host}")


@pytest.mark.parametrize("hosts", ["[]", "evil.example.com", '["*.okta.com"]', "[127.0.0.1]"])
def test_hosts_of_access_tokens_are_judged_as_others(tmp_path: Path, hosts: str) -> None:
    """They too are names of one tenant, and at least one."""
    path = tmp_path / "secrets.yaml"
    path.write_text(f"okta: {{from: env:OKTA, hosts: [acme.okta.com], token_hosts: {hosts}}}")

    with pytest.raises(ManifestError) as caught:
        SecretResolver.load(path)

    assert [problem.code for problem in caught.value.problems if problem.is_error] == ["secret-hosts"]
