"""
The period: which sample is the first to show what happened at a time.

Samples stand at whole steps of Unix time, as those of a scrape with this interval
would, and the last one at the end.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from opencode_exporter.times import SENSIBLE_MS

AFTER_END: Final = 1 << 62
"""The place of what no sample shows any more, though the baseline's totals hold it."""


class Period(NamedTuple):
    """Times are Unix ms, steps whole seconds."""

    step_s: int
    end_ms: int  # of the last sample
    until_ms: int  # up to when the last sample shows what happened
    baseline_ms: int

    def place(self, ms: int) -> int | None:
        """
        Return the number of the sample that is the first to show what happened at a time.

        None where the history does not tell: without a time that makes sense, or after
        the baseline.
        """
        if not SENSIBLE_MS <= ms <= self.baseline_ms:
            return None
        return self._after(min(ms, self.end_ms)) if ms <= self.until_ms else AFTER_END

    @property
    def last(self) -> int:
        """The number of the last sample."""
        return self._after(self.end_ms)

    def _after(self, ms: int) -> int:
        return -(-ms // (1000 * self.step_s))
