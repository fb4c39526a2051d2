"""The whole product as processes: sandbox, daemon and commands, all on loopback, in one temporary folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from workshop import Workshop, wait_until


@pytest.fixture
def workshop(tmp_path: Path, command_env: dict[str, str]) -> Iterator[Workshop]:
    """A `Workshop`; every process it started is ended, by its id, afterwards."""
    made = Workshop(tmp_path, {**command_env, "PYTHONUNBUFFERED": "1", "HOME": os.fspath(tmp_path)})
    yield made
    for process in made.processes:
        process.kill()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """`eventually(fact, timeout=…, what=…)`."""
    return wait_until


@pytest.fixture
def post() -> Callable[..., httpx.Response]:
    """POST to a daemon, trying again while it is away, as a careful sender does."""

    def send(url: str, body: bytes, **headers: str) -> httpx.Response:
        return httpx.post(f"{url}/v1/events", content=body, headers=headers, timeout=10)

    return send
