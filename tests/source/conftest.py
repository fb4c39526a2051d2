"""A room to take events into: one webhook that wants created requests, one that wants approved ones."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from served import Room, open_room, webhook


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """A store at revision 1 with intake over it."""
    approved = webhook("approved", triggers=["RequestApproved"])
    async with open_room(tmp_path, webhook("created"), approved) as opened:
        yield opened
