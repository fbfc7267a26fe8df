"""
The intake: what the chunks of a batch bring, until it is committed.

Decides of each event whether it is new, a copy or a repeat, counts it, and keeps in
mind what is still open.  Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from opencode_exporter import catalog as c
from opencode_exporter.chunk import ITSELF, Chunk, OpenRow
from opencode_exporter.clock import Clock, steady_ms
from opencode_exporter.counting import keys
from opencode_exporter.counting.labels import clean
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.series import Delta, Labels
from opencode_exporter.counting.summary import NEVER, Summary, SummedChunk, first_of
from opencode_exporter.counting.sums import Sums
from opencode_exporter.counting.turns.conversations import Talks
from opencode_exporter.events import (
    ABANDONED,
    COMPLETED,
    Event,
    Invocation,
    Remark,
    Step,
    UserSkillLoad,
)
from opencode_exporter.ledger.admission import Judge, Verdict, first_load_key
from opencode_exporter.ledger.follower import Follower
from opencode_exporter.ledger.hot_files import HotFiles, without_paths
from opencode_exporter.ledger.open_rows import OpenRows
from opencode_exporter.ledger.scope import EVERYTHING, Scope
from opencode_exporter.ledger.store import Place, Store

_LATE_MS: Final = 15 * 60_000
_CAUSES: Final = {Verdict.FORKED: "fork", Verdict.UPGRADED: "upgrade"}


class Intake:
    """
    The events of one batch after the other.

    Args:
        store: Where the keys of what was counted, and conversations, are looked up.
        clock: Time of day.
        names: Which names are real.
        rows: The open rows there are.
        hot: The files that are edited most.
        salt: Mixed into what is kept of files and commands.
        abandon_after_ms: How long something open may stay without a change.
        scope: What counts, of all that is read.
        is_empty: Whether nothing has been read before.
        has_orphans: Whether a call was counted whose message could not be read.
        late_ms: When, by the stopwatch, old events last came in; 0 for never.
        sums: Makes the sums of a batch.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        names: RealNames,
        rows: OpenRows,
        hot: HotFiles,
        salt: str,
        abandon_after_ms: int,
        scope: Scope,
        is_empty: bool,
        has_orphans: bool,
        late_ms: int,
        sums: Callable[[], Sums],
    ) -> None:
        self._clock = clock
        self._scope = scope
        self._make_sums = sums
        self.names = names
        self.open = rows
        self.hot = hot
        self.judge = Judge(
            store.owners,
            store.traces,
            is_empty=is_empty,
            has_orphans=has_orphans,
            is_open=rows.concerns,
        )
        self.talks = Talks(
            store, salt, abandon_after_ms, admit=self._admit_lost, now=clock.now_ms, at=self._at
        )
        self.late_ms = late_ms
        self.since_settled = NEVER
        """The first event of all batches since what had waited was last looked at, ms."""
        self.follower: Follower | None = None
        self._first = NEVER

    def begin(self, *, is_live: bool) -> None:
        """
        Begin a batch.

        Args:
            is_live: Whether the history is in, so that old events are late ones.
        """
        self.is_live = is_live
        self.since_settled = min(self.since_settled, self._first)
        self._first = NEVER
        self._sums = self._make_sums()
        self.talks.begin(self._sums.tally)
        self.judge.begin()
        self.open.changed = {}
        self._lost: set[str] = set()

    def apply(self, source: str, chunk: Chunk, *, counts: bool) -> None:
        """
        Take in a chunk.

        Args:
            source: Where it comes from.
            chunk: The chunk.
            counts: Whether what it brings counts, or is only known from now on.
        """
        self.counting = counts
        if isinstance(chunk, SummedChunk):
            self._take(chunk.summary)
        self._take_events(source, chunk)
        for row in chunk.open_rows:
            place = (source, chunk.table, row.row)
            if row.ahead and not (counts or row.calls):
                self.open.set(place, None)  # it is of a history that is skipped
            else:
                self._keep_open(place, row)
        while self.judge.originals:
            self.open.drop_copies(self.judge.originals.pop())
        for row in chunk.unreadable:
            self.open.note((source, chunk.table, row.row), row)
        self.talks.gone(
            [row for row in chunk.settled if not self.open.is_elsewhere((source, chunk.table, row))]
        )
        for row_id in chunk.settled:
            self.open.set((source, chunk.table, row_id), None)
        if chunk.rows:
            self._add(c.ROWS_READ, (source, chunk.table), chunk.rows)
        if chunk.newest:
            self._add(c.SOURCE_LAST_EVENT, (source,), chunk.newest)

    def _add(self, metric: c.Metric, labels: Labels, value: int = 1) -> None:
        """Add to a series of a source, by its name in metrics."""
        source, *others = labels
        shown = self.names.slots.take("source", source)
        cut = shown != source and metric.kind == "counter"
        self._sums.add(metric, (shown, *others), value, cut=cut)

    def folded(self) -> Iterable[Delta]:
        """Return what the batch adds to each series; new names take their slots here."""
        return self._sums.fold(self.names)

    def _at(self, ms: int) -> None:
        self._sums.at(ms)

    def note(self, *times: int) -> None:
        """Note when something happened that counts, ms; times that make no sense are none."""
        self._first = min(self._first, first_of(times))

    def first_ms(self) -> int:
        """Return the time of the batch's first event: not after now, and now without any."""
        return min(self._first, self._clock.now_ms())

    def _take_events(self, source: str, chunk: Chunk) -> None:
        if len(self.open.sources()) > 1:
            chunk.events = [e for e in chunk.events if not self._goes_on(source, chunk, e)]
        keys = self.judge.prepare(chunk)
        self.talks.prepare(chunk.events)
        self.judge.note_open(call for row in chunk.open_rows for call in row.calls)
        plain = self.judge.admit_plain(chunk.events, keys, chunk.kind.origin)
        for event, key, admitted in zip(chunk.events, keys, plain, strict=True):
            self._sums.at_event(event)
            if isinstance(event, Invocation):
                self._end(source, chunk, event, key, admitted=admitted)
            elif isinstance(event, UserSkillLoad):
                self._load(event, key, chunk.kind.origin)
            elif isinstance(event, Step | Remark):
                self._take_row(event, key)
            elif self.judge.once(key):
                self._add(c.ROWS_REJECTED, (source, chunk.table, event.cause))

    def is_new(self, summary: Summary) -> bool:
        """Say whether the calls of a summary may be counted unseen."""
        keys = summary.key_list()
        if self._scope != EVERYTHING:
            return False
        return self.judge.is_new(summary, keys) and not self.open.concerns_any(keys)

    def _take(self, summary: Summary) -> None:
        self.judge.admit_summary(summary)
        self.talks.prepare(summary.rows)
        for row in summary.rows:
            event = self.names.of_step(row) if isinstance(row, Step) else row
            self.talks.take(event, counts=self.counting, measured=True)
            if self.counting and isinstance(event, Step):
                self.hot.add(event)
                self._note_lateness(event.completed)
        if not self.counting:
            self._learn_tools(tool for (tool, vouched, *_), _ in summary.sums if vouched)
            return
        self._sums.calls.absorb(summary.sums)
        self._sums.tally.absorb(summary.measures)
        self.note(summary.first)
        self._note_lateness(summary.first_end)

    def _goes_on(self, source: str, chunk: Chunk, event: Event) -> bool:
        """Say whether an event gives up a call that another source goes on with."""
        if not isinstance(event, Invocation) or event.status != ABANDONED:
            return False
        place = _place(source, chunk, event)
        is_gone = place[2] in chunk.settled
        if not self.open.goes_on_elsewhere(place, event, is_gone=is_gone):
            return False
        self.open.take_off(place, event)
        return True

    def _take_row(self, event: Step | Remark, key: int) -> None:
        """Take in a row of a session: it moves the session's turns on, if it is new."""
        if isinstance(event, Step):
            event = self.names.of_step(event)
        counts = self.counting and self._scope.holds(event.created, event.where.project)
        if counts and (event.is_over or not self.open.knows(event.message)):
            self.note(event.created)
        if not event.is_over:
            if self.judge.is_open(event, key):
                kept = without_paths(event) if isinstance(event, Step) else event
                self.talks.begun(kept, counts=counts)
            return
        verdict = self.judge.admit(event, key, event.origin)
        if verdict is Verdict.NEW:
            self.talks.take(event, counts=counts)
            if counts and isinstance(event, Step):
                self.hot.add(event)
                self._note_lateness(event.completed)
        else:
            self.talks.ended(event)
            if verdict is Verdict.FORKED:
                self.talks.meet(event, counts=counts)

    def _admit_lost(self, step: Step) -> bool:
        self.note(step.created)
        self._lost.add(step.message)
        self.open.sleep(step.message)
        return self.judge.admit_late(step, keys.row_key(step)) is Verdict.NEW

    def _end(
        self, source: str, chunk: Chunk, event: Invocation, key: int, *, admitted: bool
    ) -> None:
        """Count an invocation that has ended, if it is new."""
        place = _place(source, chunk, event)
        verdict = Verdict.NEW
        if not admitted:
            verdict = self.judge.admit(event, key, chunk.kind.origin)
        if verdict is Verdict.NEW:
            if self.open.concerns(key):
                if chunk.kind.restamps:
                    event = self.open.since_it_ran(place, event)
                self.open.end(place, event, key, given_up=event.status == ABANDONED)
            self._count(event)
        elif event.status != ABANDONED and self.open.is_late(place, event):
            self._sums.add(c.LATE_ENDS, (event.status or "",))
        elif verdict is not Verdict.REPEAT:
            self._sums.add(c.COPIES_SKIPPED, (_CAUSES[verdict],))
        if verdict is not Verdict.NEW and event.status == ABANDONED:
            self.open.take_off(place, event)  # another's end is its own

    def _count(self, event: Invocation) -> None:
        first: bool | None = None
        if event.skill is not None and event.status == COMPLETED:
            first = self._first_in_session(event.session, event.skill)
        self.talks.touch(event.session, event.ended)
        if not self.counting or not self._scope.holds(event.started, event.project):
            self._learn(event)
            return
        # Of one that never started nothing but its message tells when.
        self.note(event.started or event.message_created, event.ended)
        self._sums.calls.add(event)
        if self.follower is not None and self.is_live:
            self.follower.counted(event)
        if event.skill is not None:
            self._sums.calls.add_skill_load(event, first_in_session=first)
        self._note_lateness(event.ended)

    def _note_lateness(self, ended: int) -> None:
        if self.is_live and ended and self._clock.now_ms() - ended > _LATE_MS:
            self.late_ms = steady_ms(self._clock)

    def _learn(self, event: Invocation) -> None:
        """Keep the names of a history that does not count: they are real."""
        self._learn_tools([event.tool] if event.vouched else [])
        if event.skill and event.status == COMPLETED:
            self.names.slots.take("skill", clean(event.skill))

    def _learn_tools(self, tools: Iterable[str]) -> None:
        for tool in tools:
            self.names.slots.take("tool", clean(tool))

    def _load(self, event: UserSkillLoad, key: int, origin: int) -> None:
        """Count a skill load by the user, if it is new."""
        verdict = self.judge.admit(event, key, origin)
        if verdict is Verdict.NEW:
            first = self._first_in_session(event.session, event.skill)
            if self.counting and self._scope.holds(event.at, event.project):
                self.note(event.at)
                self._sums.calls.add_skill_load(event, first_in_session=first)
                self._note_lateness(event.at)
        elif verdict is not Verdict.REPEAT:
            self._sums.add(c.COPIES_SKIPPED, (_CAUSES[verdict],))

    def _first_in_session(self, session: str, skill: str) -> bool:
        return self.judge.once(first_load_key(session, skill))

    def _keep_open(self, place: Place, row: OpenRow) -> None:
        """Watch a row that may still change, unless it only repeats others."""
        old = self.open.get(place)
        given_up = tuple(dict.fromkeys((*(old.given_up if old else ()), *row.given_up)))
        if row.row in self._lost and ITSELF not in given_up:
            given_up = (*given_up, ITSELF)
        calls = []
        for call in row.calls:
            if (call.call, call.part) in given_up:
                continue
            if row.kind.restamps:
                call = self.open.since_it_ran(place, call)  # noqa: PLW2901
            key = keys.invocation_key(call)
            verdict = self.judge.admit_open(call, key, row.kind.origin)
            if verdict is Verdict.NEW:
                calls.append(self.names.of_call(call))
            elif verdict is not Verdict.REPEAT:
                self._sums.add(c.COPIES_SKIPPED, (_CAUSES[verdict],))
        only_repeats = row.kind.is_call and row.calls and not calls and not given_up
        kept = msgspec.structs.replace(row, calls=tuple(calls), given_up=given_up)
        self.open.set(place, None if only_repeats else kept)


def _place(source: str, chunk: Chunk, call: Invocation) -> Place:
    """Return the row that shows a call."""
    return source, chunk.table, chunk.kind.row_of(call)
