"""The operator's options on where requests may go: how they are read, and that they reach what sends."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli.daemon import run
from reconciler.cli.option import egress_settings
from reconciler.cli.plan import apply
from reconciler.errors import OptionError
from reconciler.settings import Proxy, parse_only_host, parse_proxy

NOTHING = {"secrets_file": None, "ca_file": None}


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.corp:3128", Proxy("proxy.corp", 3128)),
        ("http://[fd12::1]:8080/", Proxy("fd12::1", 8080)),
        ("http://u:p%40@10.0.0.1:80", Proxy("10.0.0.1", 80, ("u", "p@"))),
    ],
)
def test_a_proxy_is_read(text: str, proxy: Proxy) -> None:
    """As curl writes it, credentials percent-encoded."""
    found = parse_proxy(text)

    assert (found, found.credentials) == (proxy, proxy.credentials)


@pytest.mark.parametrize(
    "text",
    [
        *("proxy.corp:3128", "https://proxy.corp:3128", "socks5://proxy.corp:1080", "http://proxy.corp", "http://:80"),
        *(
            "http://proxy.corp:0",
            "http://proxy.corp:99999",
            "http://proxy.corp:3128/path",
            "http://p:1?x",
            "http://p:1#x",
        ),
        *("http://sesame%0d%0ax:sesame@proxy.corp:3128", "http://a%3Ab:sesame@proxy.corp:3128", "http://p\n.corp:1"),
    ],
)
def test_what_is_no_proxy_is_refused_without_its_password(text: str) -> None:
    """An error may end in a log."""
    with pytest.raises(OptionError) as caught:
        parse_proxy(text)

    assert "sesame" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "host"), [("Hooks.Example.com.", "hooks.example.com"), ("*.EXAMPLE.com", "*.example.com")]
)
def test_a_host_is_read(text: str, host: str) -> None:
    """In the spelling that hosts are compared in."""
    assert parse_only_host(text) == host


@pytest.mark.parametrize("text", ["", "*", "*.com", "com", "a.*.com", "https://a.com", "a.com:443", "ä.com", "a..com"])
def test_what_is_no_host_is_refused(text: str) -> None:
    """A pattern that would name half the world is a slip."""
    with pytest.raises(OptionError, match="`--only-host` cannot be read"):
        parse_only_host(text)


def test_several_in_a_variable_are_separated_by_spaces() -> None:
    """As those of --connect-to are."""
    options = {**NOTHING, "connect_to": (), "allow_range": ("10.1.0.0/16 fd12::/32",), "only_host": ("a.b c.d", "e.f")}

    settings = egress_settings(options)

    assert [str(item) for item in settings.allow_ranges] == ["10.1.0.0/16", "fd12::/32"]
    assert settings.only_hosts == ("a.b", "c.d", "e.f")


@pytest.mark.parametrize(
    ("option", "value", "fact"),
    [
        ("--allow-range", "0.0.0.0/0", "`--allow-range` cannot be used: not inside one of the ranges that are refused"),
        ("--only-host", "*", "`--only-host` cannot be read: *"),
        ("--proxy", "proxy:3128", "`--proxy` cannot be read"),
    ],
)
def test_a_daemon_does_not_start_with_what_cannot_be_read(tmp_path: Path, option: str, value: str, fact: str) -> None:
    """A rule that is not understood must not be passed over."""
    result = CliRunner().invoke(run, ["--store", f"sqlite:///{tmp_path / 'x.db'}", option, value])

    assert isinstance(result.exception, OptionError)
    assert fact in result.exception.message
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("option", ["--connect-to=a.b:1:c:2", "--allow-range=10.0.0.1", "--only-host=a.b", "--proxy=x"])
def test_apply_takes_them_for_verify_only(tmp_path: Path, option: str) -> None:
    """Elsewhere they would promise something that does not happen."""
    result = CliRunner().invoke(apply, ["--store", f"sqlite:///{tmp_path / 'x.db'}", option, "--auto-approve"])

    assert result.exit_code == 2
    assert f"{option.partition('=')[0]} goes with --verify" in result.output
