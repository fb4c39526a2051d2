"""The way to a receiver is lost and comes back: its name, its certificate."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from chaos_ledger import check_arrivals, check_store, unfinished
from chaos_load import event
from chaos_receiver import HOST, Receiver
from chaos_room import DAEMON

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

EVENTS = 2  # fewer failures in a row than open a breaker
MANIFEST = f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: flow}}
spec:
  url: https://{HOST}/flow
  triggers: [RequestCreated]
  retry: {{schedule: [1s], max_attempts: 50, jitter: 0}}
"""


class Way:
    """A receiver, a daemon before it, and what was acknowledged."""

    def __init__(self, workshop, eventually, daemon) -> None:
        self.workshop = workshop
        self.eventually = eventually
        self.daemon = daemon
        self.url = daemon.url()
        self.acknowledged: dict[str, str] = {}
        self._next = 0

    @property
    def store(self):
        return self.workshop.folder / "reconciler.db"

    def send(self) -> None:
        sent = [event(self._next + number) for number in range(EVENTS)]
        self._next += EVENTS
        answer = httpx.post(f"{self.url}/v1/events", content=json.dumps(sent), timeout=10).json()
        self.acknowledged |= {
            told["id"]: item["data"]["friendly_id"] for told, item in zip(answer["events"], sent, strict=True)
        }

    def wait_for_fault(self, fault: str) -> None:
        def has_failed() -> bool:
            return any("delivery.attempted" in line and f"fault={fault}" in line for line in self.daemon.lines)

        self.eventually(has_failed, timeout=20, what=f"an attempt that failed by {fault}")

    def finish(self, receiver) -> None:
        self.eventually(lambda: not unfinished(self.store), what="every delivery")
        tries = check_store(self.store, self.acknowledged)
        check_arrivals(receiver.arrivals, tries, self.acknowledged.values())
        assert not receiver.overlapping
        assert all(one.outcome in ("delivered", "retryable") for made in tries.values() for one in made)


@pytest.fixture
def applied(workshop):
    workshop.write("manifests/flow.yaml", MANIFEST)
    workshop.command("apply", "--auto-approve")
    return workshop


def test_a_name_that_fails_then_is_not_answered_then_is_there(applied, eventually):
    """Both are retryable, since nothing was sent; what comes back is looked up anew, without a restart."""
    names = applied.write("names", "fails")
    with Receiver(applied.folder) as receiver:
        egress = receiver.egress("receiver.internal")
        way = Way(applied, eventually, applied.start_script(DAEMON, *egress, "--names", str(names)))
        way.send()
        way.wait_for_fault("dns")
        before = len(way.daemon.lines)
        names.write_text("silent")
        eventually(lambda: any("does not answer" in line for line in way.daemon.lines[before:]), what="silence")
        names.write_text("127.0.0.1")
        way.send()

        way.finish(receiver)


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_a_certificate_that_expires_and_is_renewed(applied, eventually, transport):
    """An expired one is refused before anything is sent; the renewed one is taken without a restart."""
    with Receiver(applied.folder) as receiver:
        receiver.take_certificate(not_after=datetime.now(UTC) - timedelta(days=1))
        daemon = applied.start("run", "--listen", "127.0.0.1:0", "--transport", transport, *receiver.egress())
        way = Way(applied, eventually, daemon)
        way.send()
        way.wait_for_fault("tls")
        assert not receiver.arrivals
        assert any("certificate has expired" in line for line in daemon.lines)
        receiver.take_certificate()

        way.finish(receiver)
