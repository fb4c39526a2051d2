"""Signals under load: drains that repeat nothing, processes that are stopped and go on."""

import signal
import threading
import time

import pytest
from chaos_ledger import states

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

SLOW = '{"every": 3, "delay": 0.3}\n{"every": 7, "status": 500}\n'
LEASE_SECONDS = 2
LONG = '{"match": {"number": 3}, "delay": 16}\n' + SLOW  # one of each flow is in flight for longer than we are stopped
STOPPED_SECONDS = (11, 4)  # longer than from one look for expired leases to the next; longer than a lease


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_sigterm_under_load_again_and_again(chaos, transport):
    """Each drain ends with 0, finishes what is in flight, gives the rest back: nothing is unknown, nothing repeated."""
    chaos.transport = transport
    chaos.prepare(script=SLOW)
    daemon = chaos.start()
    pause = threading.Event()

    with chaos.sender() as sender:
        for _ in range(5):
            pause.wait(1)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait() == 0
            daemon = chaos.start()
    chaos.finish()

    ledger = chaos.check(sender)
    assert ledger.endswith("repeated 0, unknown 0")


def test_stopped_past_its_leases_a_daemon_goes_on(chaos, eventually):
    """Nobody else may take the store meanwhile; when it wakes, no attempt of its own is closed, nor made twice."""
    chaos.prepare(script=LONG)
    daemon = chaos.start_scripted("--lease-seconds", str(LEASE_SECONDS))

    with chaos.sender() as sender:
        for seconds in STOPPED_SECONDS:
            before = states(chaos.store)["delivered"]
            eventually(lambda before=before: states(chaos.store)["delivered"] > before + 50, what="deliveries")
            eventually(lambda: states(chaos.store)["in_flight"], what="attempts in flight")
            daemon.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            other = chaos.workshop.command("run", "--listen", "127.0.0.1:0", code=1)
            assert f"process {daemon.pid}" in other.stderr
            threading.Event().wait(max(0, began + seconds - time.monotonic()))
            daemon.send_signal(signal.SIGCONT)
    chaos.finish()

    chaos.check(sender)
    assert not any("lease_expired" in line or "lease_lost" in line for line in daemon.lines)
    assert daemon.is_alive()


def test_a_receiver_that_is_stopped_is_outlasted(chaos):
    """Its kernel takes connections and requests while it stands; attempts end unknown, and are made again."""
    chaos.prepare(spec="  timeout_in_sec: 2\n")
    chaos.start()
    [sandbox] = [process for process in chaos.workshop.processes if process is not chaos.daemon]

    with chaos.sender(pause=0.1) as sender:
        for _ in range(2):
            threading.Event().wait(1)
            sandbox.send_signal(signal.SIGSTOP)
            threading.Event().wait(3)
            sandbox.send_signal(signal.SIGCONT)
    chaos.finish(timeout=120)

    ledger = chaos.check(sender)
    assert "unknown 0" not in ledger
