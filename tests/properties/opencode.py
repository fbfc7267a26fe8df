"""
All that OpenCode, and its user, can do to a database besides going on.

Deletes, undoes, imports, forks and upgrades, and keeps the account of it.  Knows
nothing of what is counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.databases import V1, V2, fresh
from harness.upgraded import _TABLES
from properties.account import Session, Step, importable, said_v2
from properties.writer import Writer


class OpenCode(Writer):
    """One database, and everybody who writes to it."""

    # What takes rows away, and brings them back.

    def delete(self, session: Session) -> None:
        """Delete a session; what it held has been exported before."""
        writer = self._at(session)
        if session.generation == "v1":
            messages = writer.db.execute(
                "SELECT id, time_created, data FROM message WHERE session_id = ? ORDER BY rowid",
                (session.id,),
            ).fetchall()
            parts = writer.db.execute(
                "SELECT message_id, id, data FROM part WHERE session_id = ? ORDER BY rowid",
                (session.id,),
            ).fetchall()
            self.exported.append((session, messages, parts))
        writer.delete_session(session.id)
        self.sessions.remove(session)
        self._gone(session.steps)

    def undo(self, session: Session, count: int) -> None:
        """Delete the last messages of a session."""
        table = "message" if session.generation == "v1" else "session_message"
        writer = self._at(session)
        for step in session.steps[-count:]:
            writer.db.execute(f"DELETE FROM {table} WHERE id = ?", (step.id,))
        self._gone(session.steps[-count:])
        del session.steps[-count:]

    def _gone(self, steps: list[Step]) -> None:
        self.deletions += 1
        for step in steps:
            for told in step.told:
                told.live = False

    def restore(self, number: int) -> Session:
        """Import a deleted session again: the same ids, the same old times inside."""
        session, messages, parts = self.exported.pop(number)
        writer = self._at(session)
        writer.session(id=session.id, project=session.project, created=session.created)
        for name, created, data in messages:
            row = {"time_created": created, "time_updated": writer.tick()}
            writer.put("message", id=name, session_id=session.id, data=data, **row)
        for message, name, data in parts:
            writer.raw_part(message, data, part=name)
        self.sessions.append(session)
        for step in session.steps:
            self._touched(step)
            step.closed = True
            for told in step.told:
                told.moved = True
        return session

    def fork(self, session: Session) -> Session:
        """Copy a session under new ids, whatever state its calls are in."""
        writer = self._at(session)
        rows = self._fork_v1 if session.generation == "v1" else self._fork_v2
        name, ids = rows(writer, session)
        created = writer.db.execute(
            f"SELECT time_created FROM {writer.sessions} WHERE id = ?", (name,)
        ).get
        new = Session(name, session.generation, created, session.project)
        for step, (message, parts) in zip(session.steps, ids, strict=True):
            copy = Step(message, new, step.order, step.created, step.agent)
            copy.completed, copy.said, copy.work = step.completed, step.said, step.work
            copy.original, copy.closed = False, True
            copy.is_junk, copy.junk_parts = step.is_junk, step.junk_parts
            for number, told in enumerate(step.told):
                copy.told.append(
                    replace(
                        told,
                        step=copy,
                        original=False,
                        part=parts[number] if parts else "",
                        times={**told.times},
                        updated=writer.now,
                        live=False,
                        moved=True,
                    )
                )
            new.steps.append(copy)
        self.sessions.append(new)
        return new

    def _fork_v1(self, writer: V1, session: Session) -> tuple[str, list[tuple[str, list[str]]]]:
        name = writer.fork(session.id)
        messages = "SELECT id FROM message WHERE session_id = ? ORDER BY rowid"
        parts = "SELECT id FROM part WHERE message_id = ? ORDER BY rowid"
        ids = [
            (str(message), [str(part) for (part,) in writer.db.execute(parts, (message,))])
            for (message,) in writer.db.execute(messages, (name,)).fetchall()
        ]
        return name, ids

    def _fork_v2(self, writer: V2, session: Session) -> tuple[str, list[tuple[str, list[str]]]]:
        new = writer._copy_session(session.id, fork_session_id=session.id)
        ids: list[tuple[str, list[str]]] = []
        rows: list[Any] = writer.db.execute(
            "SELECT type, seq, time_created, id, data FROM session_message "
            "WHERE session_id = ? ORDER BY seq",
            (session.id,),
        ).fetchall()
        for kind, seq, created, old, data in rows:
            name = f"{old}_{seq}_{fresh('f')}"  # it may be forked again
            writer.raw_row(new, data, kind=kind, id=name, created=created, seq=seq)
            ids.append((name, []))
        return new, ids

    # The file.

    def vacuum(self) -> None:
        """Do what OpenCode never does, and a user may."""
        self.db.db.execute("VACUUM")

    def checkpoint(self, mode: str) -> None:
        """Fold the WAL into the file."""
        self.db.db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    def upgrade(self) -> None:
        """Start 2.x for the first time: it copies all there is, and ends what is open."""
        assert self.old
        for row in self.spoiled():
            self.repair(row)
        self.new = V2(self.path, ddl=_TABLES, now=self.now + 1000)
        self.new.db.close()
        self.new.db = self.old.db
        with self.new.db:
            for session in [*self.sessions]:
                self._import(session)

    def _import(self, session: Session) -> None:
        assert self.new
        session.imported = True
        twin = Session(session.id, "v2", session.created, session.project)
        self.new.session(id=twin.id, created=twin.created, project=twin.project)
        for step in session.steps:
            if step.is_junk:
                continue
            copy = Step(step.id, twin, 0, step.created, step.agent, work=step.work)
            given: dict[str, Any] = {"id": step.id, "created": step.created}
            step.closed = copy.closed = True
            if not step.work:
                self.new.user(twin.id, **given)
            else:
                copy.told = [importable(told, copy) for told in step.told]
                copy.original, copy.completed = step.original, step.completed
                copy.said = copy.completed is not None
                facts = step.work.model_v2()
                if copy.said:
                    facts |= {"finish": step.work.finish} | step.work.used()
                self.new.assistant(
                    twin.id,
                    [said_v2(told) for told in copy.told],
                    agent=step.agent,
                    completed=copy.completed,
                    facts=facts,
                    **given,
                )
            copy.order = self._order(self.new, step.id)
            self._touched(copy)
            twin.steps.append(copy)
        self.sessions.append(twin)
