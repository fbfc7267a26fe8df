"""
The ledger: what has been counted, kept on disk.

Decides of each event whether it is new, a copy or a repeat, and commits totals,
cursors and everything still open in one transaction, so that a crash at any
instant leaves all before the batch or all after it.  What it publishes has been
committed.  Nothing here reads opencode.db, and nothing here knows about HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from opencode_exporter import catalog as c
from opencode_exporter import identity
from opencode_exporter.aggregate import Aggregate, Delta, Labels, Value, is_skill_load, merge
from opencode_exporter.batch import Chunk, Cursor, OpenRow
from opencode_exporter.classify import CATEGORIES
from opencode_exporter.errors import LedgerError
from opencode_exporter.events import (
    ABANDONED,
    COMPLETED,
    UNKNOWN,
    Invocation,
    Rejection,
    UserSkillLoad,
)
from opencode_exporter.labels import Slots, clean, within_limit
from opencode_exporter.ledger_store import Batch, Place, Store
from opencode_exporter.waker import Clock

_LATE_MS: Final = 15 * 60_000

Series = Mapping[str, Mapping[Labels, Value]]
"""Values by metric name and labels."""


class Published(NamedTuple):
    """What has been committed; never changed, so that any thread may render it."""

    series: Series
    names: Mapping[str, tuple[str, ...]]  # names that hold a slot, by label
    in_flight: tuple[tuple[str, int], ...]  # tool and start (ms) of what runs now
    baseline_ms: int
    late_ms: int


class Ledger:
    """
    Cumulative values that outlive the process.  One writer at a time.

    Args:
        store: The file.
        clock: Time of day.
        series_limit: The most series that one metric may have.
        counts_history: Whether what the source holds before the baseline counts.
    """

    def __init__(
        self, store: Store, clock: Clock, *, series_limit: int, counts_history: bool
    ) -> None:
        self._store = store
        self._clock = clock
        self._limit = series_limit
        self._counts_history = counts_history
        self.installed_skills: frozenset[str] = frozenset()
        self.late_ms = 0  # when, by our clock, old invocations last came in
        self.reload()

    def reload(self) -> None:
        """Go back to what is on disk, as if just started."""
        series: dict[str, dict[Labels, Value]] = {}
        for metric, labels, value in self._store.series():
            series.setdefault(metric, {})[labels] = value
        self.slots = Slots(self._store.slots())
        self._cursors = self._store.cursors()
        self._open = self._store.open_rows()
        self._open_calls: dict[int, set[Place]] = {}
        for place, row in self._open.items():
            self._index(place, row)
        self.meta = self._store.meta()
        self._publish(series)
        self._begin()

    def _publish(self, series: Series) -> None:
        running = (call for row in self._open.values() for call in row.calls if call.running)
        self.published = Published(
            series=series,
            names={label: self.slots.names(label) for label in ("tool", "skill")},
            in_flight=tuple((self._shown_tool(call), call.started) for call in running),
            baseline_ms=self.baseline_ms,
            late_ms=self.late_ms,
        )

    def _shown_tool(self, call: Invocation) -> str:
        name = clean(call.tool)
        return name if call.vouched or self.knows("tool", name) else UNKNOWN

    def _begin(self) -> None:
        self._batch = Batch()
        self._sums = Aggregate()
        self._deltas: list[Delta] = []
        self._owners: dict[int, int] = {}

    @property
    def baseline_ms(self) -> int:
        """When counting forward began; 0 while the history is still read."""
        return int(self.meta.get("baseline_ms", 0))

    def cursors(self, source: str) -> dict[str, Cursor]:
        """Return where the next poll of a source begins, by table."""
        return {table: value for (name, table), value in self._cursors.items() if name == source}

    def open_rows(self, source: str) -> list[OpenRow]:
        """Return the rows of a source that may still change."""
        return [row for place, row in self._open.items() if place[0] == source]

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

    # What a poll brings.

    def apply(self, source: str, chunk: Chunk) -> None:
        """Take in a chunk.  It counts with the next `commit`, with all of its batch."""
        self._owners |= self._store.owners(_keys(chunk))
        for event in chunk.events:
            if isinstance(event, Invocation):
                self._end(source, chunk, event)
            elif isinstance(event, UserSkillLoad):
                self._load(event, chunk.generation)
            else:
                self._reject(source, chunk.table, event)
        for row in chunk.open_rows:
            self._keep_open(source, chunk, row)
        for row_id in chunk.settled:
            self._set_open((source, chunk.table, row_id), None)
        if chunk.cursor is not None:
            self._cursors[source, chunk.table] = chunk.cursor
            self._batch.cursors[source, chunk.table] = chunk.cursor
        if chunk.rows:
            self._delta(c.ROWS_READ, (source, chunk.table), chunk.rows)
        if chunk.newest:
            self._delta(c.SOURCE_LAST_EVENT, (source,), chunk.newest)

    def _delta(self, metric: c.Metric, labels: Labels, value: int = 1) -> None:
        self._deltas.append(Delta(metric, labels, value, value))

    def _owner(self, key: int) -> int | None:
        """Return who has the key, of this batch or of those before."""
        found = self._batch.seen.get(key)
        if found is None:
            found = self._owners.get(key)
        return found

    def _ask(self, key: int) -> int | None:
        """The same for a key that was not asked for with its chunk."""
        found = self._owner(key)
        if found is None:
            self._owners |= self._store.owners([key])
            found = self._owners.get(key)
        return found

    def _is_new(self, key: int, event: Invocation, generation: str) -> tuple[int, bool]:
        """
        Return the key under which an invocation is counted, and whether it is not yet.

        The other generation's copy of a counted one is noted here, once.
        """
        me = identity.owner(event, generation)
        owner = self._owner(key)
        if owner is None:
            return key, True
        if not identity.same_generation(owner, me):
            if not owner & identity.COPIED_BIT:
                self._batch.seen[key] = owner | identity.COPIED_BIT
                self._delta(c.COPIES_SKIPPED, ("upgrade",))
            return key, False
        if identity.same_row(owner, me):
            return key, False
        # Another call of the message with the same call id.
        key = identity.namesake_key(event)
        return key, self._ask(key) is None

    def _is_copy(self, event: Invocation | UserSkillLoad) -> bool:
        """Say whether a fork repeats an event that is known from another session."""
        if not event.suspect:
            return False
        session = identity.session_owner(event.session)
        for key in identity.fingerprints(event):
            known = self._batch.fingerprints.get(key)
            known = self._owner(key) if known is None else known
            if known is not None and known != session:
                return True
        return False

    def _fingerprint(self, event: Invocation | UserSkillLoad) -> None:
        session = identity.session_owner(event.session)
        for key in identity.fingerprints(event):
            self._batch.fingerprints.setdefault(key, session)

    @property
    def _counts(self) -> bool:
        return self._counts_history or self.baseline_ms > 0

    def _end(self, source: str, chunk: Chunk, event: Invocation) -> None:
        """Count an invocation that has ended, if it is new."""
        row_id = event.part if chunk.generation == "v1" else event.message
        place = (source, chunk.table, row_id)
        row = self._open.get(place)
        name = (event.call, event.part)
        shared = identity.invocation_key(event)
        key, new = self._is_new(shared, event, chunk.generation)
        if not new:
            if row is not None and name in row.given_up and event.status != ABANDONED:
                self._delta(c.LATE_ENDS, (event.status or "",))
                left = tuple(other for other in row.given_up if other != name)
                self._set_open(place, msgspec.structs.replace(row, given_up=left))
            return
        self._batch.seen[key] = identity.owner(event, chunk.generation)
        if self._is_copy(event):
            self._delta(c.COPIES_SKIPPED, ("fork",))
            return
        self._fingerprint(event)
        if row is not None:
            self._take_off(place, name, watch=event.status == ABANDONED)
        for other in [*self._open_calls.get(shared, ())]:
            # The upgrade ended in one generation what stays open in the other for ever.
            if other[1] != chunk.table:
                for call in self._open[other].calls:
                    if identity.invocation_key(call) == shared:
                        self._take_off(other, (call.call, call.part), watch=True)
        self._count(event)

    def _take_off(self, place: Place, name: tuple[str, str], *, watch: bool) -> None:
        """
        Take a call that has ended off its open row.

        Args:
            place: The row.
            name: The call's id and part.
            watch: Whether an end that the row may still bring is a late one.
        """
        row = self._open[place]
        calls = tuple(call for call in row.calls if (call.call, call.part) != name)
        given_up = (*row.given_up, name) if watch else row.given_up
        self._set_open(place, msgspec.structs.replace(row, calls=calls, given_up=given_up))

    def _count(self, event: Invocation) -> None:
        load = is_skill_load(event)
        first: bool | None = None
        if load and event.status == COMPLETED:
            first = self._first_in_session(event.session, event.skill or "")
        if not self._counts:
            self._learn(event)
            return
        self._sums.add(event)
        if load:
            self._sums.add_skill_load(event, first_in_session=first)
        now = self._clock.now_ms()
        if self.baseline_ms and event.ended and now - event.ended > _LATE_MS:
            self.late_ms = now

    def _learn(self, event: Invocation) -> None:
        """Keep the names of a history that does not count: they are real."""
        if event.vouched:
            self.slots.take("tool", clean(event.tool))
        if event.skill and event.status == COMPLETED:
            self.slots.take("skill", clean(event.skill))

    def _load(self, event: UserSkillLoad, generation: str) -> None:
        """Count a skill load by the user, if it is new."""
        key = identity.load_key(event)
        if self._owner(key) is not None:
            return
        self._batch.seen[key] = identity.owner(event, generation)
        if self._is_copy(event):
            self._delta(c.COPIES_SKIPPED, ("fork",))
            return
        self._fingerprint(event)
        first = self._first_in_session(event.session, event.skill)
        if self._counts:
            self._sums.add_skill_load(event, first_in_session=first)

    def _first_in_session(self, session: str, skill: str) -> bool:
        key = identity.session_skill_key(session, clean(skill))
        if self._ask(key) is not None:
            return False
        self._batch.seen[key] = 0
        return True

    def _reject(self, source: str, table: str, event: Rejection) -> None:
        """Count a row that was set aside, once."""
        key = identity.key("r", table, event.row, event.cause)
        if self._ask(key) is None:
            self._batch.seen[key] = 0
            self._delta(c.ROWS_REJECTED, (source, table, event.cause))

    def _keep_open(self, source: str, chunk: Chunk, row: OpenRow) -> None:
        """Watch a row that may still change, unless it only repeats others."""
        place = (source, chunk.table, row.row)
        old = self._open.get(place)
        given_up = old.given_up if old else ()
        calls = []
        for call in row.calls:
            if (call.call, call.part) in given_up:
                continue
            key, new = self._is_new(identity.invocation_key(call), call, chunk.generation)
            if not new:
                continue
            if self._is_copy(call):
                self._batch.seen[key] = identity.owner(call, chunk.generation)
                self._delta(c.COPIES_SKIPPED, ("fork",))
                continue
            self._fingerprint(call)
            calls.append(call)
        only_repeats = chunk.generation == "v1" and row.calls and not calls and not given_up
        kept = msgspec.structs.replace(row, calls=tuple(calls), given_up=given_up)
        self._set_open(place, None if only_repeats else kept)

    def _set_open(self, place: Place, row: OpenRow | None) -> None:
        gone = self._open.pop(place, None)
        for call in gone.calls if gone else ():
            self._open_calls.get(identity.invocation_key(call), set()).discard(place)
        if row is not None:
            self._open[place] = row
            self._index(place, row)
        if gone is not None or row is not None:
            self._batch.open_rows[place] = row

    def _index(self, place: Place, row: OpenRow) -> None:
        for call in row.calls:
            self._open_calls.setdefault(identity.invocation_key(call), set()).add(place)

    # What a commit makes of it.

    def commit(self) -> None:
        """
        Count the batch and move the cursors past it, durably; then publish.

        Raises:
            LedgerError: It could not be written, or a delta is negative.  Nothing of
                the batch is kept; the source is read again from the old cursor.
        """
        try:
            changed = self._fold()
            batch = self._batch
            batch.slots = self.slots.new
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

    def _fold(self) -> dict[str, dict[Labels, Value]]:
        """Return the new values of the series that the batch changes."""
        changed: dict[str, dict[Labels, Value]] = {}
        overflows: dict[str, int] = {}
        for delta in (*self._deltas, *self._sums.fold(self.slots, self.knows)):
            metric = delta.metric
            if isinstance(delta.value, int) and delta.value < 0:
                # Bad rows were set aside in decode, so this is our own bug.  A falling
                # counter reads as a restart and rate() invents traffic: stop instead.
                raise LedgerError(
                    f"negative delta for {metric.name}", hint="please report it with the version"
                )
            old = self.published.series.get(metric.name, {})
            new = changed.setdefault(metric.name, {})
            labels = delta.labels
            if labels not in new and labels not in old:
                labels = within_limit(metric, labels, len(old.keys() | new.keys()), self._limit)
            if delta.cut or labels != delta.labels:
                overflows[metric.name] = overflows.get(metric.name, 0) + delta.events
            new[labels] = merge(metric, new.get(labels, old.get(labels)), delta.value)
        known = self.published.series.get(c.LABEL_OVERFLOW.name, {})
        for name, events in overflows.items():
            series = changed.setdefault(c.LABEL_OVERFLOW.name, {})
            series[(name,)] = merge(c.LABEL_OVERFLOW, known.get((name,)), events)
        return changed


def _keys(chunk: Chunk) -> list[int]:
    """Return the keys that taking in a chunk will ask for."""
    keys = []
    calls = [call for row in chunk.open_rows for call in row.calls]
    for event in (*chunk.events, *calls):
        if isinstance(event, Invocation):
            keys.append(identity.invocation_key(event))
        elif isinstance(event, UserSkillLoad):
            keys.append(identity.load_key(event))
        else:
            continue
        if event.suspect:
            keys.extend(identity.fingerprints(event))
    return keys
