"""
What the exporter takes: memory, open files, bytes of its ledger and of the WAL.

Owns the bounds; beyond them is a violation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from soak.place import Place
from soak.processes import Exporter

_MEMORY: Final = 128_000_000
_DESCRIPTORS: Final = 64
_WAL: Final = 64_000_000
_YOUNG_S: Final = 8.0
_MEMORY_GROWS: Final = 24_000_000
_FILES_GROW: Final = 16
_LEDGER: Final = 4_000_000
_LEDGER_PER_CALL: Final = 300


class Measure:
    """A value over time."""

    def __init__(self) -> None:
        self.first = self.last = self.peak = 0

    def note(self, value: int) -> None:
        """Take the next value; 0 is none."""
        if value:
            self.first = self.first or value
            self.last = value
            self.peak = max(self.peak, value)

    def show(self, scale: float = 1) -> str:
        """Return first, last and highest."""
        shown = (f"{value * scale:.3g}" for value in (self.first, self.last, self.peak))
        return "/".join(shown)


class Usage:
    """Watches a process and the files."""

    def __init__(self, place: Place, exporter: Exporter, report: Callable[[str], None]) -> None:
        self._place = place
        self._exporter = exporter
        self._report = report
        self._said: set[str] = set()
        self._life = 0
        self._since = 0.0
        self._settled: tuple[int, int] = (0, 0)
        self.memory, self.descriptors = Measure(), Measure()
        self.ledger, self.source, self.wal = Measure(), Measure(), Measure()

    def look(self, life: int, calls: int) -> None:
        """Measure now, in a life of the exporter that has counted so many calls."""
        self.memory.note(self._exporter.memory())
        self.descriptors.note(self._exporter.files())
        self.source.note(_size(self._place.source))
        self.wal.note(_size(self._place.source.with_name("opencode.db-wal")))
        self.ledger.note(_size(self._place.directory / "exporter" / "ledger.db"))
        self._bound("bytes of memory", self.memory.last, _MEMORY)
        self._bound("open files", self.descriptors.last, _DESCRIPTORS)
        self._bound("bytes of WAL", self.wal.last, _WAL)
        self._bound("bytes of ledger", self.ledger.last, _LEDGER + _LEDGER_PER_CALL * calls)
        self._growth(life)

    def _growth(self, life: int) -> None:
        """Compare with what the same process took when it was young."""
        now = time.monotonic()
        if life != self._life:
            self._life, self._since, self._settled = life, now, (0, 0)
        elif now - self._since > _YOUNG_S:
            memory, files = self._settled
            if not memory:
                self._settled = (self.memory.last, self.descriptors.last)
                return
            self._bound("bytes of memory grown to", self.memory.last, memory + _MEMORY_GROWS)
            self._bound("open files grown to", self.descriptors.last, files + _FILES_GROW)

    def _bound(self, what: str, value: int, most: int) -> None:
        if value > most and what not in self._said:
            self._said.add(what)
            self._report(f"{what}: {value}, more than {most}")

    def __str__(self) -> str:
        return (
            f"first/last/peak: memory {self.memory.show(1e-6)} MB, "
            f"open files {self.descriptors.show()}, ledger {self.ledger.show(1e-6)} MB, "
            f"source {self.source.show(1e-6)} MB, WAL {self.wal.show(1e-6)} MB"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
