"""`reconciler` with its longer write transactions told: `python timed.py FILE ARG…` runs the command ARG….

Used by `apply_under_load.py`. FILE gets a line of JSON for each transaction that took TOLD_SECONDS or more, from the
first verb, when the write lock is held, until the commit is on disk, a checkpoint it made included.
"""

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import apsw

from reconciler.cli.main import main
from reconciler.store.sqlite import thread

TOLD_SECONDS: Final = 0.02


def tell_transactions(file: Path) -> None:
    """Have the store write its longer transactions to the file."""
    gather, commit = thread.WriteThread._gather, thread._commit
    began = [0.0]

    def timed_gather(self: thread.WriteThread, db: apsw.Connection, group: list[Any]) -> bool:
        began[0] = time.monotonic()
        return gather(self, db, group)

    def timed_commit(db: apsw.Connection, group: list[Any]) -> bool:
        done = commit(db, group)
        seconds = time.monotonic() - began[0]
        if seconds >= TOLD_SECONDS:
            verbs = sorted({call.function.__qualname__ for call in group if hasattr(call.function, "__qualname__")})
            with file.open("a", encoding="utf-8") as told:
                told.write(json.dumps({"ended_at": time.time(), "seconds": seconds, "verbs": verbs}) + "\n")
        return done

    thread.WriteThread._gather = timed_gather  # type: ignore[method-assign]
    thread._commit = timed_commit


def tell_collections(file: Path) -> None:
    """Have the interpreter write its longer collections of garbage to the file."""
    began = [0.0]

    def told(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            began[0] = time.monotonic()
        elif (seconds := time.monotonic() - began[0]) >= TOLD_SECONDS:
            with file.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"ended_at": time.time(), "gc_seconds": seconds, **info}) + "\n")

    gc.callbacks.append(told)


if __name__ == "__main__":
    told = Path(sys.argv.pop(1))
    tell_transactions(told)
    tell_collections(told)
    main()
