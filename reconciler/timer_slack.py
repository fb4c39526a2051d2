"""How late Linux may wake a thread that waits for a time: 50 microseconds unless told otherwise. Used by the daemon's
loop and by the threads of every store, which wait for the interpreter's lock that way."""

import contextlib
import threading
from pathlib import Path


def set_timer_slack(nanoseconds: int) -> int | None:
    """Let this thread, and those threads and processes that it makes from now on, be woken so much later than asked for
    (`proc(5)`, timerslack_ns); returns what held before. Does nothing on other systems, and returns None."""
    told = Path(f"/proc/{threading.get_native_id()}/timerslack_ns")
    with contextlib.suppress(OSError, ValueError):
        before = int(told.read_text())
        told.write_text(str(nanoseconds))
        return before
    return None
