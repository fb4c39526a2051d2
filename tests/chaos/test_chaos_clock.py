"""The wall clock jumps, as after a suspended machine or a wrong time server; through libfaketime, never the system's.

Debian's `libfaketime` is needed; without it these tests fail and say so.
"""

import threading
from pathlib import Path

import pytest
from chaos_ledger import states

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
SLOW = '{"every": 3, "delay": 0.3}\n{"every": 7, "status": 500}\n'
PATIENT = "  max_hold: 24h\n"  # no jump forward is longer: it would let a held event pass its predecessor, and rightly
JUMPS = ["+2h", "-1h", "+2h", "-20h", "+0"]


@pytest.fixture
def set_clock(chaos):
    """`set_clock("+2h")`: what the daemon's wall clock is off from now on."""
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern.removeprefix("/"))]
    assert found, "libfaketime is not installed: apt-get install libfaketime"
    offset = chaos.workshop.write("offset", "+0\n")
    chaos.env = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }

    def turn(text: str) -> None:
        offset.with_suffix(".new").write_text(text + "\n")
        offset.with_suffix(".new").replace(offset)

    return turn


@pytest.mark.parametrize("rate", ["unlimited", "{per_second: 50, burst: 5}"])
def test_a_clock_that_jumps_forward_and_back(chaos, eventually, set_clock, rate):
    """Under load, with attempts in flight: deliveries go on within seconds, none is lost, closed or made twice."""
    chaos.prepare(script=SLOW, spec=PATIENT)
    path = chaos.workshop.folder / "manifests/flows.yaml"
    path.write_text(path.read_text().replace("rate_limit: unlimited", f"rate_limit: {rate}"))
    chaos.workshop.command("apply", "--auto-approve")
    daemon = chaos.start()

    with chaos.sender(pause=0.1) as sender:
        for jump in JUMPS:
            threading.Event().wait(1.5)
            set_clock(jump)
            threading.Event().wait(1.5)  # until the library has read it
            before = states(chaos.store)["delivered"]
            eventually(
                lambda before=before: states(chaos.store)["delivered"] > before + 30,
                timeout=30,
                what=f"work after {jump}",
            )
    chaos.finish()

    ledger = chaos.check(sender, is_clock_steady=False)
    assert ledger.endswith("repeated 0, unknown 0")
    assert not any("lease_expired" in line or "lease_lost" in line for line in daemon.lines)
    assert daemon.is_alive()


def test_a_daemon_that_starts_with_its_clock_set_back(chaos, eventually, set_clock):
    """What the store says of a time to come holds up nothing: neither what waits nor what is new."""
    chaos.prepare(spec=PATIENT)
    set_clock("+3h")
    daemon = chaos.start()
    with chaos.sender() as before:
        eventually(lambda: states(chaos.store)["delivered"] > 30, what="deliveries")
    daemon.kill()
    set_clock("+0")
    chaos.start()

    chaos.finish(timeout=30)
    with chaos.sender() as after:
        after.acknowledged |= before.acknowledged
        eventually(lambda: len(after.acknowledged) > len(before.acknowledged) + 30, timeout=20, what="new events")
    chaos.finish(timeout=30)

    chaos.check(after, is_clock_steady=False)
