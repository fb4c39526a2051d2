"""From a name to its addresses by the system's resolver; called by `egress.dial`, which judges what comes back."""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # (host, port) to IP addresses; raises OSError


class SystemResolver:
    """The system's `getaddrinfo`, one look-up per name at a time, each in a daemon thread of its own.

    A name server that hangs thus holds one thread per name instead of filling the loop's shared pool, and never keeps
    the process from ending.
    """

    def __init__(self) -> None:
        self._pending: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name in the system's order. Raises OSError (socket.gaierror)."""
        key = (host, port)
        future = self._pending.get(key)
        if future is None:
            future = self._pending[key] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda done: self._forget(key, done))
            thread = threading.Thread(target=_look_up_in_thread, args=(host, port, future), daemon=True, name="resolve")
            try:
                thread.start()
            except RuntimeError as exc:
                future.cancel()
                raise OSError("the system gives no more threads") from exc
        return await asyncio.shield(future)

    def _forget(self, key: tuple[str, int], done: asyncio.Future[Sequence[str]]) -> None:
        del self._pending[key]
        if not done.cancelled():
            done.exception()  # who asked may have given up


def _look_up_in_thread(host: str, port: int, future: "asyncio.Future[Sequence[str]]") -> None:
    loop = future.get_loop()
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except Exception as exc:
        _settle(loop, functools.partial(future.set_exception, exc))
    else:
        addresses = tuple(dict.fromkeys(str(info[4][0]) for info in infos))
        _settle(loop, functools.partial(future.set_result, addresses))


def _settle(loop: asyncio.AbstractEventLoop, settle: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed while the name server was silent
        loop.call_soon_threadsafe(settle)
