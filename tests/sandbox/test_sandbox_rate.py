"""Ten invocations in any second, per flow; a clock of the test's own says how late it is."""

from dataclasses import dataclass

import pytest

from reconciler.sandbox.flow import Flow
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings

ALIAS = "0123456789abcdef0123456789abcdef"
OTHER = "/api/flo/fedcba9876543210fedcba9876543210/invoke"


@dataclass
class Clock:
    """Seconds since the sandbox began; the epoch is 1,000 s behind."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def epoch(self) -> float:
        return 1_000.0 + self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def start(clock, connect):
    """A sandbox on the test's clock, by its settings."""
    return lambda **settings: OktaSandbox(SandboxSettings(**settings), monotonic=clock.monotonic, epoch=clock.epoch)


async def statuses(client, count, path=f"/api/flo/{ALIAS}/invoke"):
    return [(await client.send("POST", path)).status_code for _ in range(count)]


async def test_the_eleventh_invocation_of_a_second_is_429(start, connect, clock):
    """With the body and the headers of Okta's export cards, and Retry-After."""
    async with start() as sandbox, connect(sandbox) as client:
        assert await statuses(client, 10) == [200] * 10
        clock.now = 0.4
        refused = await client.send()

    assert refused.status_code == 429
    assert refused.text == "Too many requests."
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-rate-limit-limit"] == "10"
    assert refused.headers["x-rate-limit-remaining"] == "0"
    assert refused.headers["x-rate-limit-reset"] == "1001"


async def test_the_window_slides(start, connect, clock):
    """A place is free again one second after it was taken, not at the turn of a second."""
    async with start(rate=2) as sandbox, connect(sandbox) as client:
        clock.now = 0.5
        assert await statuses(client, 1) == [200]
        clock.now = 0.75
        assert await statuses(client, 1) == [200]
        clock.now = 1.4375
        assert await statuses(client, 1) == [429]
        clock.now = 1.5
        assert await statuses(client, 2) == [200, 429]
        clock.now = 1.75
        assert await statuses(client, 2) == [200, 429]


async def test_a_refused_request_takes_no_place(start, connect, clock):
    """Neither a 429 nor a 401 counts as an invocation."""
    async with start(rate=1, flows=(Flow(ALIAS, "token"),)) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 3) == [401, 401, 401]
        assert await statuses(client, 2, f"/api/flo/{ALIAS}?clientToken=token") == [200, 429]
        clock.now = 1.0
        assert await statuses(client, 1, f"/api/flo/{ALIAS}?clientToken=token") == [200]


async def test_flows_have_windows_of_their_own(start, connect):
    async with start(rate=1) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 2) == [200, 429]
        assert await statuses(client, 2, OTHER) == [200, 429]


async def test_the_token_and_the_alias_of_a_flow_share_a_window(start, connect):
    async with start(rate=1, flows=(Flow(ALIAS, "token"),)) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 1, f"/api/flo/{ALIAS}?clientToken=token") == [200]
        assert await statuses(client, 1, "/api/flo/token") == [429]


async def test_the_rate_can_be_off(start, connect):
    async with start(rate=None) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 30) == [200] * 30
