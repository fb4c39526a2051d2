"""What `run` refuses before it does anything, and by which exit code."""

import pytest

from reconciler.cli.main import run
from reconciler.errors import OptionError
from reconciler.settings import ConnectTo, parse_connect_to, parse_listen


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:8420", ("127.0.0.1", 8420)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:0", ("::1", 0)),
        ("[::]:65535", ("::", 65535)),
    ],
)
def test_an_address_and_a_port_are_read(text, parsed):
    assert parse_listen(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "8420",
            ":8420",
            "nowhere",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:²",
            "127.0.0.1:-1",
            "127.0.0.1: 1",
        ),
        *("::1:0", "[::1:0", "::1]:0", "[]:0", "[127.0.0.1]:0", "[::1]", "127.0.0.1:0x10", "127.0.0.1:" + "9" * 5000),
    ],
)
def test_what_is_no_address_and_port_is_a_usage_error(text, tmp_path, monkeypatch, capsys):
    """DESIGN: 64 is usage. Nothing is made on the way, least of all a store."""
    monkeypatch.chdir(tmp_path)

    code = run(["run", "--listen", text])

    assert code == 64
    assert capsys.readouterr().err.startswith("error: `--listen` cannot be read: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["x", "a:443:b", ":443:127.0.0.1:1", "a:443:127.0.0.1:0", "a:b:127.0.0.1:1"])
def test_a_connect_to_that_cannot_be_read_is_a_usage_error(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    code = run(["run", "--listen", "127.0.0.1:0", "--connect-to", text])

    assert code == 64
    assert "error: `--connect-to` cannot be read: " in capsys.readouterr().err


def test_a_connect_to_takes_an_address_in_brackets():
    assert parse_connect_to("A.example.com:443:[::1]:9443") == ConnectTo("a.example.com", 443, "::1", 9443)
    with pytest.raises(OptionError):
        parse_connect_to("")


@pytest.mark.parametrize("option", ["--no-such", "--log-format=xml", "--tls-cert=only.pem"])
def test_a_wrong_option_is_a_usage_error(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run(["run", option]) == 64
    assert option.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize(("name", "why"), [("none.jsonl", "no such file or directory"), ("folder", "is a directory")])
def test_events_that_cannot_be_read_end_the_daemon_before_it_is_one(name, why, tmp_path, reconciler):
    (tmp_path / "folder").mkdir()

    ended = reconciler("run", "--listen", "127.0.0.1:0", "--events", name, code=1)

    assert ended.stderr == f"error: cannot read events: {name}: {why}\n"
