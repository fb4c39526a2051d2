"""Which connection is handed out, which is kept and which is closed; the connections are stand-ins."""

import asyncio
from dataclasses import dataclass, field

import pytest

from reconciler.egress.exchange import Exchange
from reconciler.egress.pool import IDLE_MAX_PER_NAME, Origin, Pool

NAME = Origin("hooks.example.com", 443)
OTHER = Origin("other.example.com", 443)


@dataclass
class Link:
    """A connection whose other side does as it is told."""

    number: int
    born_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    has_ended: bool = False
    has_bytes: bool = False
    is_aborted: bool = False

    def serve(self, exchange: Exchange) -> None:
        exchange.is_reused = True

    def is_ended(self) -> bool:
        return self.has_ended or self.is_aborted

    def is_readable(self) -> bool:
        return self.has_bytes

    def abort(self) -> None:
        self.is_aborted = True


@dataclass
class Room:
    """A pool, and the links it made."""

    made: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool: Pool[Link] = Pool(self._open)

    async def _open(self, origin: Origin, exchange: Exchange) -> Link:
        self.made.append(Link(len(self.made)))
        return self.made[-1]

    async def take(self, count: int = 1, origin: Origin = NAME) -> list[Link]:
        """So many at once."""
        return [await self.pool.ready(origin, Exchange()) for _ in range(count)]

    def give(self, links: list[Link], origin: Origin = NAME) -> None:
        """All of them back."""
        for link in links:
            self.pool.release(origin, link, [])


@pytest.fixture
async def room() -> Room:
    """An empty pool."""
    return Room()


async def test_the_connection_used_last_is_used_next(room: Room) -> None:
    """So that those beyond what is needed grow old and go."""
    room.give(await room.take(3))

    assert [link.number for link in await room.take(3)] == [2, 1, 0]
    assert len(room.made) == 3


async def test_names_share_nothing(room: Room) -> None:
    """Not even where one has plenty."""
    room.give(await room.take(3))

    assert [link.number for link in await room.take(1, OTHER)] == [3]


async def test_idle_connections_are_bounded_per_name(room: Room) -> None:
    """What is beyond is closed when it comes back."""
    links = await room.take(IDLE_MAX_PER_NAME + 5)
    room.give(links)
    room.give(await room.take(1, OTHER), OTHER)

    assert sum(link.is_aborted for link in links) == 5
    assert not room.made[-1].is_aborted


@pytest.mark.parametrize("sign", ["has_ended", "has_bytes"])
async def test_a_connection_that_died_while_idle_is_closed_and_passed_over(room: Room, sign: str) -> None:
    """Also several of them, down to the first that lives."""
    links = await room.take(3)
    room.give(links)
    setattr(links[2], sign, True)
    setattr(links[1], sign, True)

    assert await room.take() == [links[0]]
    assert [link.is_aborted for link in links] == [False, True, True]


async def test_what_ends_during_the_wait_before_the_write_is_replaced_once(room: Room) -> None:
    """The wait is over then: it is not repeated for the new connection."""
    room.give(await room.take())
    waits = 0

    async def before_write() -> None:
        nonlocal waits
        waits += 1
        room.made[0].has_ended = True

    exchange = Exchange(before_write)
    link = await room.pool.ready(NAME, exchange)

    assert (link.number, waits, exchange.is_reused) == (1, 1, False)
    assert room.made[0].is_aborted


async def test_the_deadline_moves_by_what_was_waited(room: Room) -> None:
    """Local pacing is not the receiver's time."""

    async def before_write() -> None:
        await asyncio.sleep(0.02)

    exchange = Exchange(before_write)
    exchange.ends_at = ends_at = exchange.started_at + 5
    await room.pool.ready(NAME, exchange)

    assert exchange.ends_at - ends_at == pytest.approx(exchange.held_seconds)
    assert exchange.held_seconds >= 0.02


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [(b"timeout=5", True), (b"timeout=1", False), (b"max=9, Timeout=0", False), (b"timeout=x", True), (b"", True)],
)
async def test_the_receiver_s_own_patience_counts(room: Room, value: bytes, is_kept: bool) -> None:
    """A connection it will close within a second is not worth the risk."""
    link = (await room.take())[0]
    room.pool.release(NAME, link, [(b"Keep-Alive", value)])

    assert link.is_aborted is not is_kept


async def test_a_closed_pool_keeps_nothing(room: Room) -> None:
    """What is idle closes at once, what is in use when it comes back."""
    used, idle = await room.take(2)
    room.give([idle])

    await room.pool.aclose()
    assert (idle.is_aborted, used.is_aborted) == (True, False)
    room.give([used])

    assert used.is_aborted
