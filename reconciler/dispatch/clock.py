"""Time and chance as the dispatcher takes them, so that a test can turn them.

Given to the worker by whoever runs it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` in ms since the epoch, `monotonic` in seconds, `rand` in [0, 1)."""

    now: Callable[[], int]
    monotonic: Callable[[], float]
    rand: Callable[[], float] = random.random
