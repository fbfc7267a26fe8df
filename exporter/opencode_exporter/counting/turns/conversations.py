"""
Conversations: those of all sessions, moved on by the rows of one batch.

Brings the rows of each session into their order: what comes after an open step waits
for its end, or until a later step shows that it will not end.  Those in which something
is open, or that have just been active, are known by when they are due; all others rest
on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from opencode_exporter import catalog as c
from opencode_exporter.bits import hashed
from opencode_exporter.counting.measures import measure, measure_late
from opencode_exporter.counting.tally import NOWHERE, Tally
from opencode_exporter.counting.turns.cache import FIRST, Cache, Due
from opencode_exporter.counting.turns.due import DECIDED_MS, IDLE_MS, due_of, is_idle, waits
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
from opencode_exporter.events import Remark, SessionRow, Step

_MOST_LOST: Final = 8
"""Steps of one session that were given up and whose ends still count."""


class Conversations:
    """
    The conversations that one batch moves on.

    Args:
        cache: All of them.
        salt: Mixed into what is kept of files and commands.
        abandon_after_ms: How long something open may stay without a change.
        admit: Decides whether a step counts that was given up.
        now: Tells Unix ms.
        tally_at: Returns the tally of what happened at a time, Unix ms.

    Attributes:
        changed: Those that the batch changes, by session.
    """

    def __init__(
        self,
        cache: Cache,
        salt: str,
        abandon_after_ms: int,
        *,
        admit: Callable[[Step], bool],
        now: Callable[[], int],
        tally_at: Callable[[int], Tally],
    ) -> None:
        cache.trim()
        self._cache = cache
        self._salt = salt
        self._mask = hashed(salt)
        self._abandon_after = abandon_after_ms
        self._admit = admit
        self._now = now
        self._tally_at = tally_at
        self._turns: dict[Tally, Turns] = {}
        self.changed: dict[str, Conversation] = {}

    def _get(self, session: str) -> Conversation:
        """Return the conversation of a session, to be changed."""
        conversation = self.changed[session] = self._cache.get(session)
        return conversation

    def _turns_into(self, tally: Tally) -> Turns:
        """Return what moves turns on and counts what ends into a tally."""
        turns = self._turns.get(tally)
        if turns is None:
            turns = self._turns[tally] = Turns(self._get, tally, self._salt)
        return turns

    def _tally_of(self, conversation: Conversation, at: int) -> Tally:
        """Return the tally of what happens in a conversation at a time, Unix ms."""
        return NOWHERE if conversation.muted else self._tally_at(at)

    # What a chunk brings.

    def count_session(self, event: SessionRow, tally: Tally, *, counts: bool) -> Conversation:
        """Return the conversation of an event; the first one counts the session."""
        conversation = self._get(event.session)
        if not conversation.kind and (isinstance(event, Step) or event.role or event.skills):
            where = event.where
            fork = where.is_fork or event.suspect
            conversation.kind = FORK if fork else SUBAGENT if where.parent else ROOT
            conversation.parent = where.parent
            if counts:
                tally.add(c.SESSIONS, conversation.kind, where.project)
        conversation.last = max(conversation.last, min(newest_of(event), self._now()))
        conversation.muted = not counts
        self._cache.note_activity(conversation.id, conversation.last)
        return conversation

    def take_open(self, event: SessionRow, tally: Tally, *, counts: bool) -> None:
        """Take a row that is not over."""
        if isinstance(event, Step):
            conversation = self.count_session(event, tally, counts=counts)
        else:  # what it is is not known yet, so it makes no session
            conversation = self._get(event.session)
            conversation.last = max(conversation.last, min(event.created, self._now()))
        put(conversation, event, self._mask)
        self._go_on(conversation, tally)

    def take_over(
        self, event: SessionRow, tally: Tally, *, counts: bool, measured: bool = False
    ) -> None:
        """
        Take a new row that is over.

        Args:
            event: The row.
            tally: That of its time.
            counts: Whether it counts.
            measured: Whether what it says by itself has been counted.
        """
        conversation = self.count_session(event, tally, counts=counts)
        self._measure(conversation, event, tally, measured=measured)
        if isinstance(event, Step) and event.is_unfinished:
            self._remember(conversation, event)
        if isinstance(event, Remark) and event.kind == "idle":
            for row in [*conversation.queue]:  # the turn is over, and so is all of it
                if isinstance(row, Step) and not row.is_over:
                    self._lose(conversation, row, tally)
        if conversation.queue:
            put(conversation, event, self._mask)
            self._go_on(conversation, tally)
        else:
            self._apply(conversation, event, tally)

    def take_known(self, event: SessionRow, tally: Tally) -> None:
        """Take a row that is over and does not count: a copy, or one that was given up."""
        if self._cache.session_of(event.message) is not None:
            conversation = self._get(event.session)
            if not conversation.queue[conversation.find(event.message)].is_over:
                take_out(conversation, event.message)
                self._go_on(conversation, tally)
        if isinstance(event, Step):
            self._take_late(event, tally)

    def _take_late(self, step: Step, tally: Tally) -> None:
        """Count what a step says that was given up, and that ended after all."""
        conversation = self._cache.at_hand(step.session)
        if conversation is None or all(
            one.step.message != step.message for one in conversation.lost
        ):
            return
        self.changed[conversation.id] = conversation
        lost = next(one for one in conversation.lost if one.step.message == step.message)
        before = lost.step
        if step.is_unfinished:  # the end itself may still come
            lost.step = turned(without_files(step), self._mask)
        else:
            conversation.lost.remove(lost)
        tally = NOWHERE if conversation.muted else tally
        more = measure_late(tally, before, step)
        conversation.invocations += _calls_in(step, after=len(before.calls))
        if conversation.find(step.message) >= 0:
            put(conversation, step, self._mask)
        else:
            self._turns_into(tally).take_late(conversation, lost.skill, step, more)

    def _measure(
        self, conversation: Conversation, event: SessionRow, tally: Tally, *, measured: bool
    ) -> None:
        if not (measured or conversation.muted):
            measure(tally, event)
        if isinstance(event, Step):
            conversation.invocations += _calls_in(event)

    def _apply(self, conversation: Conversation, event: SessionRow, tally: Tally) -> None:
        """Move a conversation on by a row that is over, and before which nothing is open."""
        turns = self._turns_into(NOWHERE if conversation.muted else tally)
        if isinstance(event, Step):
            skill = turns.take_step(conversation, event)
            for lost in conversation.lost:
                if lost.step.message == event.message:
                    lost.skill = skill
        elif event.kind == "human":
            turns.take_message(conversation, event)
        elif event.kind == "idle":
            turns.take_idle(conversation, event)
        elif event.compaction:
            turns.take_compaction(conversation)

    def _lose(self, conversation: Conversation, step: Step, tally: Tally) -> None:
        """Give up a step that waits in the queue: it counts there as it was last seen."""
        lost = given_up(turned(step, self._mask))
        if not self._admit(lost):
            take_out(conversation, step.message)
            return
        self._measure(conversation, lost, tally, measured=False)
        put(conversation, lost, self._mask)
        self._remember(conversation, lost)

    def _remember(self, conversation: Conversation, step: Step) -> None:
        """Keep of a step how it was counted: its own end may still say more."""
        lost = Lost(turned(without_files(step), self._mask))
        conversation.lost = [*conversation.lost, lost][-_MOST_LOST:]

    def _go_on(self, conversation: Conversation, tally: Tally) -> None:
        """Apply what waits for nothing any more."""
        while conversation.queue:
            row = conversation.queue[0]
            if not row.is_over:
                if not (isinstance(row, Step) and is_left(conversation.queue, self._now())):
                    break
                self._lose(conversation, row, tally)
                continue
            conversation.queue = conversation.queue[1:]
            event = turned(row, self._mask) if isinstance(row, Step) else row
            self._apply(conversation, event, tally)
        self._cache.index(conversation)

    # What waits.

    def give_up_rows(self, rows: Collection[str]) -> None:
        """Give up open rows that are not there any more."""
        for message in rows:
            session = self._cache.session_of(message)
            if session is None:  # it was not open, or was given up with one before it
                continue
            conversation = self._get(session)
            tally = self._tally_of(conversation, conversation.last)
            row = conversation.queue[conversation.find(message)]
            if isinstance(row, Step):
                self._lose(conversation, row, tally)
            else:
                take_out(conversation, message)
            self._go_on(conversation, tally)

    def settle(self, is_silent: Callable[[int], bool], after: Due = FIRST) -> Due | None:
        """
        End what has waited long enough: open steps and turns, and sessions.

        Args:
            is_silent: Tells of what last changed at a time, ms, whether that is too long ago.
            after: What the last call returned: some hundred at a time, so that a
                commit in between bounds what is in memory.

        Returns:
            Where to go on; None when all has been settled.
        """
        # Steps first: they may tell whose work a sub-agent's turn was.
        for conversation in self._cache.opened():
            is_over = self._is_due(conversation) and is_silent(conversation.last)
            if is_over or is_left(conversation.queue, self._now()):
                self._give_up_waiting(self._get(conversation.id), all_of_them=is_over)
        for conversation in [*self.changed.values()]:
            self._settle(conversation, is_silent)
        found, last = self._cache.due(after, self._now())
        for conversation in found:
            self._settle(conversation, is_silent)
        return last

    def _give_up_waiting(self, conversation: Conversation, *, all_of_them: bool) -> None:
        waited = self._abandon_after if all_of_them else 0
        tally = self._tally_of(conversation, conversation.last + waited)
        for row in [*conversation.queue] if all_of_them else ():
            if isinstance(row, Step) and not row.is_over:
                self._lose(conversation, row, tally)
            elif not row.is_over:
                take_out(conversation, row.message)
        self._go_on(conversation, tally)

    def _settle(self, conversation: Conversation, is_silent: Callable[[int], bool]) -> None:
        if not self._is_due(conversation):
            return
        self.changed[conversation.id] = conversation
        last = conversation.last
        if conversation.is_open and is_silent(last):
            tally = self._tally_of(conversation, last + self._abandon_after)
            self._turns_into(tally).give_up(conversation)
        if waits(conversation) and last + DECIDED_MS <= self._now():
            tally = self._tally_of(conversation, last + DECIDED_MS)
            self._turns_into(tally).decide(conversation)
        for at, *skills in transitions(conversation):
            self._tally_of(conversation, at).add(c.SKILL_TRANSITIONS, *skills)
        if is_idle(conversation, self._now()):
            self._observe(conversation, last + IDLE_MS)

    def archive(self, sessions: Collection[str]) -> None:
        """Count the invocations of sessions that the user has put away."""
        for session in sessions:
            conversation = self._get(session)
            self._observe(conversation, conversation.last)

    def _observe(self, conversation: Conversation, at: int) -> None:
        """Count the invocations of a session that is over, once."""
        if conversation.kind and not conversation.observed:
            conversation.observed = True
            tally = self._tally_of(conversation, at)
            tally.observe(c.SESSION_INVOCATIONS, conversation.invocations, conversation.kind)

    def _is_due(self, conversation: Conversation) -> bool:
        return self.due_of(conversation) <= self._now()

    def due_of(self, conversation: Conversation) -> int:
        """Return when something of a conversation has to be decided, ms."""
        return due_of(conversation, self._abandon_after, self._now())


def _calls_in(step: Step, after: int = 0) -> int:
    """Return how many calls a step has, those inside others included, after the first ones."""
    return sum(1 + len(call.inner) for call in step.calls[after:])
