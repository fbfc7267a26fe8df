"""Moves of a writer of 1.x: every call is a row of ``part``, written again in place."""

from __future__ import annotations

import json
from random import Random
from typing import Any, ClassVar, Final

from harness.databases import V1, fresh
from opencode_exporter.demo.rows import text
from soak import vocabulary
from soak.calls import Call, Open
from soak.moves import TOKENS, Moves
from soak.place import Place
from soak.truth import COPY, Fact

STATUS: Final = "iif(json_valid(part.data), part.data ->> '$.state.status', 'junk')"
"""How a part stands; one that cannot be decoded may be of a call."""
_OPEN = f"""
    SELECT part.message_id, part.data, message.time_created, part.time_updated
    FROM part JOIN message ON message.id = part.message_id
    WHERE part.session_id = ? AND {STATUS} IN ('pending', 'running')
"""
_GIVEN_UP = """
    SELECT count(*) FROM message JOIN part ON part.id = ?
    WHERE message.session_id = ? AND message.time_created > part.time_updated
    AND iif(json_valid(message.data), message.data ->> '$.time.completed', NULL) IS NOT NULL
"""


class MovesV1(Moves):
    """Moves in the tables of 1.x."""

    sessions: ClassVar[str] = "session"
    rows: ClassVar[tuple[str, ...]] = ("message", "part")
    order: ClassVar[str] = "time_created"

    def __init__(self, place: Place, database: V1, owner: str, rng: Random) -> None:
        super().__init__(place, database, owner, rng)
        self.db = database
        self._said: dict[str, str] = {}  # by session: what the user said last

    def open_calls(self, session: str) -> list[Open]:
        """Return the calls that have not ended; a pending one does not name its skill yet."""
        found = []
        for message, data, created, updated in self.ask(_OPEN, session):
            part = json.loads(data)
            tool = vocabulary.CANONICAL[part["tool"]]
            name = part["state"]["input"].get("name", "")
            skill = vocabulary.shown(name) if tool == "skill" else ""
            fact = Fact(message, part["callID"], tool, "abandoned", -1, skill)
            found.append(Open(fact, created, updated))
        return found

    def begun(self, message: str) -> tuple[int, int]:
        """Return the time of a message, twice."""
        created: int = self.ask("SELECT time_created FROM message WHERE id = ?", message)[0][0]
        return created, created

    def in_row(self, call: Call) -> tuple[str, list[Call]]:
        """Return the part of a call, which shows no other."""
        return call.part, [call]

    def broken(self, session: str, data: str) -> None:
        """Write a message that cannot be decoded, or a part of the last one."""
        times = {"time_created": self.db.tick(), "time_updated": self.db.now}
        if self.rng.random() < 0.5:
            self.db.put("message", id=fresh("msg"), session_id=session, data=data, **times)
            return
        sql = "SELECT id FROM message WHERE session_id = ? ORDER BY time_created DESC LIMIT 1"
        for (message,) in self.ask(sql, session):
            self.db.raw_part(message, data)

    def step(self, session: str, *, beside: bool = False) -> None:
        """Write a message with calls that are pending."""
        with self.commit(session) as facts:
            if beside or self.rng.random() < 0.4:
                self._said[session] = self.db.message(session, role="user")
            message = self.db.message(session, parentID=self._said.get(session))
            facts.extend(self.doubt(session, message))
            self._chatter(message)
            calls = self.new_calls(message)
            for call in calls:
                call.part = self.db.tool(message, call=call.id, tool=call.old, status="pending")
                call.created = self.db.now
            if self.rng.random() < 0.1:
                facts.append(self._no_such_tool(message))
        self.live[session] = [*self.live.get(session, ()), *calls]

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
            facts.extend(self.alive(call))
            if call.status == "pending":
                # A command has run since its row was made, whatever it says.
                call.status, call.ran = "running", self.db.tick()
                if call.old == "bash":
                    call.ran = call.created
                self.db.rewrite(call.part, status="running", input=given, start=call.ran)
            elif self.rng.random() < 0.2:
                output = {"output": vocabulary.output(self.rng)}
                self.db.rewrite(call.part, metadata=output)
            else:
                facts.extend(self.end(session, call))
        if call.completed:
            self.live[session].remove(call)

    def end(self, session: str, call: Call) -> list[Fact]:
        """Write how a call ended, and its message if it was the last of it."""
        call.end = vocabulary.ending(self.rng, call.new, call.skill)
        call.completed = self.db.tick()
        facts: dict[str, Any] = {"error": call.end.old, "status": "error"}
        if call.end is vocabulary.COMPLETED:
            facts = {"output": vocabulary.output(self.rng), "status": "completed"}
            facts["metadata"] = vocabulary.facts_of_end(call.skill)
        self.db.rewrite(call.part, end=call.completed, **facts)
        sql = f"SELECT {STATUS} FROM part WHERE message_id = ?"
        if {"pending", "running", "junk"}.intersection(s for (s,) in self.ask(sql, call.message)):
            return [call.fact()]
        return [call.fact(), *self.finish_step(session, call.message, self.db.tick())]

    def finish_step(self, session: str, message: str, completed: int) -> list[Fact]:
        """Write what a step took, and that it is over."""
        finish = self.rng.choice(("tool-calls", "stop"))
        used = {"cost": 0.5, "tokens": {"input": TOKENS, "output": 0, "reasoning": 0}}
        self.db.raw_part(message, text({"type": "step-finish", "reason": finish} | used))
        self.db.rewrite_message(message, completed=completed, finish=finish, **used)
        return self.over(session, message, finish)

    def late(self) -> None:
        """End a call that has been given up for long: it counts no more."""
        seen = self.seen_own()
        for entry in self.left:
            number, session, call = entry
            there = session in seen and number < self.place.seen
            names = {(one.fact.message, one.fact.call) for one in self.open_calls(session)}
            is_open = there and call.ran and (call.message, call.id) in names
            if is_open and self.ask(_GIVEN_UP, call.part, session)[0][0]:
                with self.commit(session) as facts:
                    facts.extend(self.end(session, call))
                self.left.remove(entry)
                return

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
        return facts + self.finish_step(session, message, at + 200_000)

    def copies(self, origin: str) -> list[Fact]:
        """Copy a session under new ids."""
        copy = self.db.fork(origin)
        self.mark(copy, self.journal.next())
        open_ = [one.fact._replace(status=COPY) for one in self.open_calls(copy)]
        return open_ + self.junk_in(copy)

    def prune(self) -> None:
        """Stamp old output as compacted."""
        if own := self.own():
            session = self.rng.choice(own)
            with self.commit(session):
                self.sql.execute(
                    "UPDATE part SET data = json_set(data, '$.state.time.compacted', ?), "
                    "time_updated = ? WHERE session_id = ? "
                    f"AND {STATUS} = 'completed'",
                    (self.db.tick(), self.db.tick(), session),
                )
