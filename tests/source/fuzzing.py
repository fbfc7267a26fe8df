"""
Rows of the recordings, with something odd in them: what OpenCode never wrote.

A seed makes the same rows on every machine.  Knows the structure of rows and of their
JSON, and nothing of what is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import apsw

TABLES: Final = ("part", "message", "session_message")
"""Those whose rows are read one by one."""
AROUND: Final = ("session", "session_v2", "project", "todo")
_TIMES: Final = ("time_created", "time_updated")
_DEEP: Final = 300
_TOO_DEEP: Final = 120_000

Value = Any
Change = Callable[[Random, bytes], "bytes | str | int | float"]


class Mutation(NamedTuple):
    """What was done to a row."""

    table: str
    rowid: int
    id: str
    what: str
    is_broken: bool  # its data are certainly no JSON


def connect(path: Path) -> apsw.Connection:
    """Open a database in which rows need not fit together."""
    db = apsw.Connection(str(path))
    db.pragma("foreign_keys", False)
    return db


def tables_of(db: apsw.Connection) -> list[str]:
    """Return the tables with rows that can be spoilt, as far as they are there."""
    return [table for table in TABLES if db.table_exists("main", table)]


def originals(db: apsw.Connection) -> set[tuple[str, int]]:
    """
    Return the rows, by table and rowid, of sessions that nobody has copied and none is of.

    What a copy counts as depends on what its original says.
    """
    found = set()
    for table in tables_of(db):
        home = "message" if table == "part" else table
        shared = (
            f"SELECT session_id FROM {home} WHERE time_created IN (SELECT time_created "
            f"FROM {home} GROUP BY time_created HAVING count(DISTINCT session_id) > 1)"
        )
        sql = f"SELECT rowid FROM {table} WHERE session_id NOT IN ({shared})"
        found |= {(table, rowid) for (rowid,) in db.execute(sql)}
    return found


def spoil(db: apsw.Connection, rng: Random, rows: int) -> list[Mutation]:
    """Make some rows odd, and return which."""
    some = rng.sample(sorted(originals(db)), rows)
    found = []
    with db:
        found += [_spoil(db, rng, table, rowid) for table, rowid in some]
    return found


def spoil_around(db: apsw.Connection, rng: Random) -> None:
    """Make odd what stands around the rows: sessions, projects, things to do."""
    with db:
        for table in AROUND:
            if not db.table_exists("main", table):
                continue
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            keys = {"id", "session_id", "position", "time_created", "fork_session_id"}
            rowids: list[Any] = db.execute(f"SELECT rowid FROM {table}").fetchall()
            for (rowid,) in rowids:
                if rng.random() < 0.3 and (name := rng.choice(names)) not in keys:
                    _set(db, table, rowid, name, rng.choice(_ODD_COLUMNS))


def arrivals(db: apsw.Connection) -> Iterator[None]:
    """Take all rows out and put them in again, session by session; yield after each."""
    tables = tables_of(db)[::-1]  # a message comes before its parts
    for table in tables:  # within SQLite: what is no text stays as it is
        db.execute(f"CREATE TEMP TABLE kept_{table} AS SELECT rowid AS n, * FROM {table}")
        db.execute(f"DELETE FROM {table}")
    listed = " UNION ALL ".join(f"SELECT session_id AS s, n FROM kept_{table}" for table in tables)
    sessions: list[Any] = db.execute(
        f"SELECT s FROM ({listed}) GROUP BY s ORDER BY min(n)"
    ).fetchall()
    for session in sessions:
        with db:
            for table in tables:
                names = ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({table})"))
                sql = f"SELECT {names} FROM kept_{table} WHERE session_id = ? ORDER BY n"
                db.execute(f"INSERT INTO {table} ({names}) {sql}", session)
        yield


def _spoil(db: apsw.Connection, rng: Random, table: str, rowid: int) -> Mutation:
    kind = "type" if table == "session_message" else "'user'"
    sql = f"SELECT CAST(data AS BLOB), id, {kind} FROM {table} WHERE rowid = ?"
    found: list[Any] = db.execute(sql, (rowid,)).fetchall()
    ((data, name, kind),) = found
    what = rng.choice([*_OF_DATA, *["structure"] * 12, "column", "column", "id", "rowid"])
    if what == "rowid":
        return Mutation(table, _moved(db, rng, table, rowid), name, what, is_broken=False)
    if what in ("column", "id"):
        more = ["seq", "type"] if table == "session_message" else []
        column = "id" if what == "id" else rng.choice([*_TIMES, *more])
        _set(db, table, rowid, column, rng.choice(_ODD_COLUMNS))
        return Mutation(table, rowid, name, column, is_broken=False)
    changed = _OF_DATA[what](rng, data) if what in _OF_DATA else _restructured(rng, data)
    _set(db, table, rowid, "data", changed)
    return Mutation(table, rowid, name, what, is_broken=what in _BROKEN and kind in _READ)


def _moved(db: apsw.Connection, rng: Random, table: str, rowid: int) -> int:
    """Give a row another rowid, and return it."""
    near = rng.randrange(-50, 50_000)
    far = rng.choice([near, rng.randrange(1 << 62), -(1 << 63), (1 << 63) - 1])
    try:
        db.execute(f"UPDATE {table} SET rowid = ? WHERE rowid = ?", (far, rowid))
    except apsw.ConstraintError:  # it is taken
        return rowid
    return far


def adorn(db: apsw.Connection, rng: Random) -> None:
    """Add to the data of many rows what nobody reads, however odd."""
    with db:
        for table in tables_of(db):
            sql = f"SELECT rowid, CAST(data AS BLOB) FROM {table}"
            found: list[Any] = db.execute(sql).fetchall()
            for rowid, data in found:
                if rng.random() < 0.5:
                    _set(db, table, rowid, "data", rng.choice(_UNREAD)(data))


def _set(db: apsw.Connection, table: str, rowid: int, column: str, value: Value) -> None:
    place = "?"
    if isinstance(value, bytes) and column == "data" and not value.startswith(_BLOB):
        place = "CAST(? AS TEXT)"
    elif isinstance(value, bytes):
        value = value.removeprefix(_BLOB)
    try:
        sql = f"UPDATE {table} SET {column} = {place} WHERE rowid = ?"
        db.execute(sql, (value, rowid))
    except apsw.ConstraintError:  # two rows of a session with one number, for one
        return


# Odd values, and where they are put.

_BLOB: Final = b"\x00blob"
_ODD_COLUMNS: Final[tuple[Value, ...]] = (
    *(0, -1, -(1 << 63), (1 << 63) - 1, 1.5, 1e300, "x", "", b"\xff\x00", "1.5e3"),
    *(1_000, 253_370_764_800_000, 9_999_999_999_999_999, "assistant", "\ud7ff", "é" * 200),
)


def _odd(rng: Random) -> Value:
    """Return a value that nobody expects."""
    now = 1_795_000_000_000
    return rng.choice(
        [
            *(None, True, False, 0, -1, 1.5, -0.0, 10**30, -(10**30), 1e308, 2**63, 2**64),
            *(float("nan"), float("inf"), float("-inf"), "", " ", "\x00", "\ud83d", "\udc00x"),
            *("a" * 5000, "é\u202e\u200b\ufeff", "\ufffd", "_other", "_unknown", "null", "{}"),
            *([], {}, [[]], [None], {"": ""}, {"status": "completed"}, "completed", "error"),
            *(now + rng.randrange(-(10**13), 10**13), str(now), 1, 5_000, 253_370_764_800_000),
            *("tool", "text", "step-finish", "assistant", "user", "skill", "bash", "tool-calls"),
        ]
    )


def _places(value: Value, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in a JSON value something can be changed."""
    yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(one, (*path, key))


def _at(value: Value, path: tuple[Any, ...]) -> Value:
    for key in path:
        value = value[key]
    return value


def _restructured(rng: Random, data: bytes) -> bytes:
    """Return JSON with one to three things in it that are not as they should be."""
    try:
        value = json.loads(data)
    except ValueError:
        return data
    marks: dict[str, str] = {}
    for _ in range(rng.randint(1, 3)):
        path = rng.choice([*_places(value)][1:] or [()])
        if not path:
            break
        parent, key = _at(value, path[:-1]), path[-1]
        _change(rng, parent, key, marks)
    text = json.dumps(value)
    for mark, raw in marks.items():
        text = text.replace(json.dumps(mark), raw)
    return text.encode()


def _change(rng: Random, parent: Value, key: Value, marks: dict[str, str]) -> None:
    what = rng.choice(["set", "set", "set", "drop", "list", "text", "twice", "deep", "rename"])
    old = parent[key]
    if what == "drop" and isinstance(parent, dict):
        del parent[key]
    elif what == "list":
        parent[key] = [old]
    elif what == "text":
        parent[key] = json.dumps(old)
    elif what == "rename" and isinstance(parent, dict):
        parent[f"{key} "] = parent.pop(key)
    elif what == "twice" and isinstance(parent, dict):
        mark = f"mark {len(marks)}"
        marks[mark] = f"{json.dumps(old)}, {json.dumps(key)}: {json.dumps(_odd(rng))}"
        parent[key] = mark
    elif what == "deep":
        depth, mark = rng.choice([3, _DEEP]), f"mark {len(marks)}"
        marks[mark] = "[" * depth + json.dumps(old) + "]" * depth
        parent[key] = mark
    else:
        parent[key] = _odd(rng)


_OF_DATA: Final[dict[str, Change]] = {
    "cut": lambda rng, data: data[: rng.randrange(len(data))] + b"@",
    "no JSON": lambda rng, data: rng.choice([b"", b"@", b"{", b"}", b"{]}", b"nul", b"\xff{}"]),
    "another value": lambda rng, data: json.dumps(_odd(rng)).encode(),
    "BLOB": lambda rng, data: _BLOB + data,
    "JSONB": lambda rng, data: _BLOB + b"\xcc" + bytes([len(data) % 256]) + data[:40],
    "UTF-16": lambda rng, data: _BLOB + data.decode(errors="replace").encode("utf-16"),
    "with a byte that is none": lambda rng, data: data.replace(
        b'":"', rng.choice([b'":"\xff', b'":"\xed\xa0\xbd', b'":"\xc0\x80']), rng.randint(1, 3)
    ),
    "half an emoji": lambda rng, data: data.replace(b'":"', b'":"\\ud83d', rng.randint(1, 9)),
    "number": lambda rng, data: rng.choice([5, -1.5, 10**15]),
    "too deep": lambda rng, data: b'{"type":"tool","a":' + b"[" * _TOO_DEEP + b"]" * _TOO_DEEP
    + b"}",
    "NUL": lambda rng, data: data.replace(b"{", b"{\x00", 1),
    "behind": lambda rng, data: data + rng.choice([b" ", b"\n{}", b"x", b"}"]),
    "large": lambda rng, data: data[:-1] + b',"more":"' + b"x" * 1_100_000 + b'"}',
}  # fmt: skip
_UNREAD: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda data: data[:-1] + b',"odd":"\\ud83d"}',
    lambda data: b'{"odd":"\\udc00 \\ud83d",' + data[1:],
    lambda data: data[:-1] + b',"odd":"\xff\xfe\xed\xa0\xbd"}',
    lambda data: data[:-1] + b',"odd":' + b"[" * _DEEP + b"]" * _DEEP + b"}",
    lambda data: data[:-1] + b',"odd":[1e999,-1e999,' + b"9" * 4000 + b"]}",
    lambda data: data[:-1] + b',"odd":"' + b"x" * 1_100_000 + b'"}',
    lambda data: data[:-1] + b',"od\\u0064":{"type":"tool","\\ud83d":"step-start"}}',
    lambda data: _BLOB + data,
    lambda data: b" \n\t" + data + b"\r\n ",
)
"""Changes of a row's JSON that mean nothing."""
_BROKEN: Final = ("cut",)
_READ: Final = ("assistant", "user", "idle", "compaction", "skill")
"""Types of rows of 2.x of which the data are read."""
