"""All or nothing: two applies at once. Applies that are killed stand in `tests/properties`."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from apply_folder import Called, Folder

Call = Callable[..., Called]


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
