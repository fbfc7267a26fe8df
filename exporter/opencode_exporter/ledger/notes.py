"""
Notes: what the ledger knows of itself, and of a source beside its rows.

Each is a line of the ledger's table of notes and is written with its batch.  Tells who the
ledger is and since when it counts forward; whether a source has been read to its end, what
of it is damaged, and when one of its tables has to be read again from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_AGAIN_MS: Final = 10 * 60_000
"""A table is read again no sooner: where our clock was wrong, it is set in one step."""


class Notes:
    """
    The notes of a ledger.

    Args:
        meta: All that is noted on disk, by name.
    """

    def __init__(self, meta: Mapping[str, str]) -> None:
        self._meta = {**meta}
        self._new: dict[str, str] = {}  # that are not on disk yet

    def _note(self, name: str, value: str) -> None:
        self._meta[name] = self._new[name] = value

    def given(self) -> dict[str, str]:
        """Return what was noted since the last time."""
        given, self._new = self._new, {}
        return given

    # Of the ledger.

    @property
    def salt(self) -> str:
        """The key of all hashes that leave this ledger."""
        return self._meta["salt"]

    @property
    def instance_id(self) -> str:
        """The id of this ledger, by which its exporter is known from others."""
        return self._meta["instance_id"]

    @property
    def set_aside(self) -> str:
        """Where the damaged ledger before this one is kept; empty for none."""
        return self._meta.get("set_aside", "")

    @property
    def began_ms(self) -> int:
        """When the ledger began; 0 if that has not been noted."""
        return int(self._meta.get("began_ms", 0))

    def note_began(self, ms: int) -> None:
        """Note when the ledger began, unless that has been."""
        if "began_ms" not in self._meta:
            self._note("began_ms", str(ms))

    @property
    def baseline_ms(self) -> int:
        """When counting forward began; 0 while the history is still read."""
        return int(self._meta.get("baseline_ms", 0))

    def note_baseline(self, ms: int) -> None:
        """Note that the history is in."""
        self._note("baseline_ms", str(ms))

    @property
    def births(self) -> int:
        """How many commits had series that had not been there before, since the baseline."""
        return int(self._meta.get("births", 0))

    def note_births(self, births: int) -> None:
        """Note how many commits had such series."""
        self._note("births", str(births))

    @property
    def skips_history(self) -> bool:
        """Whether no history counts in this ledger, whatever its rules say."""
        return self._meta.get("history") == "skip"

    def note_skipping(self) -> None:
        """Note that no history counts."""
        self._note("history", "skip")

    @property
    def has_orphans(self) -> bool:
        """Whether a call was counted whose message could not be read."""
        return "orphans" in self._meta

    def note_orphans(self) -> None:
        """Note that a call was counted whose message could not be read."""
        if not self.has_orphans:
            self._note("orphans", "yes")

    # Of a source.

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
