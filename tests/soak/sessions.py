"""
What a writer does its moves on: which session, which call, and in one transaction with what.

Every transaction has its line in the journal.  A session carries in its title
the number of the last transaction that touched it, so that anybody can say
whether the exporter has seen all of it: only then may it be deleted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import ClassVar, Final

from harness.databases import V1, V2, fresh
from soak import vocabulary
from soak.calls import Call
from soak.file import File
from soak.place import Place
from soak.truth import Fact, Journal, Line

MESSAGES: Final = 40
"""So many messages, and a session goes on no more."""
_DIES: Final = 1 / 2000
"""How often a writer dies between what it says and what it does."""


class Sessions(File):
    """
    Sessions in the tables of one generation, and transactions on them.

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
