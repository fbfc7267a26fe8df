"""
Viewers: what each client that adds up what is new has been shown, by its births.

A series is shown at 0 to a viewer before it is shown with a value, as ``increase()``
does not see what it begins with.  One that was shown with a value is never shown at 0
again, whatever dies: a viewer's mark moves on when it is on disk.  Any thread may ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Final

from opencode_exporter.clock import Clock

MOST: Final = 50
"""So many viewers are known; who has not been shown anything new for longest is forgotten."""
_FIRST_S: Final = 300.0
"""Who comes so soon after the history is in has missed nothing since: no scrape is as rare."""


class Viewers:
    """
    The marks of all viewers: the births of which each has been shown.

    Args:
        marks: Those on disk, by viewer.
        clock: A stopwatch.
    """

    def __init__(self, marks: Mapping[str, int], clock: Clock) -> None:
        self._clock = clock
        self._begun: float | None = None
        self._lock = Lock()
        self._kept = dict(marks)
        self._shown: dict[str, int] = {}  # what is not on disk yet

    def begin(self) -> None:
        """Note that the history is in: births are counted from here on."""
        self._begun = self._clock.monotonic()

    def expect(self, viewer: str, births: int) -> None:
        """
        Note who is about to be shown a page: what appears from now on is new to a new viewer.

        Args:
            viewer: Who.
            births: So many there were when he asked.
        """
        with self._lock:
            if viewer not in self._kept and viewer not in self._shown:
                recent = (
                    self._begun is not None and self._clock.monotonic() - self._begun < _FIRST_S
                )
                # One that has been forgotten may have seen all of it.
                self._shown[viewer] = 0 if recent and len(self._kept) < MOST else births

    def mark(self, viewer: str) -> int | None:
        """Return the births of which a viewer may be shown the values; None: of all."""
        with self._lock:
            # One that is not on disk at all is new again after a crash, and sees everything.
            return self._kept.get(viewer, self._shown.get(viewer))

    def shown(self, viewer: str, births: int) -> None:
        """Note that a viewer has been shown a page with so many births."""
        with self._lock:
            known = max(self._kept.get(viewer, -1), self._shown.get(viewer, -1))
            if births > known:
                self._shown[viewer] = births
            if len(self._shown) > MOST:
                del self._shown[min(self._shown, key=self._shown.__getitem__)]

    def moved(self) -> dict[str, int | None]:
        """Return the marks that a batch is to write; None: the viewer is forgotten."""
        with self._lock:
            marks = {**self._kept, **self._shown}
            oldest = sorted(marks, key=marks.__getitem__)[: max(0, len(marks) - MOST)]
            return {**self._shown, **dict.fromkeys(oldest)}

    def written(self, moved: Mapping[str, int | None]) -> None:
        """Note that a batch has written some marks."""
        with self._lock:
            for viewer, mark in moved.items():
                if mark is None:
                    self._kept.pop(viewer, None)
                    self._shown.pop(viewer, None)
                    continue
                self._kept[viewer] = mark
                if self._shown.get(viewer) == mark:
                    del self._shown[viewer]
