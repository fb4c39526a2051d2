"""Fixtures of this room: the event schema and the sample events."""

from pathlib import Path
from typing import Any

import pytest

from reconciler import jsontext
from reconciler.models.event import event_schema


@pytest.fixture
def schema() -> dict[str, Any]:
    """The schema of access-request events."""
    return event_schema()


@pytest.fixture
def events(event_files: tuple[Path, ...]) -> dict[str, Any]:
    """Every sample event by file name, with the digits of its numbers."""
    return {path.stem: jsontext.loads(path.read_bytes()) for path in event_files}
