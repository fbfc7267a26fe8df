"""
What must have been counted, by metrics.md and by what OpenCode did.

Follows every call on its own: a poll that read everything leaves it in one of a
few states, nearly always in exactly one; a poll that was cut short or killed may
or may not have got there, and what is exposed then says which.  Shares no code
with the exporter.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import combinations
from typing import Final, NamedTuple

from harness.clock import HOUR_MS
from harness.exporters import Exposed
from properties.account import Call, Step, Told
from properties.opencode import OpenCode

ABANDON_MS: Final = 6 * HOUR_MS
GONE_ON_MS: Final = 60_000
"""How long a later step must have gone on to be evidence, unless it is over."""
USAGE: Final = "opencode_tool_usage_total"
LATE: Final = "opencode_exporter_late_ends_total"
_SUBSETS: Final = 5


class State(NamedTuple):
    """What the exporter has made of a call so far."""

    kind: str = "unseen"  # unseen, open or counted
    status: str = ""  # counted
    held: frozenset[Told] = frozenset()  # open: rows that it may be waiting for


UNSEEN: Final = State()


def counted(status: str) -> State:
    """Return that a call has been counted with a status."""
    return State("counted", status)


class Lost(IntEnum):
    """Whether nobody waits for a row's end any more."""

    NO = 0
    MAYBE = 1
    SURELY = 2


class Truth:
    """
    What one ledger must hold of calls.

    Args:
        world: What happens.
    """

    def __init__(self, world: OpenCode) -> None:
        self._world = world
        self.states: dict[Call, set[State]] = {}
        self.late: tuple[set[Call], set[Call]] = set(), set()
        """Calls whose end came late: surely, and perhaps."""

    def polled(self, now: int, *, whole: bool, due: bool = True) -> None:
        """
        Take in that a poll has been.

        Args:
            now: The exporter's clock, ms.
            whole: It read everything and ended.
            due: Rows in which nothing runs were looked at as well.
        """
        visible = self._world.visible()
        for call in self._world.calls:
            seen = visible.get(call, [])
            before = self.states.get(call, {UNSEEN})
            waiting = {told: lost(told, now, due=due) for told in seen if not told.ended}
            surely = {told for told, is_lost in waiting.items() if is_lost is Lost.SURELY}
            perhaps = {told for told, is_lost in waiting.items() if is_lost}
            if any(told.unreadable and told.original for told in seen):
                # What cannot be decoded decides nothing.  An end in it may not have been seen
                # before it broke: then the call is left for its age as if it had none.
                left = any(lost(told, now, due=due) for told in seen)
                self.states[call] = before | ({counted("abandoned")} if left else set())
                continue
            after = {
                end
                for state in before
                for gone in (surely, perhaps)
                for end in _after(call, state, seen, gone, seen)
            }
            if not whole or (not due and any(told.step.may_sleep for told in seen)):
                after |= before | {
                    end
                    for state in before
                    for some in _parts(seen)
                    for gone in (perhaps, surely, set())
                    for end in _after(call, state, some, gone, seen)
                }
            self._note_late(call, seen, before, after, sure=whole and due)
            self.states[call] = after
        self._note_sleepers(now)
        for session in self._world.sessions if whole and due else ():
            for step in session.steps:
                step.seen = True

    def _note_late(
        self, call: Call, seen: list[Told], before: set[State], after: set[State], *, sure: bool
    ) -> None:
        """Note of a call that had been given up that its end has come all the same."""
        ended = [told for told in seen if told.ended and told.verdict != "abandoned"]
        if not ended or counted("abandoned") not in after:
            return
        surely, perhaps = self.late
        perhaps.add(call)
        upgraded = self._world.old is not None and self._world.new is not None
        alone = len(seen) == 1 and not call.shares_id and not ended[0].moved
        if sure and alone and not upgraded and before == {counted("abandoned")}:
            surely.add(call)

    def _note_sleepers(self, now: int) -> None:
        for session in self._world.sessions:
            for step in session.steps if session.generation == "v2" else ():
                if any(now - told.updated >= ABANDON_MS for told in step.told) or any(
                    State("counted", "abandoned") in self.states[told.call] for told in step.told
                ):
                    step.may_sleep = True

    # What is exposed.

    def observe(self, page: Exposed) -> None:
        """Compare every call with a page, and learn what a poll that was cut short got to."""
        by_cell = page.by(USAGE, "tool", "agent", "project", "status")
        found: dict[tuple[str, ...], dict[str, float]] = {}
        for (*cell, status), value in by_cell.items():
            found.setdefault(tuple(cell), {})[status] = value
        for call in self._world.calls:
            said = found.pop(call.cell, {})
            assert sum(said.values()) <= 1, f"counted twice: {call} as {said}"
            states = self.states.get(call, {UNSEEN})
            if said:
                fit = states & {counted(*said)}
            else:
                fit = {state for state in states if state.kind != "counted"}
            assert fit, f"{call} is counted as {said or None}, not as one of {states}"
            self.states[call] = fit
        assert not found, f"counted, and never called: {found}"
        late = page.total(LATE)
        least, most = map(len, self.late)
        assert least <= late <= most, f"{late} ends came late, not {least} to {most}"

    def running(self) -> tuple[int, int]:
        """Return the least and the most calls that may be shown as running now."""
        least = most = 0
        visible = self._world.visible()
        for call, states in self.states.items():
            told = visible.get(call, [])
            seen = [one for one in told if one.status == "running" or one.unreadable]
            if not seen or all(state.kind == "counted" for state in states):
                continue
            most += 1
            surely = all(state.kind == "open" for state in states)
            least += surely and any(one.original and not one.unreadable for one in seen)
        return least, most


def lost(told: Told, now: int, *, due: bool) -> Lost:
    """
    Return whether nobody waits for the end of a row's call any more.

    By the rule for ``abandoned``: a step that came later, that can be read, and that is
    over or 60 s old, without a change of the row since it began; or the row's own step,
    if it is one of 2.x that is over; or patience.  That a step has grown old is seen
    when rows in which nothing runs are looked at, at the latest.
    """
    if now - told.updated >= ABANDON_MS:
        return Lost.SURELY
    step = told.step
    found = Lost.NO
    if step.session.generation == "v2" and step.completed is not None:
        found = Lost.SURELY if told.original else Lost.MAYBE
    others = (o for o in step.session.steps if o.work and o.order > step.order and o.kept is None)
    return max([found, *(_goes_on_without(told, other, now, due=due) for other in others)])


def _goes_on_without(told: Told, later: Step, now: int, *, due: bool) -> Lost:
    """Return whether a later step is evidence that nobody works on a row beside it."""
    age = now - later.created
    waits = any(not other.ended for other in later.told)
    if later.completed is None and age < GONE_ON_MS:
        return Lost.NO
    if told.moved or told.updated == later.created:
        return Lost.MAYBE
    if told.updated > later.created:
        return Lost.NO
    if later.completed is not None and age < GONE_ON_MS and waits:
        return Lost.MAYBE
    at_once = later.completed is not None or (due and age > GONE_ON_MS)
    return Lost.SURELY if at_once else Lost.MAYBE


def _parts(seen: list[Told]) -> list[list[Told]]:
    """Return what a poll that was cut short may have seen of a call: originals come first."""
    if len(seen) > _SUBSETS:
        return [seen]
    some = [list(part) for n in range(1, len(seen) + 1) for part in combinations(seen, n)]
    first = any(told.original for told in seen)
    return [part for part in some if not first or any(told.original for told in part)]


def _after(
    call: Call, state: State, seen: list[Told], lost: set[Told], present: list[Told]
) -> set[State]:
    """Return in which states a read of some rows about a call leaves it."""
    if state.kind == "counted":
        return {state}
    ends = {counted(told.verdict) for told in seen if told.ended}
    gone = state.held.difference(present)
    given_up = {counted("abandoned")}
    if gone and gone == state.held:  # deleted: its end can never be seen
        return ends | given_up
    if gone or lost.intersection(seen):
        ends |= given_up
    waiting = [told for told in seen if not told.ended and told not in lost]
    originals = [told for told in seen if told.original]
    if originals:
        return _after_original(call, state, originals, lost, ends)
    if not seen:
        return {state}
    # The copies stand for it; which of them is read first is not said.
    return ends | ({State("open", held=frozenset(waiting))} if waiting else set())


def _after_original(
    call: Call, state: State, originals: list[Told], lost: set[Told], ends: set[State]
) -> set[State]:
    final = {counted(told.verdict) for told in originals if told.ended}
    if lost.intersection(originals):
        final.add(counted("abandoned"))
    waiting = State("open", held=frozenset(told for told in originals if not told.ended))
    if call.shares_id and any(told.step.session.generation == "v2" for told in originals):
        # Both generations know them by one and the same pair of ids.
        return final | ends | {waiting if waiting.held else state, counted("abandoned")}
    return final or {waiting}
