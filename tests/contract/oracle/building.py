"""
Whole steps and turns of both generations, for tests that compute by hand.

Adds to `databases` what a step of the model leaves besides its calls: how it
finished, what it used, what it cost, when it was over.  A second passes with every
step, and its calls run from 100 ms after its beginning for 200 ms.
"""

from __future__ import annotations

import json
from typing import Any

from harness.databases import AUTO, V1, V2, call, fresh
from opencode_exporter.demo.rows import text

STEP_MS = 1000
"""From the beginning of a step to its end, and from its end to the next beginning."""
USED = {"input": 100, "output": 10, "reasoning": 1, "cache": {"read": 5, "write": 2}}
"""What every step uses."""
COST = 0.25
"""What every step costs, in dollars."""
Call = dict[str, Any]


def done(tool: str, given: dict[str, Any], **more: Any) -> Call:
    """Return a call as both generations' builders below take it."""
    return {"tool": tool, "input": given, "status": "completed", "metadata": {}} | more


def loaded(skill: str) -> Call:
    """Return a call that has loaded a skill."""
    return done("skill", {"name": skill, "id": skill}, metadata={"name": skill})


def failed(tool: str, given: dict[str, Any], error: str = "it failed") -> Call:
    """Return a call that has ended in an error."""
    return done(tool, given, status="error", error=error)


class Old:
    """Writes turns of 1.x into a database."""

    def __init__(self, db: V1) -> None:
        self.db = db

    def say(self, session: str, *, synthetic: bool = False, **row: Any) -> str:
        """Write what the user says, or what OpenCode says in the user's name."""
        at = self.db.tick()
        message = self.db.message(session, role="user", created=at, **row)
        part = {"type": "text", "text": "please"} | ({"synthetic": True} if synthetic else {})
        self.db.raw_part(message, text(part))
        self.db.now = at
        return message

    def end(self, session: str, outcome: str = "succeeded") -> None:
        """Write that a turn is over: 1.x does not."""

    def compact(self, session: str, *, auto: bool) -> None:
        """Write a compaction, the summary and what makes the model go on."""
        asked = self.db.message(session, role="user")
        self.db.raw_part(asked, text({"type": "compaction", "auto": auto}))
        self.step(session, [], finish="stop", agent="compaction", summary=True)
        self.say(session, synthetic=True)

    def step(
        self,
        session: str,
        calls: list[Call],
        *,
        finish: str = AUTO,
        error: str = "",
        over: bool = True,
        **row: Any,
    ) -> str:
        """Write a step; without ``over`` it is what a killed process leaves."""
        began = self.db.now = self.db.now + STEP_MS
        if over:
            row["time"] = {"created": began, "completed": began + STEP_MS}
        if finish is AUTO:
            finish = "tool-calls" if calls else "stop"
        if error:
            row["error"] = {"name": error, "data": {}}
        elif over:
            row["finish"] = finish
        message = self.db.message(session, created=began, **row)
        for one in calls:
            open_ = one["status"] == "running"
            end = None if open_ else began + 300
            facts: dict[str, Any] = {"call": fresh("call"), "start": began + 100, "end": end}
            self.db.tool(message, **facts | one)
        if over and not error:
            used = {"type": "step-finish", "reason": finish, "tokens": USED, "cost": COST}
            self.db.raw_part(message, text(used))
        self.db.now = began + STEP_MS
        return message


class New:
    """Writes turns of 2.x into a database."""

    def __init__(self, db: V2) -> None:
        self.db = db

    def say(self, session: str, **row: Any) -> str:
        """Write what the user says."""
        at = self.db.tick()
        message = self.db.user(session, created=at, **row)
        self.db.now = at
        return message

    def invoke(self, session: str, skill: str) -> None:
        """Write a skill that the user invoked."""
        at = self.db.tick()
        self.db.skill_row(session, skill, created=at)
        self.db.now = at

    def end(self, session: str, outcome: str = "succeeded") -> None:
        """Write that a turn is over."""
        self.db.idle(session, outcome)

    def step(
        self,
        session: str,
        calls: list[Call],
        *,
        finish: str = AUTO,
        error: str = "",
        over: bool = True,
        agent: str = "build",
    ) -> str:
        """Write a step; without ``over`` it is what a killed process leaves."""
        began = self.db.now = self.db.now + STEP_MS
        times = {"created": began + 100, "ran": began + 100, "completed": began + 300}
        items = [self._item(one, times) for one in calls]
        message = self.db.assistant(session, items, completed=None, created=began, agent=agent)
        sql = "SELECT data FROM session_message WHERE id = ?"
        data = json.loads(self.db.db.execute(sql, (message,)).get)
        data["time"]["streamed"] = began + 50
        if over:
            data["time"]["completed"] = began + STEP_MS
            data |= {"tokens": USED, "cost": COST}
            data["finish"] = "tool-calls" if calls else "stop"
        if finish is not AUTO:
            data["finish"] = finish
        if error:
            data |= {"finish": "error", "error": {"type": error, "message": "no"}}
        self.db.db.execute(
            "UPDATE session_message SET data = ? WHERE id = ?", (text(data), message)
        )
        self.db.now = began + STEP_MS
        return message

    def _item(self, one: Call, times: dict[str, Any]) -> Any:
        facts: dict[str, Any] = {
            key: one[key] for key in ("status", "input", "metadata") if key in one
        }
        if one["status"] == "error":
            facts["error"] = {"type": "tool.execution", "message": one["error"]}
        if one["status"] == "running":
            times = {key: times[key] for key in ("created", "ran")} | {"completed": None}
        return call(one.get("call") or fresh("call"), one["tool"], **facts, **times)
