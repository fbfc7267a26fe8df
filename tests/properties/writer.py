"""
OpenCode at its work: sessions, steps and calls that go on in place.

Owns one real database and the account of which call was made where, kept beside
it from what was ordered and never read back.  Knows nothing of what is counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from databases import V1, V2
from opencode_exporter.demo.store import connect
from properties.account import TOOLS, Call, Session, Step, Told, said_v1, said_v2

_CELLS: Final = 45  # of a label's 50 values


class Writer:
    """
    One database, and the sessions that go on in it.

    Args:
        path: The file.
        generation: Which OpenCode made it.
    """

    def __init__(self, path: Path, generation: str) -> None:
        self.path = path
        self.old: V1 | None = V1(path) if generation == "v1" else None
        self.new: V2 | None = None if self.old else V2(path)
        self.sessions: list[Session] = []
        self.exported: list[tuple[Session, list[Any], list[Any]]] = []
        self.calls: list[Call] = []
        self.written = {"user": 0, "assistant": 0}
        """Messages by role; a fork's copies are none of their own."""
        self.deletions = 0
        self._steps = 0
        self._projects = 0

    @property
    def db(self) -> V1 | V2:
        """The writer of the newest generation."""
        found = self.new or self.old
        assert found
        return found

    @property
    def now(self) -> int:
        """The latest time that any writer knows."""
        return max(each.now for each in (self.old, self.new) if each)

    def visible(self) -> dict[Call, list[Told]]:
        """Return what rows say of each call that is in the database."""
        found: dict[Call, list[Told]] = {}
        for session in self.sessions:
            for step in session.steps:
                for told in step.told:
                    found.setdefault(told.call, []).append(told)
        return found

    def _at(self, session: Session) -> Any:
        """Return the writer of a session, with its clock set."""
        writer = self.old if session.generation == "v1" else self.new
        assert writer
        writer.now = self.now
        return writer

    def pass_time(self, ms: int) -> None:
        """Let time pass."""
        self.db.now = self.now + ms

    def close(self) -> None:
        """End the last process: its connection folds the WAL into the file."""
        self.db.db.close()

    def reopen(self) -> None:
        """End the last process and start another."""
        self.close()
        connection = connect(self.path)
        connection.execute("PRAGMA foreign_keys = ON")
        for each in (self.old, self.new):
            if each:
                each.db = connection

    # Sessions.

    def begin(self, generation: str, *, ago: int = 0) -> Session:
        """Start a session, or import one that is so many ms old."""
        writer = self._at(Session("", generation, 0, ""))
        self._projects += 1
        project = f"p{self._projects % _CELLS}"
        created = writer.tick() - ago
        session = Session(
            writer.session(project=project, created=created), generation, created, project
        )
        self.sessions.append(session)
        return session

    def user(self, session: Session) -> Step:
        """Write what the user says."""
        self.written["user"] += 1
        writer = self._at(session)
        if session.generation == "v1":
            name = writer.message(session.id, role="user", created=writer.tick())
        else:
            name = writer.user(session.id, created=writer.tick())
        step = Step(name, session, self._order(writer, name), writer.now)
        session.steps.append(step)
        return step

    def step(self, session: Session, ids: list[str], *, at: int | None = None) -> Step:
        """Write a step of the model, all of whose calls are about to start."""
        self._steps += 1
        self.written["assistant"] += 1
        agent = f"a{self._steps % _CELLS}"
        writer = self._at(session)
        created = at or writer.tick()
        step = Step("", session, created, created, agent)
        for place, name in enumerate(ids):
            tool = (self._steps + place * 3) % len(TOOLS)
            made = Call(name, tool, agent, session.project, 1 + 37 * len(self.calls) % 4000)
            made.shares_id = ids.count(name) > 1
            assert all(made.cell != other.cell for other in self.calls), "labels are used up"
            self.calls.append(made)
            step.told.append(Told(made, step, original=True, live=at is None))
        if session.generation == "v1":
            step.id = writer.message(session.id, created=created, agent=agent)
            for told in step.told:
                told.part = writer.tool(step.id, **said_v1(told, writer.now))
                told.updated = writer.now
        else:
            for told in step.told:
                told.times, told.begun = {"created": created}, True
            items = [said_v2(told) for told in step.told]
            step.id = writer.assistant(
                session.id, items, created=created, completed=None, agent=agent
            )
            step.order = self._order(writer, step.id)
            self._touched(step)
        session.steps.append(step)
        return step

    def _order(self, writer: V1 | V2, name: str) -> int:
        if isinstance(writer, V1):
            return writer.now
        return int(writer.db.execute("SELECT seq FROM session_message WHERE id = ?", (name,)).get)

    def _touched(self, step: Step) -> None:
        for told in step.told:
            told.updated = self._at(step.session).now

    def progress(self, told: Told, status: str) -> None:
        """Write a row again, with what has become of one of its calls."""
        writer, step = self._at(told.step.session), told.step
        told.status, told.begun = status, True
        told.live = not told.ended
        if isinstance(writer, V1):
            writer.rewrite(told.part, **said_v1(told, writer.now))
            told.updated = writer.now
            return
        if status != "pending":
            told.times.setdefault("ran", told.times["created"] + 5)
        if told.ended:
            told.times["completed"] = told.times["ran"] + told.call.duration
        self.rewrite(step)

    def rewrite(self, step: Step, *, complete: bool = False) -> None:
        """Write a step of 2.x again, and say perhaps that it is over."""
        assert self.new
        writer = self._at(step.session)
        if complete:
            step.completed = writer.tick()
        writer.rewrite(step.id, [said_v2(told) for told in step.told], completed=step.completed)
        self._touched(step)

    def prune(self, told: Told) -> None:
        """Stamp the row of a v1 call that has ended, as 1.x does to save tokens."""
        writer = self._at(told.step.session)
        writer.db.execute(
            "UPDATE part SET data = json_set(data, '$.state.time.compacted', ?), "
            "time_updated = ? WHERE id = ?",
            (writer.now, writer.tick(), told.part),
        )
        told.updated = writer.now
