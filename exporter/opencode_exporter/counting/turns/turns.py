"""
Turns: which steps answer which human message, how each ends, whose work it was.

Takes the rows of each session in their order and moves its conversation on; what
ends goes into a tally.  Knows no rows, no disk and no clock.  How a turn ends is said
in `endings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from opencode_exporter import catalog as c
from opencode_exporter.counting.tally import Tally, tool_of
from opencode_exporter.counting.turns.attempts import abandoned_changes, note_changes, retries
from opencode_exporter.counting.turns.delegation import Delegation, work_of
from opencode_exporter.counting.turns.endings import (
    CUT,
    ended_by_message,
    ended_by_silence,
    ended_by_step,
    outcome_of,
    remember,
)
from opencode_exporter.counting.turns.state import Asked, Conversation, Run, Turn, Work
from opencode_exporter.events import ABANDONED, FAILED, SUCCEEDED, UNKNOWN, Remark, Step
from opencode_exporter.times import NOT_MEASURED, lasted

_MOST_ASKED: Final = 20
"""Unanswered messages of one session that are kept in mind."""
_MOST_LOADS: Final = 1000
"""Skill loads of one session that wait for what follows; beyond, the oldest are forgotten."""

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

    def take_message(self, conversation: Conversation, said: Remark) -> None:
        """Take a message of the user: it ends a turn, steers it, or waits for an answer."""
        skills = [(said.created, skill) for skill in said.skills]
        for skill in said.skills:
            self._loaded(conversation, said.created, skill)
        if conversation.turn is not None:
            self._close(conversation, conversation.turn, ended_by_message(conversation.turn))
        if conversation.turn is not None:
            conversation.turn.said = [*conversation.turn.said, *skills][-_MOST_LOADS:]
        else:
            conversation.asked = [*conversation.asked, Asked(said.message, said.created)][
                -_MOST_ASKED:
            ]
            conversation.said = [*conversation.said, *skills][-_MOST_LOADS:]

    def take_compaction(self, conversation: Conversation) -> None:
        """
        Take a compaction: a turn of 1.x whose prompt was too long goes on behind it.

        Its last step is completed with neither finish nor error, as after the user's
        interruption: only what follows tells them apart.
        """
        turn = conversation.turn
        if turn is not None and not (turn.last_finish or turn.last_error):
            turn.waits, turn.compacted = False, True

    def take_step(self, conversation: Conversation, step: Step) -> str:
        """Take a step that is over; return the skill of the run that it belongs to."""
        self._follow(conversation, step)
        if step.is_summary or step.is_note:
            return ""
        turn = conversation.turn
        if turn is not None and _answers_another(conversation, turn, step):
            self._close(conversation, turn, ended_by_message(turn) or ABANDONED)
        turn = conversation.turn or _begin(conversation, step)
        repeated = retries(turn, step, self._salt)
        for call in repeated:
            self._tally.add(c.TOOL_RETRIES, tool_of(call))
        for tool, attempts in note_changes(turn, step, self._salt):
            self._tally.observe(c.EDIT_TRIES, attempts, tool)
        run = self._run_of(turn, step)
        if run is not None:
            self._delegation.add_to_run(run.skill, work_of(step, len(repeated)))
        elif conversation.parent:
            turn.loose.absorb(work_of(step, len(repeated)))
        for call in step.calls:
            if call.child:
                self._delegation.started(conversation, call, run.skill if run else "")
        remember(turn, step)
        self._close(conversation, turn, ended_by_step(turn, step))
        return run.skill if run else ""

    def take_late(self, conversation: Conversation, skill: str, step: Step, more: Step) -> None:
        """
        Take the end of a step that had been given up.

        Args:
            conversation: Its conversation.
            skill: Of the run that it was in, if it was in one.
            step: The step as it ended.
            more: What it had not said before.
        """
        work = Work(more.tokens, more.cost)
        turn = conversation.turn
        if skill:
            self._delegation.add_to_run(skill, work)
        elif conversation.parent and turn is None:
            self._delegation.ended(conversation, step.created, work)
        elif conversation.parent and turn is not None:
            turn.loose.absorb(work)
        if turn is None:
            return
        for tool, attempts in note_changes(turn, more, self._salt):
            self._tally.observe(c.EDIT_TRIES, attempts, tool)
        if turn.last == step.message:
            remember(turn, step)
            self._close(conversation, turn, ended_by_step(turn, step))

    def decide(self, conversation: Conversation) -> None:
        """End a turn whose last step has been the last for a while."""
        if conversation.turn is not None and conversation.turn.waits:
            self._close(conversation, conversation.turn, outcome_of(conversation.turn))

    def take_idle(self, conversation: Conversation, idle: Remark) -> None:
        """
        Take the remark that a turn is over.

        OpenCode 2.0.15 says ``succeeded`` also after an answer that was cut off.
        """
        turn = conversation.turn
        if turn is None and conversation.asked:
            turn = conversation.turn = Turn(conversation.asked[-1].at, UNKNOWN)
            conversation.asked, conversation.said = [], []
        if turn is not None:
            cut = turn.last_finish in CUT and idle.outcome == SUCCEEDED
            outcome = idle.outcome or outcome_of(turn) or ABANDONED
            self._close(conversation, turn, FAILED if cut else outcome)

    def give_up(self, conversation: Conversation) -> None:
        """End what is open in a session in which nothing will happen any more."""
        if conversation.turn is not None:
            self._close(conversation, conversation.turn, ended_by_silence(conversation.turn))
        self._delegation.give_up(conversation)

    def _follow(self, conversation: Conversation, step: Step) -> None:
        """Count what a step says across turns: the next tool, and the next skill."""
        if not step.calls:
            return
        for skill in conversation.fresh:
            self._tally.add(c.SKILL_NEXT_TOOL, skill, tool_of(step.calls[0]))
        conversation.fresh = []
        for call in step.calls:
            if call.skill:
                self._loaded(conversation, step.created, call.skill)

    def _loaded(self, conversation: Conversation, at: int, skill: str) -> None:
        conversation.loads.append((at, skill))
        conversation.fresh.append(skill)
        if len(conversation.loads) > _MOST_LOADS:
            del conversation.loads[0]
        if len(conversation.fresh) > _MOST_LOADS:
            del conversation.fresh[0]

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
        took = lasted(run.begun, at)
        if took != NOT_MEASURED:
            self._tally.observe(c.SKILL_RUN_DURATION, took, run.skill)

    def _close(self, conversation: Conversation, turn: Turn, outcome: str) -> None:
        """End a turn; without an outcome it goes on."""
        if not outcome:
            return
        end = 0 if outcome == ABANDONED else turn.last_completed
        self._tally.add(c.TURNS, turn.agent, outcome)
        took = lasted(turn.start, end)
        if took != NOT_MEASURED:
            self._tally.observe(c.TURN_DURATION, took, turn.agent)
        if turn.run is not None:
            self._close_run(turn.run, end, outcome)
        for tool in abandoned_changes(turn):
            self._tally.add(c.EDIT_ABANDONED, tool)
        conversation.turn = None
        if conversation.parent:
            self._delegation.ended(conversation, turn.start, turn.loose)


def _answers_another(conversation: Conversation, turn: Turn, step: Step) -> bool:
    """Return whether a step names a human message that another turn than the open one answers."""
    return step.parent != turn.parent and any(
        one.message == step.parent for one in conversation.asked
    )


def _begin(conversation: Conversation, step: Step) -> Turn:
    """
    Open a turn; one without a human message begins with its first step.

    A step of 1.x names the message that it answers; else it is the last one.
    """
    place = next(
        (at for at, one in enumerate(conversation.asked) if one.message == step.parent), -1
    )
    asked = conversation.asked[place] if conversation.asked else Asked(step.parent, step.created)
    conversation.asked = conversation.asked[place + 1 :] if place >= 0 else []
    turn = Turn(asked.at, step.agent, parent=asked.message, said=conversation.said)
    conversation.turn, conversation.said = turn, []
    return turn


def transitions(conversation: Conversation) -> Iterator[tuple[int, str, str]]:
    """
    Yield which skill came after which, and when (ms), once all rows of a poll are in.

    In the order of time: a session that goes on in both generations comes table by table.
    """
    loads, conversation.loads = sorted(conversation.loads, key=lambda load: load[0]), []
    for at, skill in loads:
        if conversation.last_skill:
            yield at, conversation.last_skill, skill
        conversation.last_skill = skill
