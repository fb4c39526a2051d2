"""The retry table and its arithmetic (`dispatch.retry`)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.dispatch.retry import decide, delay_seconds, judge
from reconciler.models.delivery import AttemptResult, Fault, Outcome, Reason, State
from reconciler.models.webhook import Retry

NOW = 1_800_000_000_000
DEFAULT = Retry()

STATUS_TABLE = {
    Outcome.DELIVERED: [200, 201, 202, 204, 299],
    Outcome.RETRYABLE: [408, 425, 429, 500, 502, 503, 504, 599, 401, 403, 404, 410],
    Outcome.PERMANENT: [300, 301, 302, 304, 307, 308, 400, 402, 405, 406, 409, 411, 413, 415, 418, 422, 451, 499],
}
NEVER_WRITTEN = [Fault.DNS, Fault.REFUSED_ADDRESS, Fault.CONNECT, Fault.CONNECT_TIMEOUT, Fault.TLS, Fault.SECRET]
AFTER_WRITE = [Fault.TIMEOUT, Fault.RESET, Fault.PROTOCOL, Fault.SHUTDOWN]


def answered(status: int, **more: object) -> AttemptResult:
    fault = None if 200 <= status < 300 else Fault.STATUS
    return judge(AttemptResult(fault=fault, status=status, wrote=True, **more))  # type: ignore[arg-type]


def after(result: AttemptResult, *, retry: Retry = DEFAULT, counted: int = 0, give_up_at: int | None = None):
    return decide(retry, result, counted=counted, started_at=NOW - 10, give_up_at=give_up_at, now=NOW, rand=0.5)


@pytest.mark.parametrize(("outcome", "status"), [(o, status) for o, group in STATUS_TABLE.items() for status in group])
def test_status_decides_the_outcome(outcome, status):
    assert answered(status).outcome is outcome


@pytest.mark.parametrize("fault", NEVER_WRITTEN)
def test_what_was_never_written_is_retryable(fault):
    assert judge(AttemptResult(fault=fault)).outcome is Outcome.RETRYABLE


@pytest.mark.parametrize("fault", AFTER_WRITE)
def test_a_break_after_the_write_is_unknown_and_before_it_retryable(fault):
    assert judge(AttemptResult(fault=fault, wrote=True)).outcome is Outcome.UNKNOWN
    assert judge(AttemptResult(fault=fault, wrote=False)).outcome is Outcome.RETRYABLE


def test_a_failed_attempt_waits_for_the_first_entry_of_the_schedule():
    decision = after(answered(500))

    assert (decision.state, decision.next_attempt_at, decision.is_counted) == (State.PENDING, NOW + 5_000, True)


def test_the_last_delay_repeats_until_max_attempts():
    retry = Retry(schedule=(timedelta(seconds=1), timedelta(seconds=2)), max_attempts=5)

    delays = [after(answered(500), retry=retry, counted=counted).next_attempt_at for counted in range(4)]
    last = after(answered(500), retry=retry, counted=4)

    assert delays == [NOW + 1000, NOW + 2000, NOW + 2000, NOW + 2000]
    assert (last.state, last.reason) == (State.DEAD, Reason.EXHAUSTED)


def test_max_attempts_of_one_never_tries_again():
    assert after(answered(500), retry=Retry(max_attempts=1)).reason is Reason.EXHAUSTED


def test_give_up_after_counts_from_the_first_attempt():
    retry = Retry(give_up_after=timedelta(seconds=4))

    decision = after(answered(500), retry=retry)

    assert (decision.state, decision.reason) == (State.DEAD, Reason.EXPIRED)


def test_a_429_does_not_count_and_stops_the_clock():
    decision = after(answered(429, retry_after_seconds=60.0), counted=9, give_up_at=NOW + 1)

    assert decision.state is State.PENDING
    assert not decision.is_counted
    assert decision.next_attempt_at == decision.blocked_until == NOW + 60_000
    assert decision.give_up_at == NOW + 1 + 60_000


def test_a_429_without_a_time_holds_the_pace_key_for_a_second():
    assert after(answered(429)).blocked_until == NOW + 1000


def test_retry_after_only_ever_delays():
    longer, shorter = (after(answered(503, retry_after_seconds=s)) for s in (60.0, 1.0))

    assert longer.next_attempt_at == NOW + 60_000
    assert shorter.next_attempt_at == NOW + 5_000
    assert longer.blocked_until == NOW + 60_000


def test_an_unknown_outcome_is_dead_when_the_webhook_says_so():
    result = judge(AttemptResult(fault=Fault.TIMEOUT, wrote=True))

    assert after(result).state is State.PENDING
    assert after(result, retry=Retry(retry_unknown=False)).reason is Reason.UNKNOWN


def test_a_body_that_cannot_be_made_is_dead_by_render():
    assert after(judge(AttemptResult(fault=Fault.RENDER))).reason is Reason.RENDER


@given(
    counted=st.integers(1, 50),
    rand=st.floats(0, 1, exclude_max=True),
    jitter=st.floats(0, 1),
    schedule=st.lists(st.integers(1, 86_400), min_size=1, max_size=9),
)
def test_delays_stay_within_the_schedule_and_its_jitter(counted, rand, jitter, schedule):
    """Law: 0 ≤ delay ≤ twice the largest entry, and within ± jitter of its own entry."""
    retry = Retry(schedule=tuple(timedelta(seconds=s) for s in schedule), jitter=jitter)

    delay = delay_seconds(retry, counted, rand)

    base = schedule[min(counted, len(schedule)) - 1]
    assert base * (1 - jitter) - 1e-6 <= delay <= base * (1 + jitter) + 1e-6


@given(
    status=st.sampled_from([408, 429, 500, 503, 401, 404]),
    retry_after=st.none() | st.floats(0, 3600),
    counted=st.integers(0, 20),
    max_attempts=st.integers(1, 20),
    left=st.integers(0, 10_000_000),
)
def test_a_retry_is_never_in_the_past_never_beyond_the_deadline_and_never_beyond_max_attempts(
    status, retry_after, counted, max_attempts, left
):
    """Law: pending means later than now, before the deadline, with attempts left."""
    result = answered(status, retry_after_seconds=retry_after)

    decision = after(result, retry=Retry(max_attempts=max_attempts), counted=counted, give_up_at=NOW + left)

    if decision.state is State.PENDING:
        assert decision.next_attempt_at is not None
        assert NOW <= decision.next_attempt_at <= decision.give_up_at
        assert counted + decision.is_counted < max_attempts
        assert decision.next_attempt_at >= NOW + (retry_after or 0) * 1000 - 1
    else:
        assert decision.state is State.DEAD
        assert decision.reason in (Reason.EXHAUSTED, Reason.EXPIRED)
