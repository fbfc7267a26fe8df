"""
What writers of both generations do alike: moves of which whole sessions are made.

A move is one or more transactions on the database, each with its line in the
journal.  All are made while holding the turn.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from random import Random
from typing import Any, Final

from harness.databases import V1, V2
from soak.calls import Call, Open
from soak.place import Place
from soak.sessions import MESSAGES, Sessions
from soak.truth import ALIVE, DOUBT, JUNK, STEP, Fact

SESSIONS: Final = 12
"""So many sessions a writer keeps."""
_HOUR_MS: Final = 3_600_000
_OLD_MS: Final = 60_000
"""A step so old shows that a call before it has been left."""
_MARGIN_MS: Final = 5_000
_JUNK: Final = ("", "[]", "7", "null", '"tool"', '{"role":"assistant","time":{"crea')
TOKENS: Final = 100


class Moves(Sessions, ABC):
    """
    Moves in the tables of one generation.

    Args:
        place: The run.
        database: Builds the rows.
        owner: Name of the writer.
        rng: Makes the choices.
    """

    def __init__(self, place: Place, database: V1 | V2, owner: str, rng: Random) -> None:
        super().__init__(place, database, owner, rng)
        self.left: list[tuple[int, str, Call]] = []
        self.spoiled: dict[str, str] = {}  # what rows said that are junk now
        self._kept: list[tuple[int, str, dict[str, list[dict[str, Any]]]]] = []

    # What each generation does in its own way.

    @abstractmethod
    def open_calls(self, session: str) -> list[Open]:
        """Return the calls that have not ended, of rows that can be read."""

    @abstractmethod
    def step(self, session: str, *, beside: bool = False) -> None:
        """Let the model take a step with calls; ``beside``: while others run."""

    @abstractmethod
    def begun(self, message: str) -> tuple[int, int]:
        """Return place and time of a message."""

    @abstractmethod
    def broken(self, session: str, data: str) -> None:
        """Write a row that cannot be decoded."""

    @abstractmethod
    def in_row(self, call: Call) -> tuple[str, list[Call]]:
        """Return the id of a call's row, and the open calls that it shows."""

    @abstractmethod
    def advance(self, session: str, call: Call) -> None:
        """Let a call go on: to run, to say something, to end."""

    @abstractmethod
    def foreign(self, session: str, at: int) -> list[Fact]:
        """Write steps of another machine into a session, from a time of the past."""

    @abstractmethod
    def copies(self, origin: str) -> list[Fact]:
        """Copy a session; return the copies that are no calls."""

    # What later steps say of calls that are open.

    def doubt(self, session: str, message: str) -> list[Fact]:
        """Return that a step has begun after calls which are open: in a minute it may tell."""
        place, began = self.begun(message)
        since = began + _OLD_MS
        for call in self.live.get(session, ()):
            if call.message != message:
                call.doubt = call.doubt or since
        return [
            one.fact._replace(status=DOUBT, ms=since)
            for one in self.open_calls(session)
            if one.place < place
        ]

    def alive(self, call: Call) -> list[Fact]:
        """Return that a call's row changes, and mend the row if it is junk."""
        row, calls = self.in_row(call)
        if row in self.spoiled:
            self._write(row, self.spoiled.pop(row))
        for one in calls:
            one.doubt = 0
        return [Fact(one.message, one.id, one.new, ALIVE) for one in calls]

    def _write(self, row: str, data: str) -> None:
        sql = f"UPDATE {self.rows[-1]} SET data = ?, time_updated = ? WHERE id = ?"
        self.sql.execute(sql, (data, self._base.tick(), row))

    def is_doubtful(self, call: Call) -> bool:
        """Return whether a call may have been given up, or soon will be."""
        return bool(call.doubt) and time.time() * 1000 > call.doubt - _MARGIN_MS

    def over(self, session: str, message: str, finish: str) -> list[Fact]:
        """Return that a step is over: what is open before it, and silent since, is left."""
        place, began = self.begun(message)
        left = [
            one.fact
            for one in self.open_calls(session)
            if one.place < place and one.changed < began
        ]
        names = {(fact.message, fact.call) for fact in left}
        for call in self.live.get(session, ()):
            # From now on it changes no more: the next poll gives it up, or may do so.
            if (call.message, call.id) in names or self.in_row(call)[0] in self.spoiled:
                call.doubt = 1
        later = f"SELECT count(*) FROM {self.rows[0]} WHERE session_id = ? AND {self.order} > ?"
        is_last = not self.sql.execute(later, (session, place)).get
        step = Fact(message, STEP, "", finish, TOKENS, "", not is_last)
        return [step, *left]

    # Moves.

    def beside(self) -> None:
        """Take a step in a session where another process works."""
        session = self.busy()
        if session is not None and self.length(session) < MESSAGES:
            self.step(session, beside=True)

    def junk(self) -> None:
        """Write a row that nobody can read, among others."""
        if own := self.own():
            session = self.rng.choice(own)
            with self.commit(session) as facts:
                self.broken(session, self.rng.choice(_JUNK))
                facts.append(self._junk())

    def spoil(self) -> None:
        """Make the row of a call that runs unreadable, until it goes on."""
        session = self.busy()
        # What is junk when it is first read is not read again.
        if session is None or session not in self.seen():
            return
        call = self.rng.choice(self.live[session])
        row, calls = self.in_row(call)
        if row not in self.spoiled and not self.is_doubtful(call):
            with self.commit(session) as facts:
                # Whoever dies now leaves it so; what is made of it then is open.
                facts += [self._junk(), *(one.doubted(0) for one in calls)]
                sql = f"SELECT data FROM {self.rows[-1]} WHERE id = ?"
                data = self.ask(sql, row)[0][0]
                self._write(row, self.rng.choice(_JUNK))
            self.spoiled[row] = data

    def _junk(self, place: int = 0) -> Fact:
        return Fact(f"{self.journal.next()} {place}", JUNK, "", JUNK)

    def junk_in(self, session: str) -> list[Fact]:
        """Return that the rows of a session which cannot be decoded are there once more."""
        found = [
            data
            for table in self.rows
            for (data,) in self.ask(f"SELECT data FROM {table} WHERE session_id = ?", session)
            if data in _JUNK
        ]
        return [self._junk(place) for place, _ in enumerate(found)]

    def begin(self) -> None:
        """Open a session, and make room first."""
        if len(self.own()) >= SESSIONS:
            self.drop()
            return
        with self.commit():
            session = self._base.session(project=self.rng.choice(("a", "b")))
            self.mark(session, self.journal.next())
        self.step(session)

    def go_on(self) -> None:
        """Take a step in a session where nothing runs; what was left there is given up."""
        if idle := self.idle():
            self.step(self.rng.choice(idle))
        else:
            self.begin()

    def work(self) -> None:
        """Let one call go on."""
        session = self.busy()
        if session is None:
            self.go_on()
            return
        call = self.rng.choice(self.live[session])
        if self.is_doubtful(call):
            self._leave(session, call)
        else:
            self.advance(session, call)

    def finish(self) -> None:
        """End all calls of a step and take the next at once, as OpenCode does."""
        session = self.busy()
        if session is None:
            return
        while self.live[session]:
            call = self.live[session][0]
            if self.is_doubtful(call):
                self._leave(session, call)
            else:
                self.advance(session, call)
        self.step(session)

    def _leave(self, session: str, call: Call) -> None:
        """Work on a call no more."""
        self.live[session].remove(call)
        self.left.append((self.journal.next(), session, call))

    def leave(self) -> None:
        """Forget calls that run, as one does who dies."""
        session = self.busy()
        if session is not None:
            for call in [*self.live[session]]:
                self._leave(session, call)
            del self.left[:-50]

    def fork(self) -> None:
        """Copy a session with everything in it, whether it runs or not."""
        own = [name for name in self.own() if 0 < self.length(name) < MESSAGES // 2]
        if not own or len(self.own()) >= SESSIONS:
            return
        origin = self.rng.choice(own)
        with self.commit() as facts:
            facts.extend(self.copies(origin))

    def drop(self) -> None:
        """Delete any session."""
        if seen := self.seen():
            self._delete(self.rng.choice(seen))

    def drop_newest(self) -> None:
        """Delete the session with the newest row, so that its rowid is given again."""
        sql = f"SELECT session_id FROM {self.rows[-1]} ORDER BY rowid DESC LIMIT 1"
        newest = self.sql.execute(sql).fetchone()
        if newest and newest[0] in self.seen():
            self._delete(newest[0])

    def _delete(self, session: str) -> None:
        with self.commit() as facts:
            facts.extend(one.fact for one in self.open_calls(session))
            self._base.delete_session(session)
        self.live.pop(session, None)

    def undo(self) -> None:
        """Take back the newer half of a session; parts go with their messages."""
        if seen := self.seen_own():
            session = self.rng.choice(seen)
            mine = f"FROM {self.rows[0]} WHERE session_id = ?"
            places = self.ask(f"SELECT {self.order} {mine} ORDER BY {self.order}", session)
            since = places[len(places) // 2][0] if places else 0
            with self.commit(session) as facts:
                facts.extend(one.fact for one in self.open_calls(session) if one.place >= since)
                self.sql.execute(f"DELETE {mine} AND {self.order} >= ?", (session, since))

    def export(self) -> None:
        """Put a session aside and delete it."""
        if len(self._kept) < 3 and (seen := self.seen_own()):
            session = self.rng.choice(seen)
            rows = {self.sessions: self._rows(self.sessions, "id", session)}
            rows |= {table: self._rows(table, "session_id", session) for table in self.rows}
            self._delete(session)
            self._kept.append((self.journal.next(), session, rows))

    def _rows(self, table: str, column: str, value: str) -> list[dict[str, Any]]:
        names = [row[1] for row in self.sql.execute(f"PRAGMA table_info({table})")]
        found = self.sql.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
        return [dict(zip(names, row, strict=True)) for row in found]

    def bring(self) -> None:
        """Import a session: one that was put aside, or another machine's."""
        # Calls that run come back as they were: who has not seen them gone cannot know.
        if self._kept and self._kept[0][0] <= self.place.seen:
            _, session, tables = self._kept.pop(0)
            with self.commit(session):
                for table, rows in tables.items():
                    for row in rows:
                        self._base.put(table, **row)
            return
        if len(self.own()) < SESSIONS:
            with self.commit() as facts:
                at = self._base.now - self.rng.randrange(_HOUR_MS, 200 * _HOUR_MS)
                session = self._base.session(created=at, project="elsewhere")
                facts.extend(self.foreign(session, at))
                self.mark(session, self.journal.next())
