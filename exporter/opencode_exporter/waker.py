"""
Time and waiting, passed in so that tests step them by hand.

Nothing else in the project reads a clock or waits for one.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The time of day and a stopwatch."""

    def now_ms(self) -> int:
        """Return Unix milliseconds of this machine's clock."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """Return Unix milliseconds of this machine's clock."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that never step."""
        return time.monotonic()
