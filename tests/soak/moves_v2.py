"""Moves of a writer of 2.x: one row is one message, written again as its calls go on."""

from __future__ import annotations

import json
from random import Random
from typing import Any, ClassVar, Final

from harness.databases import V2
from harness.databases import call as item
from opencode_exporter.demo.rows import text
from soak import vocabulary
from soak.calls import Call, Open
from soak.moves import TOKENS, Moves
from soak.place import Place
from soak.truth import COPY, Fact

_OPEN = """
    SELECT id, seq, time_updated, data FROM session_message
    WHERE session_id = ? AND type = 'assistant'
    AND iif(json_valid(data), json_type(data) = 'object', 0)
    AND iif(json_valid(data), data ->> '$.time.completed', 0) IS NULL
"""
_USED: Final[dict[str, Any]] = {
    "cost": 0.5,
    "tokens": {"input": TOKENS, "output": 0, "reasoning": 0},
}


class MovesV2(Moves):
    """Moves in the tables of 2.x."""

    sessions: ClassVar[str] = "session_v2"
    rows: ClassVar[tuple[str, ...]] = ("session_message",)
    order: ClassVar[str] = "seq"

    def __init__(self, place: Place, database: V2, owner: str, rng: Random) -> None:
        super().__init__(place, database, owner, rng)
        self.db = database
        self._whole: dict[str, list[Call]] = {}  # the calls of a message, ended or not

    def _unfinished(self, session: str) -> list[tuple[str, int, int, dict[str, Any]]]:
        rows = self.ask(_OPEN, session)
        return [(name, seq, updated, json.loads(data)) for name, seq, updated, data in rows]

    def open_calls(self, session: str) -> list[Open]:
        """Return the calls that have not ended; while its input streams, a skill has no name."""
        return [
            Open(_given_up(name, one), seq, updated)
            for name, seq, updated, data in self._unfinished(session)
            for one in data["content"]
            if one["state"]["status"] not in ("completed", "error")
        ]

    def begun(self, message: str) -> tuple[int, int]:
        """Return the place of a message, and its time."""
        sql = "SELECT seq, time_created FROM session_message WHERE id = ?"
        seq, created = self.ask(sql, message)[0]
        return seq, created

    def in_row(self, call: Call) -> tuple[str, list[Call]]:
        """Return the message of a call, and all calls of it that are open."""
        calls = self._whole.get(call.message, [call])
        return call.message, [one for one in calls if not one.completed]

    def broken(self, session: str, data: str) -> None:
        """Write a step that cannot be decoded."""
        self.db.raw_row(session, data)

    def step(self, session: str, *, beside: bool = False) -> None:
        """Write a message whose calls stream in; perhaps mend what a killed process left."""
        with self.commit(session) as facts:
            if not beside and self.rng.random() < 0.5:
                facts.extend(one.fact for one in self.open_calls(session))
                self._mend(session)
            if beside or self.rng.random() < 0.5:
                facts.extend(self._prompt(session))
            calls = self.new_calls("")
            for call in calls:
                call.status, call.created = "streaming", self.db.tick()
            message = self.db.assistant(session, [*map(_item, calls)], completed=None)
            for call in calls:
                call.message = message
            facts.extend(self.doubt(session, message))
        self._whole[message] = calls
        self.live[session] = [*self.live.get(session, ()), *calls]

    def _mend(self, session: str) -> None:
        end = vocabulary.ORPHANED
        for name, _, _, data in self._unfinished(session):
            now = self.db.tick()
            for one in data["content"]:
                if one["state"]["status"] not in ("completed", "error"):
                    error = {"type": end.kind, "message": end.new}
                    one["state"] |= {"status": "error", "error": error}
                    one["time"]["completed"] = now
            data["time"]["completed"] = now
            sql = "UPDATE session_message SET data = ?, time_updated = ? WHERE id = ?"
            self.sql.execute(sql, (text(data), now, name))

    def _prompt(self, session: str) -> list[Fact]:
        """Write what the user says, with skills or without."""
        named: tuple[str, ...] = ()
        if self.rng.random() < 0.2:
            named = (self.rng.choice(vocabulary.SKILLS),)
            message = self.db.skill_row(session, named[0])
        else:
            named = tuple(self.rng.sample(vocabulary.SKILLS, self.rng.choice((0, 0, 1, 2))))
            message = self.db.user(session, skills=named)
        return [
            Fact(message, f"\0user {place}", "", "completed", -1, skill)
            for place, skill in enumerate(named)
        ]

    def advance(self, session: str, call: Call) -> None:
        """Write the call's message again."""
        calls = self._whole[call.message]
        with self.commit(session) as facts:
            facts.extend(self.alive(call))
            if call.status == "streaming":
                call.status, call.ran = "running", self.db.tick()
            else:
                self._end(call)
                facts.extend(_ended(call))
            done = all(one.completed for one in calls)
            completed = self.db.tick() if done else None
            used = {"finish": "tool-calls"} | _USED if done else {}
            self.db.rewrite(call.message, [*map(_item, calls)], completed=completed, **used)
            if done:
                facts.extend(self.over(session, call.message, "tool-calls"))
        if call.completed:
            self.live[session].remove(call)
        if done:
            del self._whole[call.message]

    def _end(self, call: Call) -> None:
        call.end = vocabulary.ending(self.rng, call.new, call.skill)
        call.completed = self.db.tick()
        call.status = "completed" if call.end is vocabulary.COMPLETED else "error"
        call.output = vocabulary.output(self.rng)
        if call.new == "execute" and call.status == "completed":
            statuses = self.rng.choices(("completed", "error"), k=2)
            call.inner = [{"tool": "github_search", "status": status} for status in statuses]

    def new_call(self, message: str, place: int) -> Call:
        """Return a call; now and then one that makes others."""
        made = super().new_call(message, place)
        if self.rng.random() < 0.05:
            made.old = made.new = "execute"
            made.skill = ""
        return made

    def foreign(self, session: str, at: int) -> list[Fact]:
        """Write a message of the past whose calls have ended."""
        calls = [self.new_call("", place) for place in range(3)]
        calls = [call for call in calls if call.skill != vocabulary.NO_SKILL]
        for call in calls:
            call.status, call.output = "completed", "ok"
            call.created = at + self.rng.randrange(10, 100_000)
            call.ran = call.created + self.rng.randrange(1, 1000)
            call.completed = call.ran + self.rng.randrange(1, 60_000)
        items = [*map(_item, calls)]
        facts = {"finish": "stop"} | _USED
        message = self.db.assistant(
            session, items, created=at + 1, completed=at + 200_000, facts=facts
        )
        for call in calls:
            call.message = message
        return [*(call.fact() for call in calls), *self.over(session, message, "stop")]

    def copies(self, origin: str) -> list[Fact]:
        """Copy a session under the same ids and a suffix, so only once."""
        sql = "SELECT count(*) FROM session_v2 WHERE fork_session_id = ?"
        if self.ask(sql, origin)[0][0]:
            return []
        copy = self.db.fork(origin)
        self.mark(copy, self.journal.next())
        open_ = [one.fact._replace(status=COPY) for one in self.open_calls(copy)]
        return open_ + self.junk_in(copy)


def _item(call: Call) -> dict[str, Any]:
    """Return a call as it stands in the content of its message."""
    facts: dict[str, Any] = {}
    if call.status != "streaming":
        facts["input"] = {"id": call.skill} if call.skill else {"path": "a.py", "command": "ls"}
    if call.status == "completed":
        facts["metadata"] = vocabulary.facts_of_end(call.skill)
        if call.inner:
            facts["metadata"]["toolCalls"] = call.inner
    if call.status == "error":
        facts["error"] = {"type": call.end.kind, "message": call.end.new}
    made = item(call.id, call.new, call.status, output=call.output, **facts)
    times = {"created": call.created, "ran": call.ran, "completed": call.completed}
    made["time"] = {name: at for name, at in times.items() if at}
    return made


def _ended(call: Call) -> list[Fact]:
    """Return the facts of a call's end: its own and those of the calls inside it."""
    inner = [
        Fact(call.message, f"{call.id}\0{place}", one["tool"], one["status"])
        for place, one in enumerate(call.inner)
    ]
    return [call.fact(), *inner]


def _given_up(message: str, one: dict[str, Any]) -> Fact:
    given = one["state"]["input"]
    named = given.get("id", "") if isinstance(given, dict) else ""
    skill = vocabulary.shown(named) if one["name"] == "skill" else ""
    tool = vocabulary.CANONICAL.get(one["name"], one["name"])
    return Fact(message, one["id"], tool, "abandoned", -1, skill)
