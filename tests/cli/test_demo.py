"""`reconciler demo`: what a newcomer runs first."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Demo = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def demo(tmp_path: Path, command_env: dict[str, str]) -> Iterator[Demo]:
    """Starts demos whose temporary folder is `tmp_path`; ends what a failed test leaves."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "demo", *args],
            cwd=tmp_path,
            env={**command_env, "TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as a shell's job: Ctrl-C signals the group
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_until(process: subprocess.Popen[str], part: str) -> str:
    """The output up to the line that holds `part`."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if part in line:
            return seen
    raise AssertionError(f"ended without: {part}\n{seen}")


def rest_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.read()


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def test_the_whole_path_is_shown_then_kept_until_ctrl_c_and_leaves_nothing(demo: Demo, tmp_path: Path) -> None:
    """Every step shows its command; the page answers; another terminal can join; then folder and servers are gone."""
    process = demo("--keep")

    told = read_until(process, "Ctrl-C ends")
    shown = re.findall(r"^\$ (?:reconciler )?(\S+)", told, re.MULTILINE)
    page = re.search(r"The page is at (\S+)", told)
    join = re.search(r"^ +(cd .* && \. \./demo\.env)$", told, re.MULTILINE)
    assert page and join, told
    answer = urllib.request.urlopen(page[1], timeout=30).read().decode()
    listed = subprocess.run(
        ["bash", "-c", f"{join[1]} && reconciler test okta-audit-trail && reconciler send events.jsonl"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    press_ctrl_c(process)

    words = "validate plan apply plan cat sandbox export export export test run send webhooks deliveries deliveries"
    assert shown == [*words.split(), "$EDITOR", "plan", "apply", "history"]
    assert "429 Too Many Requests" in told and 'a\\"b@example.com' in told
    assert "9 events, 21 deliveries, 22 requests over TLS; nothing left this machine." in told
    assert "Plan: 0 to add, 1 to change, 0 to destroy." in told
    assert "demo-0123" not in told  # the token's value
    assert "okta-audit-trail" in answer
    assert (listed.returncode, "Test successful" in listed.stdout, "9 duplicates" in listed.stderr) == (0, True, True)
    assert "ended" in rest_of(process)
    assert process.wait(timeout=60) == 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError):
        urllib.request.urlopen(page[1], timeout=30)


@pytest.mark.parametrize("end", [press_ctrl_c, subprocess.Popen.terminate])
def test_an_interrupted_demo_leaves_nothing(demo: Demo, tmp_path: Path, end: Callable[..., None]) -> None:
    """At a moment when the sandbox serves and a command runs."""
    process = demo()

    ready = read_until(process, "ready: ").splitlines()[-1].removeprefix("ready: ")
    end(process)

    assert "interrupted" in rest_of(process)
    assert process.wait(timeout=60) == 130
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError):
        urllib.request.urlopen(ready, timeout=30)
