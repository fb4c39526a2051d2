"""The chaos suite: daemons as processes, killed, stopped, starved and lied to; `pytest -m chaos` runs it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos_room import Chaos
from workshop import Workshop, wait_until


@pytest.fixture
def workshop(tmp_path: Path, command_env: dict[str, str]) -> Iterator[Workshop]:
    """A `Workshop`; every process it started is ended, by its id, afterwards."""
    made = Workshop(tmp_path, {**command_env, "PYTHONUNBUFFERED": "1", "HOME": os.fspath(tmp_path)})
    yield made
    for process in made.processes:
        process.kill()


@pytest.fixture
def chaos(workshop: Workshop) -> Chaos:
    return Chaos(workshop)


@pytest.fixture
def eventually() -> Callable[..., object]:
    """`eventually(fact, timeout=…, what=…)`."""
    return wait_until
