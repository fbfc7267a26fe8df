"""
A history of 1.x, and what may happen to it while it is read for the first time.

Every call has a pair of tool and project for itself, and every step a pair of provider
and model, so that a page tells which of them were counted.  Labels of a session end in
its number: whatever a page says of it can be told from the rest.  Knows nothing of what
is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from harness.databases import BEGIN_MS, V1, fresh
from opencode_exporter.demo.rows import text

SESSIONS: Final = 14
REST_MS: Final = 3_600_000
"""How long nothing has been written when it is read."""
_TOOLS: Final = ("read", "bash", "edit", "grep", "skill", "glob", "webfetch", "write")
_NAMES: Final = {"bash": "shell", "task": "subagent"}
"""What tools are called on a page, where that is another name."""
_ALONE: Final = "x_"
"""Begins the names of tools that are called once, so that no project tells them apart."""


def cell(tool: str, project: str) -> tuple[str, str]:
    """Return under what a page shows a call, by the tool's name there."""
    return tool, "" if tool.startswith(_ALONE) else project


_ULID: Final = "01K0ABCDEFGHJKMNPQRSTVWXYZ"


class History:
    """
    One database that is written to.

    Args:
        path: The file.
        now: Unix ms of the next write.

    Attributes:
        touched: The numbers of sessions to which something has happened.
    """

    def __init__(self, path: Path, now: int, *, ddl: str | None = "") -> None:
        self.path = path
        self.db = V1(path, ddl=ddl, now=now)
        self.touched: set[int] = set()
        self._deleted: list[tuple[tuple[Any, ...], list[Any], list[Any]]] = []
        self._numbers = count(SESSIONS)
        self._names = count(1)

    def close(self) -> None:
        """End the process that writes."""
        self.db.close()

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        found: list[Any] = self.db.db.execute(sql, values).fetchall()
        return found

    def calls(self) -> set[tuple[str, str]]:
        """Return tool and project of every call that has ended and that can count."""
        sql = (
            "SELECT part.data ->> '$.tool', session.project_id FROM part "
            "LEFT JOIN session ON session.id = part.session_id "
            "WHERE part.data ->> '$.type' = 'tool' AND part.data ->> '$.callID' != ?"
        )
        rows = self._rows(sql, _ULID)
        return {cell(_NAMES.get(tool, tool), project) for tool, project in rows}

    # What OpenCode writes.

    def begin(self, number: int, **more: Any) -> str:
        """Write a session."""
        return self.db.session(project=f"p{number}", **more)

    def turn(self, session: str, number: int, tools: list[str], first: int, **call: Any) -> None:
        """Write what a user says, and steps of a call each and one of none."""
        db, agent = self.db, f"a{number}"
        human = db.message(session, role="user", agent=agent)
        db.raw_part(human, text({"type": "text", "text": "please"}))
        for place, tool in enumerate([*tools, ""]):
            step = db.message(
                session,
                agent=agent,
                parentID=human,
                providerID=f"v{first + place}",
                modelID=f"m{number}",
            )
            db.raw_part(step, text({"type": "step-start"}))
            db.raw_part(step, text({"type": "reasoning", "text": "hm " * (1 + 40 * place)}))
            if tool:
                db.tool(step, tool=tool, call=f"call_{first + place}", **_facts(tool), **call)
            spent = {"input": 100 + first + place, "output": 10 + number, "reasoning": 0}
            used = {"tokens": {**spent, "cache": {"read": 0, "write": 0}}, "cost": 0.25}
            end = {"reason": "tool-calls" if tool else "stop"}
            db.raw_part(step, text({"type": "step-finish"} | end | used))
            db.rewrite_message(step, completed=db.tick(), finish=end["reason"], **used)

    def _pick(self, sql: str, pick: int) -> Any:
        """Return one of some rows, counted from the last; None of none."""
        found = self._rows(sql)
        return found[-1 - pick % len(found)] if found else None

    def _session(self, pick: int) -> tuple[str, int] | None:
        """Return a session and its number, which is touched from now on."""
        row = self._pick("SELECT id, project_id FROM session ORDER BY rowid", pick)
        return row and (row[0], self._touch(row[1]))

    def _message(self, pick: int) -> str | None:
        row = self._pick(
            "SELECT message.id, project_id FROM message "
            "JOIN session ON session.id = message.session_id ORDER BY message.rowid",
            pick,
        )
        if row is None:
            return None
        self._touch(row[1])
        return str(row[0])

    def _touch(self, project: str) -> int:
        number = int(project[1:])
        self.touched.add(number)
        return number

    # What may happen.

    def delete_session(self, pick: int) -> None:
        """Delete a session; its rowids are free again if it is the last."""
        if found := self._session(pick):
            name, _ = found
            (head,) = self._rows("SELECT project_id, time_created FROM session WHERE id = ?", name)
            rows = "WHERE session_id = ? ORDER BY rowid"
            messages = self._rows(f"SELECT id, time_created, data FROM message {rows}", name)
            parts = self._rows(f"SELECT message_id, id, data FROM part {rows}", name)
            self._deleted.append(((name, *head), messages, parts))
            self.db.delete_session(name)

    def replace(self, pick: int) -> None:
        """Delete the newest sessions, and write more rows than they had, at their rowids."""
        self._delete_newest(2 + pick % 4)
        number = next(self._numbers)
        self.touched.add(number)
        self.turn(self.begin(number), number, [*_TOOLS, *[""] * (4 + pick % 20)], 1)

    def move(self, pick: int) -> None:
        """Import a session again where the newest were: its rows come for a second time."""
        self.delete_session(pick)
        place = len(self._deleted) - 1
        self._delete_newest(2)
        if place >= 0:
            self.restore(place)

    def _delete_newest(self, sessions: int) -> None:
        """Delete the newest sessions; two always go on side by side."""
        for _ in range(sessions):
            self.delete_session(0)

    def shift(self, pick: int) -> None:
        """Delete a session, and give all rows behind it lower rowids."""
        self.delete_session(pick)
        self.vacuum(0)

    def restore(self, pick: int) -> None:
        """Import a session again that was deleted: the same ids, other rowids."""
        if not self._deleted:
            return
        (name, project, created), messages, parts = self._deleted.pop(pick % len(self._deleted))
        self.db.session(id=name, project=project, created=created)
        for message, at, data in messages:
            row = {"time_created": at, "time_updated": self.db.tick()}
            self.db.put("message", id=message, session_id=name, data=data, **row)
        there = {message for message, *_ in messages}
        for message, part, data in parts:
            if message in there:
                self.db.raw_part(message, data, part=part)

    def delete_message(self, pick: int) -> None:
        """Delete a message with its parts."""
        if message := self._message(pick):
            self._rows("DELETE FROM message WHERE id = ?", message)

    def delete_parts(self, pick: int) -> None:
        """Delete all parts of a message."""
        if message := self._message(pick):
            self._rows("DELETE FROM part WHERE message_id = ?", message)

    def delete_call(self, pick: int) -> None:
        """Delete one call."""
        row = self._pick(
            "SELECT part.id, project_id FROM part JOIN session ON session.id = part.session_id "
            "WHERE data ->> '$.type' = 'tool' ORDER BY part.rowid",
            pick,
        )
        if row:
            self._touch(row[1])
            self._rows("DELETE FROM part WHERE id = ?", row[0])

    def _without_keys(self, sql: str, *values: Any) -> None:
        self._rows("PRAGMA foreign_keys = OFF")
        self._rows(sql, *values)
        self._rows("PRAGMA foreign_keys = ON")

    def late_call(self, pick: int) -> None:
        """Write a call to a message that is there."""
        if message := self._message(pick):
            number = next(self._names)
            self.db.tool(message, tool=f"{_ALONE}late_{number}", call=f"call_late_{number}")

    def orphan(self, pick: int) -> None:
        """Write a call of a message that is not there."""
        if found := self._session(pick):
            self._orphan(found[0], f"{_ALONE}{next(self._names)}")

    def _orphan(self, session: str, tool: str) -> None:
        message = self.db.message(session)
        self.db.tool(message, tool=tool, call=f"call_{tool}")
        self._without_keys("DELETE FROM message WHERE id = ?", message)

    def go_on(self, pick: int) -> None:
        """Write a turn more of a session."""
        if found := self._session(pick):
            session, number = found
            first = 200 + 10 * next(self._names)
            self.turn(session, number, [f"{_ALONE}more_{first}"], first)

    def new_session(self, _pick: int) -> None:
        """Write a session more."""
        number = next(self._numbers)
        self.touched.add(number)
        self.turn(self.begin(number), number, ["read", "edit"], 1)

    def fork(self, pick: int) -> None:
        """Fork a session."""
        if found := self._session(pick):
            self.db.fork(found[0])

    def prune(self, pick: int) -> None:
        """Write a call again that has ended, as 1.x does to save tokens."""
        row = self._pick(
            "SELECT id FROM part WHERE data ->> '$.type' = 'tool' ORDER BY rowid", pick
        )
        if row:
            self._rows(
                "UPDATE part SET data = json_set(data, '$.state.time.compacted', ?), "
                "time_updated = ? WHERE id = ?",
                self.db.now,
                self.db.tick(),
                row[0],
            )

    def vacuum(self, _pick: int) -> None:
        """Give the rows other rowids."""
        self._rows("VACUUM")


def _facts(tool: str) -> dict[str, Any]:
    if tool == "skill":
        return {"input": {"name": "commit"}, "metadata": {"name": "commit", "truncated": False}}
    if tool == "edit":
        diff = {"file": "a.py", "additions": 3, "deletions": 1}
        return {"metadata": {"filediff": diff, "truncated": False}}
    return {}


KINDS: Final[dict[str, Callable[[History, int], None]]] = {
    name: getattr(History, name)
    for name in (
        *("delete_session", "late_call", "go_on", "delete_message", "orphan", "new_session"),
        *("delete_parts", "delete_call", "restore", "vacuum", "fork", "prune"),
        *("replace", "move", "shift"),
    )
}
"""What may happen, by name; the simplest first."""


@cache
def written() -> tuple[bytes, int]:
    """Return a database before anything happens to it, and when it was written last."""
    with TemporaryDirectory() as directory:
        history = History(Path(directory, "opencode.db"), BEGIN_MS, ddl=None)
        _write(history)
        now = history.db.now
        history.close()
        return history.path.read_bytes(), now


def _write(history: History) -> None:
    """Write sessions of which two go on side by side."""
    for number in range(0, SESSIONS, 2):
        both = [(history.begin(each), each) for each in (number, number + 1)]
        for turn in range(2):
            for session, each in both:
                tools = list(_TOOLS[turn::2][: 1 + (each + turn) % 4])
                history.turn(session, each, tools, 1 + 10 * turn)
        _adorn(history, *both[0])
    history.touched.clear()


def _adorn(history: History, session: str, number: int) -> None:
    """Write what not every session has."""
    db = history.db
    if number == 2:
        db.fork(session)
    elif number == 4:
        child = history.begin(number, parent=session)
        history.turn(child, number, ["codesearch"], 60)
        step = db.message(session, agent="a4", providerID="v70", modelID="m4")
        meta = {"sessionId": child, "truncated": False}
        db.tool(step, tool="task", call="call_task", metadata=meta)
        db.rewrite_message(step, completed=db.tick(), finish="tool-calls")
    elif number == 6:  # a command that the user typed, and a message without parts
        typed = db.message(session, agent="a6")
        db.tool(typed, tool="bash", call=_ULID, metadata={"output": "x"}, output="x")
        db.rewrite_message(typed, completed=db.tick())
        db.message(session, role="user", agent="a6")
    elif number == 8:
        history._orphan(session, f"{_ALONE}orphan")
    elif number == 10:  # a row of some pages, one that is odd, and one of another session
        step = db.message(session, agent="a10", providerID="v80", modelID="m10")
        db.tool(step, tool="list", call="call_long", output="x" * 30_000)
        db.raw_part(step, '{"type":"tool"}')
        db.rewrite_message(step, completed=db.tick(), finish="stop")
    elif number == 12:
        step = db.message(session, agent="a12", providerID="v90", modelID="m12")
        db.tool(step, tool="lsp", call="call_open", status="running", part=fresh("prt"))
