"""
A Prometheus server in the soak: it adds up what is new from one page to the next.

Begins with what it finds once the history is in.  Every series that it has not seen then
has to begin at 0, none may fall, and what was added has to be all that there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from soak.checker import OF_THE_PROCESS, SURE, Page, Series, spelled

HEADERS: Final = {"x-prometheus-scrape-timeout-seconds": "10", "user-agent": "Prometheus/soak"}


class Adding:
    """
    What one server has seen.

    Args:
        say: Told of each violation, in a sentence.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._seen: dict[Series, float] = {}
        self.born = 0
        """How many series have begun since the first page."""

    def take(self, page: Page) -> None:
        """Look at the next page of this server."""
        if not page.is_counting:
            return
        is_first = not self._seen
        for series in page.growing:
            if series[0].startswith(OF_THE_PROCESS):
                continue
            now, before = page.values[series], self._seen.get(series)
            if before is None and now and not is_first:
                self._say(f"{spelled(series)} began at {now:g}")
            if before is not None and now < before - SURE:
                self._say(f"{spelled(series)} fell for a server from {before:g} to {now:g}")
            self.born += before is None and not is_first
            self._seen[series] = now

    def agree(self, page: Page) -> None:
        """Compare with what everybody else is spelled; nothing has happened since the last page."""
        for series in page.growing:
            if series[0].startswith(OF_THE_PROCESS):
                continue
            true, seen = page.values[series], self._seen.get(series)
            if seen is None or abs(true - seen) > SURE * max(1, true):
                self._say(f"{spelled(series)} is {true:g}, and a server has seen {seen}")
