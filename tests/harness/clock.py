"""Time that passes only when a test says so."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_MS = 3_600_000


@dataclass
class FakeClock:
    """A clock that is stepped by hand. Starts in November 2026."""

    ms: int = 1_795_000_000_000

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return self.ms

    def monotonic(self) -> float:
        """Return seconds."""
        return self.ms / 1000

    def advance(self, *, ms: int = 0, hours: float = 0) -> None:
        """Let time pass."""
        self.ms += ms + int(hours * HOUR_MS)
