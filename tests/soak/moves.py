"""
What writers of both generations do alike: transactions, choices, whole sessions.

A move is one or more transactions on the database, each with its line in the
journal.  All are made while holding the turn.  A session carries in its title
the number of the last transaction that touched it, so that anybody can say
whether the exporter has seen all of it: only then may it be deleted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Final, NamedTuple

from harness.databases import V1, V2, fresh
from soak import vocabulary
from soak.file import File
from soak.place import Place
from soak.truth import ALIVE, DOUBT, JUNK, STEP, Fact, Journal, Line

MESSAGES: Final = 40
"""So many messages, and a session goes on no more."""
SESSIONS: Final = 12
"""So many sessions a writer keeps."""
_HOUR_MS: Final = 3_600_000
_OLD_MS: Final = 60_000
"""A step so old shows that a call before it has been left."""
_MARGIN_MS: Final = 5_000
_JUNK: Final = ("", "[]", "7", "null", '"tool"', '{"role":"assistant","time":{"crea')
TOKENS: Final = 100
_DIES: Final = 1 / 2000
"""How often a writer dies between what it says and what it does."""


@dataclass
class Call:
    """A call that its writer works on."""

    message: str
    id: str
    old: str
    new: str
    skill: str = ""
    part: str = ""
    status: str = "pending"
    created: int = 0
    ran: int = 0
    completed: int = 0
    end: vocabulary.Ending = vocabulary.COMPLETED
    output: str = ""
    doubt: int = 0  # from when on it may be given up, ms
    inner: list[dict[str, str]] = field(default_factory=list)

    def fact(self) -> Fact:
        """Return how it ended."""
        skill = vocabulary.shown(self.skill) if self.skill else ""
        ms = self.completed - (self.ran or self.created)
        return Fact(self.message, self.id, self.new, self.end.verdict, ms, skill)

    def doubted(self, since: int) -> Fact:
        """Return that it may be given up from a time on; while it waits, a skill has no name."""
        is_named = self.status not in ("pending", "streaming")
        skill = vocabulary.shown(self.skill if is_named else "") if self.skill else ""
        return Fact(self.message, self.id, self.new, DOUBT, since, skill)


class Open(NamedTuple):
    """A call that has not ended, as its row stands in the database."""

    fact: Fact  # as which it would be given up
    place: int  # its message's, in the order of its session
    changed: int  # its row, ms


class Moves(File, ABC):
    """
    Moves in the tables of one generation.

    Args:
        place: The run.
        database: Builds the rows.
        owner: Name of the writer; its sessions are its successor's.
        rng: Makes the choices.
    """

    sessions: ClassVar[str]
    """Table of the sessions."""
    rows: ClassVar[tuple[str, ...]]
    """Tables of what is in them, the messages first."""
    order: ClassVar[str]
    """Column that orders the messages of a session."""

    def __init__(self, place: Place, database: V1 | V2, owner: str, rng: Random) -> None:
        super().__init__(place, database)
        self.owner = owner
        self.rng = rng
        self.journal = Journal(place.journal)
        self.live: dict[str, list[Call]] = {}
        self.left: list[tuple[int, str, Call]] = []
        self.spoiled: dict[str, str] = {}  # what rows said that are junk now
        self._kept: list[tuple[int, str, dict[str, list[dict[str, Any]]]]] = []

    @contextlib.contextmanager
    def commit(self, session: str = "") -> Iterator[list[Fact]]:
        """Make a transaction with a line in the journal; yield where its facts go."""
        self._base.now = max(self._base.now, int(time.time() * 1000))
        self.sql.execute("BEGIN IMMEDIATE")
        try:
            number, facts = self.journal.next(), list[Fact]()
            after: int = self.sql.execute("PRAGMA user_version").get
            yield facts
            if session:
                self.mark(session, number)
            self.sql.execute(f"PRAGMA user_version = {number}")
            self.journal.note(Line(number, after, facts))
            self._wait()
            if self.rng.random() < _DIES:
                os.kill(os.getpid(), signal.SIGKILL)
            self.sql.execute("COMMIT")
        except BaseException:
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK")
            raise

    def _wait(self) -> None:
        """Let the clock come up to the rows: nobody writes times of the future."""
        ahead = self._base.now + 1 - time.time() * 1000
        if ahead > 0:
            threading.Event().wait(ahead / 1000)

    def mark(self, session: str, number: int) -> None:
        """Note the number of a transaction that touches a session."""
        sql = f"UPDATE {self.sessions} SET title = ?, slug = ?, time_updated = ? WHERE id = ?"
        self.sql.execute(sql, (str(number), self.owner, self._base.tick(), session))

    # Which session, which call.

    def own(self) -> list[str]:
        """Return the sessions of this writer that are there now; forget lost work."""
        sql = f"SELECT id FROM {self.sessions} WHERE slug = ? ORDER BY id"
        mine = [name for (name,) in self.ask(sql, self.owner)]
        for session in self.live.keys() - set(mine):
            del self.live[session]
        return mine

    def seen(self) -> list[str]:
        """Return the sessions, whoever's, of which the exporter has shown everything."""
        sql = (
            f"SELECT id FROM {self.sessions} "
            "WHERE title GLOB '[0-9]*' AND CAST(title AS INTEGER) < ? ORDER BY id"
        )
        return [name for (name,) in self.ask(sql, self.place.seen)]

    def idle(self) -> list[str]:
        """Return own sessions that may go on."""
        return [
            name for name in self.own() if not self.live.get(name) and self.length(name) < MESSAGES
        ]

    def seen_own(self) -> list[str]:
        """Return own sessions that nobody works on, and that have been seen."""
        mine = {name for name in self.own() if not self.live.get(name)}
        return [name for name in self.seen() if name in mine]

    def length(self, session: str) -> int:
        """Return how many messages a session has."""
        sql = f"SELECT count(*) FROM {self.rows[0]} WHERE session_id = ?"
        found: int = self.sql.execute(sql, (session,)).get
        return found

    def new_call(self, message: str, place: int) -> Call:
        """Return a call that begins; some models only number theirs."""
        old, new = vocabulary.tool(self.rng)
        skill = vocabulary.skill(self.rng) if new == "skill" else ""
        name = f"call_{place}" if self.rng.random() < 0.3 else fresh("call")
        return Call(message, name, old, new, skill)

    def new_calls(self, message: str) -> list[Call]:
        """Return the calls of a step."""
        return [self.new_call(message, place) for place in range(self.rng.choice((1, 1, 2, 3)))]

    def busy(self) -> str | None:
        """Return a session in which calls run."""
        self.own()
        names = sorted(name for name, calls in self.live.items() if calls)
        return self.rng.choice(names) if names else None

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
        """Say whether a call may have been given up, or soon will be."""
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
