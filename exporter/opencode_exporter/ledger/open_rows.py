"""
Open rows: what may still change in the sources, and the calls in it that run.

Kept in memory and, with each batch, in the ledger.  A call that was given up is
remembered with its row, so that an end which comes after all is known as late.
Such rows sleep: killed processes leave them by the hundred, and a poll must not
look at them all each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from opencode_exporter.chunk import ITSELF, OpenRow
from opencode_exporter.counting import keys
from opencode_exporter.events import Invocation
from opencode_exporter.ledger.store import Place
from opencode_exporter.ledger.waiting import Waiting
from opencode_exporter.times import lasted

_FRESH_MS: Final = 15 * 60_000
"""What has changed so recently stays awake, though it was given up: it may go on after all."""
MOST_ASLEEP: Final = 2000
"""Rows of a source that sleep; beyond, those that have not changed for longest are forgotten."""


class OpenRows:
    """Open rows by their place: source, table and id."""

    def __init__(self, rows: dict[Place, OpenRow]) -> None:
        self.waiting = Waiting()
        self._rows: dict[Place, OpenRow] = {}
        self._awake: dict[str, dict[Place, OpenRow]] = {}  # by source
        self._calls: dict[int, set[Place]] = {}
        self._places: dict[str, set[Place]] = {}  # by id of a row
        self._changed: dict[Place, OpenRow | None] = {}
        for place, row in rows.items():
            self.set(place, row)
        self._changed.clear()

    def changes(self) -> dict[Place, OpenRow | None]:
        """Return the rows that changed since the last time; None where one is settled."""
        changed, self._changed = self._changed, {}
        return changed

    def get(self, place: Place) -> OpenRow | None:
        """Return the row at a place, if it is open."""
        return self._rows.get(place)

    def knows(self, row_id: str) -> bool:
        """Return whether a row is open, in any place."""
        return row_id in self._places

    def awake(self, source: str, now: int) -> list[OpenRow]:
        """Return the rows of a source that every poll looks at, and those that are due, Unix ms."""
        awake = self._awake.get(source, {})
        due = {place: self._rows[place] for place in self.waiting.due(source, now)}
        return [*(awake | due).values()]

    def asleep(self, source: str, before_ms: int) -> list[OpenRow]:
        """
        Return the rows of a source that are looked at now and then.

        Args:
            source: The source.
            before_ms: Rows without a call that have not changed since fall asleep.
        """
        awake = self._awake.get(source, {})
        for place, row in [*awake.items()]:
            if not row.calls and row.seen < before_ms:
                del awake[place]
        asleep = [
            (row.silent_since, place)
            for place, row in self._rows.items()
            if place[0] == source and place not in awake
        ]
        asleep.sort(reverse=True)
        for _, place in asleep[MOST_ASLEEP:]:  # in months no end has come
            self.set(place, None)
        return [self._rows[place] for _, place in asleep[:MOST_ASLEEP]]

    def running(self) -> Iterator[Invocation]:
        """Yield the calls that run now; one that two databases show, once."""
        found = {
            (call.message, call.call, call.part): call
            for rows in self._awake.values()
            for row in rows.values()
            for call in row.calls
            if call.running
        }
        yield from found.values()

    def sources(self) -> list[str]:
        """Return the sources of which rows are open."""
        return [source for source, rows in self._awake.items() if rows]

    def set(self, place: Place, row: OpenRow | None) -> None:
        """Put a row at its place; None: it is settled."""
        awake = self._awake.setdefault(place[0], {})
        awake.pop(place, None)
        old = self._rows.pop(place, None)
        if old is not None:
            self.waiting.remove(place, old.ahead)
            self._places[place[2]].discard(place)
            if not self._places[place[2]]:
                del self._places[place[2]]
        for call in old.calls if old else ():
            self._forget_call(keys.invocation_key(call), place)
        if row is not None:
            self._rows[place] = row
            self._places.setdefault(place[2], set()).add(place)
            if row.calls or not row.given_up or row.seen - row.updated < _FRESH_MS:
                awake[place] = row
            for call in row.calls:
                self._calls.setdefault(keys.invocation_key(call), set()).add(place)
        if old is not None or row is not None:
            self._changed[place] = row
        if row is not None and row.ahead:
            self._wait(place, row)

    def _wait(self, place: Place, row: OpenRow) -> None:
        out = self.waiting.add(place, row.ahead)
        if out is not None:
            row = self._rows[out]
            # What runs in it is looked at all the same.
            self.set(out, msgspec.structs.replace(row, ahead=0) if row.calls else None)

    def _forget_call(self, key: int, place: Place) -> None:
        """Note that a call is not open at a place any more."""
        places = self._calls.get(key, set())
        places.discard(place)
        if not places:
            self._calls.pop(key, None)

    def note_unreadable(self, place: Place, state: OpenRow) -> None:
        """Note the state of an open row that cannot be read now: its calls are not shown to run."""
        row = self._rows.get(place)
        if row is not None:
            calls = tuple(msgspec.structs.replace(call, running=False) for call in row.calls)
            names = "updated", "size", "seen", "ahead"
            changed = {name: getattr(state, name) for name in names}
            self.set(place, msgspec.structs.replace(row, calls=calls, **changed))

    def since_it_ran(self, place: Place, call: Invocation) -> Invocation:
        """
        Return a call with the start that it had when it was first seen running.

        OpenCode 1.14.48 to 1.18.20 stamp that of a command anew whenever it prints.
        """
        name = (call.call, call.part)
        starts = [
            one.started
            for row in (self._rows.get(place), *(row for _, row in self._elsewhere(place)))
            for one in (row.calls if row else ())
            if (one.call, one.part) == name and one.started
        ]
        if not starts or min(starts) == call.started:
            return call
        return msgspec.structs.replace(
            call,
            started=min(starts),
            stamped=call.stamped or call.started,
            duration=lasted(min(starts), call.ended, call.message_created),
        )

    def _elsewhere(self, place: Place) -> list[tuple[Place, OpenRow]]:
        """Return the same row in other sources: copies of a database, or it under another name."""
        return [
            (other, self._rows[other])
            for other in self._places.get(place[2], ())
            if other[0] != place[0] and other[1] == place[1]
        ]

    def is_elsewhere(self, place: Place) -> bool:
        """Return whether the same row is open in another source."""
        return bool(self._elsewhere(place))

    def goes_on_elsewhere(self, place: Place, call: Invocation, *, is_gone: bool) -> bool:
        """
        Return whether a call that was given up here is still waited for in another source.

        A copy that was made while it ran shows it as it was then, for ever.

        Args:
            place: The row that was left.
            call: The call.
            is_gone: Whether the row is not there any more; else it has rested for too long.
        """
        name, row = (call.call, call.part), self._rows.get(place)
        return any(
            name in ((one.call, one.part) for one in other.calls)
            and (is_gone or row is None or other.silent_since > row.silent_since)
            for _, other in self._elsewhere(place)
        )

    def concerns(self, key: int) -> bool:
        """Return whether a call with this key is open."""
        return key in self._calls

    def concerns_any(self, keys: list[int]) -> bool:
        """Return whether a call with one of these keys is open."""
        return not self._calls.keys().isdisjoint(keys)

    def end_call(self, place: Place, call: Invocation, key: int, *, given_up: bool) -> None:
        """Take a call that has been counted off its row, and off all others that show it."""
        name = (call.call, call.part)
        if place in self._rows:
            self._take_off(place, name, given_up=given_up)
        for other, row in self._elsewhere(place):
            if name in ((one.call, one.part) for one in row.calls):
                self.take_off(other, call)
        # The upgrade ends in the rows of one origin what stays open in the other for ever.
        for other in [place_ for place_ in self._calls.get(key, ()) if place_[1] != place[1]]:
            for twin in self._rows[other].calls:
                if keys.invocation_key(twin) == key:
                    self._take_off(other, (twin.call, twin.part), given_up=True)

    def take_off(self, place: Place, call: Invocation) -> None:
        """Take a call off a row, as the row of another source tells how it ended."""
        row, name = self._rows.get(place), (call.call, call.part)
        if row is not None and name in ((one.call, one.part) for one in row.calls):
            self._take_off(place, name, given_up=False)
            row = self._rows[place]
            if row.kind.is_call and not (row.calls or row.given_up):
                self.set(place, None)

    def drop_copies(self, original: Invocation) -> None:
        """Take the copies of an open call off their rows: they had come before it."""
        for place, row in [*self._rows.items()]:
            for call in row.calls:
                if (
                    call.suspect
                    and call.call == original.call
                    and call.message_created == original.message_created
                    and call.session != original.session
                ):
                    self.take_off(place, call)

    def _take_off(self, place: Place, name: tuple[str, str], *, given_up: bool) -> None:
        row = self._rows[place]
        calls = tuple(call for call in row.calls if (call.call, call.part) != name)
        left = (*row.given_up, name) if given_up else row.given_up
        self.set(place, msgspec.structs.replace(row, calls=calls, given_up=left))

    def sleep(self, row_id: str) -> None:
        """Note that the step of a row has been given up: only its calls may be waited for."""
        for place in [*self._places.get(row_id, ())]:
            row = self._rows[place]
            if ITSELF not in row.given_up:
                self.set(place, msgspec.structs.replace(row, given_up=(*row.given_up, ITSELF)))

    def is_late(self, place: Place, call: Invocation) -> bool:
        """Return whether an end was given up before, and forget that it was."""
        row, name = self._rows.get(place), (call.call, call.part)
        if row is None or name not in row.given_up:
            return False
        left = tuple(other for other in row.given_up if other != name)
        self.set(place, msgspec.structs.replace(row, given_up=left))
        return True
