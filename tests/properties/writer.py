"""
OpenCode at its work: sessions, steps and calls that go on in place.

Owns one real database and the account of which call was made where, kept beside
it from what was ordered and never read back.  Knows nothing of what is counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from harness.databases import BEGIN_MS, V1, V2, fresh
from opencode_exporter.demo.rows import text
from opencode_exporter.demo.store import connect
from properties.account import SHELL, TOOLS, Call, Session, Step, Told, Work, said_v1, said_v2

_CELLS: Final = 45  # of a label's 50 values


class Writer:
    """
    One database, and the sessions that go on in it.

    Args:
        path: The file.
        generation: Which OpenCode made it.
        now: Unix ms of the first write.
    """

    def __init__(self, path: Path, generation: str, now: int = BEGIN_MS) -> None:
        self.path = path
        self.old: V1 | None = V1(path, now=now) if generation == "v1" else None
        self.new: V2 | None = None if self.old else V2(path, now=now)
        self.sessions: list[Session] = []
        self.exported: list[tuple[Session, list[Any], list[Any]]] = []
        self.calls: list[Call] = []
        self.works: list[Work] = []
        self.written = {"user": 0, "assistant": 0}
        """Messages by role; a fork's copies are none of their own."""
        self.deletions = 0
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

    def step(
        self,
        session: Session,
        ids: list[str],
        *,
        at: int | None = None,
        answers: Step | None = None,
    ) -> Step:
        """
        Write a step of the model, all of whose calls are about to start.

        Args:
            session: Its session.
            ids: Of its calls.
            at: Of another machine: when it began.
            answers: What the user said, if it is not what was said last.
        """
        number = len(self.works) + 1
        self.written["assistant"] += 1
        agent = f"a{number % _CELLS}"
        writer = self._at(session)
        created = at or writer.tick()
        step = Step("", session, created, created, agent, work=Work(number, agent))
        assert step.work
        self.works.append(step.work)
        for place, name in enumerate(ids):
            tool = self._free_tool(number + place * 3, agent, session.project)
            made = Call(name, tool, agent, session.project, 1 + 37 * len(self.calls) % 4000)
            made.shares_id = ids.count(name) > 1
            self.calls.append(made)
            step.told.append(Told(made, step, original=True, live=at is None))
        if session.generation == "v1":
            said = answers or _last_said(session)
            named = {"parentID": said.id} if said else {}
            model = step.work.model_v1()
            step.id = writer.message(session.id, created=created, agent=agent, **named, **model)
            for told in step.told:
                told.part = writer.tool(step.id, **said_v1(told, writer.now))
                told.updated = told.made = writer.now
        else:
            for told in step.told:
                told.times, told.begun = {"created": created}, True
            items = [said_v2(told) for told in step.told]
            step.id = writer.assistant(
                session.id,
                items,
                created=created,
                completed=None,
                agent=agent,
                facts=step.work.model_v2(),
            )
            step.order = self._order(writer, step.id)
            self._touched(step)
        session.steps.append(step)
        return step

    def _free_tool(self, first: int, agent: str, project: str) -> int:
        """Return a tool under which, with these labels, no call is counted yet."""
        used = {made.tool for made in self.calls if made.cell[1:] == (agent, project)}
        free = [tool % len(TOOLS) for tool in range(first, first + len(TOOLS))]
        return next(tool for tool in free if tool not in used)

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
        told.status, told.begun, told.kept = status, True, None
        told.live = not told.ended
        if isinstance(writer, V1):
            writer.rewrite(told.part, **said_v1(told, writer.now))
            told.updated = writer.now
            if told.ended and told.call.tool == SHELL:
                told.call.longest = told.times["end"] - told.made
            return
        if status != "pending":
            told.times.setdefault("ran", told.times["created"] + 5)
        if told.ended:
            told.times["completed"] = told.times["ran"] + told.call.duration
        self.rewrite(step)

    def rewrite(self, step: Step) -> None:
        """Write a step of 2.x again."""
        assert self.new
        assert step.work
        if step.kept is not None:
            self.repair(step)
        # Without a word of its own it may be completed all the same: see `overtake`.
        facts: dict[str, Any] = {"finish": None}
        if step.said:
            facts = {"finish": step.work.finish} | step.work.used()
        items = [said_v2(told) for told in step.told]
        self._at(step.session).rewrite(step.id, items, completed=step.completed, **facts)
        self._touched(step)

    def finish(self, step: Step, *, half: bool = False) -> None:
        """
        Write that a step is over, and what it took.

        Args:
            step: The step.
            half: Its process dies between the two rows of 1.x.
        """
        assert step.work
        writer, used = self._at(step.session), step.work.used()
        if step.kept is not None:
            self.repair(step)
        if isinstance(writer, V2):
            step.completed, step.said = writer.tick(), True
            self.rewrite(step)
            return
        if not step.said:
            part = {"type": "step-finish", "reason": step.work.finish} | used
            writer.raw_part(step.id, text(part))
            step.said = True
        if not half:
            step.completed = writer.tick()
            words = {"finish": step.work.finish} | used
            writer.rewrite_message(step.id, completed=step.completed, **words)

    def overtake(self, step: Step) -> None:
        """Complete a step as 2.x does when the next of its session begins, whoever's it is."""
        step.completed = self._at(step.session).tick()
        self.rewrite(step)

    # Rows that cannot be decoded.

    def junk(self, session: Session, data: str) -> None:
        """Write a row that nobody can read, as if it were a step of the model."""
        writer = self._at(session)
        if isinstance(writer, V1):
            name, at = fresh("msg"), writer.tick()
            times = {"time_created": at, "time_updated": at}
            writer.put("message", id=name, session_id=session.id, data=data, **times)
        else:
            name = writer.raw_row(session.id, data)
        made = Step(name, session, self._order(writer, name), writer.now, is_junk=True)
        session.steps.append(made)

    def junk_part(self, step: Step, data: str) -> None:
        """Write a part that nobody can read."""
        self._at(step.session).raw_part(step.id, data)
        step.junk_parts += 1

    def spoil(self, row: Told | Step, data: str, *, quietly: bool) -> None:
        """
        Make the row of a call, or of a step, unreadable.

        Args:
            row: What it tells of.
            data: What is in it from now on.
            quietly: Its time of change stays as it is.
        """
        table, name, writer = self._place(row)
        row.kept = writer.db.execute(f"SELECT data FROM {table} WHERE id = ?", (name,)).get
        self._put(row, data, quietly=quietly)

    def repair(self, row: Told | Step) -> None:
        """Write what was there before."""
        assert row.kept is not None
        data, row.kept = row.kept, None
        self._put(row, data, quietly=False)

    def _put(self, row: Told | Step, data: str, *, quietly: bool) -> None:
        table, name, writer = self._place(row)
        writer.db.execute(f"UPDATE {table} SET data = ? WHERE id = ?", (data, name))
        if not quietly:
            sql = f"UPDATE {table} SET time_updated = ? WHERE id = ?"
            writer.db.execute(sql, (writer.tick(), name))
            if isinstance(row, Told):
                row.updated = writer.now
            elif row.session.generation == "v2":
                self._touched(row)

    def _place(self, row: Told | Step) -> tuple[str, str, Any]:
        """Return table and id of a row, and who writes it."""
        if isinstance(row, Told):
            return "part", row.part, self._at(row.step.session)
        table = "message" if row.session.generation == "v1" else "session_message"
        return table, row.id, self._at(row.session)

    def spoiled(self) -> list[Told | Step]:
        """Return what is unreadable and could be read before."""
        steps = [step for session in self.sessions for step in session.steps]
        rows: list[Told | Step] = [step for step in steps if step.kept is not None]
        return rows + [told for step in steps for told in step.told if told.kept is not None]

    def prune(self, told: Told) -> None:
        """Stamp the row of a v1 call that has ended, as 1.x does to save tokens."""
        writer = self._at(told.step.session)
        writer.db.execute(
            "UPDATE part SET data = json_set(data, '$.state.time.compacted', ?), "
            "time_updated = ? WHERE id = ?",
            (writer.now, writer.tick(), told.part),
        )
        told.updated = writer.now


def _last_said(session: Session) -> Step | None:
    """Return what the user said last."""
    said = [step for step in session.steps if not step.work and not step.is_junk]
    return said[-1] if said else None
