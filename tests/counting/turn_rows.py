"""Rows of one turn, in both generations."""

from __future__ import annotations

from typing import Final

from harness.databases import V1, V2, call

Database = V1 | V2
USED: Final = {"input": 100, "output": 10, "reasoning": 0, "cache": {"read": 0, "write": 0}}
TABLES: Final = {V1: ("message", "part"), V2: ("session_message",)}


def turn(db: Database, session: str, name: str, pause_ms: int = 0) -> None:
    """Write a whole turn with a call in it, and let time pass."""
    if isinstance(db, V1):
        said = db.message(session, role="user")
        db.raw_part(said, '{"type":"text","text":"please"}')
        for calls, finish in (([name], "tool-calls"), ([], "stop")):
            step = db.message(session, parentID=said)
            db.raw_part(step, '{"type":"step-start"}')
            for each in calls:
                part = db.tool(step, call=each, status="pending")
                db.rewrite(part, status="completed")
            done = '{"type":"step-finish","cost":0.25,"tokens":{"input":100,"output":10}}'
            db.raw_part(step, done)
            db.rewrite_message(step, completed=db.tick(), finish=finish)
    else:
        db.user(session)
        db.assistant(session, [call(name)], facts={"tokens": USED, "cost": 0.25})
        db.assistant(session, [], facts={"tokens": USED, "cost": 0.25})
        db.idle(session)
    db.now += pause_ms
