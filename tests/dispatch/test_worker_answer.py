"""What an answer says, beside its status: validators and `webhook-delivery`, through the worker."""

from worker_room import flow, open_worker, until

from reconciler.sandbox.script import Line

WANTS_OK = [{"json_path": "$.data.status", "expected_values": ["ok"]}]
ABORT = {"webhook-delivery": "abort-message"}


async def test_a_2xx_whose_validator_fails_is_tried_again_with_the_reason_in_the_record(tmp_path):
    """*Delivered* is a 2xx whose validators hold."""
    judged = flow("a", response_validators=WANTS_OK, retry={"schedule": ["5s"]})
    async with open_worker(tmp_path, judged) as room:
        room.sandbox.add_script(Line(status=200, body={"data": {"status": "busy"}}))
        room.sandbox.add_script(Line(status=202, body={"data": {"status": "ok"}}))
        await room.start()
        await room.take("r-1")
        await room.settled()

        delivery = await room.only()
        assert (delivery.state, delivery.outcome) == ("pending", "retryable")
        [attempt] = await room.attempts()
        assert (attempt.result["fault"], attempt.result["status"]) == ("validator", 200)
        assert attempt.result["detail"].endswith('$.data.status is "busy", expected "ok"')

        room.turn(5)
        await room.settled()
        assert ((await room.only()).state, (await room.only()).attempts) == ("delivered", 2)


async def test_a_validator_that_never_holds_ends_exhausted(tmp_path):
    judged = flow("a", response_validators=WANTS_OK, retry={"schedule": ["1s"], "max_attempts": 2})
    async with open_worker(tmp_path, judged) as room:
        await room.start()
        await room.take("r-1")
        await room.settled()
        room.turn(1)
        await room.settled()

        delivery = await room.only()
        assert (delivery.state, delivery.reason) == ("dead", "exhausted")
        assert len(room.sandbox.requests) == 2


async def test_a_receiver_that_may_ends_a_failed_delivery_for_good(tmp_path):
    """Opted in, and only there."""
    heeding = flow("a", retry={"schedule": ["1s"], "honour_webhook_delivery": True})
    deaf = flow("b", retry={"schedule": ["1s"]})
    async with open_worker(tmp_path, heeding, deaf) as room:
        room.sandbox.add_script(Line(status=500, headers=ABORT, times=9))
        await room.start()
        await room.take("r-1")
        await room.settled()

        [ended] = await room.deliveries("a")
        assert (ended.state, ended.reason, ended.attempts) == ("dead", "permanent", 1)
        found = await room.store.delivery(ended.id)
        assert found is not None
        assert found[1][0].result["detail"].endswith("(webhook-delivery: abort-message)")
        [waiting] = await room.deliveries("b")
        assert (waiting.state, waiting.attempts) == ("pending", 1)


async def test_a_receiver_that_may_pauses_the_webhook_for_good(tmp_path):
    """`disable` says what a 410 says: what was taken is delivered, what was not stays pending, nothing more is sent."""
    heeding = flow("a", retry={"schedule": ["1s"], "honour_webhook_delivery": True}, ordering="none")
    async with open_worker(tmp_path, heeding) as room:
        room.sandbox.add_script(Line(status=200, headers={"webhook-delivery": "disable"}))
        await room.start()
        await room.take("r-1")
        await room.settled()
        await room.take("r-2")

        async def is_paused() -> bool:
            halts = await room.store.halts()
            return any(halt.pause is not None for halt in halts.values())

        await until(is_paused, what="a pause")
        room.turn(3600)
        await room.settled()
        assert [delivery.state for delivery in await room.deliveries()] == ["delivered", "pending"]
        assert len(room.sandbox.requests) == 1
