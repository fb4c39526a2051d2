"""A part of a command's work done by a forked process, which has all that its parent has and needs no start of its own.

Called where there is much to do that falls into parts: manifests to judge, a long plan to show. Only where that is
safe: on Linux, while there is one thread. Whoever starts a part does it himself where the process fails.
"""

import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

Work = Callable[[BinaryIO], None]  # writes what it finds out

_DONE: Final = 83  # the exit code of a process that came to its end; what ends early may end with any other
_LENGTH_BYTES: Final = 8
WRITTEN_BYTES: Final = 256 * 1024  # of what a part finds out, handed over at once


def may_fork() -> bool:
    """Whether a part can be started here and now."""
    return sys.platform == "linux" and hasattr(os, "memfd_create") and threading.active_count() == 1


def processors() -> int:
    """How many processes can work at the same time; 1 where none can be forked."""
    return len(os.sched_getaffinity(0)) if may_fork() else 1


@dataclass(slots=True)
class Part:
    """A forked process, and the file in memory that it writes what it finds out to: a pipe would hold it up until
    somebody reads."""

    pid: int
    memory: int
    is_over: bool = False

    @classmethod
    def start(cls, work: Work) -> "Part":
        """Begin; whatever happens then, `end` must be called."""
        memory = os.memfd_create("part")
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError:  # no process or memory is left for it: a part that has failed
            return cls(0, memory, is_over=True)
        if pid == 0:
            _serve(work, memory)
        return cls(pid, memory)

    def result(self) -> BinaryIO | None:
        """Wait for the process; what it wrote, for the caller to close. None where it did not come to its end, whatever
        the reason."""
        if self.is_over:
            return None
        _, status = os.waitpid(self.pid, 0)
        self.is_over = True
        if os.waitstatus_to_exitcode(status) != _DONE:
            return None
        memory, self.memory = os.fdopen(self.memory, "rb"), -1
        memory.seek(0)
        return memory

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1
        if not self.is_over:
            self.is_over = True
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def write_tail(out: BinaryIO, tail: bytes) -> None:
    """What stands behind much else that a process has written, and tells what that is; see `map_tail`."""
    out.write(tail)
    out.write(len(tail).to_bytes(_LENGTH_BYTES, "little"))


def map_tail(memory: BinaryIO) -> tuple[mmap.mmap, bytes]:
    """What a process has written, read as it is asked for, and its tail."""
    written = mmap.mmap(memory.fileno(), 0, prot=mmap.PROT_READ)
    end = len(written) - _LENGTH_BYTES
    return written, written[end - int.from_bytes(written[end:], "little") : end]


def _serve(work: Work, memory: int) -> NoReturn:
    """The whole life of a forked process: nothing of its parent's is cleaned up, flushed or reported by it."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent reports an interruption
        with os.fdopen(memory, "wb", WRITTEN_BYTES) as out:
            work(out)
        status = _DONE
    finally:
        os._exit(status)
