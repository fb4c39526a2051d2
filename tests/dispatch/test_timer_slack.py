"""How late a thread is woken."""

import sys
import threading
from pathlib import Path

import pytest

from reconciler.timer_slack import set_timer_slack


@pytest.mark.parametrize("nanoseconds", [1, 300_000])
def test_it_holds_for_the_thread_that_asks(nanoseconds: int) -> None:
    """On Linux; elsewhere nothing happens."""
    found: list[int] = []

    def ask() -> None:
        set_timer_slack(7_000)
        if sys.platform == "linux":
            assert set_timer_slack(nanoseconds) == 7_000
        told = Path(f"/proc/{threading.get_native_id()}/timerslack_ns")
        found.append(int(told.read_text()) if sys.platform == "linux" else nanoseconds)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

    assert found == [nanoseconds]
