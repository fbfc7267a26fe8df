"""
The ledger: what has been counted, kept on disk.

Decides of each event whether it is new, a copy or a repeat, and commits totals,
cursors and everything still open in one transaction, so that a crash at any
instant leaves all before the batch or all after it.  What it publishes has been
committed.  Nothing here reads opencode.db, and nothing here knows about HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from opencode_exporter import catalog as c
from opencode_exporter import identity
from opencode_exporter.aggregate import Aggregate, Delta, Labels, Value
from opencode_exporter.batch import Chunk, Cursor, OpenRow
from opencode_exporter.classify import CATEGORIES
from opencode_exporter.digest import Digest
from opencode_exporter.errors import LedgerError
from opencode_exporter.events import (
    ABANDONED,
    COMPLETED,
    UNKNOWN,
    Invocation,
    Remark,
    Step,
    UserSkillLoad,
)
from opencode_exporter.labels import Slots, clean
from opencode_exporter.ledger.hot_files import HotFiles, without_paths
from opencode_exporter.ledger.judge import Judge, Verdict, first_load_key
from opencode_exporter.ledger.open_rows import OpenRows
from opencode_exporter.ledger.store import Batch, Place, Store
from opencode_exporter.ledger.totals import Series, changed_by
from opencode_exporter.turns.talks import NEVER, Talks
from opencode_exporter.turns.tally import Tally
from opencode_exporter.waker import Clock, steady_ms

_LATE_MS: Final = 15 * 60_000
_CAUSES: Final = {Verdict.FORKED: "fork", Verdict.UPGRADED: "upgrade"}


class Published(NamedTuple):
    """What has been committed; never changed, so that any thread may render it."""

    series: Series
    names: Mapping[str, tuple[str, ...]]  # names that hold a slot, by label
    in_flight: tuple[tuple[str, int], ...]  # tool and start (ms) of what runs now
    hot_files: tuple[tuple[str, int], ...]  # paths, most edited first, and how often
    active: Mapping[str, int]  # sessions and when they changed (ms), of the last minutes
    baseline_ms: int
    late_ms: int


class Scope(NamedTuple):
    """Which events count: a report may leave out old ones, and those of other projects."""

    since_ms: int = 0
    project: str = ""  # empty: every one

    def holds(self, at: int, project: str) -> bool:
        """Say whether what happened at a time (ms) in a project counts."""
        return at >= self.since_ms and self.project in ("", project)


EVERYTHING: Final = Scope()


class Ledger:
    """
    Cumulative values that outlive the process.  One writer at a time.

    Args:
        store: The file.
        clock: Time of day.
        series_limit: The most series that one metric may have.
        counts_history: Whether what the source holds before the baseline counts.
        abandon_after_ms: How long something open may stay without a change.
        scope: What counts, of all that is read.
        files_top: How many of the most edited files to show.
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
    ) -> None:
        self._store = store
        self._clock = clock
        self._limit = series_limit
        self._counts_history = counts_history
        self._abandon_after = abandon_after_ms
        self._scope = scope
        self._files_top = files_top
        self.installed_skills: frozenset[str] = frozenset()
        self.late_ms = 0  # when, by the stopwatch, old invocations last came in
        self.reload()
        if not counts_history and not self.baseline_ms:
            # Durable at once: a restart within the first read must not count the rest.
            self._note("history", "skip")
            self.commit()

    def start_over(self, store: Store) -> None:
        """Go on in another file; the one before was damaged."""
        self._store = store
        self.reload()

    def reload(self) -> None:
        """Go back to what is on disk, as if just started; all of it or nothing."""
        store = self._store
        series: dict[str, dict[Labels, Value]] = {}
        for metric, labels, value in store.series():
            series.setdefault(metric, {})[labels] = value
        read = store.slots(), store.cursors(), store.open_rows(), store.meta(), store.edited()
        # From here on nothing fails: half of a reload would count a batch twice.
        slots, self._cursors, rows, self.meta, edited = read
        self._hot = HotFiles(edited, self._files_top, self._clock.now_ms)
        self.slots, self._open = Slots(slots), OpenRows(rows)
        self._judge = Judge(store.owners, store.traces, is_empty=not self._cursors)
        self.talks = Talks(
            store,
            self.meta["salt"],
            self._abandon_after,
            admit=self._admit_lost,
            now=self._clock.now_ms,
        )
        self._publish(series)
        self._begin()

    def _publish(self, series: Series) -> None:
        self.published = Published(
            series=series,
            names={label: self.slots.names(label) for label in ("tool", "skill")},
            in_flight=tuple(
                (self._shown_tool(call), call.started) for call in self._open.running()
            ),
            hot_files=self._hot.shown(),
            active=dict(self.talks.active()),
            baseline_ms=self.baseline_ms,
            late_ms=self.late_ms,
        )

    def _shown_tool(self, call: Invocation) -> str:
        name = clean(call.tool)
        return name if call.vouched or self.knows("tool", name) else UNKNOWN

    def _begin(self) -> None:
        self._batch = Batch()
        self._sums = Aggregate()
        self._tally = Tally()
        self.talks.begin(self._tally)
        self._deltas: list[Delta] = []
        self._judge.begin()
        self._open.changed = {}
        skips = not self._counts_history or self.meta.get("history") == "skip"
        self._counting = self.baseline_ms > 0 or not skips

    @property
    def baseline_ms(self) -> int:
        """When counting forward began; 0 while the history is still read."""
        return int(self.meta.get("baseline_ms", 0))

    def cursors(self, source: str) -> dict[str, Cursor]:
        """Return where the next poll of a source begins, by table."""
        return {table: value for (name, table), value in self._cursors.items() if name == source}

    def open_rows(self, source: str) -> list[OpenRow]:
        """Return the rows of a source that may change at any time."""
        return self._open.awake(source)

    def sleeping_rows(self, source: str, before_ms: int) -> list[OpenRow]:
        """Return those that hardly will: nothing runs in them since, or ever again."""
        return self._open.asleep(source, before_ms)

    def knows(self, label: str, name: str) -> bool:
        """Say whether a name is real though this event does not prove it."""
        if label == "tool":
            return name in CATEGORIES or self.slots.holds(label, name)
        return name in self.installed_skills or self.slots.holds(label, name)

    def set_baseline(self) -> None:
        """Note, with the next commit, that the history is in."""
        self._note("baseline_ms", str(self._clock.now_ms()))

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
        if chunk.digest is not None:
            self._take(chunk.digest)
        self._take_events(source, chunk)
        for row in chunk.open_rows:
            self._keep_open((source, chunk.table, row.row), chunk, row)
        self.talks.gone(chunk.settled)
        for row_id in chunk.settled:
            self._open.set((source, chunk.table, row_id), None)
        if chunk.cursor is not None:
            self._cursors[source, chunk.table] = chunk.cursor
            self._batch.cursors[source, chunk.table] = chunk.cursor
        if chunk.rows:
            self._delta(c.ROWS_READ, (source, chunk.table), chunk.rows)
        if chunk.newest:
            self._delta(c.SOURCE_LAST_EVENT, (source,), chunk.newest)

    def _take_events(self, source: str, chunk: Chunk) -> None:
        keys = self._judge.prepare(chunk)
        self.talks.prepare(chunk.events)
        self._judge.note_open(call for row in chunk.open_rows for call in row.calls)
        plain = self._judge.admit_plain(chunk.events, keys, chunk.generation)
        for event, key, admitted in zip(chunk.events, keys, plain, strict=True):
            if isinstance(event, Invocation):
                self._end(source, chunk, event, key, admitted=admitted)
            elif isinstance(event, UserSkillLoad):
                self._load(event, key, chunk.generation)
            elif isinstance(event, Step | Remark):
                self._take_row(event, key)
            elif self._judge.once(key):
                self._delta(c.ROWS_REJECTED, (source, chunk.table, event.cause))

    def is_new(self, digest: Digest) -> bool:
        """Say whether the calls of a digest may be counted unseen."""
        keys = digest.key_list()
        if self._scope != EVERYTHING:
            return False
        return self._judge.is_new(digest, keys) and not self._open.concerns_any(keys)

    def _take(self, digest: Digest) -> None:
        self._judge.admit_digest(digest)
        self.talks.prepare(digest.rows)
        for row in digest.rows:
            self.talks.take(row, counts=self._counting, measured=True)
            if self._counting and isinstance(row, Step):
                self._hot.add(row)
        if not self._counting:
            self._learn_tools(tool for (tool, vouched, *_), _ in digest.sums if vouched)
            return
        self._sums.absorb(digest.sums)
        self._tally.absorb(digest.measures)
        self._note_lateness(digest.first_end)

    def _take_row(self, event: Step | Remark, key: int) -> None:
        """Take in a row of a session: it moves the session's turns on, if it is new."""
        if isinstance(event, Step):
            event = self._step_without_inventions(event)
        counts = self._counting and self._scope.holds(event.created, event.where.project)
        if not event.is_over:
            if self._judge.is_open(event, key):
                if self._files_top and isinstance(event, Step):
                    event = without_paths(event)
                self.talks.begun(event, counts=counts)
            return
        verdict = self._judge.admit(event, key, event.generation)
        if verdict is Verdict.NEW:
            self.talks.take(event, counts=counts)
            if counts and isinstance(event, Step):
                self._hot.add(event)
        else:
            self.talks.ended(event)
            if verdict is Verdict.FORKED:
                self.talks.meet(event, counts=counts)

    def _admit_lost(self, step: Step) -> bool:
        self._open.sleep(step.message)
        return self._judge.admit_late(step, identity.row_key(step)) is Verdict.NEW

    def settle(self, is_silent: Callable[[int], bool]) -> None:
        """
        End what has waited too long: open steps and turns, and sessions.

        Args:
            is_silent: Says of what last changed at a time, ms, whether that is too long ago.
        """
        self.talks.settle(is_silent)

    def _delta(self, metric: c.Metric, labels: Labels, value: int = 1) -> None:
        self._deltas.append(Delta(metric, labels, value, value))

    def _end(
        self, source: str, chunk: Chunk, event: Invocation, key: int, *, admitted: bool
    ) -> None:
        """Count an invocation that has ended, if it is new."""
        verdict = Verdict.NEW
        if not admitted:
            verdict = self._judge.admit(event, key, chunk.generation)
        row = event.part if chunk.generation == "v1" else event.message
        place = (source, chunk.table, row)
        if verdict is Verdict.NEW:
            if self._open.concerns(key):
                self._open.end(place, event, key, given_up=event.status == ABANDONED)
            self._count(event)
        elif event.status != ABANDONED and self._open.is_late(place, event):
            self._delta(c.LATE_ENDS, (event.status or "",))
        elif verdict is not Verdict.REPEAT:
            self._delta(c.COPIES_SKIPPED, (_CAUSES[verdict],))

    def _count(self, event: Invocation) -> None:
        first: bool | None = None
        if event.skill is not None and event.status == COMPLETED:
            first = self._first_in_session(event.session, event.skill)
        self.talks.touch(event.session, event.ended)
        if not self._counting or not self._scope.holds(event.started, event.project):
            self._learn(event)
            return
        self._sums.add(event)
        if event.skill is not None:
            self._sums.add_skill_load(event, first_in_session=first)
        self._note_lateness(event.ended)

    def _note_lateness(self, ended: int) -> None:
        if self.baseline_ms and ended and self._clock.now_ms() - ended > _LATE_MS:
            self.late_ms = steady_ms(self._clock)

    def _learn(self, event: Invocation) -> None:
        """Keep the names of a history that does not count: they are real."""
        self._learn_tools([event.tool] if event.vouched else [])
        if event.skill and event.status == COMPLETED:
            self.slots.take("skill", clean(event.skill))

    def _learn_tools(self, tools: Iterable[str]) -> None:
        for tool in tools:
            self.slots.take("tool", clean(tool))

    def _load(self, event: UserSkillLoad, key: int, generation: str) -> None:
        """Count a skill load by the user, if it is new."""
        verdict = self._judge.admit(event, key, generation)
        if verdict is Verdict.NEW:
            first = self._first_in_session(event.session, event.skill)
            if self._counting and self._scope.holds(event.at, event.project):
                self._sums.add_skill_load(event, first_in_session=first)
        elif verdict is not Verdict.REPEAT:
            self._delta(c.COPIES_SKIPPED, (_CAUSES[verdict],))

    def _first_in_session(self, session: str, skill: str) -> bool:
        return self._judge.once(first_load_key(session, skill))

    def _keep_open(self, place: Place, chunk: Chunk, row: OpenRow) -> None:
        """Watch a row that may still change, unless it only repeats others."""
        old = self._open.get(place)
        given_up = old.given_up if old else ()
        calls = []
        for call in row.calls:
            if (call.call, call.part) in given_up:
                continue
            key = identity.invocation_key(call)
            verdict = self._judge.admit_open(call, key, chunk.generation)
            if verdict is Verdict.NEW:
                calls.append(self._without_inventions(call))
            elif verdict is not Verdict.REPEAT:
                self._delta(c.COPIES_SKIPPED, (_CAUSES[verdict],))
        only_repeats = chunk.generation == "v1" and row.calls and not calls and not given_up
        kept = msgspec.structs.replace(row, calls=tuple(calls), given_up=given_up)
        self._open.set(place, None if only_repeats else kept)

    def _without_inventions(self, call: Invocation) -> Invocation:
        """Return an open call with those names alone that are known to be real."""
        tool, skill = clean(call.tool), call.skill
        if not call.vouched and not self.knows("tool", tool):
            call = msgspec.structs.replace(call, tool=UNKNOWN)
        if skill is not None and not self.knows("skill", clean(skill)):
            call = msgspec.structs.replace(call, skill=UNKNOWN)
        return call

    def _step_without_inventions(self, step: Step) -> Step:
        if all(call.vouched or self.knows("tool", clean(call.tool)) for call in step.calls):
            return step
        calls = tuple(
            call
            if call.vouched or self.knows("tool", clean(call.tool))
            else msgspec.structs.replace(call, tool=UNKNOWN)
            for call in step.calls
        )
        return msgspec.structs.replace(step, calls=calls)

    # What a commit makes of it.

    def commit(self) -> None:
        """
        Count the batch and move the cursors past it, durably; then publish.

        Raises:
            LedgerError: It could not be written, or a delta is negative.  Nothing of
                the batch is kept; the source is read again from the old cursor.
        """
        try:
            deltas = (
                *self._deltas,
                *self._sums.fold(self.slots, self.knows),
                *self._tally.fold(self.slots, self.knows),
            )
            changed = changed_by(deltas, self.published.series, self._limit)
            batch = self._batch
            batch.slots = self.slots.new
            batch.seen, batch.traces = self._judge.seen, self._judge.traces.new()
            batch.open_rows = self._open.changed
            self._hot.forget()
            batch.edited, self._hot.changed = self._hot.changed, {}
            batch.talks = {
                identity.session_key(talk.id): (due if due < NEVER else None, talk)
                for talk in self.talks.changed.values()
                for due in [self.talks.due_of(talk)]
            }
            batch.series = {
                (metric, labels): value
                for metric, values in changed.items()
                for labels, value in values.items()
            }
            if batch:
                self._store.write(batch)
        except LedgerError:
            self.reload()
            raise
        old = self.published.series
        merged = {metric: {**old.get(metric, {}), **new} for metric, new in changed.items()}
        self._publish({**old, **merged})
        self.slots.new = []
        self._begin()
