"""The disk is full, then it is not: 503 acknowledges nothing, what was acknowledged stands, no restart is needed."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chaos_ledger import states
from chaos_room import Chaos

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

TMPFS_MIB = 16
FULL_SECONDS = 4.0  # how long it stays full each time; the worker waits up to five minutes
FULL = "the disk is full"


def fill_and_free(chaos: Chaos, eventually, *, fill, free) -> None:
    """Under load: fill the disk until events are refused, wait, free it until they are taken again; twice."""
    assert chaos.daemon is not None
    with chaos.sender(batch=20) as sender:
        for _ in range(2):
            before = states(chaos.store)["delivered"]
            eventually(lambda before=before: states(chaos.store)["delivered"] > before + 40, what="deliveries")
            refused = len(sender.refused)
            fill()
            eventually(lambda refused=refused: len(sender.refused) > refused, what="a refusal")
            threading.Event().wait(FULL_SECONDS)
            free()
    chaos.finish()

    assert set(sender.refused) == {503}
    chaos.check(sender)
    assert chaos.daemon.is_alive()
    assert any(FULL in line for line in chaos.daemon.lines), "the log does not tell of it"


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_a_store_that_may_not_grow(chaos, eventually, transport):
    """SQLite's own limit of pages: what needs a new one fails, what does not is written."""
    chaos.transport = transport
    chaos.prepare(script='{"every": 7, "status": 500}\n')
    daemon = chaos.start_scripted()

    fill_and_free(
        chaos,
        eventually,
        fill=lambda: daemon.send_signal(signal.SIGUSR1),
        free=lambda: daemon.send_signal(signal.SIGUSR2),
    )


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of TMPFS_MIB; root's to make."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_up(file: Path) -> None:
    """Take every byte that is left."""
    with file.open("ab", buffering=0) as filler:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"x" * size):
                    pass


@contextlib.contextmanager
def on_small_disk(chaos: Chaos) -> Iterator[Path]:
    """The store on a disk of its own; `--min-free off`, or intake would refuse events before the disk is full."""
    with small_disk(chaos.workshop.folder / "disk") as disk:
        env = {**chaos.workshop.env, "RECONCILER_STORE": f"sqlite:///{disk}/reconciler.db"}
        chaos.workshop = replace(chaos.workshop, env=env)
        chaos.store_file = disk / "reconciler.db"
        chaos.options = ("--min-free", "off")
        chaos.prepare(script='{"every": 7, "status": 500}\n')
        chaos.start()
        try:
            yield disk / "filler"
        finally:
            for process in chaos.workshop.processes:
                process.kill()


def full_tmpfs(chaos, eventually):
    """The kernel's refusals, the write-ahead log's included."""
    with on_small_disk(chaos) as filler:
        fill_and_free(chaos, eventually, fill=lambda: fill_up(filler), free=filler.unlink)

        chaos.daemon.send_signal(signal.SIGTERM)
        assert chaos.daemon.wait() == 0


def kill_on_a_full_tmpfs(chaos, eventually):
    """kill -9 while nothing can be written, and a start that is as hopeless: nothing is worse for it afterwards."""
    with on_small_disk(chaos) as filler:
        with chaos.sender(batch=20) as sender:
            eventually(lambda: states(chaos.store)["delivered"] > 40, what="deliveries")
            fill_up(filler)
            eventually(lambda: sender.refused, what="a refusal")
            chaos.daemon.kill()
            started = chaos.workshop.start("run", "--listen", "127.0.0.1:0", *chaos.workshop.egress())
            eventually(
                lambda: not started.is_alive() or "ready: " in "".join(started.lines), what="its end, or its start"
            )
            started.kill()
            filler.unlink()
            chaos.start()
        chaos.finish()

        chaos.check(sender)
        assert "Traceback" not in "\n".join(started.lines)


if os.geteuid() == 0:  # only root can mount; whoever else runs the suite has the limit of pages
    test_a_full_tmpfs = full_tmpfs
    test_a_kill_on_a_full_tmpfs = kill_on_a_full_tmpfs
