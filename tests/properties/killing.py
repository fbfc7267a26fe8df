"""
Killing an exporter between any two of its statements, as SIGKILL would.

Watches every statement and every row on the connections that an exporter opens,
to its ledger and to the source.  At the chosen one it keeps the ledger's files as
they lie on the disk, and from then on nothing that the exporter does counts: the
files are put back before the next one starts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw


class Killed(BaseException):
    """Raised wherever the exporter is when it is killed; nothing of ours catches it."""


class Death:
    """
    Kills exporters of one ledger.

    Args:
        ledger: The file.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._left = 0  # statements and rows until death; 0: it lives
        self._on_ledger = False  # only the ledger's statements bring it nearer
        self._kept: dict[Path, bytes] | None = None
        self._connections: list[apsw.Connection] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the connections that are opened meanwhile."""
        apsw.connection_hooks.append(self._opened)
        try:
            yield
        finally:
            apsw.connection_hooks.remove(self._opened)

    def _opened(self, connection: apsw.Connection) -> None:
        ours = Path(connection.filename) == self._ledger
        if ours or connection.readonly("main"):
            if ours:
                connection.exec_trace = self._write
            else:
                connection.exec_trace = self._read
                connection.row_trace = self._row
            self._connections.append(connection)

    def _write(self, *_: Any) -> bool:
        self._strike(nearer=True)
        return True

    def _read(self, *_: Any) -> bool:
        self._strike(nearer=not self._on_ledger)
        return True

    def _row(self, _: Any, row: Any) -> Any:
        self._strike(nearer=not self._on_ledger)
        return row

    def _strike(self, *, nearer: bool) -> None:
        if self._kept is None and self._left and nearer:
            self._left -= 1
            if not self._left:
                files = self._ledger.parent.glob(f"{self._ledger.name}*")
                self._kept = {file: file.read_bytes() for file in files}
        if self._kept is not None:
            raise Killed

    @contextlib.contextmanager
    def after(self, steps: int, *, on_ledger: bool) -> Iterator[None]:
        """
        Kill what happens inside, if it gets that far.

        Args:
            steps: Statements and rows until then.
            on_ledger: Only the ledger's are counted.
        """
        self._left, self._on_ledger = steps, on_ledger
        try:
            yield
        finally:
            self._left = 0

    @property
    def came(self) -> bool:
        """Whether the exporter is dead."""
        return self._kept is not None

    def bury(self) -> None:
        """Take the dead away, and leave the ledger's files as they were at that instant."""
        for connection in self._connections:
            connection.close(True)
        self._connections.clear()
        for file in self._ledger.parent.glob(f"{self._ledger.name}*"):
            file.unlink()
        for file, content in (self._kept or {}).items():
            file.write_bytes(content)
        self._kept = None
