"""What attempts tell of receivers: the breaker's machine and the faults of a destination (`models.health`)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.dispatch.retry import decide, health_of, judge
from reconciler.models.delivery import AttemptResult, DeliveryControl, Fault, State
from reconciler.models.health import (
    BREAKER_FAILURES,
    CLOSED,
    FIRST_WAIT_MS,
    LONGEST_WAIT_MS,
    Breaker,
    Health,
    after_attempt,
    faults_after,
    pause_reason,
)
from reconciler.models.webhook import Retry

NOW = 1_800_000_000_000
DEFAULT = Retry()
HONOURING = Retry(honour_webhook_delivery=True)


def answer(status: int, **more: object) -> AttemptResult:
    fault = None if 200 <= status < 300 else Fault.STATUS
    return judge(AttemptResult(fault=fault, status=status, wrote=True, address="192.0.2.1:443", **more))  # type: ignore[arg-type]


def broken(fault: Fault, *, address: str | None = "192.0.2.1:443", wrote: bool = True) -> AttemptResult:
    return judge(AttemptResult(fault=fault, wrote=wrote, address=address))


HEALTHS = [
    *((answer(status), Health.WORKS) for status in (200, 204, 301, 400, 413, 415, 422, 429)),
    *((answer(status), Health.FAILED) for status in (408, 425, 500, 502, 503, 504)),
    *((answer(status), Health.FAULT) for status in (401, 403, 404)),
    (answer(410), Health.GONE),
    *((broken(fault), Health.FAILED) for fault in (Fault.TIMEOUT, Fault.RESET, Fault.PROTOCOL, Fault.VALIDATOR)),
    *((broken(fault, wrote=False), Health.FAILED) for fault in (Fault.DNS, Fault.CONNECT, Fault.TLS)),
    *((broken(fault), Health.UNTOLD) for fault in (Fault.LEASE_EXPIRED, Fault.SHUTDOWN)),
    *((broken(fault, address=None, wrote=False), Health.UNTOLD) for fault in (Fault.RENDER, Fault.SECRET)),
]


@pytest.mark.parametrize(("result", "health"), HEALTHS)
def test_each_result_tells_one_thing_of_its_receiver(result, health):
    assert health_of(result, DEFAULT) is health


def test_a_bug_of_ours_tells_nothing_of_the_receiver():
    """What crashed before anybody was dialled must not open a breaker."""
    assert health_of(broken(Fault.PROTOCOL, address=None), DEFAULT) is Health.UNTOLD


def test_a_receiver_that_wants_no_more_is_gone_where_that_is_honoured():
    asked = answer(200, control=DeliveryControl.DISABLE)

    assert health_of(asked, HONOURING) is Health.GONE
    assert health_of(asked, DEFAULT) is Health.WORKS


def test_a_delivery_to_a_destination_that_is_gone_stays_pending_whatever_its_budget():
    """DESIGN: 410 pauses at once and the delivery stays pending."""
    last = decide(Retry(max_attempts=1), answer(410), counted=0, started_at=NOW, give_up_at=NOW, now=NOW, rand=0.5)

    assert (last.state, last.next_attempt_at, last.is_counted) == (State.PENDING, NOW, False)


def test_a_probe_that_fails_costs_its_delivery_nothing():
    """DESIGN: an open breaker never counts toward max_attempts, and give_up_after stands still."""
    facts = {"counted": 0, "started_at": NOW - 9, "give_up_at": NOW - 1, "now": NOW, "rand": 0.5}
    probe = decide(Retry(max_attempts=1), answer(503), is_probe=True, **facts)
    other = decide(Retry(max_attempts=1), answer(503), **facts)

    assert (probe.state, probe.next_attempt_at, probe.is_counted) == (State.PENDING, NOW, False)
    assert other.state is State.DEAD


def test_a_probe_that_is_refused_for_good_ends_as_any_attempt():
    refused = decide(DEFAULT, answer(400), counted=0, started_at=NOW, give_up_at=None, now=NOW, rand=0.5, is_probe=True)

    assert refused.state is State.DEAD


def test_a_breaker_opens_after_ten_failures_in_a_row_and_probes_after_30_seconds():
    breaker = CLOSED
    for number in range(BREAKER_FAILURES):
        assert not breaker.is_open, number
        breaker = after_attempt(breaker, Health.FAILED, is_probe=False, now=NOW)

    assert (breaker.opened_at, breaker.probe_at) == (NOW, NOW + 30_000)


def test_the_wait_for_the_next_probe_doubles_to_ten_minutes():
    breaker = Breaker(BREAKER_FAILURES, NOW, NOW + FIRST_WAIT_MS, FIRST_WAIT_MS)
    waits = []
    for _ in range(7):
        breaker = after_attempt(breaker, Health.FAILED, is_probe=True, now=NOW)
        waits.append((breaker.probe_at or 0) - NOW)

    assert waits == [60_000, 120_000, 240_000, 480_000, 600_000, 600_000, 600_000]
    assert after_attempt(breaker, Health.WORKS, is_probe=True, now=NOW) == CLOSED


STEP = st.tuples(st.sampled_from(list(Health)), st.booleans(), st.integers(0, 1_000_000))


@given(steps=st.lists(STEP, max_size=60))
def test_the_breaker_keeps_its_laws_over_any_attempts(steps):
    """Open exactly if the last answers before it were ten failures with nothing that worked since; only a probe's
    failure makes the wait longer; what tells nothing changes nothing."""
    breaker, now, in_a_row = CLOSED, NOW, 0
    for health, is_probe, passed in steps:
        now += passed
        before, breaker = breaker, after_attempt(breaker, health, is_probe=is_probe, now=now)
        if health is Health.UNTOLD:
            assert breaker == before
        elif health is Health.FAILED:
            in_a_row += 1
        else:
            in_a_row = 0
            assert breaker == CLOSED
        assert breaker.is_open == (in_a_row >= BREAKER_FAILURES)
        if breaker.is_open:
            assert FIRST_WAIT_MS <= breaker.wait_ms <= LONGEST_WAIT_MS
            assert breaker.probe_at is not None and breaker.opened_at is not None
            assert breaker.probe_at >= breaker.opened_at + FIRST_WAIT_MS
            if before.is_open and not is_probe:
                assert breaker == before


def test_five_faults_in_a_row_pause_and_one_that_is_gone_does_at_once():
    faults, reasons = 0, []
    for _ in range(5):
        faults = faults_after(faults, Health.FAULT)
        reasons.append(pause_reason(Health.FAULT, faults, "HTTP 404"))

    assert reasons[:4] == [None] * 4
    assert reasons[4] == "the destination refused 5 attempts in a row: HTTP 404"
    assert pause_reason(Health.GONE, faults_after(0, Health.GONE), "HTTP 410") is not None


@pytest.mark.parametrize(("health", "left"), [(Health.WORKS, 0), (Health.FAILED, 0), (Health.UNTOLD, 4)])
def test_faults_count_in_a_row(health, left):
    """Whatever else the receiver did ends the row; an attempt that tells nothing does not."""
    assert faults_after(4, health) == left
