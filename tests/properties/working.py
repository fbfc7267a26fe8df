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

from properties.account import ENDS, Session, Step, Told
from properties.opencode import OpenCode
from properties.truth import Truth
from support import HOUR_MS, Bench, FakeClock

picks = st.integers(0, 30)
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
        self.world = OpenCode(self.bench.source, generation)
        self.truth = Truth(self.world)

    # What OpenCode does.

    def _some(self, among: list[Any], pick: int) -> Any:
        return among[-1 - pick % len(among)]  # the newest is the simplest

    def _open(self) -> list[Told]:
        """Return the calls that may go on."""
        steps = [step for session in self.world.sessions for step in session.steps]
        return [told for step in steps for told in step.told if told.live]

    @rule(pick=picks, ids=ids, ends=st.sampled_from(["", "running", *ENDS]), new=st.booleans())
    def step(self, pick: int, ids: list[str], ends: str, *, new: bool) -> None:
        """Write a step of the model, in a new session or in one that is there."""
        session = self._new() if new or not self.world.sessions else None
        made = self.world.step(session or self._some(self.world.sessions, pick), ids)
        for told in made.told if ends else ():
            self.world.progress(told, ends)

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

    @precondition(lambda self: self.world.new and self._unfinished())
    @rule(pick=picks)
    def complete(self, pick: int) -> None:
        """Write that a step of 2.x is over."""
        self.world.rewrite(self._some(self._unfinished(), pick), complete=True)

    def _unfinished(self) -> list[Step]:
        steps = [s for each in self.world.sessions if each.generation == "v2" for s in each.steps]
        return [s for s in steps if s.told and s.completed is None and s.told[0].original]

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
