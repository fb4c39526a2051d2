"""`reconciler sandbox` as people and tests run it: a process with a ready line, files, signals and exit codes."""

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys

import httpx
import pytest

from reconciler.cli.main import run

ALIAS = "0123456789abcdef0123456789abcdef"
HOST = "acme.workflows.okta.com"


@pytest.fixture
def start(tmp_path, command_env):
    """`start(*args)` runs a sandbox in `tmp_path` until it is ready; returns the process and its ready line."""
    with contextlib.ExitStack() as stack:

        def started(*args):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "reconciler", "sandbox", "--listen", "127.0.0.1:0", *args],
                    cwd=tmp_path,
                    env=command_env,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process, process.stderr.readline()

        yield started


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """`refused(*args)` runs the command in this process; it must exit 1, or `code`, by itself; returns its stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args, code=1):
        assert run(["sandbox", *args]) == code
        return capsys.readouterr().err

    return call


def url_of(ready):
    assert ready.startswith("ready: https://127.0.0.1:")
    return ready.removeprefix("ready: ").removesuffix("\n")


def post(url, folder, path=f"/api/flo/{ALIAS}/invoke", *, host=HOST, **more):
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    headers = {"host": host, **more.pop("headers", {})}
    with httpx.Client(verify=context, trust_env=False) as http:
        return http.post(f"{url}{path}", headers=headers, extensions={"sni_hostname": host}, **more)


def record_of(folder):
    return [json.loads(line) for line in (folder / "record.jsonl").read_text("utf-8").split("\n")[:-1]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_in_order(start, tmp_path, number):
    """The real port in the one line on stderr; exit 0 on a signal, though a connection is open."""
    process, ready = start("--ca-out", "ca.pem", "--record", "record.jsonl")

    assert post(url_of(ready), tmp_path).status_code == 200
    with socket.create_connection(("127.0.0.1", int(ready.rpartition(":")[2]))):
        process.send_signal(number)
        out, err = process.communicate(timeout=10)

    assert (process.returncode, out, err) == (0, "", "")
    assert [line["status"] for line in record_of(tmp_path)] == [200]


def test_the_authority_is_there_for_everyone_when_it_is_ready(start, tmp_path):
    (tmp_path / "ca.pem").write_text("an old one")

    start("--ca-out", "ca.pem")

    assert stat.S_IMODE(os.stat(tmp_path / "ca.pem").st_mode) == 0o644
    ssl.create_default_context(cafile=tmp_path / "ca.pem")
    assert os.listdir(tmp_path) == ["ca.pem"]


def test_the_authority_never_takes_the_place_of_a_pipe(start, tmp_path):
    """`--ca-out /dev/null` leaves /dev/null what it is."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    start("--ca-out", "pipe")

    sent = os.read(reader, 1 << 16)
    os.close(reader)
    assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)
    ssl.create_default_context(cadata=sent.decode())


def test_only_its_owner_reads_the_record_and_nobody_else_ever_writes_the_authority(start, tmp_path):
    """Whatever the umask is: tokens stand in the one, and who changes the other is trusted by the daemon."""
    old = os.umask(0)
    try:
        start("--ca-out", "ca.pem", "--record", "record.jsonl")
    finally:
        os.umask(old)

    modes = {name: stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)}
    assert modes == {"ca.pem": 0o644, "record.jsonl": 0o600}


def test_every_option_has_its_effect(start, tmp_path):
    script = [{"flow": "secured", "status": 500}, {"flow": "open", "status": 503, "times": 2}]
    (tmp_path / "script.jsonl").write_text("\n".join(map(json.dumps, script)))
    options = ("--host", "a.workflows.okta.com", "--host", "b.workflows.okta.com", "--rate", "1", "--flow", "open")
    _, ready = start("--ca-out", "ca.pem", *options, "--flow", "secured=token", "--script", "script.jsonl")
    url = url_of(ready)

    def status(path, **more):
        return post(url, tmp_path, path, **{"host": "a.workflows.okta.com", **more}).status_code

    assert status("/api/flo/secured") == 401
    assert status("/api/flo/secured", headers={"x-api-client-token": "token"}) == 500
    assert status("/api/flo/secured", headers={"x-api-client-token": "token"}) == 429
    assert status("/api/flo/open", host="b.workflows.okta.com") == 503
    assert status(f"/api/flo/{ALIAS}/invoke") == 404


def test_the_rate_can_be_off(start, tmp_path):
    _, ready = start("--ca-out", "ca.pem", "--rate", "off")

    assert [post(url_of(ready), tmp_path).status_code for _ in range(12)] == [200] * 12


def test_the_record_outlives_kill_nine(start, tmp_path):
    """What was answered is in it, whole lines only."""
    process, ready = start("--ca-out", "ca.pem", "--record", "record.jsonl", "--rate", "off")
    for number in range(5):
        post(url_of(ready), tmp_path, content=str(number))

    process.kill()
    process.wait(timeout=10)

    assert [line["body"] for line in record_of(tmp_path)] == ["0", "1", "2", "3", "4"]
    assert (tmp_path / "record.jsonl").read_bytes().endswith(b"\n")


def test_a_record_that_cannot_be_written_ends_it(start, tmp_path):
    process, ready = start("--ca-out", "ca.pem", "--record", "/dev/full")

    with pytest.raises(httpx.TransportError):
        post(url_of(ready), tmp_path)

    assert process.wait(timeout=10) == 1
    assert process.stderr.read() == "error: cannot record: /dev/full: no space left on device\n"


def test_a_bad_script_is_reported_whole_and_nothing_listens(refused, tmp_path):
    (tmp_path / "script.jsonl").write_text('{"status": 500}\n{"staus": 500}\n{"status": 42}\n')

    err = refused("--script", "script.jsonl", "--ca-out", "ca.pem")

    assert "error[script]: script.jsonl:2: unknown key: staus" in err
    assert "error[script]: script.jsonl:3: `status` input should be" in err
    assert "ready" not in err
    assert not (tmp_path / "ca.pem").exists()


def test_a_script_for_another_flow_is_a_mistake(refused, tmp_path):
    (tmp_path / "script.jsonl").write_text('{"flow": "b", "status": 500}\n')

    err = refused("--script", "script.jsonl", "--flow", "a")

    assert "script.jsonl:1: `flow` is none of the flows given: b" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rate", "0"), "`--rate` cannot be read: 0"),
        (("--rate", "ten"), "`--rate` cannot be read: ten"),
        (("--flow", "a b"), "`--flow` cannot be read: a b"),
        (("--flow", "a", "--flow", "a"), "`--flow` names an alias twice"),
        (("--listen", "nowhere"), "`--listen` cannot be read: nowhere"),
        (("--listen", "127.0.0.1:0", "--host", "a b"), "`--host` is not a host name: a b"),
    ],
)
def test_an_option_that_cannot_be_read_is_a_usage_error(refused, options, message):
    err = refused(*options, code=64)

    assert f"error: {message}" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--script", "none.jsonl"), "no such file or directory: none.jsonl"),
        (("--listen", "127.0.0.1:0", "--record", "none/record.jsonl"), "no such file or directory: none/record.jsonl"),
        (("--listen", "127.0.0.1:0", "--ca-out", "none/ca.pem"), "no such file or directory: none/"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(refused, options, message):
    err = refused(*options)

    assert f"error: {message}" in err


def test_a_port_in_use_is_an_error(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        err = refused("--listen", f"127.0.0.1:{port}")

    assert f"error: cannot listen: https://127.0.0.1:{port}: address already in use" in err


def test_help_tells_how_to_write_a_script(reconciler):
    assert '{"flow": "*", "every": 7, "status": 500}' in reconciler("sandbox", "--help").stdout
