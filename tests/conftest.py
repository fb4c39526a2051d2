"""Fixtures that several rooms share: sample events and the command as people run it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A busy machine, or the first run after a clone, which builds hypothesis's tables of Unicode, is no failure of a law
settings.register_profile("reconciler", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reconciler")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's cache folder is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def event_files() -> tuple[Path, ...]:
    """Every sample event, hostile ones included."""
    return tuple(sorted((DATA / "events").glob("*.json")))


@pytest.fixture
def sample_event() -> dict[str, Any]:
    """A plain event that may be changed."""
    return json.loads((DATA / "events" / "created_single_resource.json").read_text())


@pytest.fixture(scope="session")
def command_env() -> dict[str, str]:
    """The environment of a command: ours without what would change its output. Copy it to change it."""
    dropped = ("NO_COLOR", "FORCE_COLOR", "CI", "GITHUB_SHA", "CI_COMMIT_SHA", "GITHUB_ACTOR")
    return {key: value for key, value in os.environ.items() if key not in dropped and not key.startswith("RECONCILER_")}


@pytest.fixture
def reconciler(tmp_path: Path, command_env: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`reconciler(*args)` in `tmp_path`; fails the test unless the exit code is the expected one (`code=0`)."""

    def run(
        *args: str, code: int | None = 0, stdin: str = "", env: dict[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *args],
            cwd=tmp_path,
            env={**command_env, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
