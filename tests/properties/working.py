"""
What OpenCode may do next: the rules of its writes, for a machine that takes random steps.

Leaves out the few sequences of `test_unlikely`.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from harness.clock import HOUR_MS, FakeClock
from harness.exporters import Bench
from properties.account import ENDS, Session, Step, Told
from properties.opencode import OpenCode
from properties.taking import Taking
from properties.truth import Truth

picks = st.integers(0, 30)
junk_rows = st.sampled_from(["", "[]", '"tool"', "null", "7", '{"role":"assistant","time":{"crea'])
junk_parts = st.sampled_from(["[]", '"tool"', '{"type":"tool"}', '{"type":"tool","callID":"call_'])
ids = st.lists(st.sampled_from(["call_0", "call_1", "call_2"]), min_size=1, max_size=3)


class Working(RuleBasedStateMachine):
    """A database that is written to, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        memory = Path("/dev/shm")  # noqa: S108  # commits need not wait for a disk
        place = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.bench = Bench(Path(self.stack.enter_context(place)), FakeClock())

    @initialize(generation=st.sampled_from(["v1", "v1", "v2"]))
    def made(self, generation: str) -> None:
        """Make a database."""
        self.world = OpenCode(self.bench.source, generation, self.bench.clock.ms)
        self.truth = Truth(self.world)
        self.taking = Taking(self.world)

    # What OpenCode does.

    def _some(self, among: list[Any], pick: int) -> Any:
        return among[-1 - pick % len(among)]  # the newest is the simplest

    def _open(self) -> list[Told]:
        """
        Return the calls that may go on.

        Of a step of 2.x that its own process has finished none does: what is open in it
        is only ever called interrupted, when its session goes on.
        """
        return [told for told in self._live() if not self._is_finished(told.step)]

    def _live(self) -> list[Told]:
        steps = [step for session in self.world.sessions for step in session.steps]
        return [told for step in steps for told in step.told if told.live]

    def _is_finished(self, step: Step) -> bool:
        return step.session.generation == "v2" and step.said

    @rule(
        pick=picks,
        ids=ids,
        ends=st.sampled_from(["", "running", *ENDS]),
        new=st.booleans(),
        over=st.booleans(),
    )
    def step(self, pick: int, ids: list[str], ends: str, *, new: bool, over: bool) -> None:
        """Write a step of the model, in a new session or in one that is there."""
        session = self._new() if new or not self.world.sessions else None
        made = self.world.step(session or self._some(self.world.sessions, pick), ids)
        for told in made.told if ends else ():
            self.world.progress(told, ends)
        if over and ends in ENDS:
            self.world.finish(made)

    @precondition(lambda self: self._open())
    @rule(pick=picks, ids=ids, own=st.booleans())
    def beside(self, pick: int, ids: list[str], *, own: bool) -> None:
        """Begin a step in a second process, in a session in which another one's call runs."""
        session = self._some(self._open(), pick).step.session
        self.world.step(session, ids, answers=None if own else self.world.user(session))

    def _new(self, ago: int = 0) -> Session:
        both = self.world.old and self.world.new
        generation = "v1" if self.world.old and not both else "v2"
        return self.world.begin(generation, ago=ago)

    @precondition(lambda self: self.world.old and self.world.new)
    @rule(ids=ids)
    def step_of_1x(self, ids: list[str]) -> None:
        """Go back to 1.x after the upgrade: what it writes is never imported."""
        self.world.step(self.world.begin("v1"), ids)

    @rule(ids=ids, end=st.sampled_from(ENDS), ago=st.sampled_from([10_000, 10 * HOUR_MS]))
    def foreign(self, ids: list[str], end: str, ago: int) -> None:
        """Import a session that another machine has exported."""
        session = self._new(ago)
        step = self.world.step(session, ids, at=session.created + 10)
        for told in step.told:
            told.times["start" if session.generation == "v1" else "created"] = step.created + 3
            self.world.progress(told, end)
        self.world.finish(step)

    @precondition(lambda self: self.world.sessions)
    @rule(pick=picks)
    def user(self, pick: int) -> None:
        """Write what the user says."""
        self.world.user(self._some(self.world.sessions, pick))

    @precondition(lambda self: self._open())
    @rule(pick=picks, status=st.sampled_from(["running", *ENDS]))
    def progress(self, pick: int, status: str) -> None:
        """Let a call run or end, in place."""
        self.world.progress(self._some(self._open(), pick), status)

    @precondition(lambda self: self._orphans())
    @rule(pick=picks)
    def orphan(self, pick: int) -> None:
        """Let another process of 2.x say that a call which runs was interrupted."""
        self.world.progress(self._some(self._orphans(), pick), "orphaned")

    def _orphans(self) -> list[Told]:
        return [told for told in self._live() if told.step.session.generation == "v2"]

    @precondition(lambda self: self._unfinished())
    @rule(pick=picks, half=st.booleans())
    def finish(self, pick: int, *, half: bool) -> None:
        """Write that a step is over; one of 2.x may leave calls open."""
        self.world.finish(self._some(self._unfinished(), pick), half=half)

    def _unfinished(self) -> list[Step]:
        return [
            step
            for session in self.world.sessions
            for step in session.steps
            if step.work and not step.closed and self._may_finish(step)
        ]

    def _may_finish(self, step: Step) -> bool:
        if step.session.generation == "v2":
            return not step.said
        return step.completed is None and all(told.ended for told in step.told)

    @precondition(lambda self: self._overtakable())
    @rule(pick=picks, ids=ids)
    def overtake(self, pick: int, ids: list[str]) -> None:
        """Begin a step of 2.x behind an open one, which it completes, dead or alive."""
        step = self._some(self._overtakable(), pick)
        self.world.overtake(step)
        self.world.step(step.session, ids)

    def _overtakable(self) -> list[Step]:
        sessions = [each for each in self.world.sessions if each.generation == "v2"]
        last = [[step for step in session.steps if step.work][-1:] for session in sessions]
        return [step for steps in last for step in steps if step.completed is None]

    # Rows that cannot be decoded.

    @precondition(lambda self: self.world.sessions)
    @rule(pick=picks, data=junk_rows)
    def junk(self, pick: int, data: str) -> None:
        """Write a step that nobody can read."""
        self.world.junk(self._some(self.world.sessions, pick), data)

    @precondition(lambda self: self._with_parts())
    @rule(pick=picks, data=junk_parts)
    def junk_part(self, pick: int, data: str) -> None:
        """Write a part that nobody can read."""
        self.world.junk_part(self._some(self._with_parts(), pick), data)

    def _with_parts(self) -> list[Step]:
        old = [session for session in self.world.sessions if session.generation == "v1"]
        return [step for session in old for step in session.steps if step.work]

    @precondition(lambda self: self._spoilable())
    @rule(pick=picks, data=junk_rows, quietly=st.booleans())
    def spoil(self, pick: int, data: str, *, quietly: bool) -> None:
        """Make a row unreadable that is known, and that may still change."""
        self.world.spoil(self._some(self._spoilable(), pick), data, quietly=quietly)

    def _spoilable(self) -> list[Told | Step]:
        found: list[Told | Step] = []
        for step in (step for each in self.world.sessions for step in each.steps):
            if not step.seen or not step.original or step.closed or step.kept is not None:
                continue
            kinds = [self._kinds(told) for told in step.told if told.kept is None]
            if step.session.generation == "v1":
                live = [told for told in step.told if told.live and told.kept is None]
                found += [told for told in live if self._kinds(told) == {"open"}]
                # Calls are counted under what their message says.
                known = all(kind == {"counted"} for kind in kinds)
            else:
                known = all(kind in ({"counted"}, {"open"}) for kind in kinds)
            if known and kinds and step.completed is None:
                found.append(step)
        return found

    def _kinds(self, told: Told) -> set[str]:
        return {state.kind for state in self.truth.states.get(told.call, ())}

    @precondition(lambda self: self.world.spoiled())
    @rule(pick=picks)
    def repair(self, pick: int) -> None:
        """Write such a row as it was."""
        self.world.repair(self._some(self.world.spoiled(), pick))

    @precondition(lambda self: self._forkable())
    @rule(pick=picks)
    def fork(self, pick: int) -> None:
        """Fork a session, or a fork."""
        self.world.fork(self._some(self._forkable(), pick))

    def _forkable(self) -> list[Session]:
        """Return the sessions without what `test_unlikely` shows."""
        return [
            session
            for session in self.world.sessions
            if all(told.begun for step in session.steps for told in step.told)
            and not _is_spoiled(session)
        ]

    @precondition(lambda self: self.world.sessions)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        """Delete a session; its rowids are free again."""
        self.world.delete(self._some(self.world.sessions, pick))

    @precondition(lambda self: self.world.sessions)
    @rule(pick=picks, count=st.integers(1, 3))
    def undo(self, pick: int, count: int) -> None:
        """Undo the last messages of a session."""
        self.world.undo(self._some(self.world.sessions, pick), count)

    @precondition(lambda self: self._restorable())
    @rule(pick=picks)
    def restore(self, pick: int) -> None:
        """Import a deleted session again."""
        self.world.restore(self._some(self._restorable(), pick))

    def _restorable(self) -> list[int]:
        """Return the deleted sessions but those with calls that share an id, after an upgrade."""
        doubtful = {call for call in self.world.calls if self.world.new and call.shares_id}
        return [
            number
            for number, (session, _, _) in enumerate(self.world.exported)
            if not any(told.call in doubtful for step in session.steps for told in step.told)
            and not _is_spoiled(session)
        ]

    @precondition(lambda self: self._ended())
    @rule(pick=picks)
    def prune(self, pick: int) -> None:
        """Stamp the row of a call that has ended."""
        self.world.prune(self._some(self._ended(), pick))

    def _ended(self) -> list[Told]:
        return [
            told
            for session in self.world.sessions
            if session.generation == "v1"
            for step in session.steps
            for told in step.told
            if told.ended
        ]

    @rule(what=st.sampled_from(["vacuum", "PASSIVE", "TRUNCATE", "reopen"]))
    def file(self, what: str) -> None:
        """Do something to the file that changes no row."""
        if what == "vacuum":
            self.world.vacuum()
        elif what == "reopen":
            self.world.reopen()
        else:
            self.world.checkpoint(what)

    @precondition(lambda self: not self.world.new)
    @rule()
    def upgrade(self) -> None:
        """Start 2.x for the first time."""
        self.world.upgrade()

    @rule()
    def night(self) -> None:
        """Let so much time pass that what runs is given up."""
        self.bench.clock.advance(hours=7)
        self.world.pass_time(7 * HOUR_MS)


def _is_spoiled(session: Session) -> bool:
    """Return whether a session has rows that were readable and are not any more."""
    rows: list[Step | Told] = [*session.steps]
    rows += [told for step in session.steps for told in step.told]
    return any(row.kept is not None for row in rows)
