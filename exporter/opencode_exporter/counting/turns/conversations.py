"""
Talks: the conversations of all sessions, kept in the ledger and moved on by events.

Brings the rows of each session into their order: what comes after an open step waits
for its end, or until a later step shows that it will not end.  Those in which something
is open, or that have just been active, are known by when they are due; all others rest
on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, Protocol

from opencode_exporter import catalog as c
from opencode_exporter.chunk import Chunk
from opencode_exporter.counting import keys
from opencode_exporter.counting.keys import hashed
from opencode_exporter.counting.measures import measure, measure_late
from opencode_exporter.counting.summary import SummedChunk
from opencode_exporter.counting.tally import Tally
from opencode_exporter.counting.turns.queue import (
    given_up,
    is_left,
    newest_of,
    put,
    take_out,
    turned,
    without_files,
)
from opencode_exporter.counting.turns.state import FORK, ROOT, SUBAGENT, Conversation, Lost
from opencode_exporter.counting.turns.turns import Turns, transitions
from opencode_exporter.events import Remark, Step

IDLE_MS: Final = 3_600_000
"""How long a session must have been silent for its invocations to be counted."""
ACTIVE_MS: Final = 5 * 60_000
"""How long after a change a session is active."""
NEVER: Final = 1 << 62
DECIDED_MS: Final = 60_000
"""How long a step that may be the last of its turn waits for another."""
_MOST_LOST: Final = 8
"""Steps of one session that were given up and whose ends still count."""
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
        self._open: dict[str, Conversation] = {}  # those with an open row; always cached
        self._session_of: dict[str, str] = {}  # by message, of the open rows
        self._active: dict[str, int] = {}
        self.begin(Tally())
        for talk in _waiting(shelf):
            self._active[talk.id] = talk.last
            if talk.has_open:
                self._cache[talk.id] = talk
                self._index(talk)

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
        wanted_keys = [keys.session_key(session) for session in wanted - self._cache.keys()]
        for talk in self._shelf.conversations(wanted_keys).values() if wanted_keys else ():
            self._cache[talk.id] = talk

    def _get(self, session: str) -> Conversation:
        talk = self._cache.get(session)
        if talk is None:
            key = keys.session_key(session)
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
        talk.last = max(talk.last, min(newest_of(event), self._now()))
        talk.muted = not counts
        self.touch(talk.id, talk.last)
        return talk

    def begun(self, event: Row, *, counts: bool) -> None:
        """Take in a row that is not over."""
        if isinstance(event, Step):
            talk = self.meet(event, counts=counts)
        else:  # what it is is not known yet, so it makes no session
            talk = self._get(event.session)
            talk.last = max(talk.last, min(event.created, self._now()))
        put(talk, event, self._mask)
        self._go_on(talk)

    def take(self, event: Row, *, counts: bool, measured: bool = False) -> None:
        """Take in a new row that is over; ``measured``: what it says by itself has been counted."""
        talk = self.meet(event, counts=counts)
        self._measure(talk, event, measured=measured)
        if isinstance(event, Step) and event.is_unfinished:
            self._remember(talk, event)
        if isinstance(event, Remark) and event.kind == "idle":
            for row in [*talk.queue]:  # the turn is over, and so is all of it
                if isinstance(row, Step) and not row.is_over:
                    self._lose(talk, row)
        if talk.queue:
            put(talk, event, self._mask)
            self._go_on(talk)
        else:
            self._apply(talk, event)

    def ended(self, event: Row) -> None:
        """Note that a row is over and does not count: a copy, or one that was given up."""
        if event.message in self._session_of:
            talk = self._get(event.session)
            if not talk.queue[talk.find(event.message)].is_over:
                take_out(talk, event.message)
                self._go_on(talk)
        if isinstance(event, Step):
            self._end_late(event)

    def _end_late(self, step: Step) -> None:
        """Count what a step says that was given up, and that ended after all."""
        talk = self._cache.get(step.session)
        if talk is None or all(one.step.message != step.message for one in talk.lost):
            return
        talk = self._get(step.session)
        lost = next(one for one in talk.lost if one.step.message == step.message)
        before = lost.step
        if step.is_unfinished:  # the end itself may still come
            lost.step = turned(without_files(step), self._mask)
        else:
            talk.lost.remove(lost)
        counts = not talk.muted
        more = measure_late(self._tallies[counts], before, step)
        talk.invocations += sum(1 + len(call.inner) for call in step.calls[len(before.calls) :])
        if talk.find(step.message) >= 0:
            put(talk, step, self._mask)
        else:
            self._turns[counts].late(talk, lost.skill, step, more)

    def _measure(self, talk: Conversation, event: Row, *, measured: bool) -> None:
        if not measured:
            measure(self._tallies[not talk.muted], event)
        if isinstance(event, Step):
            talk.invocations += sum(1 + len(call.inner) for call in event.calls)

    def _apply(self, talk: Conversation, event: Row) -> None:
        """Move a conversation on by a row that is over, and before which nothing is open."""
        turns = self._turns[not talk.muted]
        if isinstance(event, Step):
            skill = turns.take(talk, event)
            for lost in talk.lost:
                if lost.step.message == event.message:
                    lost.skill = skill
        elif event.kind == "human":
            turns.hear(talk, event)
        elif event.kind == "idle":
            turns.rest(talk, event)
        elif event.compaction:
            turns.compacted(talk)

    def _lose(self, talk: Conversation, step: Step) -> None:
        """Give up a step that waits in the queue: it counts there as it was last seen."""
        lost = given_up(turned(step, self._mask))
        if not self._admit(lost):
            take_out(talk, step.message)
            return
        self._measure(talk, lost, measured=False)
        put(talk, lost, self._mask)
        self._remember(talk, lost)

    def _remember(self, talk: Conversation, step: Step) -> None:
        """Keep of a step how it was counted: its own end may still say more."""
        lost = Lost(turned(without_files(step), self._mask))
        talk.lost = [*talk.lost, lost][-_MOST_LOST:]

    def _go_on(self, talk: Conversation) -> None:
        """Apply what waits for nothing any more."""
        while talk.queue:
            row = talk.queue[0]
            if not row.is_over:
                if not (isinstance(row, Step) and is_left(talk.queue, self._now())):
                    break
                self._lose(talk, row)
                continue
            talk.queue = talk.queue[1:]
            self._apply(talk, turned(row, self._mask) if isinstance(row, Step) else row)
        self._index(talk)

    def _index(self, talk: Conversation) -> None:
        """Keep in mind which rows of a conversation are open."""
        for message in [one for one, session in self._session_of.items() if session == talk.id]:
            del self._session_of[message]
        self._session_of |= {row.message: talk.id for row in talk.queue if not row.is_over}
        if talk.has_open:
            self._open[talk.id] = talk
        else:
            self._open.pop(talk.id, None)

    # What waits.

    def open_rows(self, chunk: Chunk) -> dict[str, list[str]]:
        """Return, by table, the open rows of sessions in which a chunk has others."""
        if not self._open:
            return {}
        rows = [event for event in chunk.events if isinstance(event, Step | Remark)]
        rows += chunk.summary.rows if isinstance(chunk, SummedChunk) else []
        here = {event.message for event in rows}
        found: dict[str, list[str]] = {}
        for session in {event.session for event in rows} & self._open.keys():
            for row in self._open[session].queue:
                if not row.is_over and row.message not in here:
                    found.setdefault(row.table, []).append(row.message)
        return found

    def overdue_steps(self) -> dict[str, list[str]]:
        """Return, by table, the open rows that have been silent too long, as far as we know."""
        found: dict[str, list[str]] = {}
        for talk in self._open.values():
            if talk.last + self._abandon_after <= self._now():
                for row in talk.queue:
                    if not row.is_over:
                        found.setdefault(row.table, []).append(row.message)
        return found

    def gone(self, rows: Collection[str]) -> None:
        """Give up the open rows that are not there any more."""
        for message in self._session_of.keys() & set(rows):
            if message not in self._session_of:  # given up with one before it
                continue
            talk = self._get(self._session_of[message])
            row = talk.queue[talk.find(message)]
            if isinstance(row, Step):
                self._lose(talk, row)
            else:
                take_out(talk, message)
            self._go_on(talk)

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
            is_over = self._is_due(talk) and is_silent(talk.last)
            if is_over or is_left(talk.queue, self._now()):
                self._give_up_rows(self._get(talk.id), all_of_them=is_over)
        for talk in [*self.changed.values()]:
            self._settle(talk, is_silent)
        found = self._shelf.due(after, self._now(), _SOME)
        for _, stored in found:
            self._settle(self._cache.setdefault(stored.id, stored), is_silent)
        return found[-1][0] if len(found) == _SOME else None

    def _give_up_rows(self, talk: Conversation, *, all_of_them: bool) -> None:
        if all_of_them:
            self._at(talk.last + self._abandon_after)
            for row in [*talk.queue]:
                if isinstance(row, Step) and not row.is_over:
                    self._lose(talk, row)
                elif not row.is_over:
                    take_out(talk, row.message)
        self._go_on(talk)

    def _settle(self, talk: Conversation, is_silent: Callable[[int], bool]) -> None:
        if not self._is_due(talk):
            return
        self.changed[talk.id] = talk
        counts = not talk.muted
        if talk.is_open and is_silent(talk.last):
            self._at(talk.last + self._abandon_after)
            self._turns[counts].give_up(talk)
        if _waits(talk) and talk.last + DECIDED_MS <= self._now():
            self._at(talk.last + DECIDED_MS)
            self._turns[counts].decide(talk)
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
        if _waits(talk):
            due = min(due, talk.last + DECIDED_MS)
        return min(due, talk.last) if talk.loads else due


def _waiting(shelf: Shelf) -> Iterator[Conversation]:
    """Yield all conversations that are due some time, of which some hundred are in memory."""
    place = FIRST
    while found := shelf.due(place, NEVER - 1, _SOME):
        yield from (talk for _, talk in found)
        place = found[-1][0]


def _waits(talk: Conversation) -> bool:
    """Say whether only what follows, or a while of silence, tells how a turn ends."""
    return talk.turn is not None and talk.turn.waits and not talk.queue
