"""
Databases as OpenCode leaves them, row by row.

Owns how rows of both generations get into a file made from the recorded DDL:
each in a transaction of its own, in WAL mode, rewritten in place, forked as the
real program does it.  What a test leaves out is filled in, and time moves on by
a millisecond with every write.  Knows nothing of what is counted.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from harness.row_shapes import AUTO, call, timed, tool_part
from opencode_exporter.demo.rows import text
from opencode_exporter.demo.store import connect, schema

__all__ = ["AUTO", "BEGIN_MS", "V1", "V2", "call", "fresh", "schema", "tool_part"]

BEGIN_MS: Final = 1_794_990_000_000
"""When the first row is written: 10 000 s before `clock.FakeClock` begins."""
_HOUR_MS: Final = 3_600_000
_numbers = itertools.count(1)


def fresh(prefix: str) -> str:
    """Return an id that no row has yet."""
    return f"{prefix}_{next(_numbers):012x}Test"


class _Database:
    """
    What both generations share: the connection, projects and sessions.

    Args:
        path: The file.
        ddl: Statements that make its tables; by default those of the real program.
        now: Unix ms of the first write.
    """

    generation: str
    sessions: str
    version: str

    def __init__(self, path: Path, *, ddl: str | None = None, now: int = BEGIN_MS) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.now = now
        self.db = connect(path)
        self.db.execute("PRAGMA foreign_keys = ON")
        with self.db:
            self.db.execute(schema(self.generation) if ddl is None else ddl)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the last one folds the WAL into the file."""
        self.db.close()

    def tick(self) -> int:
        """Let a millisecond pass and return the time."""
        self.now += 1
        return self.now

    def put(self, table: str, **values: Any) -> None:
        """Write a row, or write it again in place."""
        names = ", ".join(values)
        changed = ", ".join(f"{name} = excluded.{name}" for name in values if name != "id")
        self.db.execute(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))}) "
            f"ON CONFLICT (id) DO UPDATE SET {changed}",
            tuple(values.values()),
        )

    def session(
        self,
        *,
        id: str | None = None,  # noqa: A002  # OpenCode's name
        created: int | None = None,
        parent: str | None = None,
        directory: str | None = None,
        project: str = "demo",
        **columns: Any,
    ) -> str:
        """Write a session and its project, whose worktree is named like it."""
        name, at = id or fresh("ses"), self.tick() if created is None else created
        worktree = "/" if project == "global" else f"/home/dev/{project}"
        times = {"time_created": at, "time_updated": at}
        self.put("project", id=project, worktree=worktree, sandboxes="[]", **times)
        given = {
            "project_id": project,
            "parent_id": parent,
            "slug": "calm-cabin",
            "directory": directory or worktree,
            "title": "A session",
            "version": self.version,
        }
        self.put(self.sessions, id=name, **given | times | columns)
        return name

    def delete_session(self, session: str) -> None:
        """Delete a session as OpenCode does: its rows go with it."""
        self.db.execute(f"DELETE FROM {self.sessions} WHERE id = ?", (session,))

    def _copy_session(self, session: str, **columns: Any) -> str:
        project, directory = self.db.execute(
            f"SELECT project_id, directory FROM {self.sessions} WHERE id = ?", (session,)
        ).get
        title = "A session (fork #1)"
        return self.session(project=project, directory=directory, title=title, **columns)

    def _pass(self, times: Any) -> None:
        """Let time go on to the latest of some times; odd ones are not believed."""
        for at in times.values() if isinstance(times, dict) else ():
            if type(at) is int and self.now < at < self.now + _HOUR_MS:
                self.now = at


class V1(_Database):
    """A database of OpenCode 1.18: ``session``, ``message``, ``part``."""

    generation = "v1"
    sessions = "session"
    version = "1.18.33"

    def __init__(self, path: Path, *, ddl: str | None = None, now: int = BEGIN_MS) -> None:
        super().__init__(path, ddl=ddl, now=now)
        self._tools: dict[str, dict[str, Any]] = {}

    def message(
        self,
        session: str,
        *,
        id: str | None = None,  # noqa: A002  # OpenCode's name
        created: int | None = None,
        agent: str = "build",
        role: str = "assistant",
        **more: Any,
    ) -> str:
        """Write a message (a step of the model, or what the user said) with more of its data."""
        name, at = id or fresh("msg"), self.tick() if created is None else created
        data: dict[str, Any] = {"role": role, "time": {"created": at}, "agent": agent}
        if role == "assistant":
            data |= {"mode": agent, "modelID": "scripted-model", "providerID": "scripted"}
        times = {"time_created": at, "time_updated": at}
        self.put("message", id=name, session_id=session, data=text(data | more), **times)
        return name

    def rewrite_message(self, message: str, *, completed: int, **more: Any) -> None:
        """Write a message again in place: it is completed, and says more."""
        sql = "SELECT data FROM message WHERE id = ?"
        data = json.loads(self.db.execute(sql, (message,)).get) | more
        data["time"]["completed"] = completed
        sql = "UPDATE message SET data = ?, time_updated = ? WHERE id = ?"
        self.db.execute(sql, (text(data), self.tick(), message))

    def tool(self, message: str, *, part: str | None = None, **facts: Any) -> str:
        """Write a tool part and return its id; its facts are those of `tool_part`."""
        name = part or fresh("prt")
        self._tools[name] = facts
        return self.raw_part(message, self._data(name), part=name)

    def rewrite(self, part: str, **facts: Any) -> None:
        """Write a tool part again in place, with the facts that have changed."""
        self._tools[part] |= facts
        data = self._data(part)
        sql = "UPDATE part SET data = ?, time_updated = ? WHERE id = ?"
        self.db.execute(sql, (data, self.tick(), part))

    def _data(self, part: str) -> str:
        facts, now = self._tools[part], self.tick()
        made = tool_part(**facts, now=now)
        times = made["state"].get("time", {})
        if "start" in times:
            facts["start"] = times["start"]  # a later rewrite keeps it
        self._pass(times)
        return text(made)

    def raw_part(self, message: str, data: str | bytes | None, *, part: str | None = None) -> str:
        """Write anything as the data of a part."""
        name, at = part or fresh("prt"), self.tick()
        session = self.db.execute("SELECT session_id FROM message WHERE id = ?", (message,)).get
        given = {"session_id": session, "time_created": at, "time_updated": at}
        self.put("part", id=name, message_id=message, data=data, **given)
        return name

    def fork(self, session: str) -> str:
        """Copy a session: new ids, new times of rows, everything inside them as it was."""
        new = self._copy_session(session)
        renamed: dict[str, str] = {}
        messages = "SELECT id, time_created, data FROM message WHERE session_id = ? ORDER BY rowid"
        parts = "SELECT data FROM part WHERE message_id = ? ORDER BY rowid"
        copied: list[Any] = self.db.execute(messages, (session,)).fetchall()
        for old, created, data in copied:
            name = renamed[old] = fresh("msg")
            for one, other in renamed.items():
                data = data.replace(f'"parentID":"{one}"', f'"parentID":"{other}"')  # noqa: PLW2901
            at = {"time_created": created, "time_updated": self.tick()}
            self.put("message", id=name, session_id=new, data=data, **at)
            inside: list[Any] = self.db.execute(parts, (old,)).fetchall()
            for (part,) in inside:
                self.raw_part(name, part)
        return new


class V2(_Database):
    """A database of OpenCode 2.0: ``session_v2``, ``session_message``."""

    generation = "v2"
    sessions = "session_v2"
    version = "2.0.15"

    def user(self, session: str, *, skills: tuple[str, ...] = (), **row: Any) -> str:
        """Write what the user said, and the skills that it mentions."""
        data: dict[str, Any] = {"text": "please", "files": []}
        if skills:
            data["skills"] = [{"id": name, "name": name, "text": "steps"} for name in skills]
        return self._row(session, "user", data, **row)

    def assistant(
        self,
        session: str,
        calls: list[Any],
        *,
        completed: Any = AUTO,
        agent: str = "build",
        facts: Mapping[str, Any] = MappingProxyType({}),
        **row: Any,
    ) -> str:
        """
        Write a step of the model with items of `call`, and facts about itself.

        ``completed=None``: it goes on.
        """
        created = row.pop("created", None) or self.tick()
        data = {"time": {"created": created}, "agent": agent}
        data["model"] = {"id": "scripted-model", "providerID": "scripted", "variant": "default"}
        self._step(data, calls, completed)
        return self._row(session, "assistant", {**data, **facts}, created=created, **row)

    def rewrite(
        self, message: str, calls: list[Any], *, completed: Any = AUTO, **facts: Any
    ) -> None:
        """Write a step again in place, as its calls go on."""
        sql = "SELECT data FROM session_message WHERE id = ?"
        data = json.loads(self.db.execute(sql, (message,)).get)
        self._step(data, calls, completed)
        sql = "UPDATE session_message SET data = ?, time_updated = ? WHERE id = ?"
        self.db.execute(sql, (text(data | facts), self.tick(), message))

    def _step(self, data: dict[str, Any], calls: list[Any], completed: Any) -> None:
        known = {str(item["id"]): item.get("time", {}) for item in data.get("content", ())}
        data["content"] = []
        for given in calls:
            earlier = known.get(str(given.get("id")), {}) if isinstance(given, dict) else {}
            item = timed(given, earlier, self.tick())
            data["content"].append(item)
            self._pass(item.get("time") if isinstance(item, dict) else None)
        if completed is AUTO:
            completed = self.tick()
        if completed is not None:
            data["time"]["completed"] = completed
            data["finish"] = "tool-calls" if calls else "stop"

    def skill_row(self, session: str, skill: str, *, content: str = "steps", **row: Any) -> str:
        """Write a skill that the user invoked by a slash command."""
        data = {"skill": skill, "name": skill, "text": content}
        return self._row(session, "skill", data, **row)

    def idle(self, session: str, outcome: str = "succeeded", **row: Any) -> str:
        """Write that a turn is over."""
        return self._row(session, "idle", {"outcome": outcome}, **row)

    def _row(self, session: str, kind: str, data: dict[str, Any], **row: Any) -> str:
        created = row.pop("created", None) or self.tick()
        data = {"time": {"created": created}} | data
        return self.raw_row(session, text(data), kind=kind, created=created, **row)

    def raw_row(
        self,
        session: str,
        data: str | bytes | None,
        *,
        kind: str = "assistant",
        id: str | None = None,  # noqa: A002  # OpenCode's name
        created: int | None = None,
        seq: int | None = None,
    ) -> str:
        """Write anything as the data of a row of that type."""
        name, now = id or fresh("msg"), self.tick()
        if seq is None:
            sql = "SELECT coalesce(max(seq), 3) + 1 FROM session_message WHERE session_id = ?"
            seq = self.db.execute(sql, (session,)).get
        at = {"time_created": now if created is None else created, "time_updated": now}
        given = {"session_id": session, "type": kind, "seq": seq, "data": data}
        self.put("session_message", id=name, **given | at)
        return name

    def fork(self, session: str) -> str:
        """Copy a session: ids get the suffix ``_<seq>``, everything else stays as it was."""
        sql = (
            "SELECT id, type, seq, time_created, data FROM session_message "
            "WHERE session_id = ? ORDER BY seq"
        )
        rows: list[Any] = self.db.execute(sql, (session,)).fetchall()
        boundary = text({"type": "through", "messageID": rows[-1][0] if rows else ""})
        new = self._copy_session(session, fork_session_id=session, fork_boundary=boundary)
        for old, kind, seq, created, data in rows:
            self.raw_row(new, data, kind=kind, id=f"{old}_{seq}", created=created, seq=seq)
        return new
