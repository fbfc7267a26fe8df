"""
Time: clocks that are passed in, so that tests step them by hand, and rules that ask them.

What counts or decides reads no other clock.  Beside it there are progress bars, timeouts of
the web server, the deadline of a push and waits for an event; a test lists who may.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable
from typing import Final, Protocol

_STEP_MS: Final = 60_000
_GRACE_S: Final = 600.0
_REPEAT_S: Final = 30.0
_LINES_KEPT: Final = 100


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
    Decides whether something that was last seen at a time of day has been silent too long.

    The time of day steps: somebody sets it, or the machine sleeps.  What was silent
    in a step ahead gets a while to be heard of; what was seen before a step back
    is silent since that step.

    Attributes:
        limit_ms: How long something may be silent.
    """

    def __init__(self, clock: Clock, limit_ms: int) -> None:
        self._clock = clock
        self.limit_ms = limit_ms
        self._offset = self._read()
        self._set_back = clock.monotonic()
        self._patient_until = -math.inf

    def _read(self) -> int:
        """Return how far the time of day is ahead of the stopwatch, ms."""
        return self._clock.now_ms() - int(self._clock.monotonic() * 1000)

    def is_over(self, since_ms: int) -> bool:
        """Return whether something that was last seen at a time has been silent too long."""
        now, watch = self._clock.now_ms(), self._clock.monotonic()
        offset = self._read()
        if offset - self._offset > _STEP_MS:
            self._patient_until = watch + min(self.limit_ms / 1000, _GRACE_S)
        elif self._offset - offset > _STEP_MS:
            self._set_back = watch
        self._offset = offset
        if since_ms > now:
            return (watch - self._set_back) * 1000 >= self.limit_ms
        return watch >= self._patient_until and now - since_ms >= self.limit_ms


class LineLimit:
    """Lets each line of a log through once in 30 seconds, and counts the others."""

    def __init__(self) -> None:
        self._written: dict[Hashable, tuple[float, int]] = {}

    def held_back(self, line: Hashable, now_s: float) -> int | None:
        """
        Return how often a line was held back since it was written; None: it is again.

        Args:
            line: What tells the line from others.
            now_s: Seconds of any clock, the same for all lines.
        """
        when, count = self._written.get(line, (-math.inf, 0))
        # A clock that steps back must not silence a line until it is there again.
        if abs(now_s - when) < _REPEAT_S:
            self._written[line] = when, count + 1
            return None
        if len(self._written) >= _LINES_KEPT:
            self._written.clear()
        self._written[line] = now_s, 0
        return count
