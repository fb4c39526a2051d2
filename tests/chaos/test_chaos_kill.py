"""kill -9, again and again, under load: nothing acknowledged is lost, and each repeat has its reason in the record."""

import os
import random
import signal
import threading

import pytest

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

KILLS = 12
SEED = int(os.environ.get("CHAOS_SEED", "20261124"))
FAULTS = """\
{"every": 7, "status": 500}
{"every": 11, "reset": true}
{"every": 13, "close": true}
{"every": 5, "delay": 0.2}
"""


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_kill_nine_in_a_loop_under_load(chaos, transport):
    """At moments that chance picks, from before it is ready until it is amid its work."""
    rand = random.Random(SEED)
    chaos.transport = transport
    chaos.prepare(script=FAULTS)
    daemon = chaos.start()
    pause = threading.Event()

    with chaos.sender() as sender:
        for number in range(KILLS):
            pause.wait(rand.uniform(0.05, 1.5))
            daemon.kill()
            if number % 4 == 3:  # it is killed while it starts, too
                starting = chaos.workshop.start("run", "--listen", "127.0.0.1:0", *chaos.workshop.egress())
                pause.wait(rand.uniform(0.1, 0.9))
                starting.kill()
            daemon = chaos.start()
    chaos.finish()

    assert len(sender.acknowledged) > 100
    ledger = chaos.check(sender)
    assert "unknown 0" not in ledger, "no kill hit an attempt in flight"
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    chaos.check(sender)
