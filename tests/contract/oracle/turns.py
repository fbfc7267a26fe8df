"""
Turns: which steps answer which human message, and how each turn ended.

"What answers one human message: the exchange of the assistant steps that name it
(`parentID`), and after a compaction of those that name the *synthetic* message which
takes its place.  1.x and imported rows: a step ends its turn exactly when OpenCode's own
loop stops after it. …  2.x: until `idle`, which also ends a step that is still open; a
step with error `aborted` ends it at once."
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from contract.oracle.model import Moment, Row, Session, took

OUTCOMES = ("succeeded", "failed", "interrupted", "abandoned")
"""The values of the label: 2.x may write any word."""
_FINISHES = {"stop": "succeeded", "length": "failed", "content-filter": "failed", "error": "failed"}
_ABORTED = ("MessageAbortedError", "aborted")


@dataclass(eq=False)
class Turn:
    """
    A turn that ended, in a session at rest.

    Attributes:
        start: When its human message was created.  Choice: where several human messages
            have no answer yet, the one that the step names as its parent, else the last
            of them; those before it are answered with it, those after it wait.
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
        """
        When the last step that is recorded as over was over; never of an abandoned turn.

        Choice: a step of 2.x with neither finish nor error has no end, for "a killed v2
        step can get its `completed` days later, when its session is resumed", also after
        the ``idle`` that ended it.
        """
        if self.outcome == "abandoned" or not self.steps:
            return None
        last = self.steps[-1]
        told = last.generation == "v1" or last.finish or last.error
        return last.completed if told else None

    @property
    def duration(self) -> Moment:
        """
        "Human message to last step", in ms.

        Choice: not measured where the turn was abandoned, has no step, or its last
        step has no end.
        """
        return took(self.start, self.end, self.session.now)


def goes_on(step: Row) -> bool:
    """
    Return whether a step of 1.x alone tells that OpenCode's loop goes on after it.

    "It goes on if the step holds a call of its own, or `finish` is `tool-calls` …  A step
    with an error, or with a refused call, ends it."  Choice: so does one that is not
    completed, as long as nothing else ends it.
    """
    if step.error or any(call.refused for call in step.calls):
        return False
    if any(call.own for call in step.calls) or step.finish == "tool-calls":
        return True
    return not step.finish and step.completed is None


def outcome_of(step: Row, *, over: bool = False) -> str:
    """
    Return the outcome of a turn of which this is the last step.

    "`stop` → `succeeded`; `MessageAbortedError`, `aborted`, refused, v2 `interrupted`, v1
    with neither finish nor error and no compaction behind it → `interrupted`; any other
    error, `length`, `content-filter`, `error` → `failed`; `unknown`, `other` and words we do
    not know → `succeeded` if the step has output tokens, else `failed`."  Choices: an error
    counts before a refusal, and that before a finish; a step that is not completed, or was
    to go on, has none: its turn is abandoned; reasoning is no output.

    Args:
        step: The step.
        over: Whether the source has said that the turn is over, so that the step's calls
            were not to go on.
    """
    if step.error:
        return "interrupted" if step.error in _ABORTED else "failed"
    if any(call.refused for call in step.calls):
        return "interrupted"
    if not step.finish:
        return "abandoned" if step.completed is None else "interrupted"
    if step.finish == "tool-calls" or (goes_on(step) and not over):
        return "abandoned"
    wrote = "succeeded" if step.tokens.get("output") else "failed"
    return _FINISHES.get(step.finish, wrote)


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
    for place, row in enumerate(session.rows):
        if row.kind == "human":
            found.hear(row)
        elif row.kind == "step":
            found.take(row, place)
        elif row.kind == "idle":
            found.rest(row)
        elif row.compaction:
            found.compacted = True
    if found.turn is not None:
        found.close(found.left(at_rest=True))
    return found.made


def imported(rows: Sequence[Row]) -> set[str]:
    """
    Return the steps that 2.x imported from 1.x though its own rows are gone.

    "Imported sessions have no `idle` rows", and no step of theirs was ever ``streamed``.
    Choices: the rows between two human messages are told together; a step of 2.x that
    failed need not have been streamed either, so one that ended well has to say so.
    """
    found: set[str] = set()
    here: list[Row] = []
    for row in [*rows, Row("human", "", 0, 0, "")]:
        if row.kind != "human":
            here.append(row)
            continue
        native = any(one.kind == "idle" or one.streamed is not None for one in here)
        well = any(one.kind == "step" and one.finish and not one.error for one in here)
        told = well and not native
        found.update(one.message for one in here if one.kind == "step" and told)
        here = []
    return found


class _Turns:
    """The turns of a session, as its rows are read: one of them at most is open."""

    def __init__(self, session: Session) -> None:
        self.made: list[Turn] = []
        self.turn: Turn | None = None
        self.compacted = False
        self._session = session
        self._waiting: list[Row] = []
        self._imported = imported(session.rows)

    def hear(self, row: Row) -> None:
        """Take what a human says: it ends a turn, or waits for an answer."""
        if self.turn is not None:
            self.close(self.left())
        if self.turn is None:
            self._waiting.append(row)
        else:
            self.turn.said += _said(row, self.turn)

    def take(self, row: Row, place: int) -> None:
        """
        Take a step.

        Choice: one that names another human message which nobody has answered yet begins
        that message's turn, and ends the one that is open as that message would have.
        """
        if row.summary:
            return
        if self.turn is not None and self._named(row) is not None:
            self.close(self.left())
        turn = self.turn or self._open(row)
        turn.steps.append(row)
        self.compacted = False
        if self._is_old(row):
            if not goes_on(row) and not self._followed(row, self._session.rows[place + 1 :]):
                self.close(outcome_of(row))
        elif row.error == "aborted":
            self.close("interrupted")

    def rest(self, row: Row) -> None:
        """
        Take v2's word that a turn is over.

        "`length`, `content-filter` → `failed`": 2.0.15 says `succeeded` after such a step.
        "`outcome` has its fixed values only": choice: any other word, or none, leaves it to
        the last step; a turn without one is abandoned then.
        """
        if self.turn is None and self._waiting:
            self._open(row)
        steps = self.turn.steps if self.turn else []
        cut = steps and steps[-1].finish in {"length", "content-filter"}
        outcome = row.outcome
        if outcome not in OUTCOMES:
            outcome = self._by_last(over=True) if steps else "abandoned"
        self.close("failed" if cut and outcome == "succeeded" else outcome)

    def close(self, outcome: str) -> None:
        """End the turn that is open; without an outcome it stays open."""
        if self.turn is not None and outcome:
            self.turn.outcome = outcome
            self.made.append(self.turn)
            self.turn = None

    def left(self, *, at_rest: bool = False) -> str:
        """
        Return how the open turn ends at the next human message; nothing if it goes on.

        "So does the next human message; else it is abandoned": a turn of v1 that went on is
        abandoned then, but one whose last step is completed with neither finish nor error
        was interrupted.  A turn of v2 goes on until ``idle``: the message steers it.
        Choices: it is abandoned all the same when its last step has neither a finish nor an
        error, for its process has died; it ends by its last step, as a turn of v1 does, when
        that has an error (2.0.15 often exits without ``idle`` when the user interrupts), and
        when nothing follows.
        """
        assert self.turn is not None
        last = self.turn.steps[-1]
        dead = not last.finish and not last.error
        if self._is_old(last) or dead or last.error or at_rest:
            return self._by_last()
        return ""

    def _by_last(self, *, over: bool = False) -> str:
        """
        Return how the open turn ends by its last step.

        "V1 with neither finish nor error and *no compaction behind it* → `interrupted`":
        choice: with one behind it, or in 2.x, such a turn is abandoned.
        """
        assert self.turn is not None
        last = self.turn.steps[-1]
        if not last.finish and not last.error and (self.compacted or not self._is_old(last)):
            return "abandoned"
        return outcome_of(last, over=over)

    def _is_old(self, step: Row) -> bool:
        return step.generation == "v1" or step.message in self._imported

    def _followed(self, step: Row, ahead: Sequence[Row]) -> bool:
        """
        Return whether what comes behind a step of 1.x shows that the loop went on.

        "`unknown` without a call of its own is decided by whether a further step of the
        exchange follows, at the session's next row or after a minute", "if the step has
        neither finish nor error and a compaction follows".  Choices: at rest the rows up to
        the next human message decide, however late they came; a step that names another
        human message is of another exchange; a step of the same one shows of a step with
        neither finish nor error, too, that the loop went on.
        """
        if step.error or any(call.refused for call in step.calls):
            return False
        for row in ahead:
            if row.kind == "human":
                return False
            if step.finish in ("", "unknown") and row.kind == "step" and not row.summary:
                return self._named(row) is None
            if not step.finish and row.compaction:
                return True
        return False

    def _named(self, step: Row) -> Row | None:
        """Return the human message without an answer that a step names."""
        return next((one for one in self._waiting if one.message == step.parent), None)

    def _open(self, first: Row) -> Turn:
        waiting = self._waiting
        answered = self._named(first) or (waiting[-1] if waiting else first)
        turn = self.turn = Turn(self._session, answered.created)
        while self._waiting:
            row = self._waiting[0]
            turn.said += _said(row, turn)
            self._waiting = self._waiting[1:]
            if row is answered:
                break
        return turn


def _said(row: Row, turn: Turn) -> Iterable[tuple[int, int, str]]:
    return [(len(turn.steps), row.created, skill) for skill in row.skills]
