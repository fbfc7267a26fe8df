"""
The reader: a connection that may read the tables which the schema names, and no more.

Whatever SQL reaches it, an authorizer refuses every other table, column, function
and statement.  Knows nothing of files and locks; whoever opens it says how to tell
that a read was whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import apsw

from opencode_exporter.errors import SourceChangedError
from opencode_exporter.source.opencode.damage import Damage, Gap
from opencode_exporter.source.opencode.schema import READABLE, Layout, layout_of

BUSY_MS: Final = 200
"""How long SQLite waits for a lock."""
LARGEST: Final = 1_000_000
"""Bytes of a value that SQLite loads for us; of more it says so before it does."""
_RECORD_BYTES: Final = 1 << 16  # of the other columns of a row, where SQLite sorts rows
_FUNCTIONS: Final = frozenset({"count", "instr", "max", "octet_length", "substr", "unicode"})
"""What our statements call; others could run code, or reach files."""
_VERSIONS: Final = ("user_version", "schema_version")


Answer = TypeVar("Answer")
Other = TypeVar("Other")
Name = TypeVar("Name", str, int)


class Reader:
    """A connection that may read the named tables and nothing else."""

    def __init__(
        self,
        connection: apsw.Connection,
        is_whole: Callable[[], bool],
        *,
        is_unnoticed: bool = False,
    ) -> None:
        self._connection = connection
        self._is_whole = is_whole
        self.is_unnoticed = is_unnoticed
        self.layout = Layout({})
        self.damage: Damage | None = None
        """Where damaged pages are noted; None: they end the read."""

    def learn_layout(self, columns: Mapping[str, frozenset[str]]) -> None:
        """
        Learn which tables there are, by their columns.

        Raises:
            SourceUnsupportedError: A table or column that we rely on is not there.
        """
        self.layout = layout_of(self.query, columns)

    def spare(self, damage: Damage) -> None:
        """Read around damaged pages from now on, and note them."""
        self.damage = damage

    def gaps(self, table: str) -> Sequence[Gap]:
        """Return the rowids of a table that are known to be on damaged pages."""
        return () if self.damage is None else self.damage.gaps.get(table, ())

    def query(self, sql: str, values: tuple[object, ...] = ()) -> apsw.Cursor:
        """Run one statement; its read transaction ends with the cursor."""
        return self._connection.execute(sql, values)

    def spared(self, table: str, read: Callable[[], Answer], instead: Other) -> Answer | Other:
        """Return what a function reads of a table, or a stand-in if its pages are damaged."""
        try:
            return read()
        except apsw.CorruptError:
            self.hurt().look_in_vain(table)
            return instead

    def one(self, table: str, sql: str, values: tuple[object, ...] = ()) -> Any:
        """Return the first row of a statement, None for none and on a damaged page."""
        return self.spared(table, lambda: self.query(sql, values).fetchone(), None)

    def all(self, table: str, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Return the rows of a statement, none if a page is damaged."""
        found: list[Any] = []
        return self.spared(table, lambda: self.query(sql, values).fetchall(), found)

    def hurt(self) -> Damage:
        """
        Return where to note a damaged page that was just met.

        Raises:
            SourceChangedError: It was none, a writer overtook the read.
            CorruptError: It is noted nowhere, and ends the read.
        """
        self.verify()
        if self.damage is None:
            raise  # noqa: PLE0704  # called where it was caught
        return self.damage

    def by_ids(
        self, table: str, sql: str, ids: Sequence[Name], take: Callable[[Any], Answer]
    ) -> tuple[list[Answer], list[Name]]:
        """
        Return what is taken of each row of a statement, and the ids whose pages are damaged.

        Args:
            table: What it reads.
            sql: It takes ids as a JSON array.
            ids: The ids, or rowids.
            take: Returns what is kept of a row.
        """
        try:
            return [take(row) for row in self.query(sql, (json.dumps(ids),))], []
        except apsw.CorruptError:
            self.hurt().look_in_vain(table)
        found: list[Answer] = []
        failed: list[Name] = []
        for one in ids:
            try:
                found += [take(row) for row in self.query(sql, (json.dumps([one]),))]
            except apsw.CorruptError:
                self.verify()
                failed.append(one)
        return found, failed

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See one state of the database in all statements; keep it short."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def stream(self, table: str, rowid: int) -> Iterator[Callable[[int], bytes]]:
        """Read the data of a row a piece at a time, however large they are."""
        if "data" not in READABLE[table]:
            raise apsw.AuthError
        with self._connection.blob_open("main", table, "data", rowid, False) as blob:
            yield blob.read

    def verify(self) -> None:
        """
        Make sure that what was read was whole.

        Raises:
            SourceChangedError: A writer overtook it; drop what was read.
        """
        if not self._is_whole():
            raise changed()


def connect(path: Path, mode: str, by: str | None = None) -> apsw.Connection:
    """
    Open a file for reading.

    Args:
        path: The file.
        mode: What else its URI says.
        by: The name of a VFS of SQLite's.
    """
    return apsw.Connection(
        f"file:{quote(os.fsencode(path.absolute()))}?{mode}",  # a path need not be UTF-8
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        vfs=by,
    )


def restrict(connection: apsw.Connection, opened: contextlib.ExitStack) -> apsw.Connection:
    """Forbid a connection everything but our reads; it is closed with the stack."""
    opened.callback(connection.close, True)
    connection.set_busy_timeout(BUSY_MS)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST + _RECORD_BYTES)
    for option, value in (
        (apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1),
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
        (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    ):
        connection.config(option, value)
    connection.pragma("query_only", True)
    connection.authorizer = _authorize
    return connection


def _authorize(
    action: int, first: str | None, second: str | None, _database: str | None, _by: str | None
) -> int:
    """Deny everything but our reads: other tables hold secrets, or gigabytes."""
    allowed = (
        action == apsw.SQLITE_SELECT
        or (action == apsw.SQLITE_READ and _is_readable(first or "", second or ""))
        or (action == apsw.SQLITE_FUNCTION and second in _FUNCTIONS)
        or (action == apsw.SQLITE_PRAGMA and first == "table_info" and second in READABLE)
        or (action == apsw.SQLITE_TRANSACTION and first in ("BEGIN", "ROLLBACK"))
        or (action == apsw.SQLITE_PRAGMA and first in _VERSIONS and second is None)
    )
    return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY


def _is_readable(table: str, column: str) -> bool:
    names = READABLE.get(table.lower(), frozenset())
    return column in names or column.lower() in names


def changed() -> SourceChangedError:
    """Return the error of a read that a writer overtook."""
    return SourceChangedError("the source changed while it was read", hint="it is read again")
