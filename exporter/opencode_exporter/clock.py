"""
Time and waiting, passed in so that tests step them by hand.

Nothing else in the project reads a clock or waits for one.
"""

from __future__ import annotations

import math
import time
from typing import Final, Protocol

_STEP_MS: Final = 60_000
_GRACE_S: Final = 600.0


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


def steady_ms(clock: Clock) -> int:
    """Return milliseconds that never step, since some moment in the past."""
    return 1 + int(clock.monotonic() * 1000)


class Patience:
    """
    Says of what was last seen at some time of day whether it has been silent too long.

    The time of day steps: somebody sets it, or the machine sleeps.  What was silent
    in a step ahead gets a while to be heard of; what was seen before a step back
    is silent since that step.
    """

    def __init__(self, clock: Clock, limit_ms: int) -> None:
        self._clock = clock
        self._limit = limit_ms
        self._offset = self._read()
        self._set_back = clock.monotonic()
        self._patient_until = -math.inf

    def _read(self) -> int:
        """Return how far the time of day is ahead of the stopwatch, ms."""
        return self._clock.now_ms() - int(self._clock.monotonic() * 1000)

    def is_over(self, since_ms: int) -> bool:
        """Say whether something has been silent too long."""
        now, watch = self._clock.now_ms(), self._clock.monotonic()
        offset = self._read()
        if offset - self._offset > _STEP_MS:
            self._patient_until = watch + min(self._limit / 1000, _GRACE_S)
        elif self._offset - offset > _STEP_MS:
            self._set_back = watch
        self._offset = offset
        if since_ms > now:
            return (watch - self._set_back) * 1000 >= self._limit
        return watch >= self._patient_until and now - since_ms >= self._limit
