"""Answers that `response_validators` judge, and what a receiver asks by `webhook-delivery`."""

import json
from typing import Any

import pytest
from egress_receiver import Receiver, Send

from reconciler.egress.mask import Masker
from reconciler.egress.received import BODY_KEPT_MAX, JUDGED_SHOWN_MAX
from reconciler.models.delivery import DeliveryControl, Fault
from reconciler.models.webhook import ResponseValidator
from reconciler.request.answer import ANSWER_MAX_BYTES

OK = ResponseValidator(json_path="$.status", expected_values=("ok",))
BEGIN = "the answer does not count as delivered: "


def answer(body: bytes | dict[str, Any], *headers: str, status: str = "200 OK") -> bytes:
    """A whole response."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = (f"HTTP/1.1 {status}", *headers, f"content-length: {len(content)}", "", "")
    return "\r\n".join(lines).encode() + content


async def test_an_answer_that_says_what_is_expected_is_no_fault(receiver: Receiver, send: Send) -> None:
    receiver.script = [answer({"status": "ok"})]

    result = await send(validators=(OK,))

    assert (result.fault, result.detail) == (None, "")


async def test_an_answer_that_says_something_else_is_told_with_path_expected_and_actual(
    receiver: Receiver, send: Send
) -> None:
    receiver.script = [answer({"status": "failed"})]

    result = await send(validators=(OK,))

    assert (result.fault, result.status, result.wrote) == (Fault.VALIDATOR, 200, True)
    assert result.detail == f'{BEGIN}$.status is "failed", expected "ok"'
    assert result.response is not None
    assert result.response.body == '{"status": "failed"}'


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (b"", (), "it is empty"),
        (b"ok", (), "it is not JSON in UTF-8"),
        (b'{"status": "ok"}', ("content-encoding: gzip",), "its content-encoding is gzip"),
        (b'{"state": "ok"}', (), '$.status finds nothing, expected "ok"'),
    ],
)
async def test_an_answer_that_cannot_be_judged_says_why(
    receiver: Receiver, send: Send, body: bytes, headers: tuple[str, ...], why: str
) -> None:
    receiver.script = [answer(body, *headers)]

    result = await send(validators=(OK,))

    assert (result.fault, result.detail) == (Fault.VALIDATOR, f"{BEGIN}{why}")


async def test_more_of_an_answer_is_judged_than_is_kept(receiver: Receiver, send: Send) -> None:
    """What decides stands behind the 16 KiB that people are shown; beyond 64 KiB nothing is judged."""
    filler = "x" * (BODY_KEPT_MAX * 2)
    receiver.script = [answer({"filler": filler, "status": "ok"})]

    judged = await send(validators=(OK,))

    assert judged.fault is None
    assert judged.response is not None
    assert (len(judged.response.body), judged.response.truncated) == (BODY_KEPT_MAX, True)

    receiver.script = [answer({"status": "ok", "filler": "x" * ANSWER_MAX_BYTES})]
    assert (await send(validators=(OK,))).detail == f"{BEGIN}it is longer than 64 KiB"


async def test_without_validators_no_more_is_read_than_is_kept(receiver: Receiver, send: Send) -> None:
    receiver.script = [answer(b"x" * ANSWER_MAX_BYTES)]

    result = await send()

    assert result.response is not None
    assert result.response.body_bytes <= BODY_KEPT_MAX + 1


async def test_a_secret_in_what_the_answer_says_is_masked_before_it_is_cut(
    receiver: Receiver, send: Send, masker: Masker
) -> None:
    """Also where the cut would leave its beginning."""
    secret = "f00dfeedf00dfeed"
    masker.add(secret)
    receiver.script = [answer({"status": "x" * (JUDGED_SHOWN_MAX - 8) + secret})]

    result = await send(validators=(OK,))

    assert result.fault is Fault.VALIDATOR
    assert "f00d" not in result.detail
    assert '***…, expected "ok"' in result.detail


async def test_an_answer_that_is_no_2xx_is_judged_by_its_status(receiver: Receiver, send: Send) -> None:
    receiver.script = [answer({"status": "failed"}, status="500 Oops")]

    result = await send(validators=(OK,))

    assert (result.fault, result.status) == (Fault.STATUS, 500)


@pytest.mark.parametrize(
    ("headers", "control"),
    [
        ((), None),
        (("webhook-delivery: disable",), DeliveryControl.DISABLE),
        (("Webhook-Delivery:  Abort-Message ",), DeliveryControl.ABORT_MESSAGE),
        (("webhook-delivery: something-new",), None),
        (("webhook-delivery: disable", "webhook-delivery: abort-message"), None),
    ],
)
async def test_what_a_receiver_asks_is_reported(
    receiver: Receiver, send: Send, headers: tuple[str, ...], control: DeliveryControl | None
) -> None:
    """Case and blanks do not matter; what is unknown, or said in two ways, is nothing."""
    receiver.script = [answer(b"", *headers, status="500 Oops")]

    assert (await send()).control is control


async def test_a_long_path_leaves_room_for_what_it_found(receiver: Receiver, send: Send) -> None:
    """The line that people read ends with the facts, not in the middle of the path."""
    path = "$" + "['a rather long name']" * 10
    wanted = ResponseValidator(json_path=path, expected_values=("y" * 200,))
    value: Any = "x" * 200
    for _ in range(10):
        value = {"a rather long name": value}
    receiver.script = [answer(value), answer(b"{}")]

    said, found_nothing = await send(validators=(wanted,)), await send(validators=(wanted,))

    assert said.detail.startswith(f"{BEGIN}$['a rather long name']")
    assert f' is "{"x" * 47}…, expected "yyy' in said.detail
    assert " finds nothing, expected " in found_nothing.detail
    assert len(said.detail) <= 256
