"""
The ledger's rows: how they are read and written.

Everything of a batch is written in one transaction with ``synchronous=FULL``.
Knows of what is counted only which metrics are histograms.
"""

from __future__ import annotations

import contextlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from opencode_exporter import catalog as c
from opencode_exporter.chunk import Cursor, OpenRow
from opencode_exporter.counting.fork_prints import Blocks
from opencode_exporter.counting.series import Histogram, Labels, Value
from opencode_exporter.counting.turns.state import Conversation
from opencode_exporter.errors import LedgerError
from opencode_exporter.ledger.file import DAMAGE, close_as_is, forget, open_file
from opencode_exporter.ledger.place import damaged, target, wal_of

_LEAVE_PRINTS: Final = """
INSERT INTO fork_print VALUES (?, ?)
ON CONFLICT (time) DO UPDATE SET block = CAST(block || excluded.block AS BLOB)
"""

Place = tuple[str, str, str]
"""Source, table and id of a row."""

_labels = msgspec.json.Decoder(Labels).decode
_value = msgspec.json.Decoder(Value).decode
_open_row = msgspec.json.Decoder(OpenRow).decode
_cursor = msgspec.json.Decoder(Cursor).decode
_conversation = msgspec.msgpack.Decoder(Conversation).decode
_pack = msgspec.msgpack.Encoder().encode
_encode = msgspec.json.Encoder().encode

_GARBLED: Final = (*DAMAGE, apsw.SQLError, ValueError)
"""What reading raises besides: a table that is gone, a value that is none of ours."""
_NUMBERS: Final = ("began_ms", "baseline_ms", "births")
_NEEDED: Final = {"salt", "instance_id"}
_LARGEST: Final = 1 << 200  # of any sum; JSON has more, a page has no numbers for it


class Changes(msgspec.Struct):
    """Everything that one commit writes."""

    series: dict[tuple[str, tuple[str, ...]], tuple[Any, int, int]] = msgspec.field(
        default_factory=dict
    )
    """Value, start (Unix ms) and birth by metric and labels."""
    seen: dict[int, int] = msgspec.field(default_factory=dict)
    prints: Blocks = msgspec.field(default_factory=dict)
    cursors: dict[tuple[str, str], Cursor] = msgspec.field(default_factory=dict)
    open_rows: dict[Place, OpenRow | None] = msgspec.field(default_factory=dict)
    slots: list[tuple[str, str]] = msgspec.field(default_factory=list)
    meta: dict[str, str] = msgspec.field(default_factory=dict)
    conversations: dict[int, tuple[int | None, Conversation]] = msgspec.field(default_factory=dict)
    """Conversations by the keys of their sessions, with when they are due (ms) or None."""
    edited: dict[tuple[str, int], int] = msgspec.field(default_factory=dict)
    """Edits of files by path and day; 0: forget it."""
    viewers: dict[str, int | None] = msgspec.field(default_factory=dict)
    """Births of which viewers have been shown; None: forget the viewer."""
    is_baseline: bool = False
    """Whether the totals are, with this batch, those of the baseline."""

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)


def _check_meta(found: Mapping[str, str]) -> None:
    """Make sure that what is noted can be used; ValueError if it cannot."""
    for name in _NUMBERS:
        int(found.get(name, 0))
    if not found.keys() >= _NEEDED:
        raise ValueError("what every ledger begins with is gone")


def _fitting(name: str, value: Value) -> Value:
    """Return what a series holds; ValueError if it is nothing that its metric holds."""
    metric = c.BY_NAME.get(name)
    wanted = Histogram if metric is not None and metric.kind == "histogram" else int
    if metric is not None and not isinstance(value, wanted):
        raise ValueError(f"{name} holds something else")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{name} holds more than there can be")
    return value


class Store:
    """One ledger file, held alone.  ``path`` None: a ledger in memory."""

    def __init__(self, path: Path | None) -> None:
        """
        Open or create the file.

        Raises:
            LedgerBusyError: Another exporter holds it.
            LedgerDamagedError: It is damaged; see `set_aside`.
            LedgerError: It cannot be opened, or is not one of ours.
        """
        self.path = None if path is None else target(path)
        self._db = open_file(path)
        self._has_remains = False  # of paths that were deleted, in the WAL

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except _GARBLED as err:
            raise damaged(self.path) from err
        except apsw.Error as err:
            raise LedgerError(
                f"the ledger cannot be read ({err})", hint="look after its disk; it is tried again"
            ) from err

    def meta(self) -> dict[str, str]:
        """Return what is noted about the ledger itself."""
        with self._reading():
            found = dict(self._db.execute("SELECT name, value FROM meta"))
            _check_meta(found)
            return found

    def series(self) -> Iterable[tuple[str, Labels, Value, int, int]]:
        """Yield (metric, labels, value, start, birth); the start in Unix ms."""
        with self._reading():
            rows = self._db.execute("SELECT metric, labels, value, started, born FROM series")
            for metric, labels, value, started, born in rows:
                held = _fitting(metric, _value(value))
                yield metric, _labels(labels), held, int(started), int(born)

    def viewers(self) -> dict[str, int]:
        """Return the births of which viewers have been shown."""
        with self._reading():
            return dict(self._db.execute("SELECT name, mark FROM viewer"))

    def baseline(self) -> Iterable[tuple[str, Labels, Value]]:
        """Yield (metric, labels, value) as they were when the history was in."""
        with self._reading():
            rows = self._db.execute("SELECT metric, labels, value FROM baseline")
            for metric, labels, value in rows:
                yield metric, _labels(labels), _fitting(metric, _value(value))

    def slots(self) -> list[tuple[str, str]]:
        """Return (label, name) in the order in which the slots were given."""
        with self._reading():
            return list(self._db.execute("SELECT label, name FROM slot ORDER BY position"))

    def cursors(self) -> dict[tuple[str, str], Cursor]:
        """Return the cursors by source and table."""
        with self._reading():
            rows = self._db.execute("SELECT source, tbl, value FROM cursor")
            return {(source, table): _cursor(value) for source, table, value in rows}

    def open_rows(self) -> dict[Place, OpenRow]:
        """Return the rows that may still change, by their place."""
        with self._reading():
            rows = self._db.execute("SELECT source, tbl, row, value FROM open_row")
            return {(source, table, row): _open_row(value) for source, table, row, value in rows}

    def owners(self, keys: list[int]) -> dict[int, int]:
        """Return the owners of those keys that are known."""
        if not keys:
            return {}
        sql = "SELECT seen.key, seen.owner FROM carray(?) JOIN seen ON seen.key = carray.value"
        with self._reading():
            return dict(self._db.execute(sql, (apsw.carray(array("q", sorted(keys))),)))

    def prints(self, places: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks of fork prints that are there, with their places, one by one."""
        sql = "SELECT time, block FROM fork_print WHERE time IN (SELECT value FROM carray(?))"
        with self._reading():
            yield from self._db.execute(sql, (apsw.carray(array("q", places)),))

    def conversations(self, keys: Iterable[int]) -> dict[int, Conversation]:
        """Return those conversations that are there, by the keys of their sessions."""
        sql = "SELECT key, state FROM conversation WHERE key IN (SELECT value FROM carray(?))"
        with self._reading():
            rows = self._db.execute(sql, (apsw.carray(array("q", keys)),))
            return {key: _conversation(state) for key, state in rows}

    def edited(self) -> dict[tuple[str, int], int]:
        """Return how often files were edited, by path and day."""
        with self._reading():
            rows = self._db.execute("SELECT path, day, edits FROM edited")
            return {(path, day): edits for path, day, edits in rows}

    def due(
        self, after: tuple[int, int], until: int, most: int
    ) -> list[tuple[tuple[int, int], Conversation]]:
        """
        Return some conversations in the order in which they are due.

        Args:
            after: Time (ms) and key behind which to begin.
            until: Those due at this time, ms, are the last.
            most: How many at most.
        """
        sql = (
            "SELECT due, key, state FROM conversation "
            "WHERE (due, key) > (?, ?) AND due <= ? ORDER BY due, key LIMIT ?"
        )
        with self._reading():
            rows = self._db.execute(sql, (*after, until, most))
            return [((due, key), _conversation(state)) for due, key, state in rows]

    def write(self, changes: Changes) -> None:
        """
        Write the changes of a batch: all of them or nothing.

        Raises:
            LedgerDamagedError: The file is damaged.
            LedgerError: It could not be written.
        """
        db = self._db
        try:
            with db:
                db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", changes.seen.items())
                db.executemany(_LEAVE_PRINTS, changes.prints.items())
                db.executemany(
                    "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?)",
                    (
                        (metric, json.dumps(labels), _encode(value).decode(), *since)
                        for (metric, labels), (value, *since) in changes.series.items()
                    ),
                )
                if changes.is_baseline:
                    db.execute(
                        "INSERT OR REPLACE INTO baseline SELECT metric, labels, value FROM series"
                    )
                db.executemany("INSERT INTO slot (label, name) VALUES (?, ?)", changes.slots)
                db.executemany(
                    "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)",
                    ((*place, _encode(value).decode()) for place, value in changes.cursors.items()),
                )
                self._write_open_rows(changes.open_rows)
                db.executemany(
                    "INSERT OR REPLACE INTO conversation VALUES (?, ?, ?)",
                    (
                        (key, due, _pack(state))
                        for key, (due, state) in changes.conversations.items()
                    ),
                )
                self._write_edited(changes.edited)
                self._write_viewers(changes.viewers)
                db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", changes.meta.items())
        except DAMAGE as err:
            raise damaged(self.path) from err
        except apsw.Error as err:
            raise LedgerError(
                f"the ledger cannot be written ({err})",
                hint="free space on its disk; nothing is lost, the batch is read again",
            ) from err
        self._has_remains |= 0 in changes.edited.values()
        if self._has_remains:
            self._forget()

    def _forget(self) -> None:
        """Clear the WAL of deleted paths; if that cannot be now, at the next commit."""
        try:
            forget(self._db)
        except DAMAGE as err:
            raise damaged(self.path) from err
        except apsw.Error:
            return
        self._has_remains = False

    def _write_open_rows(self, rows: dict[Place, OpenRow | None]) -> None:
        for place, row in rows.items():
            if row is None:
                self._db.execute(
                    "DELETE FROM open_row WHERE source = ? AND tbl = ? AND row = ?", place
                )
            else:
                self._db.execute(
                    "INSERT OR REPLACE INTO open_row VALUES (?, ?, ?, ?)",
                    (*place, _encode(row).decode()),
                )

    def _write_edited(self, edited: dict[tuple[str, int], int]) -> None:
        for file, edits in edited.items():
            if edits:
                values = (*file, edits)
                self._db.execute("INSERT OR REPLACE INTO edited VALUES (?, ?, ?)", values)
            else:
                self._db.execute("DELETE FROM edited WHERE path = ? AND day = ?", file)

    def _write_viewers(self, viewers: dict[str, int | None]) -> None:
        for name, mark in viewers.items():
            if mark is None:
                self._db.execute("DELETE FROM viewer WHERE name = ?", (name,))
            else:
                self._db.execute("INSERT OR REPLACE INTO viewer VALUES (?, ?)", (name, mark))

    def size(self) -> int:
        """Return the bytes of the ledger's files."""
        if self.path is None:
            return 0
        size = 0
        for name in (self.path, wal_of(self.path)):
            with contextlib.suppress(FileNotFoundError):  # set aside at this moment
                size += name.stat().st_size
        return size

    def close(self) -> None:
        """Close the file."""
        self._db.close(True)

    def drop(self) -> None:
        """Close a damaged file and leave it as it is, its WAL included."""
        with contextlib.suppress(apsw.ConnectionClosedError):
            close_as_is(self._db)
