"""
Notes: what the ledger knows of a source beside its rows.

Each is a line of the ledger's table of notes and is written with its batch.  Tells whether
a source has been read to its end, what of it is damaged, and when one of its tables has to
be read again from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

_AGAIN_MS: Final = 10 * 60_000
"""A table is read again no sooner: where our clock was wrong, it is set in one step."""


class Notes:
    """
    Notes by source.

    Args:
        meta: All that is noted in the ledger, by name.
        note: Notes something with the next commit.
    """

    def __init__(self, meta: Mapping[str, str], note: Callable[[str, str], None]) -> None:
        self._meta = meta
        self._note = note

    def is_read(self, source: str) -> bool:
        """Return whether all that a source held has been read once."""
        return f"read {source}" in self._meta

    def read(self, source: str) -> None:
        """Note that all that a source held has been read once."""
        if not self.is_read(source):
            self._note(f"read {source}", "yes")

    def are_kept(self) -> bool:
        """Return whether this ledger notes which sources have been read: older ones did not."""
        return any(name.startswith("read ") for name in self._meta)

    def damage(self, source: str) -> str:
        """Return what was noted of a source's damage."""
        return self._meta.get(f"damage {source}", "")

    def damaged(self, source: str, text: str) -> None:
        """Note what cannot be read of a source."""
        if text != self.damage(source):
            self._note(f"damage {source}", text)

    def tables_due(self, source: str, now: int) -> list[str]:
        """Return the tables of a source that are to be read again."""
        begin = f"again {source} "
        due = {name: int(at) for name, at in self._meta.items() if name.startswith(begin)}
        return [name.removeprefix(begin) for name, at in due.items() if 0 < at <= now]

    def note_due(self, source: str, table: str, at: int, now: int) -> None:
        """Note when a table is read again, ms, as some of its rows are not kept in mind."""
        name = f"again {source} {table}"
        known = int(self._meta.get(name, 0)) or at
        self._note(name, str(max(min(at, known), now + _AGAIN_MS)))

    def note_begun(self, source: str, table: str) -> None:
        """Note that a table is read from its beginning now."""
        self._note(f"again {source} {table}", "0")
