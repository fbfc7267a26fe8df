"""
Plays a session: turns a plan into writes, in order and in time.

A session is a generator that yields how long to wait, ms, and is sent the time
after the wait.  It knows no clock: history sends times of the past at once, the
living demo waits.  One guarantee: a call goes pending, running, ended.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from opencode_exporter.demo.plan import ENDS_TURN, Fault, Step, Turn, Work
from opencode_exporter.demo.rows import Session, StepRow
from opencode_exporter.demo.writers import Writer

Play = Generator[int, int, int]
"""Yields waits, is sent times, returns the time at its end."""


@dataclass(slots=True)
class Tempo:
    """How long the model and the user take, as a share of what was planned."""

    model: float = 1.0
    user: float = 1.0


class Player:
    """Plays sessions with one writer."""

    def __init__(self, writer: Writer, tempo: Tempo) -> None:
        self._writer = writer
        self._tempo = tempo

    def session(self, work: Work, now: int) -> Play:
        """Play a session from its opening to its last turn."""
        session = self._writer.open(work, now)
        last: Turn | None = None
        for turn in work.turns:
            now = yield int(turn.pause * self._tempo.user)
            if session.kept is not None and last is not None:
                # The user forks the conversation and goes on in the copy.
                session = self._writer.fork(session, now)
            now = yield from self._turn(session, turn, now)
            last = turn
        return now

    def _turn(self, session: Session, turn: Turn, now: int) -> Play:
        writer = self._writer
        writer.prompt(session, turn, now)
        outcome = "succeeded"
        for step in turn.steps:
            now = yield from self.step(session, turn, step, now)
            faults = {call.fault for call in step.calls} & ENDS_TURN
            if Fault.KILLED in faults:
                return now
            if faults or step.refused:
                outcome = "failed" if step.refused else "interrupted"
                break
        now = yield 3
        writer.idle(session, outcome, now)
        return now

    def step(self, session: Session, turn: Turn, step: Step, now: int) -> Play:
        """Play one step: the model's answer and the calls in it."""
        writer = self._writer
        now = yield int(step.thinking * self._tempo.model)
        row = writer.begin(session, turn, step, now)
        now = yield int(step.speaking * self._tempo.model)
        if not step.refused:
            writer.speak(row, now)
            now = yield from self._calls(row, now)
        if any(call.fault is Fault.KILLED for call in step.calls):
            writer.kill(row, now)
        else:
            writer.finish(row, now)
        return now

    def _calls(self, row: StepRow, now: int) -> Play:
        """Play the calls of a step, side by side."""
        agenda: list[tuple[int, int, str]] = []
        for place, call in enumerate(row.step.calls):
            arrives = now + 8 * place
            runs = arrives + call.waiting
            agenda += [(arrives, place, "arrive"), (runs, place, "run")]
            agenda.append((runs + call.running, place, "end"))
            if call.tool == "shell" and call.running > 1_500 and self._writer.partial:
                agenda += [(runs + call.running * n // 3, place, f"{n}/3") for n in (1, 2)]
        agenda.sort()
        for at, place, what in agenda:
            if at > now:
                now = yield at - now
            now = yield from self._change(row, place, what, now)
        return now

    def _change(self, row: StepRow, place: int, what: str, now: int) -> Play:
        writer, call = self._writer, row.step.calls[place]
        if what == "arrive":
            plain = row.turn.model.counts_calls
            call_id = f"call_{place}" if plain else f"call_{writer.ids.characters(24)}"
            writer.call(row, call, call_id, now)
            return now
        made = row.calls[place]
        if what == "run":
            if call.child is not None:
                child = writer.child(row.session, call, call.child, now)
                made.child = child.id
                writer.run(row, made, now)
                now = yield from self._turn(child, call.child, now)
            else:
                writer.run(row, made, now)
        elif what == "end":
            if call.fault is not Fault.KILLED:
                writer.end(row, made, now)
        else:
            writer.progress(row, made, int(what[0]) / 3, now)
        return now
