"""Signed deliveries end to end: an independent receiver verifies them, keys rotate, nothing leaves unsigned."""

import base64
import hashlib
import hmac
import io
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Receiver
from standardwebhooks import WebhookVerificationError
from worker_room import HOST, START, WorkerRoom, flow, open_worker, until

from reconciler.dispatch.clock import Clock
from reconciler.models.delivery import Action, Intervention
from reconciler.observe.log import configure, silence
from reconciler.request.sign import SIGNATURE_HEADER, PrivateKey, parse_public_key, parse_signer, private_text
from reconciler.sandbox.script import Line
from reconciler.store.operate import Selection, Terms

OLD = "whsec_" + base64.b64encode(b"old-old-old-old-old-old-old!").decode()
NEW = "whsec_" + base64.b64encode(b"new-new-new-new-new-new-new!").decode()
PRIVATE = private_text(bytes(range(32)))
REAL = Clock(now=lambda: time.time_ns() // 1_000_000, monotonic=time.monotonic, rand=lambda: 0.5)
HOUR = 3600


def bindings(folder: Path, **values: str) -> Path:
    """A binding file whose values stand in files beside it."""
    for name, value in values.items():
        (folder / name).write_text(value)
    path = folder / "secrets.yaml"
    path.write_text("".join(f"{name}: {{from: file:{name}, hosts: [{HOST}]}}\n" for name in values))
    path.chmod(0o600)
    return path


def at(seconds: int) -> str:
    """A time so many seconds after the room's clock began."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START // 1000 + seconds))


def sent(room: WorkerRoom) -> list[tuple[str, dict[str, str]]]:
    """Body and headers of what came in."""
    return [(request.body, dict(request.headers)) for request in room.sandbox.requests]


def is_signed_by(key: str, body: str, headers: dict[str, str]) -> bool:
    """Whether a signature of a request is that of a whsec_ key, reckoned by the specification."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    mac = hmac.new(base64.b64decode(key.removeprefix("whsec_")), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}" in headers[SIGNATURE_HEADER].split(" ")


async def waits(room: WorkerRoom, why: str) -> None:
    """Until the one delivery says why it waits."""

    async def says_so() -> bool:
        delivery = await room.only()
        return delivery.state == "pending" and delivery.note is not None and why in delivery.note

    await until(says_so, what=f"a delivery that waits: {why}")


async def delivered(room: WorkerRoom, count: int) -> None:
    await until(lambda: len(room.sandbox.requests) == count, what=f"{count} requests")
    await room.settled()


async def test_a_receiver_with_the_old_or_with_the_new_key_verifies_a_rotation(tmp_path):
    """The `standardwebhooks` package as receiver; a third key does not verify; ed25519 stands beside them."""
    keys = [{"key": "${secret:old}"}, {"key": "${secret:new}"}, {"key": "${secret:private}"}]
    secrets = bindings(tmp_path, old=OLD, new=NEW, private=PRIVATE)
    signed = flow("a", signing={"keys": keys}, body_template='{"who": "{{data.requester.name}}"}')
    async with open_worker(tmp_path, signed, secrets=secrets, clock=REAL) as room:
        await room.start()
        await room.take("r-1", requester={"name": 'Zoë "Z" 田中'})
        await delivered(room, 1)

        [(body, headers)] = sent(room)
        for key in (OLD, NEW):
            assert Receiver(key).verify(body.encode(), headers) == {"who": 'Zoë "Z" 田中'}
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            Receiver("whsec_" + base64.b64encode(b"x" * 24).decode()).verify(body.encode(), headers)
        signer = parse_signer(PRIVATE)
        assert isinstance(signer, PrivateKey)
        last = headers[SIGNATURE_HEADER].split(" ")[-1]
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
        parse_public_key(signer.public_text()).verify(base64.b64decode(last.removeprefix("v1a,")), content)


async def test_each_attempt_is_signed_anew_with_the_same_id(tmp_path):
    """A receiver that refuses old timestamps takes the last attempt of four days too."""
    secrets = bindings(tmp_path, old=OLD)
    signed = flow("a", signing={"keys": [{"key": "${secret:old}"}]}, retry={"schedule": ["1h"]})
    async with open_worker(tmp_path, signed, secrets=secrets) as room:
        room.sandbox.add_script(Line(status=500))
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.turn(HOUR)
        await room.settled()

        first, second = sent(room)
        assert first[1]["webhook-id"] == second[1]["webhook-id"] == (await room.only()).id
        assert int(second[1]["webhook-timestamp"]) - int(first[1]["webhook-timestamp"]) == HOUR
        assert is_signed_by(OLD, *first)
        assert is_signed_by(OLD, *second)


@pytest.mark.parametrize("has_new_id", [False, True])
async def test_a_replay_is_signed_anew_under_the_id_that_it_is_sent_with(tmp_path, has_new_id):
    """The signature covers the webhook-id that the receiver sees, be it the old one or a new one."""
    secrets = bindings(tmp_path, old=OLD)
    async with open_worker(tmp_path, flow("a", signing={"keys": [{"key": "${secret:old}"}]}), secrets=secrets) as room:
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.turn(HOUR)
        replay = Intervention("k1", Action.REPLAY, room.clock.at, "ann")
        await room.store.intervene(Selection(), replay, terms=Terms(is_new_id=has_new_id))
        room.worker.wake()
        await delivered(room, 2)

        first, second = sent(room)
        assert is_signed_by(OLD, *second)
        assert (first[1]["webhook-id"] != second[1]["webhook-id"]) is has_new_id
        assert int(second[1]["webhook-timestamp"]) - int(first[1]["webhook-timestamp"]) == HOUR


async def test_a_delivery_waits_until_a_key_is_valid_and_again_once_none_is(tmp_path):
    """Windows open and close by the clock alone; meanwhile nothing leaves unsigned."""
    window = {"key": "${secret:old}", "not_before": at(HOUR), "not_after": at(2 * HOUR)}
    async with open_worker(
        tmp_path, flow("a", signing={"keys": [window]}), secrets=bindings(tmp_path, old=OLD)
    ) as room:
        await room.start()
        await room.take("r-1")
        await waits(room, f"nothing is sent unsigned: the next signing key begins at {at(HOUR)}")
        assert (await room.only()).attempts == 0

        room.turn(HOUR)
        await delivered(room, 1)
        assert is_signed_by(OLD, *sent(room)[0])

        room.turn(HOUR)
        await room.take("r-2")
        ended = f"nothing is sent unsigned: the last signing key ended at {at(2 * HOUR)}"

        async def waits_again() -> bool:
            return [item.note for item in await room.deliveries() if item.state == "pending"] == [ended]

        await until(waits_again, what="the second delivery waits")
        assert len(room.sandbox.requests) == 1


async def test_a_key_that_has_ended_may_be_gone_and_one_that_comes_may_be_missing(tmp_path):
    keys = [
        {"key": "${secret:gone}", "not_after": at(-HOUR)},
        {"key": "${secret:old}"},
        {"key": "${secret:coming}", "not_before": at(HOUR)},
    ]
    async with open_worker(tmp_path, flow("a", signing={"keys": keys}), secrets=bindings(tmp_path, old=OLD)) as room:
        await room.start()
        await room.take("r-1")
        await delivered(room, 1)
        assert is_signed_by(OLD, *sent(room)[0])

        room.turn(HOUR)
        await room.take("r-2")
        await until(lambda: any_note(room, "secret `coming` is not bound"), what="the coming key is missed")
        assert len(room.sandbox.requests) == 1


async def any_note(room: WorkerRoom, why: str) -> bool:
    return any(why in (delivery.note or "") for delivery in await room.deliveries())


async def test_a_value_that_is_no_key_holds_deliveries_until_it_is_mended(tmp_path):
    """The reason names the secret and what is wrong, never the value."""
    bad = "c4n4ry-not-a-key-c4n4ry"
    secrets = bindings(tmp_path, old=bad)
    signed = flow("a", signing={"keys": [{"key": "${secret:old}"}]})
    log_text = io.StringIO()
    configure("text", log_text)
    try:
        async with open_worker(tmp_path, signed, secrets=secrets) as room:
            await room.start()
            await room.take("r-1")
            await waits(room, "secret `old` is no signing key: it begins with neither whsec_ nor whsk_")

            (tmp_path / "old").write_text(OLD)
            await delivered(room, 1)
            assert is_signed_by(OLD, *sent(room)[0])
            facts = f"{log_text.getvalue()}{await room.deliveries()}"
    finally:
        silence()
    assert "c4n4ry" not in facts


async def test_no_key_is_kept_and_an_echoed_one_is_masked(tmp_path):
    """Not in the store, the write-ahead log or the daemon's log; also not without its prefix, as receivers show it."""
    secrets = bindings(tmp_path, old=OLD, private=PRIVATE)
    keys = [{"key": "${secret:old}"}, {"key": "${secret:private}"}]
    log_text = io.StringIO()
    configure("json", log_text)
    try:
        async with open_worker(tmp_path, flow("a", signing={"keys": keys}), secrets=secrets) as room:
            bare = [key.partition("_")[2] for key in (OLD, PRIVATE)]
            room.sandbox.add_script(Line(status=400, body=" ".join(bare)))
            await room.start()
            await room.take("r-1")
            await room.settled()

            [attempt] = await room.attempts()
            assert attempt.result["response"]["body"] == "*** ***"
            assert attempt.result["request"]["headers"][SIGNATURE_HEADER] == sent(room)[0][1][SIGNATURE_HEADER]
            stored = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
            assert b"webhook-signature" in stored
            for text in bare:
                assert text.encode() not in stored
                assert text not in log_text.getvalue()
    finally:
        silence()
