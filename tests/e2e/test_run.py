"""`run` at its edges: how it starts, what it logs, how it ends, and what it does when its ground is taken away."""

import contextlib
import json
import os
import pty
import re
import resource
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import trustme
from e2e_manifest import ALIAS, event, events, friendly_ids, manifest

TOKEN = "5ec7e7" * 10 + "abcd"
SHORT_LEASE = Path(__file__).with_name("short_lease.py")
BOUND = "okta_token: {from: 'file:token', hosts: [acme.workflows.okta.com]}\n"


@pytest.fixture
def bound(workshop):
    """A workshop whose webhook has a secret that is bound."""
    workshop.write("token", TOKEN)
    workshop.write("secrets.yaml", BOUND).chmod(0o600)
    workshop.write("manifests/flow.yaml", manifest(spec="  headers: {x-api-client-token: '${secret:okta_token}'}\n"))
    workshop.start_sandbox("--flow", f"{ALIAS}={TOKEN}", "--rate", "off")
    workshop.command("apply", "--auto-approve")
    return workshop


def states(workshop) -> list[str]:
    """Every delivery's state, read from the file: a command would take half a second each time it is asked."""
    with contextlib.closing(sqlite3.connect(workshop.folder / "reconciler.db")) as db:
        return [state for (state,) in db.execute("select state from deliveries")]


def test_every_line_of_a_json_log_is_json_and_holds_no_secret(bound, post, eventually):
    """Through a delivery, a request that is no HTTP, a broken binding file and a drain; on IPv6."""
    daemon = bound.start("run", "--listen", "[::1]:0", "--log-format", "json", *bound.egress())
    url = daemon.url()
    assert re.fullmatch(r"http://\[::1\]:\d+", url)
    post(url, event(1))
    eventually(bound.record, what="a delivery")
    with socket.create_connection(("::1", int(url.rpartition(":")[2]))) as junk:
        junk.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert b"400" in junk.recv(1000)

    bound.write("secrets.yaml", "okta_token: {from: nowhere}\n")
    eventually(lambda: any('"secrets.kept"' in line for line in daemon.lines), what="the refusal of the broken file")
    post(url, event(2))
    eventually(lambda: len(bound.record()) == 2, what="a delivery with the bindings that were kept")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0

    assert [line for line in daemon.lines if line.startswith("ready")] == [f"ready: {url}"]
    logged = [json.loads(line) for line in daemon.lines if not line.startswith("ready: ")]
    names = {line["event"] for line in logged}
    assert {"delivery.attempted", "library.warned", "secrets.problem", "daemon.stopped"} <= names
    [problem] = [line for line in logged if line["event"] == "secrets.problem" and line["severity"] == "error"][:1]
    assert problem["at"].startswith("secrets.yaml:1:")
    assert TOKEN not in "\n".join(daemon.lines)


def test_a_broken_binding_file_at_the_start_is_told_with_its_place(bound):
    bound.write("secrets.yaml", "okta_token: {from: nowhere, hosts: [acme.workflows.okta.com]}\nother: 7\n")

    ended = bound.command("run", "--listen", "127.0.0.1:0", *bound.egress(), code=1)

    assert "secrets.yaml:1:20: " in ended.stderr
    assert "secrets.yaml:2:8: " in ended.stderr
    assert "ready" not in ended.stderr


def test_an_address_in_use_is_told_and_leaves_the_store_to_others(workshop):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = workshop.command("run", "--listen", f"127.0.0.1:{port}", code=1)

    assert ended.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert "in use" in ended.stderr
    daemon = workshop.start("run", "--listen", "127.0.0.1:0")
    assert daemon.url()


def test_events_typed_at_a_terminal_end_with_control_d(bound):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "reconciler", "run", "--listen", "127.0.0.1:0", *bound.egress()]
    daemon = subprocess.Popen(
        [*command, "--events", "-", "--exit-when-idle"],
        cwd=bound.folder,
        env=bound.env,
        stdin=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    try:
        os.write(ours, event(1) + b"\n\x04")
        assert daemon.wait(30) == 0
    finally:
        os.close(ours)
        daemon.kill()
        daemon.wait()

    assert friendly_ids(bound.record()) == ["AR-1"]


def test_what_is_held_does_not_keep_an_idle_daemon_from_ending(bound):
    """Its secret is unbound: nothing can be done, and a successor's hold of an hour is not worth waiting for."""
    bound.write("secrets.yaml", "{}\n")
    bound.write("events.jsonl", b"\n".join(event(n, request="r-1") for n in range(3)).decode())

    ended = bound.command(
        "run", "--listen", "127.0.0.1:0", *bound.egress(), "--events", "events.jsonl", "--exit-when-idle", code=0
    )

    assert "daemon.idle held=3" in ended.stderr
    assert states(bound) == ["pending"] * 3


def hanging(workshop, post, eventually):
    """A daemon with one delivery that its receiver never answers."""
    workshop.write("manifests/flow.yaml", manifest())
    workshop.write("script.jsonl", json.dumps({"drop": True, "times": 99}) + "\n")
    workshop.start_sandbox("--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    daemon, url = workshop.start_daemon()
    post(url, event(1))
    eventually(workshop.record, what="the request")
    return daemon


def test_a_renewed_certificate_is_served_without_a_restart(workshop, eventually):
    """Half replaced, with the new certificate beside the old key, the old pair serves on; open connections go on."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    pairs = [authority.issue_cert("daemon.example.com", "127.0.0.1") for _ in range(2)]

    def put(name: str, pem: trustme.Blob) -> None:
        workshop.write(f"{name}.new", pem.bytes().decode()).replace(workshop.folder / name)

    def served() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="daemon.example.com") as tls,
        ):
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True)).encode()

    put("cert.pem", pairs[0].cert_chain_pems[0])
    put("key.pem", pairs[0].private_key_pem)
    daemon = workshop.start("run", "--listen", "127.0.0.1:0", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    port = int(daemon.url().rpartition(":")[2])
    old, new = (pair.cert_chain_pems[0].bytes() for pair in pairs)

    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context) as client:
        assert client.get("/healthz").status_code == 200
        put("cert.pem", pairs[1].cert_chain_pems[0])
        eventually(lambda: any("certificate.refused" in line for line in daemon.lines), what="the half pair's refusal")
        assert served() == old
        put("key.pem", pairs[1].private_key_pem)
        eventually(lambda: served() == new, what="the new certificate")
        assert client.get("/healthz").status_code == 200, "over the connection that was open before"


def test_control_c_drains_and_a_second_one_cuts_the_drain_short(workshop, post, eventually):
    daemon = hanging(workshop, post, eventually)

    daemon.send_signal(signal.SIGINT)
    eventually(lambda: any("daemon.draining" in line for line in daemon.lines), what="the drain")
    began = time.monotonic()
    daemon.send_signal(signal.SIGINT)

    assert daemon.wait() == 130
    assert time.monotonic() - began < 5, "a drain alone takes 20 s"
    [delivery] = workshop.json("deliveries", "list")
    assert (delivery["state"], delivery["outcome"], delivery["attempts"]) == ("pending", "unknown", 1)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_store_that_is_taken_away_ends_the_daemon_loudly(bound, how):
    daemon, _ = bound.start_daemon()

    if how == "deleted":
        (bound.folder / "reconciler.db").unlink()
    else:
        bound.command("apply", "--auto-approve", "--store", "sqlite:///other.db")
        (bound.folder / "other.db").rename(bound.folder / "reconciler.db")

    assert daemon.wait() == 1
    assert "error: the store's file was deleted or replaced: reconciler.db" in daemon.lines
    assert not any("Traceback" in line for line in daemon.lines)


def test_a_disk_that_fills_up_loses_nothing_acknowledged_and_is_outlasted(bound, post, eventually):
    """The file may not grow for a while, as on a full disk: 503, then all of it without a restart."""
    daemon, url = bound.start_daemon()
    post(url, event(0))
    eventually(lambda: states(bound) == ["delivered"])
    unlimited = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    size = max(os.stat(bound.folder / name).st_size for name in ("reconciler.db", "reconciler.db-wal"))

    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size + 120_000, unlimited[1]))
    answers = {number: post(url, event(number, why="x" * 5_000)).status_code for number in range(1, 40)}
    assert set(answers.values()) == {202, 503}
    eventually(lambda: any("store.failed" in line for line in daemon.lines), what="the log of it")
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, unlimited)

    assert post(url, event(99)).status_code == 202
    acknowledged = {f"AR-{number}" for number, status in answers.items() if status == 202} | {"AR-0", "AR-99"}
    eventually(lambda: set(states(bound)) == {"delivered"}, what="every delivery")
    assert set(friendly_ids(bound.record())) >= acknowledged
    assert daemon.is_alive()


def test_sigterm_under_load_loses_nothing(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest(spec="  rate_limit: unlimited\n  max_concurrency: 64\n"))
    workshop.start_sandbox("--rate", "off")
    workshop.command("apply", "--auto-approve")
    daemon, url = workshop.start_daemon()
    acknowledged: set[str] = set()
    for start in range(0, 2_000, 200):
        if post(url, events(start, 200)).status_code == 202:
            acknowledged |= {f"AR-{number}" for number in range(start, start + 200)}
        if start == 1_000:
            daemon.send_signal(signal.SIGTERM)
            break

    assert daemon.wait() == 0
    found = workshop.json("deliveries", "list", "--limit", "5000")
    assert {delivery["state"] for delivery in found} <= {"delivered", "pending"}
    assert all(delivery["attempts"] == (delivery["state"] == "delivered") for delivery in found)
    workshop.start_daemon()
    eventually(lambda: set(states(workshop)) == {"delivered"}, what="the rest")
    received = friendly_ids(workshop.record())
    assert set(received) == acknowledged
    assert len(received) == len(acknowledged), "a drain repeats nothing"


def test_a_daemon_stopped_past_its_leases_goes_on_as_if_nothing_had_been(workshop, post, eventually):
    """SIGSTOP, as a suspended machine: its leases are over when it wakes, but nobody else has taken them."""
    workshop.write("manifests/flow.yaml", manifest(spec="  rate_limit: unlimited\n"))
    workshop.write("script.jsonl", json.dumps({"every": 1, "delay": 0.3}) + "\n")
    workshop.start_sandbox("--rate", "off", "--script", "script.jsonl")
    workshop.command("apply", "--auto-approve")
    daemon = workshop.start_script(SHORT_LEASE, *workshop.egress())
    url = daemon.url()
    post(url, events(0, 50))
    eventually(lambda: "in_flight" in states(workshop), what="deliveries in flight")

    daemon.send_signal(signal.SIGSTOP)
    eventually(lambda: leases_are_over(workshop), what="the end of the leases")
    daemon.send_signal(signal.SIGCONT)

    eventually(lambda: set(states(workshop)) == {"delivered"}, what="every delivery")
    received = friendly_ids(workshop.record())
    assert sorted(received) == sorted(f"AR-{number}" for number in range(50))


def leases_are_over(workshop) -> bool:
    with contextlib.closing(sqlite3.connect(workshop.folder / "reconciler.db")) as db:
        sql = "select count(*), max(lease_until) from deliveries where state = 'in_flight'"
        number, last = db.execute(sql).fetchone()
    return number > 0 and last < time.time() * 1000


def test_an_apply_of_a_thousand_webhooks_holds_up_no_event(workshop, post, eventually):
    workshop.write("manifests/flow.yaml", manifest(spec="  rate_limit: unlimited\n"))
    workshop.start_sandbox("--rate", "off")
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()
    quiet = "  filters: {integration: {name: [never]}}\n"
    many = [manifest(f"w-{number}", alias=f"{number:032x}", spec=quiet) for number in range(1, 1_001)]
    workshop.write("manifests/many.yaml", "---\n".join(many))

    applying = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "apply", "--auto-approve"],
        cwd=workshop.folder,
        env=workshop.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    slowest, number = 0.0, 0
    with httpx.Client() as client:
        while applying.poll() is None or number < 20:
            began = time.monotonic()
            assert client.post(f"{url}/v1/events", content=event(number)).status_code == 202
            slowest = max(slowest, time.monotonic() - began)
            number += 1

    assert applying.returncode == 0
    assert slowest < 2
    eventually(lambda: httpx.get(f"{url}/readyz").json()["matched_revision"] == 2, what="the new revision")
    eventually(lambda: len(workshop.record()) == number, what="every delivery")
