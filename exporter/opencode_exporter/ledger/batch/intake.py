"""
The intake: takes the chunks of a batch, until it is committed.

Decides of each event whether it is new, a copy or a repeat, counts it, and keeps in
mind what is still open.  Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from opencode_exporter import catalog as c
from opencode_exporter.chunk import ITSELF, Chunk, OpenRow
from opencode_exporter.clock import steady_ms
from opencode_exporter.counting import keys
from opencode_exporter.counting.labels import clean
from opencode_exporter.counting.summary import Summary, SummedChunk
from opencode_exporter.events import (
    ABANDONED,
    COMPLETED,
    Event,
    Invocation,
    Remark,
    Step,
    UserSkillLoad,
)
from opencode_exporter.ledger.batch.admission import Verdict, first_load_key
from opencode_exporter.ledger.batch.batch import Batch
from opencode_exporter.ledger.batch.memory import Memory
from opencode_exporter.ledger.hot_files import without_paths
from opencode_exporter.ledger.store import Place

_LATE_MS: Final = 15 * 60_000
_CAUSES: Final = {Verdict.FORKED: "fork", Verdict.UPGRADED: "upgrade"}


class Intake:
    """
    Counts the chunks of one batch.

    Args:
        memory: What the ledger has at hand.
        batch: The batch.
    """

    def __init__(self, memory: Memory, batch: Batch) -> None:
        self._memory = memory
        self._batch = batch
        self._sums = batch.sums
        self._admission = batch.admission
        self._conversations = batch.conversations
        self._names = memory.names
        self._open = memory.open
        self._scope = memory.rules.scope
        self._counting = True

    def apply(self, source: str, chunk: Chunk, *, counts: bool) -> None:
        """
        Take in a chunk.

        Args:
            source: Where it comes from.
            chunk: The chunk.
            counts: Whether what it brings counts, or is only known from now on.
        """
        self._counting = counts
        if isinstance(chunk, SummedChunk):
            self._take_summary(chunk.summary)
        self._take_events(source, chunk)
        for row in chunk.open_rows:
            place = (source, chunk.table, row.row)
            if row.ahead and not (counts or row.calls):
                self._open.set(place, None)  # it is of a history that is skipped
            else:
                self._keep_open(place, row)
        while self._admission.originals:
            self._open.drop_copies(self._admission.originals.pop())
        for row in chunk.unreadable:
            self._open.note_unreadable((source, chunk.table, row.row), row)
        self._conversations.give_up_rows(
            [
                row
                for row in chunk.settled
                if not self._open.is_elsewhere((source, chunk.table, row))
            ]
        )
        for row_id in chunk.settled:
            self._open.set((source, chunk.table, row_id), None)
        if chunk.rows:
            self._batch.count(c.ROWS_READ, (source, chunk.table), chunk.rows)
        if chunk.newest:
            self._batch.count(c.SOURCE_LAST_EVENT, (source,), chunk.newest)

    def _take_events(self, source: str, chunk: Chunk) -> None:
        if len(self._open.sources()) > 1:
            chunk.events = [e for e in chunk.events if not self._goes_on(source, chunk, e)]
        keys = self._admission.prepare(chunk)
        self._memory.cache.prepare(chunk.events)
        self._admission.leave_open_prints(call for row in chunk.open_rows for call in row.calls)
        plain = self._admission.admit_plain(chunk.events, keys, chunk.kind.origin)
        for event, key, admitted in zip(chunk.events, keys, plain, strict=True):
            if isinstance(event, Invocation):
                self._end_call(source, chunk, event, key, admitted=admitted)
            elif isinstance(event, UserSkillLoad):
                self._take_load(event, key, chunk.kind.origin)
            elif isinstance(event, Step | Remark):
                self._take_row(event, key)
            elif self._admission.once(key):
                self._batch.count(c.ROWS_REJECTED, (source, chunk.table, event.cause))

    def is_new(self, summary: Summary) -> bool:
        """Return whether a summary may be counted without its single events."""
        if not self._memory.rules.takes_summaries:
            return False
        keys = summary.key_list()
        return self._admission.is_new(summary, keys) and not self._open.concerns_any(keys)

    def _take_summary(self, summary: Summary) -> None:
        self._admission.admit_summary(summary)
        self._memory.cache.prepare(summary.rows)
        for row in summary.rows:
            event = self._names.of_step(row) if isinstance(row, Step) else row
            self._conversations.take_over(
                event, self._sums.of(event).tally, counts=self._counting, measured=True
            )
            if self._counting and isinstance(event, Step):
                self._memory.hot.count_edits(event)
                self._note_lateness(event.completed)
        if not self._counting:
            self._learn_tools(tool for (tool, vouched, *_), _ in summary.calls if vouched)
            return
        self._sums.timeless.calls.absorb(summary.calls)
        self._sums.timeless.tally.absorb(summary.measures)
        self._batch.note_time(summary.first)
        self._note_lateness(summary.first_end)

    def _goes_on(self, source: str, chunk: Chunk, event: Event) -> bool:
        """Return whether an event gives up a call that another source goes on with."""
        if not isinstance(event, Invocation) or event.status != ABANDONED:
            return False
        place = _place(source, chunk, event)
        is_gone = place[2] in chunk.settled
        if not self._open.goes_on_elsewhere(place, event, is_gone=is_gone):
            return False
        self._open.take_off(place, event)
        return True

    def _take_row(self, event: Step | Remark, key: int) -> None:
        """Take in a row of a session: it moves the session's turns on, if it is new."""
        if isinstance(event, Step):
            event = self._names.of_step(event)
        counts = self._counting and self._scope.holds(event.created, event.where.project)
        if counts and (event.is_over or not self._open.knows(event.message)):
            self._batch.note_time(event.created)
        tally = self._sums.of(event).tally
        if not event.is_over:
            if self._admission.is_open(event, key):
                kept = without_paths(event) if isinstance(event, Step) else event
                self._conversations.take_open(kept, tally, counts=counts)
            return
        verdict = self._admission.admit(event, key, event.origin)
        if verdict is Verdict.NEW:
            self._conversations.take_over(event, tally, counts=counts)
            if counts and isinstance(event, Step):
                self._memory.hot.count_edits(event)
                self._note_lateness(event.completed)
        else:
            self._conversations.take_known(event, tally)
            if verdict is Verdict.FORKED:
                self._conversations.count_session(event, tally, counts=counts)

    def _end_call(
        self, source: str, chunk: Chunk, event: Invocation, key: int, *, admitted: bool
    ) -> None:
        """Count an invocation that has ended, if it is new."""
        place = _place(source, chunk, event)
        verdict = Verdict.NEW
        if not admitted:
            verdict = self._admission.admit(event, key, chunk.kind.origin)
        if verdict is Verdict.NEW:
            if self._open.concerns(key):
                if chunk.kind.restamps:
                    event = self._open.since_it_ran(place, event)
                self._open.end_call(place, event, key, given_up=event.status == ABANDONED)
            self._count_call(event)
        elif event.status != ABANDONED and self._open.is_late(place, event):
            self._sums.timeless.count(c.LATE_ENDS, (event.status or "",))
        elif verdict is not Verdict.REPEAT:
            self._sums.timeless.count(c.COPIES_SKIPPED, (_CAUSES[verdict],))
        if verdict is not Verdict.NEW and event.status == ABANDONED:
            self._open.take_off(place, event)  # another's end is its own

    def _count_call(self, event: Invocation) -> None:
        first: bool | None = None
        if event.skill is not None and event.status == COMPLETED:
            first = self._first_in_session(event.session, event.skill)
        self._memory.cache.note_activity(event.session, event.ended)
        if not self._counting or not self._scope.holds(event.started, event.project):
            self._learn(event)
            return
        # Of one that never started nothing but its message tells when.
        self._batch.note_time(event.started or event.message_created, event.ended)
        calls = self._sums.of(event).calls
        calls.count_call(event)
        if self._batch.is_live and self._memory.is_followed:
            self._batch.counted.append(event)
        if event.skill is not None:
            calls.count_skill_load(event, first_in_session=first)
        self._note_lateness(event.ended)

    def _note_lateness(self, ended: int) -> None:
        clock = self._memory.clock
        if self._batch.is_live and ended and clock.now_ms() - ended > _LATE_MS:
            self._memory.late_ms = steady_ms(clock)

    def _learn(self, event: Invocation) -> None:
        """Keep the names of a history that does not count: they are real."""
        self._learn_tools([event.tool] if event.vouched else [])
        if event.skill and event.status == COMPLETED:
            self._names.slots.take("skill", clean(event.skill))

    def _learn_tools(self, tools: Iterable[str]) -> None:
        for tool in tools:
            self._names.slots.take("tool", clean(tool))

    def _take_load(self, event: UserSkillLoad, key: int, origin: int) -> None:
        """Count a skill load by the user, if it is new."""
        verdict = self._admission.admit(event, key, origin)
        if verdict is Verdict.NEW:
            first = self._first_in_session(event.session, event.skill)
            if self._counting and self._scope.holds(event.at, event.project):
                self._batch.note_time(event.at)
                self._sums.of(event).calls.count_skill_load(event, first_in_session=first)
                self._note_lateness(event.at)
        elif verdict is not Verdict.REPEAT:
            self._sums.timeless.count(c.COPIES_SKIPPED, (_CAUSES[verdict],))

    def _first_in_session(self, session: str, skill: str) -> bool:
        return self._admission.once(first_load_key(session, skill))

    def _keep_open(self, place: Place, row: OpenRow) -> None:
        """Watch a row that may still change, unless it only repeats others."""
        old = self._open.get(place)
        given_up = tuple(dict.fromkeys((*(old.given_up if old else ()), *row.given_up)))
        if row.row in self._batch.lost and ITSELF not in given_up:
            given_up = (*given_up, ITSELF)
        calls = []
        for call in row.calls:
            if (call.call, call.part) in given_up:
                continue
            if row.kind.restamps:
                call = self._open.since_it_ran(place, call)  # noqa: PLW2901
            key = keys.invocation_key(call)
            verdict = self._admission.admit_open(call, key, row.kind.origin)
            if verdict is Verdict.NEW:
                calls.append(self._names.of_call(call))
            elif verdict is not Verdict.REPEAT:
                self._sums.timeless.count(c.COPIES_SKIPPED, (_CAUSES[verdict],))
        only_repeats = row.kind.is_call and row.calls and not calls and not given_up
        kept = msgspec.structs.replace(row, calls=tuple(calls), given_up=given_up)
        self._open.set(place, None if only_repeats else kept)


def _place(source: str, chunk: Chunk, call: Invocation) -> Place:
    """Return the row that shows a call."""
    return source, chunk.table, chunk.kind.row_of(call)
