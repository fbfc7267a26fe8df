"""
Turns: which steps answer which human message, how each ends, whose work it was.

Takes the rows of each session in their order and moves its conversation on; what
ends goes into a tally.  Knows no rows, no disk and no clock.  The rules are those
of the metrics' reference: a turn of 2.x ends with ``idle``, one of 1.x by its last
step or the next human message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from opencode_exporter import catalog as c
from opencode_exporter.events import (
    ABANDONED,
    FAILED,
    INTERRUPTED,
    SUCCEEDED,
    UNKNOWN,
    Remark,
    Step,
)
from opencode_exporter.turns.attempts import abandoned_changes, note_changes, retries
from opencode_exporter.turns.conversation import Conversation, Run, Turn
from opencode_exporter.turns.delegation import Delegation, work_of
from opencode_exporter.turns.tally import Tally, tool_of

_CUT: Final = ("length", "content-filter")
_ABORTED: Final = ("MessageAbortedError", "aborted")
_BY_FINISH: Final = {"tool-calls": "", "stop": SUCCEEDED}

LookUp = Callable[[str], Conversation]
"""Returns the conversation of a session, a new one where there is none."""


class Turns:
    """
    Moves conversations on.

    Args:
        look_up: The conversations of other sessions, for the work of sub-agents.
        tally: Where what ended is counted.
        salt: Mixed into what is kept of targets.
    """

    def __init__(self, look_up: LookUp, tally: Tally, salt: str) -> None:
        self._tally = tally
        self._salt = salt
        self._delegation = Delegation(look_up, tally)

    def hear(self, talk: Conversation, said: Remark) -> None:
        """Take what a human says: it ends a turn, steers it, or waits for an answer."""
        skills = [(said.created, skill) for skill in said.skills]
        for skill in said.skills:
            self._loaded(talk, said.created, skill)
        if talk.turn is not None:
            self._close(talk, talk.turn, _ended_by_message(talk.turn))
        if talk.turn is not None:
            talk.turn.said += skills
        else:
            talk.asked = said.created
            talk.said += skills

    def take(self, talk: Conversation, step: Step) -> None:
        """Take a step that is over."""
        self._follow(talk, step)
        if step.is_summary or step.is_note:
            return
        turn = talk.turn or _begin(talk, step)
        repeated = retries(turn, step, self._salt)
        for call in repeated:
            self._tally.add(c.TOOL_RETRIES, tool_of(call))
        for tool, attempts in note_changes(turn, step, self._salt):
            self._tally.observe(c.EDIT_TRIES, attempts, tool)
        run = self._run_of(turn, step)
        if run is not None:
            self._delegation.add_to_run(run.skill, work_of(step, len(repeated)))
        elif talk.parent:
            turn.loose.absorb(work_of(step, len(repeated)))
        for call in step.calls:
            if call.child:
                self._delegation.started(talk, call, run.skill if run else "")
        _remember(turn, step)
        if step.generation == "v1":
            self._close(talk, turn, _ended_by_step(turn))

    def rest(self, talk: Conversation, idle: Remark) -> None:
        """
        Take the word of 2.x that a turn is over.

        2.0.15 says ``succeeded`` also after an answer that was cut off.
        """
        turn = talk.turn
        if turn is None and talk.asked:
            turn = talk.turn = Turn(talk.asked, UNKNOWN, idle.generation)
            talk.asked, talk.said = 0, []
        if turn is not None:
            cut = turn.last_finish in _CUT and idle.outcome == SUCCEEDED
            self._close(talk, turn, FAILED if cut else idle.outcome)

    def give_up(self, talk: Conversation) -> None:
        """End what is open in a session in which nothing will happen any more."""
        if talk.turn is not None:
            outcome = _ended_by_message(talk.turn) or _ended_by_step(talk.turn)
            self._close(talk, talk.turn, outcome or ABANDONED)
        self._delegation.give_up(talk)

    def _follow(self, talk: Conversation, step: Step) -> None:
        """Count what a step says across turns: the next tool, and the next skill."""
        if not step.calls:
            return
        for skill in talk.fresh:
            self._tally.add(c.SKILL_NEXT_TOOL, skill, tool_of(step.calls[0]))
        talk.fresh = []
        for call in step.calls:
            if call.skill:
                self._loaded(talk, step.created, call.skill)

    def _loaded(self, talk: Conversation, at: int, skill: str) -> None:
        talk.loads.append((at, skill))
        talk.fresh.append(skill)

    def _run_of(self, turn: Turn, step: Step) -> Run | None:
        """
        Return the run to which a step belongs, and open those that it or the user begins.

        A step that loads a skill belongs to no run: the one before goes until it, and
        the new one has the steps that follow.
        """
        if turn.said:
            self._open_runs(turn, step, [Run(skill, step.agent, at) for at, skill in turn.said])
            turn.said = []
        loads = [Run(call.skill, step.agent, call.ended) for call in step.calls if call.skill]
        if not loads:
            return turn.run
        self._open_runs(turn, step, loads)
        return None

    def _open_runs(self, turn: Turn, step: Step, runs: list[Run]) -> None:
        """Open the last of some runs; the others close at once, and so does the one before."""
        if turn.run is not None:
            self._close_run(turn.run, step.created, SUCCEEDED)
        for run in runs[:-1]:
            self._tally.add(c.SKILL_RUNS, run.skill, run.agent, SUCCEEDED)
        turn.run = runs[-1]

    def _close_run(self, run: Run, at: int, outcome: str) -> None:
        self._tally.add(c.SKILL_RUNS, run.skill, run.agent, outcome)
        if at and run.begun:
            self._tally.observe(c.SKILL_RUN_DURATION, max(at - run.begun, 0), run.skill)

    def _close(self, talk: Conversation, turn: Turn, outcome: str) -> None:
        """End a turn; without an outcome it goes on."""
        if not outcome:
            return
        end = 0 if outcome == ABANDONED else turn.last_completed
        self._tally.add(c.TURNS, turn.agent, outcome)
        if end:
            self._tally.observe(c.TURN_DURATION, max(end - turn.start, 0), turn.agent)
        if turn.run is not None:
            self._close_run(turn.run, end, outcome)
        for tool in abandoned_changes(turn):
            self._tally.add(c.EDIT_ABANDONED, tool)
        talk.turn = None
        if talk.parent:
            self._delegation.ended(talk, turn.start, turn.loose)


def _begin(talk: Conversation, step: Step) -> Turn:
    """Open a turn; one without a human message begins with its first step."""
    turn = Turn(talk.asked or step.created, step.agent, step.generation, said=talk.said)
    talk.turn, talk.asked, talk.said = turn, 0, []
    return turn


def _remember(turn: Turn, step: Step) -> None:
    """Keep of a turn's last step what tells how the turn ends."""
    turn.generation = step.generation
    turn.last_finish, turn.last_error = step.finish, step.error
    turn.last_refused = any(call.refused for call in step.calls)
    turn.last_completed, turn.last_streamed = step.completed, step.streamed


def _ended_by_step(turn: Turn) -> str:
    """
    Return the outcome of a turn that its last step ends, nothing if it goes on.

    A step of 1.x that is completed with neither finish nor error was interrupted:
    1.18 leaves that when the user stops it while it waits to ask the provider again.
    """
    if turn.last_error:
        return INTERRUPTED if turn.last_error in _ABORTED else FAILED
    if turn.last_refused:
        return INTERRUPTED
    if not turn.last_finish:
        return INTERRUPTED if turn.generation == "v1" and turn.last_completed else ""
    return _BY_FINISH.get(turn.last_finish, FAILED)


def _ended_by_message(turn: Turn) -> str:
    """
    Return how the next human message ends a turn, nothing if it goes on.

    A turn of 2.x goes on until ``idle``, unless its process died, its last step has an
    error (2.0.15 often leaves no ``idle`` when the user interrupts), or it was imported
    and never streamed.
    """
    dead = not turn.last_finish and not turn.last_error
    if turn.generation == "v1" or dead:
        return ABANDONED
    if turn.last_error or not turn.last_streamed:
        return _ended_by_step(turn) or ABANDONED
    return ""


def transitions(talk: Conversation) -> Iterator[tuple[int, str, str]]:
    """
    Yield which skill came after which, and when (ms), once all rows of a poll are in.

    In the order of time: a session that goes on in both generations comes table by table.
    """
    loads, talk.loads = sorted(talk.loads, key=lambda load: load[0]), []
    for at, skill in loads:
        if talk.last_skill:
            yield at, talk.last_skill, skill
        talk.last_skill = skill
