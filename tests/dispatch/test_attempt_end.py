"""The quick ways at an attempt's end: where there is one, what is written and logged is what the general way says."""

import io
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.dispatch import retry
from reconciler.dispatch.attempt import conclude
from reconciler.models.delivery import AttemptResult, DeliveryControl, DeliveryId, Fault, ReceivedResponse, Timings
from reconciler.models.event import EventId
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.observe.log import Format, Pattern, configure, silence
from reconciler.store.base import Claimed

NOW = 1_795_424_400_851
PLAIN = "request-1:AccessRequestGranted"
WORDS = st.just(PLAIN) | st.text(st.characters(codec="utf-8") | st.sampled_from(' "=\\%\n\u202e'), max_size=5)
LONG = st.integers(250, 260).map("x".__mul__)
MILLISECONDS = st.floats(0.0, 1e9)
COUNTS = st.integers(0, 2**62)
REUSED = Timings(first_byte_ms=1.25, total_ms=1.35)


def webhook_of(**retry: Any) -> Webhook:
    spec = {"url": "https://example.com/hook", "triggers": ["RequestCreated"], "retry": retry}
    return Webhook.model_validate({"metadata": {"name": "flow-1"}, "spec": spec}, strict=False)


def claimed_of(
    event_id: str = PLAIN,
    commit: str | None = "c0ffee",
    *,
    number: int = 1,
    probe: bool = False,
    give_up_at: int | None = None,
) -> Claimed:
    return Claimed(
        delivery_id=DeliveryId("dlv_0123456789abcdef0123456789abcdef"),
        seq=7,
        token=1,
        number=number,
        counted=0,
        webhook_uid=WebhookUid("uid"),
        pace_key="example.com/hook",
        event_id=EventId(event_id),
        raw=b"{}",
        accepted_at=NOW,
        started_at=NOW,
        give_up_at=give_up_at,
        revision=3,
        commit=commit,
        is_probe=probe,
    )


def answered(timings: Timings = REUSED, **facts: Any) -> AttemptResult:
    response = ReceivedResponse(200, "OK", (), "ok", 2, truncated=False)
    given = {"status": 200, "wrote": True, "sent_bytes": 1024, "response": response, "address": "127.0.0.1:443"}
    return AttemptResult(timings=timings, **{**given, **facts})


WEBHOOKS = st.just(webhook_of()) | st.just(webhook_of(honour_webhook_delivery=True)) | st.none()
CLAIMS = st.builds(
    claimed_of,
    WORDS | LONG,
    st.none() | WORDS | LONG,
    number=COUNTS,
    probe=st.booleans() | st.just(False),
    give_up_at=st.none() | st.just(NOW + 9),
)
RESULTS = st.builds(
    answered,
    st.builds(
        Timings,
        dns_ms=st.none() | MILLISECONDS,
        connect_ms=st.none() | MILLISECONDS,
        tls_ms=st.none() | MILLISECONDS,
        first_byte_ms=st.none() | MILLISECONDS,
        total_ms=MILLISECONDS,
    )
    | st.builds(Timings, first_byte_ms=MILLISECONDS, total_ms=MILLISECONDS),
    fault=st.none() | st.sampled_from(Fault),
    detail=st.just("") | WORDS,
    control=st.none() | st.sampled_from(DeliveryControl),
    address=st.just("127.0.0.1:443") | st.none() | WORDS,
    sent_bytes=COUNTS,
    response=st.none() | st.builds(ReceivedResponse, COUNTS, WORDS, st.just(()), WORDS, COUNTS, st.booleans()),
)


def line_of(form: Format, claimed: Claimed, webhook: Webhook | None, result: AttemptResult) -> str:
    stream = io.StringIO()
    configure(form, stream, clock=lambda: NOW * 1_000_000)
    try:
        conclude(claimed, webhook, result, now=NOW, rand=0.5)
    finally:
        silence()
    return stream.getvalue()


def general_line_of(form: Format, claimed: Claimed, webhook: Webhook | None, result: AttemptResult) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pattern, "write", lambda self, *values: False)
        return line_of(form, claimed, webhook, result)


@pytest.mark.parametrize("form", get_args(Format))
@given(claimed=CLAIMS, webhook=WEBHOOKS, result=RESULTS)
def test_the_quick_way_says_what_the_general_way_says(
    form: Format, claimed: Claimed, webhook: Webhook | None, result: AttemptResult
) -> None:
    """Law, for both forms, whatever an attempt met."""
    assert line_of(form, claimed, webhook, result) == general_line_of(form, claimed, webhook, result)


@pytest.mark.parametrize("form", get_args(Format))
@pytest.mark.parametrize("commit", ["c0ffee", None])
def test_what_was_delivered_over_an_open_connection_goes_the_quick_way(form: Format, commit: str | None) -> None:
    """Nearly all lines there are: the law above is about something."""
    written: list[bool] = []
    write = Pattern.write

    def seen(self: Pattern, *values: Any) -> bool:
        written.append(write(self, *values))
        return written[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pattern, "write", seen)
        line = line_of(form, claimed_of(commit=commit), webhook_of(), answered())

    assert written == [True]
    assert line == general_line_of(form, claimed_of(commit=commit), webhook_of(), answered())
    assert form == "text" or json.loads(line)["commit"] == commit


@given(claimed=CLAIMS, webhook=WEBHOOKS, result=RESULTS)
def test_what_went_well_needs_no_table(claimed: Claimed, webhook: Webhook | None, result: AttemptResult) -> None:
    """Law: what follows is what the table says."""
    quickly = conclude(claimed, webhook, result, now=NOW + 5, rand=0.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "is_well", lambda result: False)
        assert quickly == conclude(claimed, webhook, result, now=NOW + 5, rand=0.5)
