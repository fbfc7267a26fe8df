"""
Delegation: the work of sub-agents, and to whose skill run it belongs.

A sub-agent's turn belongs to the call that started it, also when it goes on after the
call has ended.  Until the call's own step is over nobody knows the run around it: the
work is held until then, or until the session has been silent too long.  Work inside a
run of the sub-agent stays there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from opencode_exporter import catalog as c
from opencode_exporter.catalog.vocabulary import AGENT_TOOL, DEEPEST
from opencode_exporter.counting.tally import Tally, tool_of
from opencode_exporter.counting.turns.state import Call, Conversation, Held, Work
from opencode_exporter.events import ABANDONED, Step, StepCall

_MOST_HELD: Final = 100
"""Turns of one sub-agent that wait for their call; beyond, the oldest wait no longer."""


def work_of(step: Step, retries: int) -> Work:
    """Return the tokens, cost, calls and retries of a step."""
    calls: Counter[tuple[str, str]] = Counter()
    for call in step.calls:
        calls[tool_of(call), call.status or ABANDONED] += 1
        calls.update(call.inner)
    counts = [(*name, count) for name, count in calls.items()]
    return Work(step.tokens, step.cost, counts, retries)


class Delegation:
    """
    Brings work to the runs it belongs to.

    Args:
        look_up: Returns the conversation of a session.
        tally: Where it is counted.
    """

    def __init__(self, look_up: Callable[[str], Conversation], tally: Tally) -> None:
        self._look_up = look_up
        self._tally = tally

    def add_to_run(self, skill: str, work: Work) -> None:
        """Count work inside a run of a skill."""
        for kind, used in work.tokens.by_type():
            if used:
                self._tally.add(c.SKILL_RUN_TOKENS, skill, kind, value=used)
        if work.cost:
            self._tally.add(c.SKILL_RUN_COST, skill, value=work.cost)
        for tool, status, count in work.calls:
            self._tally.add(c.SKILL_RUN_INVOCATIONS, skill, tool, status, value=count)
        if work.retries:
            self._tally.add(c.SKILL_RUN_RETRIES, skill, value=work.retries)

    def started(self, conversation: Conversation, call: StepCall, skill: str) -> None:
        """Note which call started a sub-agent, and bring home what it did meanwhile."""
        child = self._look_up(call.child)
        child.parent = child.parent or conversation.id
        before = child.caller
        child.caller = Call(
            call.started, call.ended, skill, bool(conversation.parent) and not skill
        )
        held, child.held = child.held, []
        for turn in held:
            earlier = before is not None and turn.start < call.started
            self._bring(child, before if before and earlier else child.caller, turn)

    def ended(self, child: Conversation, start: int, work: Work) -> None:
        """Bring a sub-agent's turn home, or hold it until its call is known."""
        caller, turn = child.caller, Held(start, work)
        if caller is not None and not self._is_asked_again(child):
            self._bring(child, caller, turn)
            return
        child.held.append(turn)
        if len(child.held) > _MOST_HELD:
            self._bring(child, caller, child.held.pop(0))

    def _is_asked_again(self, child: Conversation) -> bool:
        """Return whether a call whose step is not over may be what started the child's turn."""
        return any(
            call.tool == AGENT_TOOL and call.child in ("", child.id)
            for step in self._look_up(child.parent).queue
            if isinstance(step, Step)
            for call in step.calls
        )

    def give_up(self, child: Conversation) -> None:
        """Wait no longer for the calls that started a sub-agent's turns."""
        held, child.held = child.held, []
        for turn in held:
            self._bring(child, child.caller, turn)

    def _bring(self, child: Conversation, caller: Call | None, turn: Held, depth: int = 1) -> None:
        if caller is None:
            if depth == 1:  # further up, that turn has been counted itself
                self._tally.add(c.UNATTRIBUTED)
        elif caller.skill:
            self.add_to_run(caller.skill, turn.work)
        elif caller.inside and depth < DEEPEST:
            above = self._look_up(child.parent)
            if above.turn is not None:
                above.turn.loose.absorb(turn.work)
            else:
                self._bring(above, above.caller, turn, depth + 1)
