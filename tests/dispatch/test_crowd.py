"""Room for quick attempts and for those that wait (`dispatch.crowd`)."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.dispatch.crowd import Crowd as RealCrowd
from reconciler.models.webhook import WebhookUid

A, B = WebhookUid("a"), WebhookUid("b")


class Crowd(RealCrowd):
    """With room for any bytes, and events of none, unless told otherwise."""

    def __init__(self, *, quick_max: int, total_max: int, bytes_max: int = 10**9) -> None:
        super().__init__(quick_max=quick_max, total_max=total_max, bytes_max=bytes_max)

    def begin(self, seq: int, webhook: WebhookUid, *, now: float, size: int = 0) -> None:
        super().begin(seq, webhook, size=size, now=now)


def test_an_attempt_takes_a_slot_for_a_second():
    crowd = Crowd(quick_max=2, total_max=10)
    crowd.begin(1, A, now=0.0)
    crowd.begin(2, A, now=0.4)

    assert crowd.free(now=0.9) == 0
    assert round(crowd.frees_in(now=0.9), 9) == 0.1
    assert crowd.free(now=1.0) == 1
    assert crowd.free(now=1.4) == 2
    assert len(crowd) == 2


def test_a_slow_webhook_takes_no_slots_until_it_is_quick_again():
    crowd = Crowd(quick_max=2, total_max=10)
    crowd.begin(1, A, now=0.0)
    assert crowd.free(now=5.0) == 2
    crowd.begin(2, A, now=5.0)
    assert crowd.free(now=5.0) == 2

    crowd.end(2, now=5.5)
    crowd.begin(3, A, now=6.0)

    assert crowd.free(now=6.0) == 1


def test_slow_webhooks_share_what_the_quick_slots_leave_and_others_have_no_limit():
    crowd = Crowd(quick_max=4, total_max=20)
    crowd.begin(1, A, now=0.0)
    crowd.begin(2, B, now=0.0)
    assert crowd.limits(now=0.5) == {}

    assert crowd.limits(now=1.0) == {A: 8, B: 8}
    crowd.end(1, now=30.0)
    assert crowd.limits(now=30.0) == {A: 8, B: 8}, "an end that took long says nothing good"
    crowd.begin(3, A, now=31.0)
    crowd.end(3, now=31.1)
    assert crowd.limits(now=31.1) == {B: 16}


def test_a_full_room_waits_for_an_end():
    crowd = Crowd(quick_max=4, total_max=1)
    crowd.begin(1, A, now=0.0)

    assert crowd.free(now=0.1) == 0
    assert crowd.frees_in(now=0.1) is None


def test_large_events_take_room_by_their_bytes():
    crowd = Crowd(quick_max=100, total_max=100, bytes_max=1_010)
    for seq in range(2_000):  # so that it knows them
        crowd.begin(seq, A, size=250, now=0.0)
        crowd.end(seq, now=0.0)
    assert crowd.free(now=0.0) == 4

    for seq in range(4):
        crowd.begin(seq, A, size=250, now=0.0)
    assert crowd.free(now=0.0) == 0
    assert crowd.frees_in(now=0.0) is None, "only an end makes room"
    crowd.end(0, now=0.0)
    assert crowd.free(now=0.0) == 1


def test_an_event_larger_than_the_room_is_let_in_alone():
    crowd = Crowd(quick_max=10, total_max=10, bytes_max=1_000)
    for seq in range(2_000):
        crowd.begin(seq, A, size=5_000, now=0.0)
        crowd.end(seq, now=0.0)

    assert crowd.free(now=0.0) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.floats(0, 2)), max_size=60))
def test_the_room_is_never_overdrawn_and_every_end_gives_back(steps):
    """Law: whoever asks `free` first stays within both bounds, and at the end nothing is held."""
    crowd, now, held, number = Crowd(quick_max=5, total_max=12), 0.0, {}, 0
    for begins, which, passed in steps:
        now += passed
        if begins and crowd.free(now=now):
            number += 1
            held[number] = now
            crowd.begin(number, WebhookUid(str(which)), now=now)
        elif held:
            crowd.end(seq := sorted(held)[which % len(held)], now=now)
            del held[seq]
        assert len(crowd) == len(held) <= 12
        assert 0 <= crowd.free(now=now) <= 5

    for seq in list(held):
        crowd.end(seq, now=now)
    assert len(crowd) == 0
    assert crowd.free(now=now) == 5
