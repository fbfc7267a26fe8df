"""
Admission: is an event new, a repeat, or a copy?

Knows the keys of everything that was ever counted, those of the present batch
included.  Every verdict is final and is noted at once, so that the same event is
admitted exactly once however often its row is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final

from opencode_exporter.chunk import Chunk
from opencode_exporter.counting import keys
from opencode_exporter.counting.fork_prints import ForkPrints
from opencode_exporter.counting.keys import Judged
from opencode_exporter.counting.labels import clean
from opencode_exporter.counting.summary import Summary
from opencode_exporter.events import Event, Invocation, Rejection, Remark, Step, UserSkillLoad

KeyLookup = Callable[[list[int]], dict[int, int]]
"""Returns the owners of those keys that are in the ledger."""


class Verdict(Enum):
    """What an event is."""

    NEW = auto()
    REPEAT = auto()  # the same row, read again
    UPGRADED = auto()  # the row of another origin of a counted event, for the first time
    FORKED = auto()  # a fork's copy of a known event


_ONCE: Final = 0  # owner of keys that only say: this has happened


class Admission:
    """
    Admits the events of one batch.

    A key has the time of its message.  A part of 1.x whose message is not there, or on a
    damaged page, is an orphan: its key has no time, and is looked for as well from then on.

    Args:
        lookup: Reads keys from the ledger.
        prints: The fork prints of the batch.
        has_orphans: Whether one was counted by the key of an orphan.
        is_open: Tells of a key whether a call with it is open.

    Attributes:
        seen: The owners of the batch's new keys.
        originals: Open calls of which a copy had been taken for a call of its own before.
    """

    def __init__(
        self,
        lookup: KeyLookup,
        prints: ForkPrints,
        *,
        has_orphans: bool,
        is_open: Callable[[int], bool],
    ) -> None:
        self._lookup = lookup
        self.has_orphans = has_orphans
        self._is_open = is_open
        self.prints = prints
        self._me = keys.SessionOwners()
        self.seen: dict[int, int] = {}
        self._owners: dict[int, int | None] = {}
        self.originals: list[Invocation] = []

    def prepare(self, chunk: Chunk) -> list[int]:
        """Look up all keys of a chunk in one statement; return those of its events, in order."""
        of = keys.invocation_key
        found = [
            of(event) if isinstance(event, Invocation) else _key(chunk.table, event)
            for event in chunk.events
        ]
        calls = [call for row in chunk.open_rows for call in row.calls]
        wanted = [*found, *map(of, calls), *_first_load_keys(chunk.events)]
        if self.has_orphans:
            ended = (event for event in chunk.events if isinstance(event, Invocation))
            wanted += map(keys.orphan_key, (*ended, *calls))
        self._owners = dict.fromkeys(wanted) | self._lookup(wanted)
        self.prints.prepare(
            print_
            for event in (*chunk.events, *calls)
            if not isinstance(event, Rejection)
            for print_ in _fingerprints(event)
        )
        return found

    def admit_plain(self, events: list[Event], event_keys: list[int], origin: int) -> list[bool]:
        """
        Admit the events of a chunk that are plain: no copy, and under a new key.

        The shortest way for nearly all of a history: an invocation that no fork can
        have copied, under a key that nobody has.  The others are left to `admit`.
        """
        seen, owners, prints = self.seen, self._owners, self.prints
        admitted = []
        for event, key in zip(events, event_keys, strict=True):
            plain = False
            if isinstance(event, Invocation) and not event.suspect and event.message_created:
                print_ = keys.fingerprint(event)
                plain = (
                    key not in seen
                    and owners[key] is None
                    and not prints.is_stood_in(print_)
                    and not (self.has_orphans and self._ask(keys.orphaned(key)) is not None)
                )
                if plain:
                    seen[key] = keys.owner(event, origin)
                    prints.leave_again(print_, self._me.of(event.session))
            admitted.append(plain)
        return admitted

    def is_new(self, summary: Summary, its_keys: list[int]) -> bool:
        """Return whether all keys of a summary are new, and no copy stands in for one of them."""
        if self.has_orphans:
            its_keys = [*its_keys, *map(keys.orphaned, its_keys)]
        return (
            self.seen.keys().isdisjoint(its_keys)
            and not self._lookup(its_keys)
            and not self.prints.any_stood_in(summary.prints)
        )

    def admit_summary(self, summary: Summary) -> None:
        """Note the calls of a summary, whose keys are all new."""
        self.seen.update(summary.claims())
        self.prints.leave_blocks(summary.prints)

    def admit(self, event: Judged, key: int, origin: int) -> Verdict:
        """Decide about an event that has ended, and note the verdict."""
        me = keys.owner(event, origin)
        known, key = self._find(event, key)
        if known is not None:
            verdict, key = self._known(event, key, known, me)
            if verdict is not Verdict.NEW:
                # A call that was given up before it started leaves this print only now.
                self.prints.leave(keys.fingerprint(event), self._me.of(event.session))
                return verdict
        self.seen[key] = me
        print_ = keys.fingerprint(event)
        if isinstance(event, Invocation) and not event.message_created:
            self.has_orphans = True
            if not self._is_open(key) and self.prints.owner(print_) == self._me.of(event.session):
                return Verdict.REPEAT  # it has been counted when its message was there
        if (event.suspect or self.prints.is_stood_in(print_)) and self._is_copy(event):
            return Verdict.FORKED
        if event.suspect:
            self.prints.leave(print_, self._me.of(event.session))
            self.prints.stand_in(print_)
        else:
            self.prints.leave_again(print_, self._me.of(event.session))
        return Verdict.NEW

    def leave_open_prints(self, calls: Iterable[Invocation]) -> None:
        """Leave the prints of open calls before the ends of the same chunk are judged."""
        for call in calls:
            if not call.suspect:
                self._leave_open(call)

    def is_open(self, event: Step | Remark, key: int) -> bool:
        """Return whether a row that is not over waits for its end, and is no copy."""
        if self._owner(key) is not None or (event.suspect and self._is_copy(event)):
            return False
        if not event.suspect:  # of a copy and its original, the first that ends counts
            self.prints.leave_again(keys.fingerprint(event), self._me.of(event.session))
        return True

    def admit_late(self, step: Step, key: int) -> Verdict:
        """Decide about a step whose key was not prepared with its chunk."""
        self._ask(key)
        return self.admit(step, key, step.origin)

    def admit_open(self, call: Invocation, key: int, origin: int) -> Verdict:
        """Decide about a call that has not ended; NEW leaves it to be admitted at its end."""
        known, key = self._find(call, key)
        me = keys.owner(call, origin)
        if known is not None:
            verdict, key = self._known(call, key, known, me)
            if verdict is not Verdict.NEW:
                return verdict
        # One that has not started is a copy for sure: a fork starts nothing before itself.
        if call.suspect and (not call.started or self._is_copy(call)):
            self.seen[key] = me
            return Verdict.FORKED
        self._leave_open(call)
        return Verdict.NEW

    def _leave_open(self, call: Invocation) -> None:
        me = self._me.of(call.session)
        for print_ in _fingerprints(call):
            if call.suspect:
                self.prints.leave(print_, me)
            elif self.prints.leave_again(print_, me):
                self.originals.append(call)

    def once(self, key: int) -> bool:
        """Return whether a key comes for the first time ever."""
        if self._ask(key) is not None:
            return False
        self.seen[key] = _ONCE
        return True

    def _known(self, event: Judged, key: int, known: int, me: int) -> tuple[Verdict, int]:
        """Return the verdict on an event whose key is taken, and the key that it counts under."""
        if not keys.same_origin(known, me):
            if known & keys.COPIED_BIT:
                return Verdict.REPEAT, key
            self.seen[key] = known | keys.COPIED_BIT
            return Verdict.UPGRADED, key
        if keys.same_row(known, me) or not isinstance(event, Invocation):
            return Verdict.REPEAT, key
        # Another call of the message with the same call id.
        key, orphaned = keys.namesake_keys(event)
        is_known = self._ask(key) is not None or (
            self.has_orphans and self._ask(orphaned) is not None
        )
        return Verdict.REPEAT if is_known else Verdict.NEW, key

    def _find(self, event: Judged, key: int) -> tuple[int | None, int]:
        """Return the owner of an event's key, or of its key as an orphan; and that key."""
        known = self._owner(key)
        if known is None and self.has_orphans and isinstance(event, Invocation):
            orphaned = keys.orphan_key(event)
            if (found := self._ask(orphaned)) is not None:
                return found, orphaned
        return known, key

    def _owner(self, key: int) -> int | None:
        found = self.seen.get(key)
        return self._owners.get(key) if found is None else found

    def _ask(self, key: int) -> int | None:
        """Look a key up that was not prepared with its chunk."""
        if key not in self.seen and key not in self._owners:
            self._owners[key] = self._lookup([key]).get(key)
        return self._owner(key)

    def _is_copy(self, event: Judged) -> bool:
        """Return whether another session has an event with the same fingerprint."""
        me = self._me.of(event.session)
        return any(self.prints.is_left_by_another(print_, me) for print_ in _fingerprints(event))


def _fingerprints(event: Judged) -> tuple[int, ...]:
    surest = keys.fingerprint(event)
    if isinstance(event, Invocation) and event.status is None:
        return surest, keys.waiting_fingerprint(event)
    return (surest,)


def _key(table: str, event: Event) -> int:
    if isinstance(event, UserSkillLoad):
        return keys.load_key(event)
    if isinstance(event, Step | Remark):
        return keys.row_key(event)
    if isinstance(event, Rejection):
        return keys.rejection_key(table, event)
    return keys.invocation_key(event)


def first_load_key(session: str, skill: str) -> int:
    """Return the key of a session that has loaded a skill."""
    return keys.session_skill_key(session, clean(skill))


def _first_load_keys(events: Iterable[Event]) -> list[int]:
    return [
        first_load_key(event.session, event.skill)
        for event in events
        if isinstance(event, Invocation | UserSkillLoad) and event.skill is not None
    ]
