"""`health`: the word of a real daemon, over plain HTTP and TLS, and of what is none."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from terminal import Shell

Run = Callable[..., subprocess.CompletedProcess[str]]
TOKENS = "ops: {token: 0123456789abcdef0123456789abcdef, roles: [read]}\n"


@pytest.fixture
def shell(tmp_path: Path, command_env: dict[str, str]) -> Iterator[Shell]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with contextlib.closing(Shell(tmp_path, {**command_env, "PATH": path})) as opened:
        yield opened


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certified(folder: Path, authority: trustme.CA, *names: str) -> dict[str, str]:
    """The daemon's variables, with a certificate of these names."""
    issued = authority.issue_cert(*names)
    cert, key, tokens = folder / "tls.crt", folder / "tls.key", folder / "tokens.yaml"
    cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    tokens.write_text(TOKENS)
    for path in (key, tokens):
        path.chmod(0o600)
    return {"RECONCILER_TLS_CERT": "tls.crt", "RECONCILER_TLS_KEY": "tls.key", "RECONCILER_TOKENS": "tokens.yaml"}


def address_of(ready: str) -> str:
    return ready.split("ready: ")[1].split("://")[1].strip()


def test_a_daemon_that_lives_says_so(shell: Shell, reconciler: Run) -> None:
    """By the option or by the variable of `run`."""
    address = address_of(shell.serve("reconciler run --listen 127.0.0.1:0"))

    alive = reconciler("health", "--listen", address)
    ready = reconciler("health", "--ready", "--format", "json", env={"RECONCILER_LISTEN": address})

    assert (alive.stdout, alive.stderr) == (f"alive: http://{address}\n", "")
    told = json.loads(ready.stdout)
    assert (told["ready"], told["url"], told["status"]) == (True, f"http://{address}", 200)
    assert told["answer"]["revision"] == 0


@pytest.mark.parametrize("names", [("reconciler.example.com", "127.0.0.1"), ("*.example.com",), ("127.0.0.1",)])
def test_a_daemon_behind_tls_is_known_by_its_own_certificate(
    shell: Shell, reconciler: Run, tmp_path: Path, authority: trustme.CA, names: tuple[str, ...]
) -> None:
    """Whoever issued it and whatever it names; on every address, reached on loopback; without a token."""
    env = certified(tmp_path, authority, *names)
    for name, value in env.items():
        shell.run(f"export {name}={value}")
    port = address_of(shell.serve("reconciler run --listen 0.0.0.0:0")).rpartition(":")[2]

    told = reconciler("health", "--ready", env={**env, "RECONCILER_LISTEN": f"0.0.0.0:{port}"})

    assert told.stdout == f"ready: https://127.0.0.1:{port} (revision 0)\n"


def test_another_certificate_is_not_believed(
    shell: Shell, reconciler: Run, tmp_path: Path, authority: trustme.CA
) -> None:
    """One of the same name, from the same authority; and plain HTTP is no answer either."""
    env = certified(tmp_path, authority, "reconciler.example.com")
    for name, value in env.items():
        shell.run(f"export {name}={value}")
    address = address_of(shell.serve("reconciler run --listen 127.0.0.1:0"))
    plain = address_of(
        shell.serve(
            "env -u RECONCILER_TLS_CERT -u RECONCILER_TLS_KEY -u RECONCILER_TOKENS "
            "reconciler run --store sqlite:///other.db --listen 127.0.0.1:0",
        )
    )
    (tmp_path / "other").mkdir()
    certified(tmp_path / "other", authority, "reconciler.example.com")

    other = reconciler("health", "--listen", address, "--tls-cert", "other/tls.crt", code=1)
    bare = reconciler("health", "--listen", address, code=1)
    mistaken = reconciler("health", "--listen", plain, "--tls-cert", "tls.crt", code=1)

    assert f"error: https://{address} serves another certificate, or one that is void: " in other.stderr
    assert "hint: is --tls-cert the daemon's?" in other.stderr
    assert f"error: no daemon answers at http://{address}" in bare.stderr
    assert f"error: no TLS is spoken at https://{plain}" in mistaken.stderr


def test_nobody_and_silence_are_no_daemon(reconciler: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.client.connection import DaemonError
    from reconciler.client.health import Served, ask

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DaemonError, match=rf"the daemon at http://127.0.0.1:{port} did not answer in 0.2 s"):
            ask(Served("127.0.0.1", port), "/healthz", timeout_seconds=0.2)

    gone = reconciler("health", "--listen", f"127.0.0.1:{port}", code=1)
    assert gone.stderr.startswith(f"error: no daemon answers at http://127.0.0.1:{port}\n")
    assert gone.stdout == ""


def test_a_daemon_that_is_not_ready_says_why(reconciler: Run) -> None:
    """Shown harmlessly, whoever it is that answers."""
    body = b'{"detail": "the store does not answer\\u001b[31m"}'
    head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(head + body)

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        told = reconciler("health", "--ready", "--listen", address, code=1)
        thread.join(10)

    assert told.stdout == f"not ready: http://{address} (the store does not answer\\x1b[31m)\n"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--listen", "127.0.0.1:0"), 64, "`--listen` with port 0 names no daemon"),
        (("--tls-cert", "missing.pem"), 64, "`--tls-cert` cannot be read: missing.pem: no such file or directory"),
        (("--tls-cert", "text.pem"), 1, "`--tls-cert` holds no certificate that can be read: text.pem"),
    ],
)
def test_what_cannot_be_asked_is_an_error(
    reconciler: Run, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "text.pem").write_text("text")

    assert f"error: {message}\n" in reconciler("health", *options, code=code).stderr
