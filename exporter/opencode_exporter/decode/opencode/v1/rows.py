"""
Decode v1: a message with its parts becomes invocations, and a step or a remark.

Pure.  What is odd in a part is set aside by itself; the others of its message count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from opencode_exporter.decode.opencode.v1.calls import (
    Call,
    call_of,
    may_be_typed,
    step_call,
    was_typed,
)
from opencode_exporter.decode.opencode.v1.endings import looks_typed
from opencode_exporter.decode.opencode.v1.invocations import PartRow, invocation
from opencode_exporter.decode.opencode.v1.shapes import MessageData, OddPart, Part, parse_message
from opencode_exporter.decode.opencode.v1.steps import MessageRow, agent_of, step_or_remark
from opencode_exporter.decode.values import Message, Unusable
from opencode_exporter.events import (
    NO_SESSION,
    Event,
    Invocation,
    Rejection,
    Remark,
    Session,
    Step,
    StepCall,
)


class FoundPart(NamedTuple):
    """A row of ``part``."""

    rowid: int
    id: str
    session: str
    created: int  # ms, as `updated`
    updated: int
    size: int  # bytes of its data
    part: Part


class ToldCall(NamedTuple):
    """What a row of ``part`` says by itself, and whether that may still change."""

    row: FoundPart
    events: list[Event]
    final: bool


class Told(NamedTuple):
    """What a message says with its parts."""

    itself: Step | Remark | Rejection
    ended: list[Invocation]
    calls: list[ToldCall]  # all others: those that are open, or odd


NOTHING: Final = MessageData()
"""What a message says that cannot be read."""

Given = tuple[MessageData, Unusable | None]
"""What the JSON of a message says, and why it cannot be used, if it cannot."""


def given_in(data: object) -> Given:
    """Return what the JSON of a message says; what is not bytes is none."""
    if not isinstance(data, bytes):
        return NOTHING, Unusable("shape")
    try:
        return parse_message(data), None
    except Unusable as err:
        return NOTHING, err


class Teller:
    """
    Tells what messages say, one after the other.

    Args:
        session_of: Returns a session by its id.
        now: Unix ms.
    """

    def __init__(self, session_of: Callable[[str], Session], now: int) -> None:
        self._session_of = session_of
        self._now = now
        self._session = self._where = NO_SESSION
        self._message = ""
        self._about = Message()

    def tell(
        self, row: MessageRow, given: Given, parts: Sequence[FoundPart], session: Session
    ) -> Told:
        """
        Return what a message says with its parts.

        Args:
            row: The message.
            given: What `given_in` returned of its JSON.
            parts: Its parts in their order; of one that is over and rests, those that bear on it.
            session: Its session; a part names one of its own.
        """
        data, problem = given
        said = [found.part for found in parts]
        if session is not self._session:  # rows come session by session
            self._session, self._where = session, session.kept()
        self._message, self._about = row.id, Message(agent_of(data), row.created)
        self._ended: list[Invocation] = []
        self._others: list[ToldCall] = []
        self._of_step: list[StepCall] = []
        for found in parts:
            part = found.part
            if part.type == "tool":
                if part.tool == "bash" and looks_typed(part.callID) and not _in_step(said):
                    self._take_outside(found)
                else:
                    self._take(found)
            elif type(part) is OddPart and part.problem:
                self._others.append(_set_aside(found, part.problem))
        itself = self._itself(row, data, problem, said)
        return Told(itself, self._ended, self._others)

    def _itself(
        self, row: MessageRow, data: MessageData, problem: Unusable | None, said: list[Part]
    ) -> Step | Remark | Rejection:
        if problem is None:
            try:
                return step_or_remark(
                    row, data, said, self._of_step, self._about.agent, self._where, self._now
                )
            except Unusable as err:
                problem = err
        return Rejection(row.id, problem.cause, problem.until)

    def _take(self, found: FoundPart) -> None:
        """Take a tool part."""
        call = call_of(found.part)
        self._of_step.append(step_call(call, self._session, self._now))
        if type(found.part) is OddPart and found.part.problem:
            self._others.append(_set_aside(found, found.part.problem))
        else:
            self._take_call(found, call)

    def _take_outside(self, found: FoundPart) -> None:
        """Take a tool part of a message in which no step has begun: the user may have typed it."""
        part = found.part
        if was_typed(part):
            self._others.append(ToldCall(found, [], final=True))
        elif may_be_typed(part) and not (type(part) is OddPart and part.problem):
            # Nothing says so while it runs.
            self._of_step.append(step_call(call_of(part), self._session, self._now))
            self._others.append(ToldCall(found, [], final=False))
        else:
            self._take(found)

    def _take_call(self, found: FoundPart, call: Call) -> None:
        session = self._session
        if found.session != session.id:
            session = self._session_of(found.session)
        row = PartRow(found.id, self._message, found.created)
        try:
            event = invocation(call, row, self._about, session, self._now)
        except Unusable as err:
            final = err.cause != "status"  # a word of the future may still end
            events: list[Event] = [Rejection(found.id, err.cause, err.until)]
            self._others.append(ToldCall(found, events, final))
            return
        if event.status is None:
            self._others.append(ToldCall(found, [event], final=False))
        else:
            self._ended.append(event)  # nearly all of them


def _in_step(parts: Sequence[Part]) -> bool:
    """Return whether a step of the model has begun in a message."""
    return any(part.type == "step-start" for part in parts)


def _set_aside(found: FoundPart, cause: str) -> ToldCall:
    return ToldCall(found, [Rejection(found.id, cause)], final=True)
