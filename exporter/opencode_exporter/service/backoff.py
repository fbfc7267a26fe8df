"""
Backoff: how long something that failed is left alone.

Knows no source and no ledger.
"""

from __future__ import annotations

from typing import Final

from opencode_exporter.clock import Clock

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 30.0


class Backoff:
    """
    Failures in a row, after each of which the wait is twice as long, up to 30 seconds.

    What looks otherwise than before it failed need not wait.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._wait_s = _FIRST_S
        self._until_s = clock.monotonic()
        self._looked: object = None

    def failed(self, looked: object = None) -> int:
        """Note a failure of what looked like this; return how many there are in a row."""
        now = self._clock.monotonic()
        if not self._failures:
            self._wait_s = _FIRST_S
            self._until_s = now + self._wait_s
        elif now >= self._until_s:  # one that somebody asked for before makes the wait no longer
            self._wait_s = min(2 * self._wait_s, _LONGEST_S)
            self._until_s = now + self._wait_s
        self._failures += 1
        self._looked = looked
        return self._failures

    def succeeded(self) -> int:
        """Note a success; return how many failures were before it."""
        failures, self._failures = self._failures, 0
        return failures

    def left_s(self) -> float:
        """Return for how many seconds more nothing is tried; 0 if it may be."""
        return max(0.0, self._until_s - self._clock.monotonic()) if self._failures else 0.0

    def holds(self, looked: object) -> bool:
        """Return whether what looks like this is left alone now."""
        return looked == self._looked and self.left_s() > 0
