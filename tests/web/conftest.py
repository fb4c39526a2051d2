"""A room to take events into, with webhooks that want created and approved requests; what the daemon logs; a clock."""

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from served import Room, open_room, webhook
from web_token import Clock

from reconciler.observe import log


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """A store at revision 1 with intake over it."""
    approved = webhook("approved", triggers=["RequestApproved"])
    async with open_room(tmp_path, webhook("created"), approved) as opened:
        yield opened


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the daemon logs."""
    stream = io.StringIO()
    log.configure("text", stream)
    yield stream
    log.silence()


@pytest.fixture
def clock() -> Clock:
    """That of the daemon's sessions."""
    return Clock()
