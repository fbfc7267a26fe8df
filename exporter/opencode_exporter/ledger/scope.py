"""The scope of counting: what of all that is read counts."""

from __future__ import annotations

from typing import Final, NamedTuple


class Scope(NamedTuple):
    """Which events count: a report may leave out old ones, and those of other projects."""

    since_ms: int = 0
    project: str = ""  # empty: every one

    def holds(self, at: int, project: str) -> bool:
        """Return whether what happened at a time (ms) in a project counts."""
        return at >= self.since_ms and self.project in ("", project)


EVERYTHING: Final = Scope()
