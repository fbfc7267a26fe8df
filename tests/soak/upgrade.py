"""
The first start of 2.x on a database of 1.x: every session is copied into its tables.

The rows of 1.x stay.  A call that ran becomes one that was interrupted.
"""

from __future__ import annotations

import json
from typing import Any

from harness.databases import call as item
from harness.upgraded import _TABLES
from opencode_exporter.demo.rows import text
from soak import vocabulary
from soak.moves_v2 import MovesV2
from soak.truth import Fact

_SESSIONS = """
    SELECT id, slug, project_id, time_created FROM session
    WHERE id NOT IN (SELECT id FROM session_v2) ORDER BY id
"""
_MESSAGES = """
    SELECT id, time_created, data FROM message WHERE session_id = ?
    AND iif(json_valid(data), data ->> '$.role', NULL) IS NOT NULL ORDER BY time_created, id
"""
_CALLS = (
    "SELECT data FROM part WHERE message_id = ? "
    "AND iif(json_valid(data), data ->> '$.type', '') = 'tool' ORDER BY rowid"
)


def is_due(moves: MovesV2) -> bool:
    """Return whether 1.x has used this database, and nobody has upgraded it to the end."""
    tables = _tables(moves)
    if "part" not in tables or "kv" not in tables:
        return "part" in tables
    return not moves.ask("SELECT 1 FROM kv WHERE key = 'migration.v1-v2'")


def _tables(moves: MovesV2) -> set[str]:
    return {name for (name,) in moves.ask("SELECT name FROM sqlite_master")}


def upgrade(moves: MovesV2) -> None:
    """Import the sessions, one in a transaction; goes on where another was killed."""
    if "session_v2" not in _tables(moves):
        with moves.sql:
            moves.sql.execute(_TABLES)
    for session, owner, project, created in moves.ask(_SESSIONS):
        with moves.commit() as facts:
            moves.db.session(id=session, created=created, slug=owner, project=project)
            moves.mark(session, moves.journal.next())
            for message, at, data in moves.ask(_MESSAGES, session):
                told = json.loads(data)
                if told["role"] == "assistant":
                    facts.extend(_import(moves, session, message, at, told))
                else:
                    moves.db.user(session, id=message, created=at)
    with moves.commit():
        done = text({"phase": "completed"})
        moves.sql.execute("INSERT INTO kv VALUES ('migration.v1-v2', ?, 0, 0)", (done,))


def _import(
    moves: MovesV2, session: str, message: str, at: int, told: dict[str, Any]
) -> list[Fact]:
    found = [json.loads(data) for (data,) in moves.ask(_CALLS, message)]
    # What the user typed is no call of the model; 2.x does not make one of it.
    parts = [part for part in found if not part["callID"].startswith(vocabulary.TYPED)]
    items = [_item(part, at) for part in parts]
    over: dict[str, Any] = {
        name: told[name] for name in ("finish", "tokens", "cost") if name in told
    }
    completed = told["time"].get("completed")
    moves.db.assistant(session, items, id=message, created=at, completed=completed, facts=over)
    # First verdicts are final: about a call that 1.x had ended, this says nothing new.
    return [_interrupted(message, part) for part in parts if not _has_ended(part)]


def _has_ended(part: dict[str, Any]) -> bool:
    return part["state"]["status"] in ("completed", "error")


def _interrupted(message: str, part: dict[str, Any]) -> Fact:
    tool, name = vocabulary.CANONICAL[part["tool"]], part["state"]["input"].get("name", "")
    skill = vocabulary.shown(name) if tool == "skill" else ""
    return Fact(message, part["callID"], tool, "abandoned", -1, skill)


def _item(part: dict[str, Any], at: int) -> dict[str, Any]:
    """Return a call of 1.x as it is imported: without the time at which it ran."""
    state, times = part["state"], part["state"].get("time", {})
    facts: dict[str, Any] = {"input": state["input"]}
    if state["status"] == "completed":
        facts["metadata"] = state["metadata"]
    else:
        kind, message = ("tool.interrupted", "Tool execution was interrupted")
        if state["status"] == "error":
            kind, message = "unknown", state["error"]
        facts["error"] = {"type": kind, "message": message}
    status = "completed" if state["status"] == "completed" else "error"
    made = item(part["callID"], part["tool"], status, **facts)
    made["time"] = {"created": times.get("start", at), "completed": times.get("end")}
    made["time"] = {name: at for name, at in made["time"].items() if at}
    return made
