"""
What must have been counted, by metrics.md and by what OpenCode did.

Follows every call on its own: a poll that read everything leaves it in one of a
few states, nearly always in exactly one; a poll that was cut short or killed may
or may not have got there, and what is exposed then says which.  Shares no code
with the exporter.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final, NamedTuple

from properties.account import Call, Told
from properties.opencode import OpenCode
from support import HOUR_MS, Exposed

ABANDON_MS: Final = 6 * HOUR_MS
USAGE: Final = "opencode_tool_usage_total"
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


class Truth:
    """
    What one ledger must hold.

    Args:
        world: What happens.
    """

    def __init__(self, world: OpenCode) -> None:
        self._world = world
        self.states: dict[Call, set[State]] = {}

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
            lost = {told for told in seen if not told.ended and self._is_lost(told, now)}
            after = {end for state in before for end in _after(call, state, seen, lost, seen)}
            if not whole or (not due and any(told.step.may_sleep for told in seen)):
                after |= before | {
                    end
                    for state in before
                    for some in _parts(seen)
                    for gone in (lost, set())
                    for end in _after(call, state, some, gone, seen)
                }
            self.states[call] = after
        self._note_sleepers(now)

    def _is_lost(self, told: Told, now: int) -> bool:
        """Say whether nobody waits for this row's end any more."""
        if now - told.updated >= ABANDON_MS:
            return True
        step = told.step
        return any(other.agent and other.order > step.order for other in step.session.steps)

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

    def running(self) -> tuple[int, int]:
        """Return the least and the most calls that may be shown as running now."""
        least = most = 0
        visible = self._world.visible()
        for call, states in self.states.items():
            seen = [told for told in visible.get(call, []) if told.status == "running"]
            if not seen or all(state.kind == "counted" for state in states):
                continue
            most += 1
            surely = all(state.kind == "open" for state in states)
            least += surely and any(told.original for told in seen)
        return least, most


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
    ends = {counted(told.status) for told in seen if told.ended}
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
    final = {counted(told.status) for told in originals if told.ended}
    if lost.intersection(originals):
        final.add(counted("abandoned"))
    waiting = State("open", held=frozenset(told for told in originals if not told.ended))
    if call.shares_id and any(told.step.session.generation == "v2" for told in originals):
        # Both generations know them by one and the same pair of ids.
        return final | ends | {waiting if waiting.held else state, counted("abandoned")}
    return final or {waiting}
