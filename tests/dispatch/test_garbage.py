"""What is set apart from the search for garbage, and that the search goes on."""

import gc
import threading
import weakref

from reconciler.dispatch.garbage import set_apart


class Thing:
    pass


def test_what_is_made_within_is_set_apart_and_freed_all_the_same() -> None:
    before = gc.get_freeze_count()

    with set_apart():
        assert not gc.isenabled()
        things = [Thing() for _ in range(10_000)]

    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    assert frozen - before >= 10_000
    last = weakref.ref(things[-1])
    things.clear()
    assert last() is None
    assert gc.get_freeze_count() <= frozen - 10_000


def test_the_search_goes_on_when_the_last_block_is_over() -> None:
    """One thread's block ends within another's."""
    began, over = threading.Event(), threading.Event()

    def other() -> None:
        with set_apart():
            began.set()
            over.wait(10)

    thread = threading.Thread(target=other)
    with set_apart():
        thread.start()
        assert began.wait(10)
    within = gc.isenabled()
    over.set()
    thread.join(10)

    assert not within
    assert gc.isenabled()


def test_the_search_goes_on_after_an_error() -> None:
    try:
        with set_apart():
            raise ValueError
    except ValueError:
        pass

    assert gc.isenabled()
