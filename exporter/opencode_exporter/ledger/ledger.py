"""
The ledger: what has been counted, kept on disk.

Commits totals, cursors and everything still open in one transaction, so that a crash at any
instant leaves all before the batch or all after it.  What it publishes has been
committed.  Nothing here reads opencode.db, and nothing here knows about HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from opencode_exporter.chunk import Chunk, Cursor, OpenRow
from opencode_exporter.clock import Clock
from opencode_exporter.counting import keys
from opencode_exporter.counting.labels import Slots
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.series import Labels, Value
from opencode_exporter.counting.summary import NEVER as NO_EVENT
from opencode_exporter.counting.summary import Summary
from opencode_exporter.counting.sums import Sums
from opencode_exporter.counting.totals import Numbers, Series, Times, born_of, changed_by, starts_of
from opencode_exporter.counting.turns.conversations import FIRST, NEVER, Place, Talks
from opencode_exporter.errors import LedgerError
from opencode_exporter.ledger.follower import Follower
from opencode_exporter.ledger.hot_files import HotFiles
from opencode_exporter.ledger.intake import Intake
from opencode_exporter.ledger.notes import Notes
from opencode_exporter.ledger.open_rows import OpenRows
from opencode_exporter.ledger.scope import EVERYTHING, Scope
from opencode_exporter.ledger.store import Batch, Store
from opencode_exporter.ledger.viewers import Viewers

T = TypeVar("T")


class Published(NamedTuple):
    """What has been committed; never changed, so that any thread may render it."""

    salt: str  # of hashes that are shown
    series: Series
    starts: Numbers  # of all series, Unix ms; those of gauges mean nothing
    born: Numbers  # with which birth those came that came after the baseline
    births: int  # until now
    viewers: Viewers  # to whom they are shown
    names: Mapping[str, tuple[str, ...]]  # names that hold a slot, by label
    places: Mapping[str, tuple[str, ...]]  # those that are shown at 0 before they do
    in_flight: tuple[tuple[str, int], ...]  # tool and start (ms) of what runs now
    hot_files: tuple[tuple[str, int], ...]  # paths, most edited first, and how often
    active: Mapping[str, int]  # sessions and when they changed (ms), of the last minutes
    baseline_ms: int
    began_ms: int  # when the ledger did
    late_ms: int


class Ledger:
    """
    Cumulative values that outlive the process.  One writer at a time.

    Args:
        store: The file.
        clock: Time of day.
        series_limit: The most series that one metric may have.
        counts_history: Whether what a source holds at its first read counts.
        abandon_after_ms: How long something open may stay without a change.
        scope: What counts, of all that is read.
        files_top: How many of the most edited files to show.
        sums: Makes the sums of a batch.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        series_limit: int,
        counts_history: bool,
        abandon_after_ms: int,
        scope: Scope = EVERYTHING,
        files_top: int = 0,
        sums: Callable[[], Sums] = Sums,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limit = series_limit
        self._counts_history = counts_history
        self._abandon_after = abandon_after_ms
        self._scope = scope
        self._files_top = files_top
        self._make_sums = sums
        self.names = RealNames(Slots())
        self._follower: Follower | None = None
        self._late_ms = 0
        self._opened_ms = clock.now_ms()
        self.reload()
        if not counts_history and not self.baseline_ms:
            # Durable at once: a restart within the first read must not count the rest.
            self._note("history", "skip")
            self.commit()

    def follow(self, follower: Follower) -> None:
        """Tell somebody of each invocation that ends, from now on."""
        self._follower = self._intake.follower = follower

    def start_over(self, store: Store) -> None:
        """Go on in another file; the one before was damaged."""
        self._store = store
        self._opened_ms = self._clock.now_ms()
        self.reload()

    def reload(self) -> None:
        """Go back to what is on disk, as if just started; all of it or nothing."""
        store = self._store
        series: dict[str, dict[Labels, Value]] = {}
        starts: dict[str, dict[Labels, int]] = {}
        born: dict[str, dict[Labels, int]] = {}
        for metric, labels, value, started, birth in store.series():
            series.setdefault(metric, {})[labels] = value
            starts.setdefault(metric, {})[labels] = started
            if birth:
                born.setdefault(metric, {})[labels] = birth
        viewers = Viewers(store.viewers(), self._clock)
        read = store.slots(), store.cursors(), store.open_rows(), store.meta(), store.edited()
        # From here on nothing fails: half of a reload would count a batch twice.
        slots, self._cursors, rows, self.meta, edited = read
        self.notes = Notes(self.meta, self._note)
        self.names.slots = Slots(slots)
        self._intake = Intake(
            store,
            self._clock,
            names=self.names,
            rows=OpenRows(rows),
            hot=HotFiles(edited, self._files_top, self._clock.now_ms),
            salt=self.meta["salt"],
            abandon_after_ms=self._abandon_after,
            scope=self._scope,
            is_empty=not self._cursors,
            has_orphans="orphans" in self.meta,
            late_ms=self._late_ms,
            sums=self._make_sums,
        )
        self._intake.follower = self._follower
        if self._follower is not None:
            self._follower.forget()
        if not self.baseline_ms:  # the history goes on where it was cut off
            known = (start for of_metric in starts.values() for start in of_metric.values())
            self._intake.since_settled = min(known, default=NO_EVENT)
        self._viewers = viewers
        self._publish(series, starts, born)
        self._begin()
        if self.baseline_ms and not self.notes.are_kept():
            for source, _ in self._cursors:
                self.notes.read(source)

    def _publish(self, series: Series, starts: Numbers, born: Numbers) -> None:
        self._late_ms = self._intake.late_ms
        self.published = Published(
            salt=self.meta["salt"],
            series=series,
            starts=starts,
            born=born,
            births=self._births,
            viewers=self._viewers,
            names={label: self.names.slots.names(label) for label in ("tool", "skill")},
            places={label: self.names.slots.places(label) for label in ("tool", "skill")},
            in_flight=tuple(
                (self.names.shown(call), call.started) for call in self._intake.open.running()
            ),
            hot_files=self._intake.hot.shown(),
            active=dict(self.talks.active()),
            baseline_ms=self.baseline_ms,
            began_ms=int(self.meta.get("began_ms", self._opened_ms)),
            late_ms=self._intake.late_ms,
        )

    def _begin(self) -> None:
        self._batch = Batch()
        self._intake.begin(is_live=self.baseline_ms > 0)
        if "began_ms" not in self.meta:
            self._note("began_ms", str(self._opened_ms))

    @property
    def talks(self) -> Talks:
        """The conversations of all sessions."""
        return self._intake.talks

    @property
    def baseline_ms(self) -> int:
        """When counting forward began; 0 while the history is still read."""
        return int(self.meta.get("baseline_ms", 0))

    @property
    def _births(self) -> int:
        """How many commits had series that had not been there before, since the baseline."""
        return int(self.meta.get("births", 0))

    def cursors(self, source: str) -> dict[str, Cursor]:
        """Return where the next poll of a source begins, by table."""
        return {table: value for (name, table), value in self._cursors.items() if name == source}

    def open_rows(self, source: str) -> list[OpenRow]:
        """Return the rows of a source that may change at any time, or are due."""
        return self._intake.open.awake(source, self._clock.now_ms())

    def begin_again(self, source: str) -> None:
        """Move cursors back to the beginning of those tables in which rows are due."""
        for table in self.notes.tables_due(source, self._clock.now_ms()):
            self.notes.begun_again(source, table)
            self._cursors[source, table] = self._batch.cursors[source, table] = Cursor()

    def is_due(self, source: str) -> bool:
        """Say whether our clock has passed the time of something that was of our future."""
        first, now = self._intake.open.waiting.first(source), self._clock.now_ms()
        return 0 < first <= now or bool(self.notes.tables_due(source, now))

    def open_sources(self) -> list[str]:
        """Return the sources that have such rows, whether they are there or not."""
        return self._intake.open.sources()

    def sleeping_rows(self, source: str, before_ms: int) -> list[OpenRow]:
        """Return those that hardly will: nothing runs in them since, or ever again."""
        return self._intake.open.asleep(source, before_ms)

    def set_baseline(self) -> None:
        """Note, with the next commit, that the history is in."""
        self._note("baseline_ms", str(self._clock.now_ms()))
        self._batch.is_baseline = True
        self._viewers.begin()
        self._intake.since_settled = NO_EVENT

    def _note(self, name: str, value: str) -> None:
        self.meta[name] = self._batch.meta[name] = value

    def size(self) -> int:
        """Return the bytes of the ledger on disk."""
        return self._store.size()

    def close(self) -> None:
        """Let go of the file; what was not committed is read again."""
        self._store.close()

    def drop(self) -> None:
        """Let go of a damaged file as it is."""
        self._store.drop()

    # What a poll brings.

    def apply(self, source: str, chunk: Chunk) -> None:
        """Take in a chunk.  It counts with the next `commit`, with all of its batch."""
        self._intake.apply(source, chunk, counts=self._counts(source))
        if chunk.cursor is not None:
            self._cursors[source, chunk.table] = chunk.cursor
            self._batch.cursors[source, chunk.table] = chunk.cursor

    def _counts(self, source: str) -> bool:
        """Say whether what comes of a source counts: each has a history that may be skipped."""
        skips = not self._counts_history or self.meta.get("history") == "skip"
        return not skips or self.notes.is_read(source)

    def is_new(self, summary: Summary) -> bool:
        """Say whether what is in a summary may be counted unseen."""
        return self._intake.is_new(summary)

    def settle(self, is_silent: Callable[[int], bool]) -> None:
        """
        End what has waited too long: open steps and turns, and sessions; durably.

        Args:
            is_silent: Says of what last changed at a time, ms, whether that is too long ago.

        Raises:
            LedgerError: See `commit`.
        """

        def is_over(last: int) -> bool:
            over = is_silent(last)
            if over:
                self._intake.note(last)
            return over

        place: Place | None = FIRST
        while place is not None:
            place = self.talks.settle(is_over, place)
            # What is decided now may be about any event since the last time.
            self._intake.note(self._intake.since_settled)
            self.commit()
        if self.baseline_ms:
            self._intake.since_settled = NO_EVENT

    # What a commit makes of it.

    def commit(self) -> None:
        """
        Count the batch and move the cursors past it, durably; then publish.

        Raises:
            LedgerError: It could not be written, or a delta is negative.  Nothing of
                the batch is kept; the source is read again from the old cursor.
        """
        try:
            intake, batch = self._intake, self._batch
            changed = changed_by(intake.folded(), self.published.series, self._limit)
            if self.baseline_ms:
                self.names.keep_known()
            batch.slots = self.names.slots.new
            batch.seen, batch.traces = intake.judge.seen, intake.judge.traces.new()
            if intake.judge.has_orphans and "orphans" not in self.meta:
                self._note("orphans", "yes")
            passed_over = intake.open.waiting.passed_over
            while passed_over:
                place, due = passed_over.popitem()
                self.notes.again(*place, due, self._clock.now_ms())
            batch.open_rows = intake.open.changed
            batch.edited = intake.hot.taken()
            batch.talks = {
                keys.session_key(talk.id): (due if due < NEVER else None, talk)
                for talk in self.talks.changed.values()
                for due in [self.talks.due_of(talk)]
            }
            started = starts_of(changed, self.published.starts, self._times())
            born = self._born(changed)
            batch.series = {
                (metric, labels): (value, started[metric][labels], born[metric].get(labels, 0))
                for metric, values in changed.items()
                for labels, value in values.items()
            }
            batch.viewers = self._viewers.moved()
            if batch:
                self._store.write(batch)
        except LedgerError:
            self.reload()
            raise
        self._viewers.written(batch.viewers)
        old = self.published
        self._publish(_with(old.series, changed), _with(old.starts, started), _with(old.born, born))
        self.names.slots.new = []
        self._begin()
        if self._follower is not None:
            self._follower.committed(self._intake.open.running())

    def _born(self, changed: Series) -> dict[str, dict[Labels, int]]:
        """Return the births of what a batch changes; series that are new are one birth more."""
        birth = self._births + 1 if self._intake.is_live else 0
        born = born_of(changed, self.published.series, self.published.born, birth)
        if birth and any(birth in of_metric.values() for of_metric in born.values()):
            self._note("births", str(birth))
        return born

    def _times(self) -> Times:
        intake = self._intake
        baseline = self.baseline_ms if intake.is_live else 0
        return Times(intake.first_ms(), baseline, int(self.meta["began_ms"]))


def _with(
    old: Mapping[str, Mapping[Labels, T]], new: Mapping[str, Mapping[Labels, T]]
) -> dict[str, Mapping[Labels, T]]:
    """Return what is known by metric and labels, with what is new of it."""
    return {**old, **{metric: {**old.get(metric, {}), **more} for metric, more in new.items()}}
