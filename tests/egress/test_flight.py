"""The short way of an attempt, over an idle connection and without a task: what it sends and says is that of the long
way."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from egress_receiver import HOST, OK, Conversation, Receiver, Send
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reconciler.dispatch.recipe import Recipe
from reconciler.egress.deliver import Deliverer, _to_request
from reconciler.egress.flight import Flight
from reconciler.egress.http1 import request_bytes
from reconciler.egress.mask import Masker
from reconciler.egress.received import BODY_KEPT_MAX
from reconciler.models.delivery import AttemptResult, DeliveryId, Fault, Timings
from reconciler.models.event import EventId
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.settings import EgressSettings, TransportKind
from reconciler.store.base import Claimed

NOW = 1_800_000_000_000
KEY = "whsec_" + "c2lnbmluZyBrZXkgb2YgdGhlIHRlc3RzLCBsb25n"
TOKEN = "t0ken-0f-the-receiver"
LATIN = st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")
SECRETS = {"token": TOKEN, "key": KEY}
RAW = json.dumps({"event_type": "AccessRequestCreated", "event_time": 1.50, "data": {"id": "r-1", "note": "ü 100 %"}})


@pytest.fixture
def transport() -> TransportKind:
    """The one that knows a short way."""
    return TransportKind.FAST


def webhook(**spec: Any) -> Webhook:
    """One that signs, and shows a secret in a header."""
    whole = {
        "url": f"https://{HOST}/flo/100%25/invoke?a=%s",
        "triggers": ["RequestCreated"],
        "headers": {"x-api-client-token": "${secret:token}", "x-rate": "100 %"},
        "signing": {"keys": [{"key": "${secret:key}"}]},
        "rate_limit": "unlimited",
        **spec,
    }
    return Webhook.model_validate({"metadata": {"name": "w"}, "spec": whole}, strict=False)


def claimed(delivery_id: str = "dlv_1", raw: str = RAW) -> Claimed:
    return Claimed(
        delivery_id=DeliveryId(delivery_id), seq=1, token=1, number=1, counted=0, webhook_uid=WebhookUid("u1"),
        pace_key="", event_id=EventId("evt_1"), raw=raw.encode(), accepted_at=NOW, started_at=NOW, give_up_at=None,
        revision=1, commit=None,
    )  # fmt: skip


class Ways:
    """A webhook's requests, by either way."""

    def __init__(self, deliverer: Deliverer, masker: Masker, hook: Webhook, secrets: dict[str, str] = SECRETS) -> None:
        for value in secrets.values():
            masker.add(value)
        self._deliverer = deliverer
        self._hook = hook
        self.recipe = Recipe(hook, secrets, deliverer)

    async def long(self, *, raw: str = RAW) -> AttemptResult:
        sent, shown = self.recipe.prepared(self.recipe.draft(claimed(raw=raw), now=NOW))
        spec = self._hook.spec
        return await self._deliverer.send(
            sent,
            shown,
            timeout_seconds=spec.timeout_in_sec,
            validators=spec.response_validators,
            credentials=self.recipe.credentials,
        )

    def begin(self, on_end: Callable[[AttemptResult | Exception], None], *, raw: str = RAW) -> Flight | None:
        assert self.recipe.form is not None
        return self._deliverer.begin(self.recipe.form, self.recipe.draft(claimed(raw=raw), now=NOW), on_end=on_end)

    async def short(self, *, raw: str = RAW) -> AttemptResult:
        ended: asyncio.Future[AttemptResult | Exception] = asyncio.get_running_loop().create_future()
        assert self.begin(ended.set_result, raw=raw) is not None
        assert not ended.done()  # it tells of no end before it has told of the beginning
        async with asyncio.timeout(20):
            result = await ended
        assert isinstance(result, AttemptResult), result
        return result


@pytest.fixture
def ways(deliverer: Deliverer, masker: Masker) -> Ways:
    return Ways(deliverer, masker, webhook())


async def trickle(conversation: Conversation) -> None:
    """The body comes after the head, in pieces."""
    await conversation.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for piece in (b'4\r\n{"st\r\n', b'9\r\natus":1}\x20\r\n', b"0\r\n\r\n"):
        await asyncio.sleep(0.01)
        await conversation.say(piece)


async def reset(conversation: Conversation) -> None:
    conversation.reset()


async def break_off(conversation: Conversation) -> None:
    await conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of t0ken-0f-the-rec")
    conversation.reset()


async def say_nothing(conversation: Conversation) -> None:
    await conversation.until_closed()


async def end_with_the_connection(conversation: Conversation) -> None:
    await conversation.say(b"HTTP/1.1 200 OK\r\n\r\nall there is")
    conversation.writer.close()


def whole(status: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", "")).encode() + body


ANSWERS = {
    "plain": OK,
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "informed first": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
    "redirect": whole("302 Found", "location: https://other.example.com/"),
    "busy": whole("429 Too Many Requests", "retry-after: 17", body=b"slow down"),
    "wish": whole("500 Oops", "webhook-delivery: abort-message", body=b"no"),
    "gives the token back": whole("200 Fine " + TOKEN, f"x-echo: {TOKEN}", body=f'"{TOKEN}"'.encode()),
    "compressed": whole("200 OK", "content-encoding: gzip", body=b"\x1f\x8b"),
    "long": whole("200 OK", body=b"y" * (BODY_KEPT_MAX + 5000)),
    "closes": whole("200 OK", "connection: close"),
    "later": trickle,
    "reset": reset,
    "half": break_off,
    "until closed": end_with_the_connection,
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
}


def timeless(result: AttemptResult) -> AttemptResult:
    return result._replace(timings=Timings())


@pytest.mark.parametrize("name", ANSWERS)
async def test_both_ways_send_the_same_and_say_the_same(receiver: Receiver, ways: Ways, send: Send, name: str) -> None:
    """Whatever is answered, each over a connection that was kept."""
    results = []
    for way in (ways.long, ways.short):
        await send()
        receiver.script = [ANSWERS[name]]
        results.append(timeless(await way()))
    by_long, by_short = [item for item in receiver.requests if item.target.startswith("/flo")]

    assert results[0] == results[1]
    assert TOKEN not in str(results[1]) and KEY not in str(results[1])
    assert (by_short.target, by_short.headers, by_short.body) == (by_long.target, by_long.headers, by_long.body)
    assert by_short.headers["x-api-client-token"] == TOKEN
    assert by_short.headers["x-rate"] == "100 %"
    assert by_short.headers["webhook-signature"].startswith("v1,")


async def test_a_deadline_ends_both_ways_alike(
    receiver: Receiver, deliverer: Deliverer, masker: Masker, send: Send
) -> None:
    """As unknown: it was written."""
    ways = Ways(deliverer, masker, webhook(timeout_in_sec=1))
    results = []
    for way in (ways.long, ways.short):
        await send()
        receiver.script = [say_nothing]
        results.append(timeless(await way()))

    assert results[0] == results[1]
    assert (results[1].fault, results[1].wrote) == (Fault.TIMEOUT, True)


async def test_validators_judge_an_answer_of_the_short_way_too(
    receiver: Receiver, deliverer: Deliverer, masker: Masker, send: Send
) -> None:
    """Also one whose body is still to come."""
    ways = Ways(deliverer, masker, webhook(response_validators=[{"json_path": "$.status", "expected_values": [2]}]))
    for answer in (whole("200 OK", body=b'{"status":1}'), trickle):
        await send()
        receiver.script = [answer]
        result = await ways.short()
        assert (result.fault, result.status) == (Fault.VALIDATOR, 200)


async def test_a_webhook_without_a_body_goes_the_short_way_too(
    receiver: Receiver, deliverer: Deliverer, masker: Masker, send: Send
) -> None:
    ways = Ways(deliverer, masker, webhook(method="GET", signing=None))
    await send()

    result = await ways.short()

    assert (result.status, result.sent_bytes, receiver.requests[-1].body) == (200, 0, b"")
    assert "content-length" not in receiver.requests[-1].headers


async def test_without_an_idle_connection_nothing_is_written(receiver: Receiver, ways: Ways, send: Send) -> None:
    """The long way is there for it; the connection of an attempt that is under way is not idle."""
    assert ways.begin(lambda _: None) is None
    await send()
    receiver.script = [say_nothing]
    flight = ways.begin(lambda _: None)
    assert flight is not None

    assert ways.begin(lambda _: None) is None

    flight.cut()


@pytest.mark.parametrize("answer", [say_nothing, trickle])
async def test_what_is_cut_tells_nobody_and_closes_its_connection(
    receiver: Receiver, ways: Ways, send: Send, answer: Any
) -> None:
    """Before the head, or while the body is read."""
    told: list[object] = []
    await send()
    receiver.script = [answer]
    flight = ways.begin(told.append)
    assert flight is not None
    async with asyncio.timeout(10):
        while len(receiver.requests) < 2:  # noqa: ASYNC110  the receiver tells nobody of it
            await asyncio.sleep(0)
    receiver.closed.clear()

    flight.cut()

    async with asyncio.timeout(10):
        while receiver.open_connections:
            await receiver.closed.wait()
            receiver.closed.clear()
    assert told == []


async def test_a_secret_that_is_learnt_later_is_hidden_in_what_was_made_before(
    receiver: Receiver, ways: Ways, masker: Masker, send: Send
) -> None:
    """The form of a webhook's requests outlasts many a secret."""
    await send()
    before = await ways.short()
    masker.add("flo/100%25")

    after = await ways.short(raw=RAW.replace("r-1", "flo/100%25"))

    assert before.request is not None and "flo/100" in before.request.url
    assert after.request is not None and "flo/100" not in f"{after.request}"


async def test_a_secret_that_is_learnt_later_is_hidden_in_an_answer_that_came_before(
    receiver: Receiver, ways: Ways, masker: Masker, send: Send
) -> None:
    """An answer that says the same once more is not read again."""
    answer = whole("200 Fine", "x-echo: s3cr3t-of-later", body=b"you sent s3cr3t-of-later")
    shown = []
    await send()
    for _ in range(2):
        receiver.script = [answer, answer]
        shown += [(await ways.short()).response, (await ways.short()).response]
        masker.add("s3cr3t-of-later")

    assert shown[0] == shown[1] != shown[2] == shown[3]
    assert "s3cr3t-of-later" in str(shown[1])
    assert "s3cr3t" not in str(shown[2])


async def test_equal_answers_are_judged_each_by_its_webhook(
    receiver: Receiver, deliverer: Deliverer, masker: Masker, send: Send
) -> None:
    """What is remembered of an answer is what arrived, not what it meant."""
    wants = [webhook(response_validators=[{"json_path": "$.n", "expected_values": [n]}]) for n in (1, 2)]
    faults = []
    await send()
    for hook in (webhook(), *wants, webhook()):
        receiver.script = [whole("200 OK", body=b'{"n":1}')]
        faults.append((await Ways(deliverer, masker, hook).short()).fault)

    assert faults == [None, None, Fault.VALIDATOR, None]


async def test_the_stock_transport_knows_no_short_way(settings: EgressSettings, masker: Masker) -> None:
    """Nor does any that takes the network's place: all their requests go through `handle_async_request`."""
    stock = EgressSettings(ca_file=settings.ca_file, connect_to=settings.connect_to, transport=TransportKind.HTTPX)
    async with Deliverer(stock, masker=masker) as deliverer:
        ways = Ways(deliverer, masker, webhook())
        assert (await ways.long()).status == 200

        assert ways.begin(lambda _: None) is None


async def test_what_cannot_be_told_from_a_blank_goes_the_long_way(deliverer: Deliverer, masker: Masker) -> None:
    """A header of the manifest that looks like a place for a delivery's own."""
    assert Ways(deliverer, masker, webhook(headers={"x-odd": "{an id}"})).recipe.form is None


@examples(max_examples=60, deadline=None)
@given(note=st.text(max_size=40), value=st.text(LATIN, max_size=40))
def test_the_bytes_of_both_ways_are_equal(note: str, value: str) -> None:
    """For any event, and any header that a manifest may have."""
    masker = Masker()
    deliverer = Deliverer(EgressSettings(), masker=masker)
    value = value.strip().replace("$", "")
    recipe = Ways(deliverer, masker, webhook(headers={"x-any": value, "x-api-client-token": "${secret:token}"})).recipe
    raw = json.dumps({"event_type": "AccessRequestCreated", "event_time": 1, "data": {"id": note}})
    draft = recipe.draft(claimed(raw=raw), now=NOW)

    assert recipe.form is not None
    sent, shown = recipe.prepared(draft)
    assert recipe.form.fill(draft) == request_bytes(_to_request(sent))
    assert recipe.form.show(draft) == deliverer.shown(shown)


async def test_a_webhook_with_an_authority_of_its_own_uses_its_own_connections(
    receiver: Receiver, deliverer: Deliverer, masker: Masker, send: Send, ca_file: Path
) -> None:
    """Never one that was verified by another, whichever way it goes."""
    pem = ca_file.read_text()
    ways = Ways(deliverer, masker, webhook(tls={"ca": "${secret:ca}"}), secrets={**SECRETS, "ca": pem})
    await send()
    assert ways.begin(lambda _: None) is None

    assert (await ways.long()).status == 200
    assert (await ways.short()).status == 200

    assert [request.connection for request in receiver.requests] == [1, 2, 2]
