"""
The doctor: looks at each database, and says what to do.

Reads databases only, and knows no ledger.  Returns findings as data; the command
prints them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from opencode_exporter.errors import SourceChangedError, SourceError
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.schema import CALL_TABLES, COLUMNS
from opencode_exporter.source.opencode.session_rows import opencode_version
from opencode_exporter.source.opencode.source import Source

_SHARED: Final = {
    "virtiofs": "a file share into a virtual machine",
    "9p": "a file share into a virtual machine",
    "fuse": "a FUSE mount",
    "nfs": "a network share",
    "cifs": "a network share",
    "smb": "a network share",
    "osxfs": "a file share into a virtual machine",
}
_MOUNTS: Final = Path("/proc/self/mounts")
_COUNTED_ROWS: Final = 10_000  # 11 ms


@dataclass
class Finding:
    """The findings about one database: facts by name, and problems with a hint."""

    label: str
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def examine(source: Source) -> Finding:
    """Return the findings about one database, read as a poll would, and about its surroundings."""
    found = Finding(source.label)
    found.facts["path"] = str(source.path)
    try:
        sizes = source.sizes()
        found.facts["size"] = f"{sizes['main']:,} bytes, wal {sizes['wal']:,} bytes"
        try:
            with source.open(unnoticed=True) as reader:
                _look_inside(reader, found)
        except SourceChangedError:
            with source.open() as reader:
                _look_inside(reader, found)
        found.facts["readable"] = "yes"
    except (SourceError, OSError) as err:
        found.problems.append(str(err))
        found.facts["readable"] = "no"
    kind = filesystem(source.path, mounted())
    for prefix, meaning in _SHARED.items():
        if kind.startswith(prefix):
            found.warnings.append(
                f"the file is on {kind}, {meaning}: SQLite's WAL needs locks and shared memory "
                "that it may not carry; run the exporter on the host that OpenCode runs on"
            )
    if os.name == "posix" and os.geteuid() == 0:
        found.warnings.append("running as root is not needed: use the user who runs OpenCode")
    return found


def _look_inside(reader: Reader, found: Finding) -> None:
    layout = reader.layout
    found.facts["generation"] = " and ".join(layout.generations)
    for generation in layout.generations:
        version = opencode_version(reader, generation)
        found.facts[f"OpenCode version ({generation})"] = version or "unknown"
    for table in layout.columns:
        wanted = COLUMNS.get(table, frozenset())
        more = len(layout.columns[table] - wanted)
        found.facts[f"table {table}"] = f"{len(wanted)} columns needed, {more} more"
    newest = 0
    for generation in layout.generations:
        table = CALL_TABLES[generation]
        found.facts[f"rows in {table}"] = f"{_count(reader, table):,}"
        sql = f"SELECT time_updated FROM {table} ORDER BY rowid DESC LIMIT 1"
        last = reader.query(sql).fetchone() or (0,)
        newest = max(newest, last[0] if isinstance(last[0], int) else 0)
    reader.verify()
    found.facts["newest event"] = (
        datetime.fromtimestamp(newest / 1000, UTC).isoformat(timespec="seconds")
        if 0 < newest < 1 << 45
        else "none"
    )


def _count(reader: Reader, table: str) -> int:
    """Count rows in short statements: a long one would keep the WAL from being reset."""
    sql = (
        f"SELECT count(*), max(rowid) FROM (SELECT rowid FROM {table} WHERE rowid > ? "
        f"ORDER BY rowid LIMIT {_COUNTED_ROWS})"
    )
    rows, after = 0, -(1 << 63)
    while True:
        count, last = reader.query(sql, (after,)).fetchone() or (0, None)
        if last is None:
            return rows
        rows, after = rows + count, last


def mounted(listed: Path = _MOUNTS) -> Mapping[str, str]:
    """Return file system types by mount point; empty on systems without a list of them."""
    try:
        lines = listed.read_bytes().split(b"\n")
    except OSError:
        return {}
    fields = (os.fsdecode(line).split(" ") for line in lines)  # a path need not be UTF-8
    return {_unescaped(f[1]): f[2] for f in fields if len(f) > 2}


def _unescaped(mount: str) -> str:
    """Return the path of a mount: the kernel writes blanks, tabs and the like in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), mount)


def filesystem(path: Path, mounts: Mapping[str, str]) -> str:
    """Return the type of a path's file system; empty if it is not known."""
    place = path.absolute()
    for parent in (place, *place.parents):
        if str(parent) in mounts:
            return mounts[str(parent)]
    return ""
