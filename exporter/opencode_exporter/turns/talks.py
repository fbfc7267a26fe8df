"""
Talks: the conversations of all sessions, kept in the ledger and moved on by events.

Brings the rows of each session into their order: what comes after an open step waits
for its end, and a later step ends it.  Those in which something is open, or that have
just been active, are known by when they are due; all others rest on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Protocol

import msgspec

from opencode_exporter import catalog as c
from opencode_exporter import identity
from opencode_exporter.batch import Chunk
from opencode_exporter.events import ABANDONED, Remark, Step
from opencode_exporter.identity import hashed
from opencode_exporter.turns.conversation import FORK, ROOT, SUBAGENT, Conversation
from opencode_exporter.turns.measures import measure
from opencode_exporter.turns.tally import Tally
from opencode_exporter.turns.turns import Turns, transitions

IDLE_MS: Final = 3_600_000
"""How long a session must have been silent for its invocations to be counted."""
ACTIVE_MS: Final = 5 * 60_000
"""How long after a change a session is active."""
NEVER: Final = 1 << 62
_CACHED: Final = 512
_SOME: Final = 500

Row = Step | Remark

Place = tuple[int, int]
"""When a conversation is due, ms, and its key: its place in their order."""
FIRST: Final = (0, 0)
Due = tuple[Place, Conversation]
"""A conversation and its place."""


class Shelf(Protocol):
    """Where conversations are kept."""

    def conversations(self, keys: Iterable[int]) -> dict[int, Conversation]:
        """Return those that are there."""
        ...

    def due(self, after: Place, until: int, most: int) -> list[Due]:
        """Return some that are due until a time, after a place in their order."""
        ...


class Talks:
    """
    Conversations by session.

    Args:
        shelf: Where they are kept.
        salt: Mixed into what is kept of files and commands.
        abandon_after_ms: How long something open may stay without a change.
        admit: Judges a step that is lost, and says whether it counts.
        now: Tells Unix ms.
        at: Is told when that happened which counts next, Unix ms, where no event says it.
    """

    def __init__(
        self,
        shelf: Shelf,
        salt: str,
        abandon_after_ms: int,
        *,
        admit: Callable[[Step], bool],
        now: Callable[[], int],
        at: Callable[[int], None],
    ) -> None:
        self._shelf = shelf
        self._salt = salt
        self._mask = hashed(salt)
        self._abandon_after = abandon_after_ms
        self._admit = admit
        self._now = now
        self._at = at
        self._cache: dict[str, Conversation] = {}
        self._open: dict[str, Conversation] = {}  # those with an open step; always cached
        self._session_of: dict[str, str] = {}  # by message, of the open steps
        self._unclear: dict[str, Remark] = {}  # by session: what the user may be saying
        self._active: dict[str, int] = {}
        self.begin(Tally())
        for _, talk in shelf.due(FIRST, NEVER - 1, 1 << 30):
            self._active[talk.id] = talk.last
            if talk.open is not None:
                self._cache[talk.id] = talk
                self._keep(talk, talk.open)

    def begin(self, tally: Tally) -> None:
        """Begin a batch, whose sums go into a tally."""
        self.changed: dict[str, Conversation] = {}
        nowhere = Tally()
        self._tallies = {True: tally, False: nowhere}
        self._turns = {
            counts: Turns(self._get, into, self._salt) for counts, into in self._tallies.items()
        }
        if len(self._cache) > _CACHED:
            self._cache = dict(self._open)

    def active(self) -> Mapping[str, int]:
        """Return when sessions last changed, ms, of those that are active."""
        after = self._now() - ACTIVE_MS
        self._active = {session: at for session, at in self._active.items() if at > after}
        return self._active

    def touch(self, session: str, at: int) -> None:
        """Note that something happened in a session at a time, ms."""
        self._active[session] = max(self._active.get(session, 0), min(at, self._now()))

    def prepare(self, events: Iterable[object]) -> None:
        """Fetch, in one statement, the conversations that some events move on."""
        wanted = {event.session for event in events if isinstance(event, Step | Remark)}
        keys = [identity.session_key(session) for session in wanted - self._cache.keys()]
        for talk in self._shelf.conversations(keys).values() if keys else ():
            self._cache[talk.id] = talk

    def _get(self, session: str) -> Conversation:
        talk = self._cache.get(session)
        if talk is None:
            key = identity.session_key(session)
            found = self._shelf.conversations([key]).get(key)
            talk = self._cache[session] = found or Conversation(session)
        self.changed[session] = talk
        return talk

    # What a chunk brings.

    def meet(self, event: Row, *, counts: bool) -> Conversation:
        """Return the conversation of an event; the first one counts the session."""
        talk = self._get(event.session)
        if not talk.kind and (isinstance(event, Step) or event.role or event.skills):
            where = event.where
            fork = where.is_fork or event.suspect
            talk.kind = FORK if fork else SUBAGENT if where.parent else ROOT
            talk.parent = where.parent
            self._tallies[counts].add(c.SESSIONS, talk.kind, where.project)
        talk.last = max(talk.last, min(_newest(event), self._now()))
        talk.muted = not counts
        self.touch(talk.id, talk.last)
        return talk

    def begun(self, event: Row, *, counts: bool) -> None:
        """Take in a row that is not over."""
        if isinstance(event, Remark):
            self._unclear[event.session] = event
            return
        talk = self.meet(event, counts=counts)
        if talk.open is not None and talk.open.message != event.message:
            self._lose(talk, talk.open)
        talk.open = masked(event, self._mask)
        self._keep(talk, talk.open)

    def take(self, event: Row, *, counts: bool, measured: bool = False) -> None:
        """Take in a new row that is over; ``measured``: what it says by itself has been counted."""
        talk = self.meet(event, counts=counts)
        if isinstance(event, Step):
            if talk.open is not None and talk.open.message != event.message:
                self._lose(talk, talk.open)
            self._take_step(talk, event, measured=measured)
            return
        self._unclear.pop(event.session, None)
        if not measured:
            measure(self._tallies[counts], event)
        talk.behind.append(event)
        if talk.open is None:
            self._catch_up(talk)

    def ended(self, event: Row) -> None:
        """Note that a row is over and does not count: a copy, or one that was given up."""
        talk = self._cache.get(event.session)
        if isinstance(event, Remark):
            self._unclear.pop(event.session, None)
        elif talk is not None and talk.open is not None and talk.open.message == event.message:
            self._close_step(self._get(event.session))

    def _take_step(self, talk: Conversation, step: Step, *, measured: bool) -> None:
        counts = not talk.muted
        if not measured:
            measure(self._tallies[counts], step)
        talk.invocations += sum(1 + len(call.inner) for call in step.calls)
        self._turns[counts].take(talk, step)
        self._close_step(talk)

    def _keep(self, talk: Conversation, step: Step) -> None:
        self._open[talk.id] = talk
        self._session_of[step.message] = talk.id

    def _close_step(self, talk: Conversation) -> None:
        if talk.open is not None:
            self._session_of.pop(talk.open.message, None)
        talk.open = None
        self._open.pop(talk.id, None)
        self._catch_up(talk)

    def _lose(self, talk: Conversation, step: Step) -> None:
        """Give up a step after which another came."""
        lost = given_up(masked(step, self._mask))
        if self._admit(lost):
            self._take_step(talk, lost, measured=False)
        else:
            self._close_step(talk)

    def _catch_up(self, talk: Conversation) -> None:
        waiting, talk.behind = talk.behind, []
        turns = self._turns[not talk.muted]
        for remark in waiting:
            if remark.kind == "human":
                turns.hear(talk, remark)
            elif remark.kind == "idle":
                turns.rest(talk, remark)

    # What waits.

    def open_rows(self, chunk: Chunk) -> dict[str, list[str]]:
        """Return, by table, the open rows of sessions in which a chunk has others."""
        if not self._open and not self._unclear:
            return {}
        rows = [event for event in chunk.events if isinstance(event, Step | Remark)]
        rows += chunk.digest.rows if chunk.digest else []
        here = {event.message for event in rows}
        found: dict[str, list[str]] = {}
        for session in {event.session for event in rows}:
            talk = self._open.get(session)
            for row in (talk.open if talk else None, self._unclear.get(session)):
                if row is not None and row.message not in here:
                    found.setdefault(_table(row), []).append(row.message)
        return found

    def overdue_steps(self) -> dict[str, list[str]]:
        """Return, by table, the open steps that have been silent too long, as far as we know."""
        found: dict[str, list[str]] = {}
        for talk in self._open.values():
            late = talk.last + self._abandon_after <= self._now()
            if talk.open is not None and late:
                found.setdefault(_table(talk.open), []).append(talk.open.message)
        return found

    def gone(self, rows: Collection[str]) -> None:
        """Give up the open steps whose rows are not there any more, or cannot be read."""
        for row in self._session_of.keys() & set(rows):
            talk = self._get(self._session_of[row])
            if talk.open is not None:
                self._lose(talk, talk.open)

    def unobserved(self) -> list[str]:
        """Return the sessions that were active within the last hour, or have not been settled."""
        found = self._shelf.due(FIRST, NEVER - 1, _SOME)
        return [talk.id for _, talk in found if not talk.observed]

    def settle(self, is_silent: Callable[[int], bool], after: Place = FIRST) -> Place | None:
        """
        End what has waited long enough: open steps and turns, and sessions.

        Args:
            is_silent: Says of what last changed at a time, ms, whether that is too long ago.
            after: What the last call returned: some hundred at a time, so that a
                commit in between bounds what is in memory.

        Returns:
            Where to go on; None when all has been settled.
        """
        # Steps first: they may tell whose work a sub-agent's turn was.
        for talk in [*self._open.values()]:
            if talk.open is not None and self._is_due(talk) and is_silent(talk.last):
                self._at(talk.last + self._abandon_after)
                self._lose(self._get(talk.id), talk.open)
        for talk in [*self.changed.values()]:
            self._settle(talk, is_silent)
        found = self._shelf.due(after, self._now(), _SOME)
        for _, stored in found:
            self._settle(self._cache.setdefault(stored.id, stored), is_silent)
        return found[-1][0] if len(found) == _SOME else None

    def _settle(self, talk: Conversation, is_silent: Callable[[int], bool]) -> None:
        if not self._is_due(talk):
            return
        self.changed[talk.id] = talk
        counts = not talk.muted
        if talk.is_open and is_silent(talk.last):
            self._at(talk.last + self._abandon_after)
            self._turns[counts].give_up(talk)
        for at, *skills in transitions(talk):
            self._at(at)
            self._tallies[counts].add(c.SKILL_TRANSITIONS, *skills)
        self._at(talk.last + IDLE_MS)
        self._observe(talk, self._is_idle(talk))

    def _is_due(self, talk: Conversation) -> bool:
        return self.due_of(talk) <= self._now()

    def archive(self, sessions: Collection[str]) -> None:
        """Count the invocations of sessions that the user has put away."""
        for session in sessions:
            talk = self._get(session)
            self._at(talk.last)
            self._observe(talk, True)

    def _observe(self, talk: Conversation, is_done: bool) -> None:
        if is_done and talk.kind and not talk.observed:
            talk.observed = True
            tally = self._tallies[not talk.muted]
            tally.observe(c.SESSION_INVOCATIONS, talk.invocations, talk.kind)

    def _is_idle(self, talk: Conversation) -> bool:
        return self._now() - talk.last >= IDLE_MS

    def due_of(self, talk: Conversation) -> int:
        """Return when something of a conversation has to be decided, ms."""
        due = NEVER
        if talk.kind and not (talk.observed and self._is_idle(talk)):
            due = talk.last + IDLE_MS
        if talk.is_open:
            due = min(due, talk.last + self._abandon_after)
        return min(due, talk.last) if talk.loads else due


def masked(step: Step, mask: int) -> Step:
    """Return a step that is open as it is kept: no hash in it is that of a file or command."""
    if not any(call.targets for call in step.calls):
        return step
    calls = tuple(
        msgspec.structs.replace(call, targets=tuple(one ^ mask for one in call.targets))
        for call in step.calls
    )
    return msgspec.structs.replace(step, calls=calls)


def given_up(step: Step) -> Step:
    """Return a step that will not end any more, as it is counted."""
    calls = tuple(
        call if call.status else msgspec.structs.replace(call, status=ABANDONED)
        for call in step.calls
    )
    return msgspec.structs.replace(step, is_over=True, calls=calls)


def _newest(event: Row) -> int:
    """Return the newest time that a row shows, ms."""
    if isinstance(event, Remark):
        return event.created
    calls = [max(call.started, call.ended) for call in event.calls]
    return max(event.created, event.completed, *calls)


def _table(event: Row) -> str:
    return "message" if event.generation == "v1" else "session_message"
