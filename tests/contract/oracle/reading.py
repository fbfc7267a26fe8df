"""
Reads a database at rest into `oracle.model`: whole, both generations, no copies.

"An upgraded database is the *union* by identity, never one generation per
session": a message of both is one row, as v1 has it (v1 knows token sums and
parts; times can differ by 1 or 2 ms), with what only v2 knows added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import apsw

from contract.oracle.calls import is_typed, v1_call
from contract.oracle.model import LATER_MS, Row, Session, moment
from contract.oracle.rows import v1_row, v2_row
from contract.oracle.tools import CATEGORIES
from contract.oracle.values import dollars, load, tokens

Rows = dict[str, dict[str, Row]]
"""Rows by session and message."""


def read(*paths: Path, now: int = LATER_MS) -> list[Session]:
    """
    Return the sessions of databases that nobody writes to, oldest first.

    Choice: several databases are read as one; copies are looked for in all of them.

    Args:
        paths: The databases.
        now: When they are read, Unix ms.
    """
    sessions: dict[str, Session] = {}
    rows: Rows = defaultdict(dict)
    for path in paths:
        db = apsw.Connection(str(path))
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        if "session_v2" in tables:
            _sessions(db, "session_v2", sessions)
            _v2(db, rows, now)
        if {"session", "message", "part"} <= tables:
            _sessions(db, "session", sessions)
            _v1(db, rows, now)
        db.close()
    for key, found in rows.items():
        session = sessions.setdefault(key, Session(key, 0, "_unknown", ""))
        session.rows = sorted(found.values(), key=lambda row: (row.created, row.order))
        session.now = now
        _restamp(session)
    ordered = sorted(sessions.values(), key=lambda one: (one.created, one.id))
    _drop_copies(ordered)
    _hide_unreal_tools(ordered)
    return ordered


def todos(path: Path) -> dict[tuple[str, ...], int]:
    """
    Return the todo items by status.

    "1.x: todo items of active sessions": at rest, of all sessions that are not archived.
    """
    db = apsw.Connection(str(path))
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'todo'").fetchone():
        return {}
    sql = (
        "SELECT t.status, count(*) FROM todo t JOIN session s ON s.id = t.session_id "
        "WHERE s.time_archived IS NULL GROUP BY 1"
    )
    return {(str(status),): int(count) for status, count in db.execute(sql)}


def _sessions(db: apsw.Connection, table: str, into: dict[str, Session]) -> None:
    columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    fork = "s.fork_session_id" if "fork_session_id" in columns else "NULL"
    sql = (
        f"SELECT s.id, s.parent_id, s.time_created, s.directory, s.project_id, p.worktree, {fork} "
        f"FROM {table} s LEFT JOIN project p ON p.id = s.project_id"
    )
    for key, parent, created, directory, project, worktree, origin in db.execute(sql):
        name = "global" if project == "global" else "_unknown"
        if name != "global" and isinstance(worktree, str):
            name = PurePosixPath(worktree).name or "global"
        known = into.setdefault(key, Session(key, created, name, directory or "", parent or ""))
        known.fork = known.fork or bool(origin)


def _v1(db: apsw.Connection, into: Rows, now: int = LATER_MS) -> None:
    """Read v1; a row that v2 has too is replaced by v1's."""
    parts, written = defaultdict(list), defaultdict(list)
    sql = "SELECT message_id, time_created, data FROM part ORDER BY rowid"
    for message, created, data in db.execute(sql):
        parts[message].append(load(data))
        written[message].append(created)
    sql = "SELECT id, session_id, time_created, rowid, data FROM message"
    for key, session, created, order, data in db.execute(sql):
        row = v1_row(key, created, order, load(data), now=now)
        _add_parts(session, row, parts[key], written[key], now)
        other = into[session].get(key)
        if other is not None and row.kind == "step":
            row.streamed, row.order = other.streamed, other.order
            row.retries = max(row.retries, other.retries)
            known = {call.id for call in row.calls}
            row.calls += [call for call in other.calls if call.id not in known]
        into[session][key] = row


def _v2(db: apsw.Connection, into: Rows, now: int = LATER_MS) -> None:
    sql = "SELECT id, session_id, type, time_created, seq, data FROM session_message"
    for key, session, kind, created, seq, data in db.execute(sql):
        found = v2_row(session, key, kind, created, seq, load(data), now=now)
        into[session][key] = found


def _restamp(session: Session) -> None:
    """
    Give the commands of 1.x the earliest start that the database knows.

    "`start` is the earliest start that was ever true: 1.14.48 to 1.18.20 stamp it anew
    whenever a command prints, so … for shell calls of rows that are no copies the row's own
    `time_created`, within its message."  Choices: within is from the message's creation to
    the start that the call tells; rows older than their session are copies here, also where
    they count because the original is gone; so it is for every version.
    """
    for row in session.rows:
        for call in row.calls if row.created >= session.created else ():
            told, written = call.started, call.written
            if call.tool != "shell" or told is None or written is None:
                continue
            if row.created <= written <= told:
                call.started = written


def _add_parts(
    session: str,
    row: Row,
    parts: list[dict[str, Any]],
    written: Sequence[object] = (),
    now: int = LATER_MS,
) -> None:
    """
    Add to a message of v1 what its parts say.

    "Tokens of v1 come from `step-finish` parts (`message.tokens` is only the last
    step's)"; choice: the cost comes from them as well.  "Compaction, synthetic and
    `!cmd` messages neither open nor close" a turn: a message of the user whose parts
    are all synthetic, or hold a ``compaction``, is a note, and so is the message that
    holds only commands which the user typed.

    Retries: "one for each step": choice: so it is for those of 1.x, however many parts
    of that kind one holds.
    """
    typed = False
    stepped = any(part.get("type") == "step-start" for part in parts)
    for part, at in zip_longest(parts, written):
        kind = part.get("type")
        if kind == "tool":
            typed = typed or is_typed(part, stepped=stepped)
            call = v1_call(session, row.message, part, stepped=stepped, now=now)
            if call is not None:
                call.written = moment(at, now)
                row.calls.append(call)
        elif kind == "step-finish":
            used = tokens(part.get("tokens"))
            row.tokens = {name: row.tokens.get(name, 0) + used[name] for name in used}
            row.cost += dollars(part.get("cost"))
        elif kind == "retry":
            row.retries = 1
        elif kind == "compaction":
            row.compaction = "auto" if part.get("auto") else "manual"
    synthetic = parts and all(part.get("synthetic") is True for part in parts)
    of_user = row.role == "user" and (row.compaction or synthetic)
    if of_user or (typed and not row.calls and not row.finish):
        row.kind = "note"


def _drop_copies(sessions: Iterable[Session]) -> None:
    """
    Leave out what forks repeat.

    "An event that started before its own session is only *suspect*; it is a copy when
    an event with the same fingerprint is already known from another session;
    otherwise it counts (its original was deleted)."  Choice: a whole message is the
    event here, its fingerprint is its kind and when it was created (what a fork copies
    unchanged), and everything inside a copied message is a copy.  Sessions come oldest
    first, so of two forks of a deleted session the older one keeps the rows.  "A session
    is counted at its first message, when it is known whether it is a fork": 1.x has no
    column for it, so a session is one when it has rows older than itself, also when its
    original is gone.
    """
    known: dict[tuple[str, int], str] = {}
    sessions = list(sessions)
    for session in sessions:
        for row in session.rows:
            if row.created >= session.created:
                known.setdefault((_print(row), row.created), session.id)
    for session in sessions:
        own: list[Row] = []
        session.fork = session.fork or any(row.created < session.created for row in session.rows)
        for row in session.rows:
            suspect = row.created < session.created
            if suspect and known.setdefault((_print(row), row.created), session.id) != session.id:
                session.copies += 1
            else:
                own.append(row)
        session.rows = own


def _print(row: Row) -> str:
    """Return the kind of a row; v2 imports a message of 1.x under another one."""
    return row.role or row.kind


def _hide_unreal_tools(sessions: Iterable[Session]) -> None:
    """
    Rename tools that do not exist.

    "A **tool** unless the source says it does not exist": choice: a call that never
    got as far as being looked up vouches for no name, so its tool is ``_unknown``
    unless it is built in or another call shows that it exists.
    """
    sessions = list(sessions)
    real = {call.tool for one in sessions for call in one.calls if call.vouched}
    real |= set(CATEGORIES)
    for one in sessions:
        for call in one.calls:
            if call.tool not in real:
                call.tool = "_unknown"
