"""
The ledger: what has been counted, kept on disk.

Commits totals, cursors and everything still open in one transaction, so that a crash at any
instant leaves all before the batch or all after it.  What it publishes has been
committed.  Nothing here reads opencode.db, and nothing here knows about HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Final

from opencode_exporter.chunk import Chunk, Cursor, OpenRow
from opencode_exporter.clock import Clock
from opencode_exporter.counting.labels import Slots
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.summary import NO_TIME, Summary, SummedChunk
from opencode_exporter.counting.totals import Times, changed_by
from opencode_exporter.counting.turns.cache import FIRST, Due
from opencode_exporter.errors import LedgerError
from opencode_exporter.events import Remark, SessionRow, Step
from opencode_exporter.ledger.batch.batch import Batch
from opencode_exporter.ledger.batch.intake import Intake
from opencode_exporter.ledger.batch.memory import Memory
from opencode_exporter.ledger.follower import Counted, Follower
from opencode_exporter.ledger.hot_files import HotFiles
from opencode_exporter.ledger.notes import Notes
from opencode_exporter.ledger.open_rows import OpenRows
from opencode_exporter.ledger.published import Published, Totals, totals_of
from opencode_exporter.ledger.rules import Rules
from opencode_exporter.ledger.store import Store
from opencode_exporter.ledger.viewers import Viewers

_SHOWN_AT_ZERO: Final = ("tool", "skill")
"""Labels of which names are shown before anything is counted."""


class Ledger:
    """
    Cumulative values that outlive the process.  One writer at a time.

    Args:
        store: The file.
        clock: Time of day.
        rules: By which it counts.
    """

    def __init__(self, store: Store, clock: Clock, rules: Rules) -> None:
        self._store = store
        self._clock = clock
        self._rules = rules
        self.names = RealNames(Slots())
        self._follower: Follower | None = None
        self._late_ms = 0
        self._opened_ms = clock.now_ms()
        self.reload()
        if not rules.counts_history and not self.baseline_ms:
            # Durable at once: a restart within the first read must not count the rest.
            self.notes.note_skipping()
            self.commit()

    def follow(self, follower: Follower) -> None:
        """Tell a follower of each invocation that ends, from now on."""
        self._follower = follower
        self._memory.is_followed = True

    def start_over(self, store: Store) -> None:
        """Go on in another file; the one before was damaged."""
        self._store = store
        self._opened_ms = self._clock.now_ms()
        self.reload()

    def reload(self) -> None:
        """Go back to what is on disk, as if just started; all of it or nothing."""
        store = self._store
        totals = totals_of(store.series())
        viewers = Viewers(store.viewers(), self._clock)
        read = store.slots(), store.cursors(), store.open_rows(), store.meta(), store.edited()
        # From here on nothing fails: half of a reload would count a batch twice.
        slots, self._cursors, rows, meta, edited = read
        self.notes = Notes(meta)
        self.names.go_back(Slots(slots))
        self._memory = Memory(
            store=store,
            clock=self._clock,
            rules=self._rules,
            salt=self.notes.salt,
            names=self.names,
            open=OpenRows(rows),
            hot=HotFiles(edited, self._rules.files_top, self._clock.now_ms),
            stand_ins=None if self._cursors else set(),
            late_ms=self._late_ms,
            is_followed=self._follower is not None,
        )
        if not self.baseline_ms:  # the history goes on where it was cut off
            known = (at for of_metric in totals.starts.values() for at in of_metric.values())
            self._memory.since_settled = min(known, default=NO_TIME)
        self._viewers = viewers
        self._publish(totals)
        self._start_batch()
        if self.baseline_ms and not self.notes.are_kept():
            for source, _ in self._cursors:
                self.notes.read(source)

    def _publish(self, totals: Totals) -> None:
        memory, slots, notes = self._memory, self.names.slots, self.notes
        self._late_ms = memory.late_ms
        self.published = Published(
            totals=totals,
            salt=notes.salt,
            births=notes.births,
            viewers=self._viewers,
            names={label: slots.names(label) for label in _SHOWN_AT_ZERO},
            places={label: slots.places(label) for label in _SHOWN_AT_ZERO},
            in_flight=tuple(
                (self.names.shown(call), call.started) for call in memory.open.running()
            ),
            hot_files=memory.hot.shown(),
            active=dict(memory.cache.active()),
            baseline_ms=notes.baseline_ms,
            began_ms=notes.began_ms or self._opened_ms,
            late_ms=memory.late_ms,
        )

    def _start_batch(self) -> None:
        self._batch = Batch(
            self._memory, is_live=self.baseline_ms > 0, has_orphans=self.notes.has_orphans
        )
        self._intake = Intake(self._memory, self._batch)
        self.notes.note_began(self._opened_ms)

    @property
    def baseline_ms(self) -> int:
        """When counting forward began; 0 while the history is still read."""
        return self.notes.baseline_ms

    def cursors(self, source: str) -> dict[str, Cursor]:
        """Return where the next poll of a source begins, by table."""
        return {table: value for (name, table), value in self._cursors.items() if name == source}

    def _set_cursor(self, source: str, table: str, cursor: Cursor) -> None:
        self._cursors[source, table] = self._batch.changes.cursors[source, table] = cursor

    def open_rows(self, source: str) -> list[OpenRow]:
        """Return the rows of a source that may change at any time, or are due."""
        return self._memory.open.awake(source, self._clock.now_ms())

    def begin_again(self, source: str) -> None:
        """Move cursors back to the beginning of those tables in which rows are due."""
        for table in self.notes.tables_due(source, self._clock.now_ms()):
            self.notes.note_begun(source, table)
            self._set_cursor(source, table, Cursor())

    def is_due(self, source: str) -> bool:
        """Return whether our clock has passed the time of something that was of our future."""
        first, now = self._memory.open.waiting.first(source), self._clock.now_ms()
        return 0 < first <= now or bool(self.notes.tables_due(source, now))

    def open_sources(self) -> list[str]:
        """Return the sources with rows that may change, also those that are not there now."""
        return self._memory.open.sources()

    def sleeping_rows(self, source: str, before_ms: int) -> list[OpenRow]:
        """Return the open rows that hardly will change: nothing runs in them since, or ever."""
        return self._memory.open.asleep(source, before_ms)

    def set_baseline(self) -> None:
        """Note, with the next commit, that the history is in."""
        self.notes.note_baseline(self._clock.now_ms())
        self._batch.changes.is_baseline = True
        self._viewers.begin()
        self._memory.since_settled = NO_TIME

    def size(self) -> int:
        """Return the bytes of the ledger on disk."""
        return self._store.size()

    def close(self) -> None:
        """Close the file; what was not committed is read again."""
        self._store.close()

    def drop(self) -> None:
        """Close a damaged file and leave it as it is."""
        self._store.drop()

    # What a poll brings.

    def apply(self, source: str, chunk: Chunk) -> None:
        """Take a chunk.  It counts with the next `commit`, with all of its batch."""
        self._intake.apply(source, chunk, counts=self._counts(source))
        if chunk.cursor is not None:
            self._set_cursor(source, chunk.table, chunk.cursor)

    def _counts(self, source: str) -> bool:
        """Return whether what a source brings counts: each has a history that may be skipped."""
        skips = not self._rules.counts_history or self.notes.skips_history
        return not skips or self.notes.is_read(source)

    @property
    def takes_summaries(self) -> bool:
        """Whether what is read of a new source may come as summaries."""
        return self._rules.takes_summaries

    @property
    def since_ms(self) -> int:
        """From when on events count, Unix ms; 0: all do."""
        return self._rules.scope.since_ms

    def is_new(self, summary: Summary) -> bool:
        """Return whether a summary may be counted without its single events."""
        return self._intake.is_new(summary)

    def open_rows_beside(self, chunk: Chunk) -> dict[str, list[str]]:
        """Return, by table, the open rows of sessions in which a chunk has others."""
        rows: list[SessionRow] = [one for one in chunk.events if isinstance(one, Step | Remark)]
        rows += chunk.summary.rows if isinstance(chunk, SummedChunk) else []
        return self._memory.cache.open_rows_beside(rows)

    def overdue_rows(self) -> dict[str, list[str]]:
        """Return, by table, the open rows of sessions that have been silent for too long."""
        last = self._clock.now_ms() - self._rules.abandon_after_ms
        return self._memory.cache.open_rows_since(last)

    def active_sessions(self) -> Mapping[str, int]:
        """Return when sessions last changed, ms, of those that are active."""
        return self._memory.cache.active()

    def unobserved_sessions(self) -> list[str]:
        """Return the sessions that were active within the last hour, or have not been settled."""
        return self._memory.cache.unobserved()

    def archive(self, sessions: Collection[str]) -> None:
        """Count the invocations of sessions that the user has put away."""
        self._batch.conversations.archive(sessions)

    def settle(self, is_silent: Callable[[int], bool]) -> None:
        """
        End what has waited too long: open steps and turns, and sessions; durably.

        Args:
            is_silent: Tells of what last changed at a time, ms, whether that is too long ago.

        Raises:
            LedgerError: See `commit`.
        """

        def is_over(last: int) -> bool:
            over = is_silent(last)
            if over:
                self._batch.note_time(last)
            return over

        due: Due | None = FIRST
        while due is not None:
            due = self._batch.conversations.settle(is_over, due)
            # What is decided now may be about any event since the last time.
            self._batch.note_time(self._memory.since_settled)
            self.commit()
        if self.baseline_ms:
            self._memory.since_settled = NO_TIME

    # What a commit makes of it.

    def commit(self) -> None:
        """
        Count the batch and move the cursors past it, durably; then publish.

        Raises:
            LedgerError: It could not be written, or a delta is negative.  Nothing of
                the batch is kept; the source is read again from the old cursor.
        """
        batch, old = self._batch, self.published.totals
        try:
            deltas = batch.deltas()
            every = chain.from_iterable(deltas.values())
            series = changed_by(every, old.series, self._rules.series_limit)
            if self.baseline_ms:
                self.names.keep_known()
            if batch.admission.has_orphans:
                self.notes.note_orphans()
            for (source, table), due in self._memory.open.waiting.passed_over().items():
                self.notes.note_due(source, table, due, self._clock.now_ms())
            birth = self.notes.births + 1 if batch.is_live else 0
            changed = old.changed(series, self._times(), birth)
            if birth and changed.has_born(birth):
                self.notes.note_births(birth)
            changes = batch.changed()
            changes.meta = self.notes.given()
            changes.series, changes.viewers = changed.rows(), self._viewers.moved()
            if changes:
                self._store.write(changes)
        except LedgerError:
            self.reload()
            raise
        self._viewers.written(changes.viewers)
        self._memory.since_settled = min(self._memory.since_settled, batch.first)
        self._publish(old.updated(changed))
        self._start_batch()
        if self._follower is not None:
            counted = [
                Counted.of(call, self.names)
                for call in batch.counted
                if call.ended >= self.baseline_ms
            ]
            self._follower.committed(self._memory.open.running(), counted)
        if self._rules.times is not None:
            self._rules.times.added(deltas)

    def _times(self) -> Times:
        baseline = self.baseline_ms if self._batch.is_live else 0
        return Times(self._batch.first_ms(), baseline, self.notes.began_ms)
