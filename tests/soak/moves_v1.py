"""Moves of a writer of 1.x: every call is a row of ``part``, written again in place."""

from __future__ import annotations

import json
from random import Random
from typing import Any, ClassVar

from databases import V1
from opencode_exporter.demo.rows import text
from soak import vocabulary
from soak.moves import Call, Moves
from soak.place import Place
from soak.truth import COPY, Fact

_OPEN = """
    SELECT part.message_id, part.data, message.time_created
    FROM part JOIN message ON message.id = part.message_id
    WHERE part.session_id = ? AND part.data ->> '$.state.status' IN ('pending', 'running')
"""


class MovesV1(Moves):
    """Moves in the tables of 1.x."""

    sessions: ClassVar[str] = "session"
    rows: ClassVar[tuple[str, ...]] = ("message", "part")
    order: ClassVar[str] = "time_created"

    def __init__(self, place: Place, database: V1, owner: str, rng: Random) -> None:
        super().__init__(place, database, owner, rng)
        self.db = database

    def open_calls(self, session: str) -> list[tuple[Fact, int]]:
        """Return the calls that have not ended; a pending one does not name its skill yet."""
        found = []
        for message, data, created in self.ask(_OPEN, session):
            part = json.loads(data)
            tool = vocabulary.CANONICAL[part["tool"]]
            name = part["state"]["input"].get("name", "")
            skill = vocabulary.shown(name) if tool == "skill" else ""
            found.append((Fact(message, part["callID"], tool, "abandoned", -1, skill), created))
        return found

    def step(self, session: str) -> None:
        """Write a message with calls that are pending."""
        with self.commit(session) as facts:
            facts.extend(fact for fact, _ in self.open_calls(session))
            if self.rng.random() < 0.4:
                self.db.message(session, role="user")
            message = self.db.message(session)
            self._chatter(message)
            calls = self.new_calls(message)
            for call in calls:
                call.part = self.db.tool(message, call=call.id, tool=call.old, status="pending")
            if self.rng.random() < 0.1:
                facts.append(self._no_such_tool(message))
        self.live[session] = calls

    def _chatter(self, message: str) -> None:
        """Write parts that count nothing: a text, and a command that the user typed."""
        self.db.raw_part(message, text({"type": "text", "text": vocabulary.output(self.rng)}))
        if self.rng.random() < 0.05:
            typed = vocabulary.TYPED + "".join(self.rng.choices("ABCDEFGHJK", k=17))
            metadata = {"output": "x"}
            self.db.tool(message, call=typed, tool="bash", metadata=metadata, end=self.db.now + 3)

    def _no_such_tool(self, message: str) -> Fact:
        start, end = self.db.tick(), self.db.tick()
        asked = {"tool": "frobnicate", "error": "Model tried to call unavailable tool"}
        call = "call_none"
        self.db.tool(message, call=call, tool="invalid", input=asked, start=start, end=end)
        return Fact(message, call, vocabulary.UNKNOWN, "error", end - start)

    def advance(self, session: str, call: Call) -> None:
        """Write the call's row again."""
        given = {"name": call.skill} if call.skill else {"filePath": "a.py", "command": "ls"}
        with self.commit(session) as facts:
            if call.status == "pending":
                call.status, call.ran = "running", self.db.tick()
                self.db.rewrite(call.part, status="running", input=given, start=call.ran)
            elif self.rng.random() < 0.2:
                output = {"output": vocabulary.output(self.rng)}
                self.db.rewrite(call.part, metadata=output)
            else:
                self.end(call)
                facts.append(call.fact())
        if call.completed:
            self.live[session].remove(call)

    def end(self, call: Call) -> None:
        """Write how a call ended."""
        call.end = vocabulary.ending(self.rng, call.new, call.skill)
        call.completed = self.db.tick()
        facts: dict[str, Any] = {"error": call.end.old, "status": "error"}
        if call.end is vocabulary.COMPLETED:
            facts = {"output": vocabulary.output(self.rng), "status": "completed"}
            facts["metadata"] = vocabulary.facts_of_end(call.skill)
        self.db.rewrite(call.part, end=call.completed, **facts)

    def late(self) -> None:
        """End a call that has been given up for long: it counts no more."""
        seen = self.seen_own()
        for entry in self.left:
            number, session, call = entry
            there = session in seen and number < self.place.seen
            given_up = [fact.call for fact, _ in self.open_calls(session)] if there else []
            if there and call.ran and call.id in given_up and self._has_gone_on(session, call):
                with self.commit(session):
                    self.end(call)
                self.left.remove(entry)
                return

    def _has_gone_on(self, session: str, call: Call) -> bool:
        sql = (
            "SELECT count(*) FROM message WHERE session_id = ? AND data ->> '$.role' = 'assistant' "
            "AND time_created > (SELECT time_created FROM message WHERE id = ?)"
        )
        return bool(self.sql.execute(sql, (session, call.message)).get)

    def foreign(self, session: str, at: int) -> list[Fact]:
        """Write a message of the past whose calls have ended."""
        message = self.db.message(session, created=at + 1)
        facts = []
        for place in range(3):
            call = self.new_call(message, place)
            call.ran = at + self.rng.randrange(10, 100_000)
            call.completed = call.ran + self.rng.randrange(1, 60_000)
            input_ = {"name": call.skill} if call.skill else {}
            if call.skill == vocabulary.NO_SKILL:
                continue
            self.db.tool(
                message,
                call=call.id,
                tool=call.old,
                input=input_,
                metadata=vocabulary.facts_of_end(call.skill),
                start=call.ran,
                end=call.completed,
            )
            facts.append(call.fact())
        return facts

    def copies(self, origin: str) -> list[Fact]:
        """Copy a session under new ids."""
        copy = self.db.fork(origin)
        self.mark(copy, self.journal.next())
        return [fact._replace(status=COPY) for fact, _ in self.open_calls(copy)]

    def prune(self) -> None:
        """Stamp old output as compacted."""
        if own := self.own():
            session = self.rng.choice(own)
            with self.commit(session):
                self.sql.execute(
                    "UPDATE part SET data = json_set(data, '$.state.time.compacted', ?), "
                    "time_updated = ? WHERE session_id = ? "
                    "AND data ->> '$.state.status' = 'completed'",
                    (self.db.tick(), self.db.tick(), session),
                )
