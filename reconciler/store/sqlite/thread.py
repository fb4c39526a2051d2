"""The two threads that own the connections: one writes, in groups; one reads, from a snapshot.

The store's async verbs hand functions to them. Nothing else touches a connection, so verbs need no locks, and a read
never waits for a write: in WAL mode it sees the last commit.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from reconciler.errors import StoreError, StoreLostError
from reconciler.store.sqlite.fault import store_error
from reconciler.timer_slack import set_timer_slack

T = TypeVar("T")
Function = Callable[[apsw.Connection], T]

GROUP_SECONDS: Final = (
    0.05  # a group takes no more verbs after this; with its last verb and the commit it ends under 0.1
)


class _Call:
    """A function on its way to a thread, and what became of it."""

    __slots__ = ("error", "function", "future", "loop", "result")

    def __init__(self, function: Function[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.function = function
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None


class ConnectionThread:
    """A thread with a connection, served calls in order. `close` waits for those already made."""

    def __init__(self, name: str, path: Path, open_connection: Callable[[], apsw.Connection]) -> None:
        self._path = path
        self._open_connection = open_connection
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._is_closed = False
        self._identity: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Function[T]) -> T:
        """Run `function` with the connection and return what it returns, or raise what it raises.

        A caller that is cancelled gives up the answer, not the work.
        """
        if self._is_closed:
            raise StoreError(f"the store is closed: {self._path}")
        call = _Call(function, asyncio.get_running_loop())
        self._calls.put(call)
        result: T = await call.future
        return result

    async def close(self) -> None:
        """Serve what was queued, close the connection, end the thread."""
        if not self._is_closed:
            self._is_closed = True
            self._calls.put(None)
        await asyncio.to_thread(self._thread.join)

    def _main(self) -> None:
        set_timer_slack(1)  # to have the interpreter's lock when it asks for it: `daemon.SWITCH_SECONDS`
        try:
            db = self._open_connection()
            self._identity = _identity(self._path)
        except BaseException as exc:
            self._refuse_all(exc)
            return
        while (call := self._calls.get()) is not None:
            if not self._serve(db, call):
                break
        db.close()

    def _serve(self, db: apsw.Connection, call: _Call) -> bool:
        """Serve this call, and others with it if that is wise; False when the end of the queue was met. Never raises:
        a thread that dies would leave its callers waiting for ever."""
        raise NotImplementedError

    def _check_file(self) -> None:
        """Raise StoreLostError where the path leads to another file than the connection: SQLite would go on with the
        old one, and what it is given would be lost with it."""
        if _identity(self._path) != self._identity:
            raise StoreLostError(
                f"the store's file was deleted or replaced: {self._path}",
                hint="stop what uses a store before moving it",
            )

    def _refuse_all(self, exc: BaseException) -> None:
        while (call := self._calls.get()) is not None:
            call.error = exc
            self._resolve([call])

    def _resolve(self, calls: list[_Call]) -> None:
        """Hand the answers over, in one wake-up of the loop."""
        for call in calls:
            if isinstance(call.error, apsw.Error):
                fault = store_error(call.error, self._path)
                fault.__cause__ = call.error
                call.error = fault
        try:
            calls[0].loop.call_soon_threadsafe(_set_answers, calls)
        except RuntimeError:  # the loop is closed: nobody waits for these any more
            return


class ReadThread(ConnectionThread):
    """Each call sees one snapshot."""

    def _serve(self, db: apsw.Connection, call: _Call) -> bool:
        try:
            with db:
                call.result = call.function(db)
            self._check_file()
        except BaseException as exc:
            call.error = exc
        self._resolve([call])
        return True


class WriteThread(ConnectionThread):
    """Group commit: what is queued is run in one transaction and answered when the commit is on disk. An exception
    undoes its own call only: the group is then run anew, each call in a transaction of its own."""

    def _serve(self, db: apsw.Connection, call: _Call) -> bool:
        group = [call]
        is_last = False
        try:
            db.execute("BEGIN IMMEDIATE")
            is_last = self._gather(db, group)
            if not _commit(db, group) and len(group) > 1:
                _run_one_by_one(db, group)
            self._check_file()
        except BaseException as exc:  # it could not begin, or could not even undo
            for failed in group:
                failed.error = failed.error or exc
        self._resolve(group)
        return not is_last

    def _gather(self, db: apsw.Connection, group: list[_Call]) -> bool:
        """Run the group's first call and those that are queued behind it; True if the end of the queue was met."""
        full_at = time.monotonic() + GROUP_SECONDS
        _run(db, group[0])
        while db.in_transaction and time.monotonic() < full_at:
            try:
                following = self._calls.get_nowait()
            except queue.Empty:
                return False
            if following is None:
                return True
            group.append(following)
            _run(db, following)
        return False


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to; None: to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_answers(calls: list[_Call]) -> None:
    for call in calls:
        if call.future.done():  # its caller was cancelled
            continue
        if call.error is not None:
            call.future.set_exception(call.error)
        else:
            call.future.set_result(call.result)


def _run(db: apsw.Connection, call: _Call) -> None:
    """Run a call in the group's transaction, which is undone with it, unless it has refused before it wrote anything. A
    savepoint for each call would be two statements more, for what hardly ever happens."""
    before = db.total_changes()
    try:
        call.result = call.function(db)
    except BaseException as exc:
        call.error = exc
        is_clean = db.total_changes() == before and not isinstance(exc, apsw.Error)
        if db.in_transaction and not is_clean:  # where the disk is full SQLite has undone it by itself
            db.execute("ROLLBACK")


def _commit(db: apsw.Connection, group: list[_Call]) -> bool:
    """Commit; False if the group is lost, each of its calls then holding an error."""
    lost: BaseException | None = next((call.error for call in group if call.error), None)
    if db.in_transaction:
        try:
            db.execute("COMMIT")
            return True
        except Exception as exc:
            lost = exc
            if db.in_transaction:
                db.execute("ROLLBACK")
    for call in group:
        call.error = call.error or lost
    return False


def _run_one_by_one(db: apsw.Connection, group: list[_Call]) -> None:
    """A group was lost: only the calls that cannot be done, say for want of space, may fail for it."""
    for call in group:
        call.error = call.result = None
        try:
            db.execute("BEGIN IMMEDIATE")
        except apsw.Error as exc:
            call.error = exc
            continue
        _run(db, call)
        _commit(db, [call])
