"""
The file as a whole, as every program on it treats it: connections, the WAL, VACUUM.

Owns the connection of a writer.  A lock that holds it up for long is a complaint.
"""

from __future__ import annotations

import time
from typing import Any, Final

import apsw

from harness.databases import V1, V2
from opencode_exporter.demo.store import connect
from soak.place import Place

_PATIENCE_S: Final = 1.0


class File:
    """
    The database file in the hands of one writer.

    Args:
        place: The run.
        database: Builds the rows; its connection is used.
    """

    def __init__(self, place: Place, database: V1 | V2) -> None:
        self.place = place
        self._base = database
        self.sql.set_busy_timeout(0)

    @property
    def sql(self) -> apsw.Connection:
        """The connection."""
        return self._base.db

    def ask(self, sql: str, *values: object) -> list[Any]:
        """Return the rows of a query."""
        return self.sql.execute(sql, values).fetchall()

    def vacuum(self) -> None:
        """Write the whole file anew."""
        self.sql.execute("VACUUM")

    def passive(self) -> None:
        """Fold of the WAL what can be folded now."""
        self.sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def truncate(self) -> None:
        """Fold the whole WAL; a reader may hold that up, but not for long."""
        until = time.monotonic() + _PATIENCE_S
        self.sql.set_busy_timeout(int(_PATIENCE_S * 1000))
        try:
            busy, *_ = self.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        except apsw.BusyError:
            busy = 1
        finally:
            self.sql.set_busy_timeout(0)
        if busy or time.monotonic() > until:
            self.place.complain("wal_checkpoint(TRUNCATE) did not end within a second")

    def reopen(self) -> None:
        """Close the connection, perhaps the last one, and open another."""
        self.sql.close()
        began = time.monotonic()
        self._base.db = connect(self._base.path)
        self.sql.execute("PRAGMA foreign_keys = ON")
        self.sql.set_busy_timeout(0)
        took = time.monotonic() - began
        if took > _PATIENCE_S:
            self.place.complain(f"opening the database took {took:.1f} s")

    def close(self) -> None:
        """Let go of the database."""
        self._base.close()
