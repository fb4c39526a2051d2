"""All or nothing: two applies at once, and an apply that is killed."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apply_folder import Called, Folder, manifest

Call = Callable[..., Called]
KILLS = 5


def start(folder: Folder, env: dict[str, str], *args: str) -> "subprocess.Popen[bytes]":
    """A command in the folder, its output thrown away."""
    return subprocess.Popen(
        [sys.executable, "-m", "reconciler", *args],
        cwd=folder.path,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def run(folder: Folder, env: dict[str, str], *args: str) -> int:
    """Its exit code."""
    return start(folder, env, *args).wait(60)


def test_of_two_applies_from_one_base_one_wins(folder: Folder, call: Call, command_env: dict[str, str]) -> None:
    """One exits 0, the other 4; the store holds the winner's state and nothing of the loser's."""
    folder.declare("base")
    assert call("apply", "--auto-approve").code == 0
    plans = {"one": ["base", "one"], "two": ["base", "two"]}
    for name, declared in plans.items():
        folder.declare(*declared)
        assert call("plan", "--out", f"{name}.json").code == 0

    with ThreadPoolExecutor(2) as pool:
        codes = dict(
            zip(
                plans,
                pool.map(lambda name: run(folder, command_env, "apply", "--plan", f"{name}.json"), plans),
                strict=True,
            )
        )

    winner = next(name for name, code in codes.items() if code == 0)
    assert sorted(codes.values()) == [0, 4]
    assert asyncio.run(folder.names()) == (2, plans[winner])


def test_of_two_first_applies_one_wins(folder: Folder, call: Call, command_env: dict[str, str]) -> None:
    """Also where both find no store and make it."""
    folder.declare("a")
    for name in ("one", "two"):
        assert call("plan", "--out", f"{name}.json").code == 0

    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda name: run(folder, command_env, "apply", "--plan", f"{name}.json"), ("one", "two")))

    assert sorted(codes) == [0, 4]
    assert asyncio.run(folder.names()) == (1, ["a"])


def test_a_killed_apply_leaves_the_old_revision_or_the_new_one(
    folder: Folder, call: Call, command_env: dict[str, str]
) -> None:
    """kill -9 at moments spread over the apply; the next apply then finds a sound store and finishes the job."""
    old, new = [f"hook-{number:03}" for number in range(100)], [f"hook-{number:03}" for number in range(600)]
    folder.declare(*old)
    assert call("apply", "--auto-approve").code == 0
    folder.write(*(manifest(name, {"title": "new"}) for name in new))
    assert call("plan", "--out", "plan.json").code == 0
    keep_copy(folder.path, "base")
    began = time.monotonic()
    assert run(folder, command_env, "apply", "--plan", "plan.json") == 0
    duration = time.monotonic() - began

    for number in range(KILLS):
        restore_copy(folder.path, "base")
        process = start(folder, command_env, "apply", "--plan", "plan.json")
        try:
            process.wait(duration * (0.5 + number / KILLS / 2))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

        assert asyncio.run(folder.names()) in ((1, old), (2, new))

    assert call("apply", "--auto-approve").code == 0
    assert asyncio.run(folder.names()) == (2, new)


def keep_copy(folder: Path, name: str) -> None:
    """The store's files as they are."""
    (folder / name).mkdir()
    for file in folder.glob("reconciler.db*"):
        shutil.copy(file, folder / name)


def restore_copy(folder: Path, name: str) -> None:
    """The store's files as they were."""
    for file in folder.glob("reconciler.db*"):
        file.unlink()
    for file in (folder / name).iterdir():
        shutil.copy(file, folder)


def test_json_and_exit_code_agree_for_the_loser(folder: Folder, call: Call, command_env: dict[str, str]) -> None:
    """The loser's document is not printed as if it had been applied."""
    folder.declare("a")
    assert call("plan", "--out", "plan.json").code == 0
    assert run(folder, command_env, "apply", "--plan", "plan.json") == 0

    loser = subprocess.run(
        [sys.executable, "-m", "reconciler", "apply", "--plan", "plan.json", "--format", "json"],
        cwd=folder.path,
        env=command_env,
        capture_output=True,
        check=False,
    )

    assert loser.returncode == 4
    assert loser.stdout == b""
