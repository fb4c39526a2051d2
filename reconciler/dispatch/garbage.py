"""The interpreter's search for garbage, kept from what lives as long as a revision does.

Used by `dispatch.live` while it makes some hundred objects for each webhook, and by `web.state` for what it makes them
of. A full search looks at every object there is and nothing else runs meanwhile: with 10,000 webhooks half a second,
several times while they are made, and then again whenever traffic has made a quarter as many. What is set apart here is
still freed when nothing refers to it.
"""

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_users = 0


@contextlib.contextmanager
def set_apart() -> Iterator[None]:
    """No search while the block runs, and from then on none in anything that exists at its end.

    Rings of objects that are garbage by then are never found, so this is not for what is done often. Blocks of several
    threads and tasks may overlap.
    """
    global _users
    with _lock:
        if not _users:
            gc.collect(1)  # what is young and garbage is found in a moment
            gc.disable()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            gc.freeze()
            if not _users:
                gc.enable()
