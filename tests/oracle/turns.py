"""
Turns: which steps answer which human message, and how each turn ended.

"What answers one human message.  v2: until `idle`.  v1 and imported rows: until the
first step whose `finish` is not `tool-calls`, or that has an error, or whose calls
include a refused one, or the next human message; else abandoned."
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from oracle.model import Moment, Row, Session


@dataclass(eq=False)
class Turn:
    """
    A turn that ended, in a session at rest.

    Attributes:
        start: When its human message was created.  Choice: where several human
            messages precede the first step, the last of them; it is the one that v1
            names as the parent of the step, so a queued message opens no turn of its
            own.
        end: When its last step was completed; None where no end was recorded.
        outcome: The label.
        steps: Its model steps.
        said: Skills of user's messages, with the place in `steps` before which they came.
    """

    session: Session
    start: int
    outcome: str = ""
    steps: list[Row] = field(default_factory=list)
    said: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def agent(self) -> str:
        """Return the agent of its first step (choice); ``_unknown`` where it has none."""
        return self.steps[0].agent if self.steps else "_unknown"

    @property
    def end(self) -> Moment:
        """When the last step that is recorded as over was over; never of an abandoned turn."""
        if self.outcome == "abandoned" or not self.steps:
            return None
        return self.steps[-1].completed

    @property
    def duration(self) -> Moment:
        """
        "Human message to last step", in ms.

        Choice: not measured where the turn was abandoned, has no step, or its last
        step has no end.
        """
        return None if self.end is None else max(self.end - self.start, 0)


def ends_turn(step: Row) -> str:
    """
    Return the outcome of a v1 turn that this step ends, nothing if it goes on.

    "`finish` `stop` → `succeeded`; `MessageAbortedError`, refused, v2 `interrupted` →
    `interrupted`; other errors, `length`, `content-filter` → `failed`."  Choices: an
    error counts before a finish; v2's error type ``aborted`` in imported rows is an
    interruption; every other word of ``finish`` (``error``, ``other``, ``unknown``)
    fails; a step of 1.x that is completed with neither finish nor error was interrupted
    (1.18.33 leaves that when the user stops it while it waits to ask the provider again).
    """
    if step.error:
        aborted = step.error in {"MessageAbortedError", "aborted"}
        return "interrupted" if aborted else "failed"
    if any(call.refused for call in step.calls):
        return "interrupted"
    if not step.finish:
        return "interrupted" if step.generation == "v1" and step.completed else ""
    return {"tool-calls": "", "stop": "succeeded"}.get(step.finish, "failed")


def turns(session: Session) -> list[Turn]:
    """
    Return the turns of a session.

    Choices.  A human message that nothing answers makes no turn, unless v2 writes
    ``idle`` after it.  A step that no human message precedes (its prompt was undone,
    or 1.x went on by itself after a turn had ended) opens a turn at its own creation.
    The summary that a compaction of 1.x writes is a step of no turn, as it is in 2.x.  A
    session at rest has no open turn: what did not end is abandoned.
    """
    found = _Turns(session)
    for row in session.rows:
        if row.kind == "human":
            found.hear(row)
        elif row.kind == "step":
            found.take(row)
        elif row.kind == "idle":
            found.rest(row)
    if found.turn is not None:
        found.close(_ended_by_message(found.turn, at_rest=True))
    return found.made


class _Turns:
    """The turns of a session, as its rows are read: one of them at most is open."""

    def __init__(self, session: Session) -> None:
        self.made: list[Turn] = []
        self.turn: Turn | None = None
        self._session = session
        self._waiting: list[Row] = []

    def hear(self, row: Row) -> None:
        """Take what a human says: it ends a turn, or waits for an answer."""
        if self.turn is not None:
            self.close(_ended_by_message(self.turn))
        if self.turn is None:
            self._waiting.append(row)
        else:
            self.turn.said += _said(row, self.turn)

    def take(self, row: Row) -> None:
        """Take a step."""
        if row.summary:
            return
        turn = self.turn or self._open(row)
        turn.steps.append(row)
        if row.generation == "v1":
            self.close(ends_turn(row))

    def rest(self, row: Row) -> None:
        """
        Take v2's word that a turn is over.

        "`length`, `content-filter` → `failed`": 2.0.15 says `succeeded` after such a step.
        """
        if self.turn is None and self._waiting:
            self._open(row)
        steps = self.turn.steps if self.turn else []
        cut = steps and steps[-1].finish in {"length", "content-filter"}
        self.close("failed" if cut and row.outcome == "succeeded" else row.outcome)

    def close(self, outcome: str) -> None:
        """End the turn that is open; without an outcome it stays open."""
        if self.turn is not None and outcome:
            self.turn.outcome = outcome
            self.made.append(self.turn)
            self.turn = None

    def _open(self, first: Row) -> Turn:
        start = self._waiting[-1].created if self._waiting else first.created
        turn = self.turn = Turn(self._session, start)
        for row in self._waiting:
            turn.said += _said(row, turn)
        self._waiting = []
        return turn


def _said(row: Row, turn: Turn) -> Iterable[tuple[int, int, str]]:
    return [(len(turn.steps), row.created, skill) for skill in row.skills]


def _ended_by_message(turn: Turn, *, at_rest: bool = False) -> str:
    """
    Return how an open turn ends at the next human message; nothing if it goes on.

    A turn of v1 is abandoned then, for its end would have closed it.  A turn of v2 goes
    on until ``idle``: the message steers it.  Choices: it is abandoned all the same when
    its last step has neither a finish nor an error, for its process has died; it ends by
    its last step, as a turn of v1 does, when that has an error (2.0.15 often exits
    without ``idle`` when the user interrupts), when it was never ``streamed`` (it is
    imported though the rows of 1.x are gone), and when nothing follows.
    """
    last = turn.steps[-1]
    dead = not last.finish and not last.error
    if last.generation == "v1" or dead:
        return "abandoned"
    if at_rest or last.error or last.streamed is None:
        return ends_turn(last) or "abandoned"
    return ""
