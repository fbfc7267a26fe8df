"""
A year of use, invented: steps and invocations in the proportions of a real history.

Knows nothing of rows, and of what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, Final

from opencode_exporter.decode.opencode.origins import V1
from opencode_exporter.events import (
    COMPLETED,
    ERROR,
    Invocation,
    Remark,
    Session,
    Step,
    StepCall,
    Tokens,
)

_YEAR_MS: Final = 365 * 86_400_000
_BEGAN_MS: Final = 1_760_000_000_000
_CALLS_A_SESSION: Final = 57
_CALLS_A_MESSAGE: Final = 1.5
_FORKED: Final = 0.02
"""Share of sessions that are forks, which copy half a session."""
_TOOLS: Final = ("read", "shell", "edit", "grep", "glob", "write", "webfetch", "subagent", "skill")


def invocations(calls: int, random: Random) -> Iterator[Invocation]:
    """Yield invocations without end, session by session, so many in a year; forks copy."""
    made = session = 0
    while True:
        began = _BEGAN_MS + _YEAR_MS * made // calls
        count = random.randint(2, 2 * _CALLS_A_SESSION)
        own = [*_session(f"ses_{session:08x}", began, count, random)]
        yield from own
        made += count
        session += 1
        if random.random() < _FORKED:
            yield from _fork(own[: count // 2], f"ses_{session:08x}")
            session += 1


def _session(session: str, began: int, calls: int, random: Random) -> Iterator[Invocation]:
    at, message = began, 0
    for call in range(calls):
        if random.random() < 1 / _CALLS_A_MESSAGE:
            message += 1
            at += random.randint(2_000, 60_000)
        took = random.randint(5, 20_000)
        tool = random.choice(_TOOLS)
        yield Invocation(
            session=session,
            message=f"msg_{session}_{message:04x}",
            call=f"call_{random.getrandbits(96):024x}",
            part=f"prt_{session}_{call:06x}",
            tool=tool,
            status=ERROR if random.random() < 0.05 else COMPLETED,
            started=at + 500,
            ended=at + 500 + took,
            duration=took,
            output_bytes=2_000,
            skill=f"skill-{random.randrange(30)}" if tool == "skill" else None,
            agent="build",
            project=f"project-{random.randrange(12)}",
            message_created=at,
        )


def _fork(own: list[Invocation], session: str) -> Iterator[Invocation]:
    """Yield the copies of a session's invocations in another one."""
    for event in own:
        yield Invocation(
            session=session,
            message=f"{event.message}_f",
            call=event.call,
            part=f"{event.part}_f",
            tool=event.tool,
            status=event.status,
            started=event.started,
            ended=event.ended,
            duration=event.duration,
            suspect=True,
            message_created=event.message_created,
        )


class Messages:
    """The messages that hold the invocations, and those of the user between them."""

    def __init__(self) -> None:
        self._calls: list[Invocation] = []

    def of(self, events: Iterable[Invocation]) -> Iterator[Step | Remark]:
        """Yield the rows that are whole; the last one waits for more calls."""
        for event in events:
            if self._calls and event.message != self._calls[0].message:
                yield from _rows(self._calls)
                self._calls = []
            self._calls.append(event)


def _rows(calls: list[Invocation]) -> Iterator[Step | Remark]:
    """Yield a step, and before every some of them what the user says."""
    first, last = calls[0], calls[-1]
    head: dict[str, Any] = {"session": first.session, "table": "message", "origin": V1}
    head["suspect"] = first.suspect
    where = Session(first.session, first.project, 0)
    at = first.message_created
    if first.message[-1:] in "08":
        said = f"{first.message}u"
        yield Remark(**head, message=said, created=at - 1, kind="human", role="user", where=where)
    yield Step(
        **head,
        message=first.message,
        created=at,
        is_over=True,
        completed=last.ended,
        agent="build",
        provider="acme",
        model=f"model-{len(calls) % 4}",
        finish="tool-calls",
        tokens=Tokens(3_000, 800, 0, 40_000, 1_000),
        cost=10**8,
        calls=tuple(
            StepCall(call.tool, call.status, skill=call.skill or "", targets=(call.started,))
            for call in calls
        ),
        where=where,
        tells_end=True,
    )
