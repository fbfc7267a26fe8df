"""
Replays a recording: its rows come into being once more, one after the other.

A step is there before its parts and is over after them, as OpenCode writes it; the
clock of the test follows the times of the rows.  Knows nothing of what is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import apsw

_STEPS = ("message", "session_message")


class Move(NamedTuple):
    """A write, the time (ms) at which it happens, and its place among those of that time."""

    at: int
    place: tuple[int, int]
    write: Callable[[], object]


class Replay:
    """
    The rows of one database, to be written again into another one.

    Args:
        source: The recording.
        target: The new database; it has all tables and sessions, and no messages.
    """

    def __init__(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._old = apsw.Connection(str(source))
        self._new = apsw.Connection(str(target))
        self._new.pragma("journal_mode", "wal")
        self._written: dict[str, int] = {}
        self._began = self._copy_what_is_around()

    def close(self) -> None:
        """Close both databases."""
        self._old.close()
        self._new.close()

    def _copy_what_is_around(self) -> dict[str, int]:
        """Copy the schema, projects and sessions; return when each session began, ms."""
        for (sql,) in self._old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"):
            if not sql.startswith("CREATE TABLE sqlite_"):
                self._new.execute(sql)
        began = {}
        for table in ("project", "session", "session_v2"):
            if self._has(table):
                for row in self._rows(table):
                    # It is put away, if ever, when all is over.
                    self._insert(table, row | dict.fromkeys(row.keys() & {"time_archived"}))
                    if table != "project":
                        began[row["id"]] = row["time_created"]
        return began

    def _has(self, table: str) -> bool:
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self._old.execute(sql, (table,)).fetchone() is not None

    def _rows(self, table: str) -> Iterator[dict[str, Any]]:
        names = [row[1] for row in self._old.execute(f"PRAGMA table_info({table})")]
        for row in self._old.execute(f"SELECT * FROM {table} ORDER BY rowid"):
            yield dict(zip(names, row, strict=True))

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        self._new.execute(sql, tuple(row.values()))

    def moves(self) -> list[Move]:
        """Return all writes, in the order of time; those of one time as they lie in the tables."""
        moves: list[Move] = []
        places: dict[str, int] = {}
        for table in _STEPS:
            for row in self._rows(table) if self._has(table) else ():
                places[row["id"]] = len(places)
                moves += self._of_message(table, row, places[row["id"]])
        for row in self._rows("part") if self._has("part") else ():
            place = (places[row["message_id"]], 1)
            at = max(self._at(row), _end_of_call(row["data"]))
            moves.append(Move(at, place, partial(self._insert, "part", row)))
        return sorted(moves, key=lambda move: (move.at, move.place))

    def _at(self, row: dict[str, Any]) -> int:
        """Return when a row was written: a copy is older than the session it is in."""
        return max(int(row["time_created"]), self._began.get(row["session_id"], 0))

    def _of_message(self, table: str, row: dict[str, Any], place: int) -> list[Move]:
        """Return the moves of a message: a step is there first, and over later."""
        data, at, last = json.loads(row["data"]), self._at(row), 0
        if table == "message":  # of a copy, only its parts say when it was made
            sql = "SELECT min(time_created), max(time_updated) FROM part WHERE message_id = ?"
            first, last = self._old.execute(sql, (row["id"],)).get
            at = max(at, first or 0)
        completed = data.get("time", {}).get("completed")
        # The upgrade imports what has been.
        at = max(at, self._written.get(row["id"], 0))
        self._written[row["id"]] = max(at, last or 0, row["time_updated"], completed or 0) + 1
        copied = row["time_created"] < self._began.get(row["session_id"], 0)
        if not completed or copied:
            return [Move(at, (place, 0), lambda: self._insert(table, row))]
        begun = data | {"time": {"created": data["time"]["created"]}}
        for name in ("finish", "error", "tokens", "cost"):
            begun.pop(name, None)
        if isinstance(data.get("content"), list):
            begun["content"] = [_running(item) for item in data["content"]]
        first = row | {"data": json.dumps(begun), "time_updated": at}
        sql = f"UPDATE {table} SET data = ?, time_updated = ? WHERE id = ?"
        ended = (row["data"], row["time_updated"], row["id"])
        return [
            Move(at, (place, 0), lambda: self._insert(table, first)),
            # After what its last part may have been written at.
            Move(
                max(at, row["time_updated"], completed),
                (place, 2),
                lambda: self._new.execute(sql, ended),
            ),
        ]


def _end_of_call(data: str) -> int:
    """Return when a call was over, ms: nobody sees its end before; 0 for other parts."""
    state = json.loads(data).get("state")
    times = state.get("time") if isinstance(state, dict) else None
    return int(times.get("end") or 0) if isinstance(times, dict) else 0


def _running(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item of 2.x as it was while its call ran; others as they are."""
    if item.get("type") != "tool" or item["state"]["status"] not in ("completed", "error"):
        return item
    state = {key: item["state"][key] for key in ("input", "metadata") if key in item["state"]}
    times = {key: value for key, value in item["time"].items() if key != "completed"}
    return item | {"state": state | {"status": "running"}, "time": times}
