"""The retry table of every webhook, row by row: what an attempt's result makes of the delivery and its destination."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.dispatch.retry import Decision, Destination, decide, destination_of, judge
from reconciler.models.delivery import AttemptResult, DeliveryControl, Fault, Outcome, Reason, State
from reconciler.models.webhook import Retry

NOW = 1_800_000_000_000
TRIED_AGAIN = (State.PENDING, None)
NOT_SENT = {Fault.DNS, Fault.REFUSED_ADDRESS, Fault.CONNECT, Fault.CONNECT_TIMEOUT, Fault.TLS, Fault.SECRET}
HONOURS = Retry(honour_webhook_delivery=True)

# (result, retry_unknown): (state, reason), whether it counts toward max_attempts
ROWS = [
    *(((AttemptResult(status=status), known), ((State.DELIVERED, None), True)) for status in (200, 204, 299)
      for known in (True, False)),
    *(((AttemptResult(fault=Fault.STATUS, status=status, wrote=True), known), ((State.DEAD, Reason.PERMANENT), True))
      for status in (301, 304, 400, 402, 405, 409, 413, 415, 422, 451) for known in (True, False)),
    *(((AttemptResult(fault=Fault.STATUS, status=status, wrote=True), known), (TRIED_AGAIN, True))
      for status in (401, 403, 404, 408, 425, 500, 502, 503, 504, 599) for known in (True, False)),
    *(((AttemptResult(fault=Fault.STATUS, status=429, wrote=True), known), (TRIED_AGAIN, False))
      for known in (True, False)),
    *(((AttemptResult(fault=fault), known), (TRIED_AGAIN, True)) for fault in sorted(NOT_SENT)
      for known in (True, False)),
    *(((AttemptResult(fault=Fault.TOKEN), known), (TRIED_AGAIN, False)) for known in (True, False)),
    *(((AttemptResult(fault=Fault.VALIDATOR, status=200, wrote=True), known), (TRIED_AGAIN, True))
      for known in (True, False)),
    *(((AttemptResult(fault=fault, wrote=False), known), (TRIED_AGAIN, True))
      for fault in (Fault.TIMEOUT, Fault.RESET, Fault.PROTOCOL, Fault.SHUTDOWN) for known in (True, False)),
    *(((AttemptResult(fault=fault, wrote=True), True), (TRIED_AGAIN, True))
      for fault in (Fault.TIMEOUT, Fault.RESET, Fault.PROTOCOL, Fault.SHUTDOWN, Fault.LEASE_EXPIRED)),
    *(((AttemptResult(fault=fault, wrote=True), False), ((State.DEAD, Reason.UNKNOWN), True))
      for fault in (Fault.TIMEOUT, Fault.RESET, Fault.PROTOCOL, Fault.SHUTDOWN, Fault.LEASE_EXPIRED)),
    *(((AttemptResult(fault=Fault.RENDER), known), ((State.DEAD, Reason.RENDER), True)) for known in (True, False)),
]  # fmt: skip


def decided(result: AttemptResult, retry: Retry, *, counted: int = 0, give_up_at: int | None = None) -> Decision:
    judged = judge(result, retry)
    return decide(retry, judged, counted=counted, started_at=NOW - 10, give_up_at=give_up_at, now=NOW, rand=0.5)


@pytest.mark.parametrize(
    ("row", "expected"),
    ROWS,
    ids=[f"{row.fault or row.status}-{row.status}-{row.wrote}-{known}" for (row, known), _ in ROWS],
)
def test_a_row_of_the_retry_table(row, expected):
    result, retry_unknown = row

    decision = decided(result, Retry(retry_unknown=retry_unknown))

    assert ((decision.state, decision.reason), decision.is_counted) == expected


def test_the_table_has_a_row_for_every_fault():
    """A fault that is added later must be placed."""
    assert {result.fault for (result, _), _ in ROWS} == {None, *Fault}


@given(
    status=st.sampled_from([408, 429, 500, 503]),
    counted=st.integers(0, 49),
    retry_after=st.none() | st.floats(0, 3600),
    left_ms=st.integers(0, 10**9),
)
def test_what_is_throttled_neither_counts_nor_ages(status, counted, retry_after, left_ms):
    """Law: after a 429 the budget and the time that is left are what they were before it; after a 503 that asks to wait
    longer than the schedule would, the time that is left is what the schedule leaves."""
    retry = Retry(max_attempts=51, schedule=(timedelta(seconds=1),))
    result = AttemptResult(fault=Fault.STATUS, status=status, wrote=True, retry_after_seconds=retry_after)

    decision = decided(result, retry, counted=counted, give_up_at=NOW + left_ms)

    if status == 429:
        assert not decision.is_counted
        assert decision.next_attempt_at is not None
        assert decision.give_up_at is not None
        assert decision.give_up_at - decision.next_attempt_at == left_ms
    else:
        asked_ms = round((retry_after or 0) * 1000) if status == 503 else 0
        assert decision.is_counted
        assert decision.give_up_at == NOW + left_ms + max(0, asked_ms - 1000)


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.2])
def test_a_429_is_never_repeated_at_once(retry_after):
    """Nothing counts it: without a wait it would be sent as fast as the receiver answers, for ever."""
    result = AttemptResult(fault=Fault.STATUS, status=429, wrote=True, retry_after_seconds=retry_after)

    decision = decided(result, Retry())

    assert (decision.next_attempt_at, decision.blocked_until) == (NOW + 1000, NOW + 1000)


def test_a_503_that_asks_to_wait_longer_than_we_would_does_not_end_its_delivery():
    """What waits behind it stands still for as long as it asks, and so does it."""
    result = AttemptResult(fault=Fault.STATUS, status=503, wrote=True, retry_after_seconds=3600.0)

    decision = decided(result, Retry(give_up_after=timedelta(minutes=30)))

    assert (decision.state, decision.next_attempt_at) == (State.PENDING, NOW + 3_600_000)
    assert decision.give_up_at == NOW - 10 + 30 * 60_000 + 3_600_000 - 5_000


@pytest.mark.parametrize("status", [408, 429, 500, 401])
def test_a_receiver_may_end_a_delivery_that_failed(status):
    """Opted in, `abort-message` makes any failure final, with the receiver's wish in the record."""
    result = AttemptResult(
        fault=Fault.STATUS, status=status, wrote=True, control=DeliveryControl.ABORT_MESSAGE, detail="it answered"
    )

    judged = judge(result, HONOURS)

    assert judged.outcome is Outcome.PERMANENT
    assert judged.detail == "it answered, and asked not to be sent this again (webhook-delivery: abort-message)"
    assert decided(result, HONOURS).reason is Reason.PERMANENT


def test_a_receiver_cannot_end_what_it_took():
    result = AttemptResult(status=202, control=DeliveryControl.ABORT_MESSAGE)

    assert judge(result, HONOURS).outcome is Outcome.DELIVERED
    assert judge(result, HONOURS).detail == ""


@pytest.mark.parametrize("control", list(DeliveryControl))
def test_without_the_opt_in_a_receivers_wish_changes_nothing(control):
    plain = AttemptResult(fault=Fault.STATUS, status=500, wrote=True, detail="it answered")
    asked = AttemptResult(fault=Fault.STATUS, status=500, wrote=True, detail="it answered", control=control)

    assert decided(asked, Retry()) == decided(plain, Retry())
    assert judge(asked, Retry()).detail == "it answered"
    assert destination_of(asked, Retry()) is destination_of(plain, Retry()) is Destination.RIGHT


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (AttemptResult(status=200), Destination.RIGHT),
        *((AttemptResult(fault=Fault.STATUS, status=status), Destination.FAULT) for status in (401, 403, 404)),
        (AttemptResult(fault=Fault.STATUS, status=410), Destination.GONE),
        *((AttemptResult(fault=Fault.STATUS, status=status), Destination.RIGHT) for status in (400, 429, 500)),
        *((AttemptResult(fault=fault), Destination.RIGHT) for fault in (Fault.TIMEOUT, Fault.RESET, Fault.VALIDATOR)),
        *((AttemptResult(fault=fault), Destination.UNTOLD)
          for fault in (Fault.LEASE_EXPIRED, Fault.SHUTDOWN, Fault.RENDER, Fault.SECRET)),
    ],
)  # fmt: skip
def test_what_an_attempt_tells_of_its_destination(result, expected):
    assert destination_of(result, Retry()) is expected


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_receiver_that_asks_for_nothing_more_is_as_good_as_gone(status):
    """Opted in, `disable` pauses the webhook like a 410, whatever became of the delivery."""
    result = AttemptResult(
        fault=None if status == 200 else Fault.STATUS, status=status, control=DeliveryControl.DISABLE
    )

    assert destination_of(result, HONOURS) is Destination.GONE
    assert (judge(result, HONOURS).outcome is Outcome.DELIVERED) is (status == 200)


@pytest.mark.parametrize(
    ("status", "detail", "told"),
    [
        (200, "", "the receiver asked to be sent nothing more (webhook-delivery: disable)"),
        (500, "it answered", "it answered, and asked to be sent nothing more (webhook-delivery: disable)"),
    ],
)
def test_why_a_receiver_is_sent_nothing_more_is_told(status, detail, told):
    """It becomes the reason of the pause: a 500, or nothing at all, would explain none."""
    fault = None if status == 200 else Fault.STATUS
    result = AttemptResult(fault=fault, status=status, detail=detail, control=DeliveryControl.DISABLE)

    assert judge(result, HONOURS).detail == told
    assert judge(result, Retry()).detail == detail


def test_a_policy_that_says_no_is_the_same_as_one_that_says_nothing():
    """So that webhooks stored before there was the field do not differ from their manifests."""
    assert Retry(honour_webhook_delivery=False) == Retry()
    assert "honour_webhook_delivery" not in Retry(honour_webhook_delivery=False).model_dump(exclude_none=True)
