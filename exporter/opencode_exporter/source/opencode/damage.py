"""
Damage: what of a source cannot be read because its pages are damaged.

Plain data: which rowids were passed over, by table, and which tables were looked into
in vain.  Kept in the ledger, so that a restart does not forget what is missing, and
what comes back is read.  Knows no SQLite.
"""

from __future__ import annotations

from typing import Final

import msgspec

from opencode_exporter.errors import SourceError

_MOST: Final = 16  # gaps of a table; more are taken for one
LAST_ROWID: Final = (1 << 63) - 1
"""Where it is taken, SQLite gives further rows any free rowid below it."""


class Gap(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rowids of a table that cannot be read, the first and the last."""

    first: int
    last: int

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        return (
            f"{self.first} to {self.last}" if self.last < LAST_ROWID else f"{self.first} and above"
        )


class Damage(msgspec.Struct):
    """The rows of one source that cannot be read."""

    file: int = 0  # its inode: another file is not damaged where this one was
    gaps: dict[str, list[Gap]] = msgspec.field(default_factory=dict)
    inexact: list[str] = msgspec.field(default_factory=list)
    unasked: list[str] = msgspec.field(default_factory=list)
    """Tables with gaps of which the rows that they bring have not been looked at since."""

    def __bool__(self) -> bool:
        return bool(self.gaps or self.inexact)

    def pass_over(self, table: str, first: int, last: int = LAST_ROWID) -> None:
        """Note that some rows of a table cannot be read."""
        merged: list[Gap] = []
        known = self.gaps.get(table)
        for gap in sorted([*(known or ()), Gap(first, last)], key=lambda g: g.first):
            if merged and (gap.first <= merged[-1].last + 1 or len(merged) == _MOST):
                merged[-1] = Gap(merged[-1].first, max(merged[-1].last, gap.last))
            else:
                merged.append(gap)
        self.gaps[table] = merged
        if merged != known and table not in self.unasked:
            self.unasked.append(table)

    def asked(self, table: str) -> None:
        """Note that the rows which those of a table bring have been looked at by themselves."""
        if table in self.unasked:
            self.unasked.remove(table)

    def look_in_vain(self, table: str) -> None:
        """Note that a table was asked for single rows in vain."""
        if table not in self.inexact:
            self.inexact.append(table)

    def mend(self, table: str, gap: Gap) -> None:
        """Note that rows can be read again."""
        self.gaps[table].remove(gap)
        if not self.gaps[table]:
            del self.gaps[table]
        if not self.gaps:
            self.inexact.clear()  # what is still damaged will be met again

    def dump(self) -> str:
        """Return the damage as the ledger keeps it, empty for none."""
        return msgspec.json.encode(self).decode() if self else ""

    def as_error(self) -> SourceError:
        """Return the damage as an error, for the operator."""
        missing = [
            f"{table} (rowid {', '.join(map(str, gaps))})" for table, gaps in self.gaps.items()
        ]
        missing += [table for table in self.inexact if table not in self.gaps]
        return SourceError(
            f"the database is damaged: some rows of {', '.join(missing)} cannot be read, "
            "all others count",
            hint="stop OpenCode, copy its database, and save what there is with "
            "'sqlite3 copy.db .recover | sqlite3 new.db'; or restore a backup",
        )


def load(text: str, file: int) -> Damage:
    """Return the damage that was kept; where another file took the place, only the gaps stay."""
    found = msgspec.json.decode(text, type=Damage) if text else Damage(file)
    if found.file != file:
        found.file, found.inexact = file, []
    return found
