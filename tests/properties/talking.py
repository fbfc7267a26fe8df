"""
Sessions made up at random, as the independent computation has them and as events.

Realistic in what real sources guarantee: rows of a session follow each other, a
sub-agent works while the call that started it runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from hypothesis import strategies as st

from contract.oracle.model import Call, Row, Session
from contract.oracle.runs import targets
from opencode_exporter.bits import hashed
from opencode_exporter.events import Remark, Step, StepCall, Tokens
from opencode_exporter.events import Session as Where

IMPORTED = "v2 of v1"
"""Rows of 1.x as 2.x has imported them: never streamed, and no ``idle``."""
BEGIN_MS = 1_790_000_000_000
_TOOLS = st.sampled_from(["edit", "write", "patch", "read", "shell", "webfetch", "grep"])
_SKILLS = st.sampled_from(["alpha", "beta", "gamma"])
_STATUSES = st.sampled_from(["completed", "completed", "error", "denied", "aborted", "abandoned"])
_FINISHES = st.sampled_from(
    ["stop", "stop", "tool-calls", "tool-calls", "length", "unknown", "other", "error", "", ""]
)
_ERRORS = st.sampled_from(["", "", "", "", "APIError", "MessageAbortedError", "aborted"])
_FILES = st.sampled_from(["a.py", "b.py", "/w/a.py"])


class World:
    """A tree of sessions as it grows: names and times come from here."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.sessions: list[Session] = []
        self._now = BEGIN_MS
        self._number = 0

    def name(self, kind: str) -> str:
        """Return an id that is new."""
        self._number += 1
        return f"{kind}_{self._number}"

    def tick(self) -> int:
        """Return a later time, ms."""
        self._now += self.draw(st.sampled_from([1, 40, 1700]))
        return self._now

    def session(self, generation: str, parent: str = "", depth: int = 0) -> Session:
        """Make a session with some rows, and those of its sub-agents."""
        made = Session(self.name("ses"), self.tick(), "proj", "/w", parent)
        self.sessions.append(made)
        for order in range(self.draw(st.integers(1, 6 if depth == 0 else 3))):
            made.rows.append(self._row(made, generation, order, depth))
        return made

    def _row(self, session: Session, generation: str, order: int, depth: int) -> Row:
        last = {"v1": ["note"], "v2": ["idle"], IMPORTED: []}[generation]
        kinds = ["step", "step", "step", "human", *last]
        # 1.x never goes on after an error; of its imported rows nothing else says so.
        stops = generation == IMPORTED and bool(made := session.rows) and made[-1].error
        kind = "human" if order == 0 or stops else self.draw(st.sampled_from(kinds))
        row = Row(kind, self.name("msg"), self.tick(), order, generation[:2])
        if kind == "human":
            row.role = "user"
            if generation == "v2":
                row.skills = tuple(self.draw(st.lists(_SKILLS, max_size=2)))
        elif kind == "idle":
            row.outcome = self.draw(st.sampled_from(["succeeded", "failed", "interrupted"]))
        elif kind == "note":
            row.role, row.compaction = "user", self.draw(st.sampled_from(["", "auto"]))
        else:
            self._fill(session, row, generation, depth)
        return row

    def _fill(self, session: Session, row: Row, generation: str, depth: int) -> None:
        draw = self.draw
        row.role, row.agent = "assistant", draw(st.sampled_from(["build", "plan"]))
        row.provider, row.model = "acme", draw(st.sampled_from(["one", "two"]))
        for _ in range(draw(st.integers(0, 3))):
            row.calls.append(self._call(session, row, generation, depth))
        row.error = draw(_ERRORS)
        row.finish = draw(_FINISHES)
        if generation == IMPORTED and not row.finish:
            # One that was cut off looks like one of 2.x whose process died.
            row.finish = "unknown"
        row.tokens = {"input": draw(st.integers(0, 9)), "output": draw(st.integers(0, 9))}
        row.cost = draw(st.integers(0, 3)) / 100
        row.summary = row.generation == "v1" and draw(st.integers(0, 9)) == 0
        if row.finish or row.error or draw(st.booleans()):
            row.completed = self.tick()
        if row.generation == "v1":
            row.parent = self._answered(session)
        # A step of 2.x without an error was streamed; none that was imported ever was.
        if generation == "v2" and (not row.error or draw(st.booleans())):
            row.streamed = row.completed or self.tick()

    def _answered(self, session: Session) -> str:
        """Return which human message a step names: nearly always the last one."""
        humans = [row.message for row in session.rows if row.kind == "human"]
        return humans[-1 if self.draw(st.integers(0, 5)) else 0]

    def _call(self, session: Session, row: Row, generation: str, depth: int) -> Call:
        draw = self.draw
        kind = draw(st.sampled_from(["tool", "tool", "skill", "child"]))
        status = draw(_STATUSES)
        started = self.tick()
        call = Call(session.id, row.message, self.name("call"), "read", status, started=started)
        if kind == "skill":
            call.tool, call.skill = "skill", draw(_SKILLS)
            call.given = {"id": call.skill}
        elif kind == "child" and depth < 2:
            call.tool = "subagent"
            call.child = self.session(generation, session.id, depth + 1).id
        else:
            call.tool = draw(_TOOLS)
            self._aim(call)
        call.own = draw(st.integers(0, 4)) > 0
        call.refused = status == "denied" and draw(st.booleans())
        call.ended = None if status == "abandoned" else self.tick()
        return call

    def _aim(self, call: Call) -> None:
        name = self.draw(_FILES)
        if call.tool == "shell":
            call.given = {"command": name}
            call.meta = {"exit": self.draw(st.sampled_from([0, 1]))}
        elif call.tool == "webfetch":
            call.given = {"url": name}
        elif call.tool == "patch":
            call.given = {"patchText": f"*** Update File: {name}\n*** Update File: c.py\n"}
        else:
            call.given = {"filePath": name}


@st.composite
def worlds(draw: st.DrawFn) -> list[Session]:
    """Draw some trees of sessions, of one generation each."""
    world = World(draw)
    for _ in range(draw(st.integers(1, 2))):
        world.session(draw(st.sampled_from(["v1", "v2", IMPORTED])))
    return world.sessions


def event_of(session: Session, row: Row) -> Step | Remark:
    """Return the event of a row that is over."""
    where = Where(session.id, session.project, session.created, session.parent)
    is_first = row.generation == "v1"
    origin = ("message", 1) if is_first else ("session_message", 2)
    head = (session.id, row.message, *origin, row.created)
    if row.kind != "step":
        return Remark(
            *head,
            row.kind,
            role=row.role,
            outcome=row.outcome,
            skills=row.skills,
            compaction=row.compaction,
            where=where,
        )
    return Step(
        *head,
        is_over=True,
        completed=row.completed or 0,
        streamed=row.streamed or 0,
        agent=row.agent,
        provider=row.provider,
        model=row.model,
        finish=row.finish,
        error=row.error,
        tokens=Tokens(**row.tokens),
        cost=round(row.cost * 10**10),
        calls=tuple(_call_of(call, session.directory) for call in row.calls),
        is_summary=row.summary,
        where=where,
        parent=row.parent,
        tells_end=is_first
        or bool(row.completed and row.finish and not row.streamed and not row.error),
        is_unfinished=not (is_first or row.finish or row.error),
    )


def _call_of(call: Call, directory: str) -> StepCall:
    return StepCall(
        call.tool,
        call.status,
        skill=call.skill if call.loads else "",
        started=call.started or 0,
        ended=call.ended or 0,
        failed=call.failed,
        refused=call.refused,
        targets=tuple(hashed(one) for one in targets(call, directory)),
        child=call.child,
        own=call.own,
    )


def in_order(sessions: list[Session], *, by_end: bool) -> Iterator[Step | Remark]:
    """
    Yield all rows in an order in which an exporter may meet them.

    Args:
        sessions: The sessions.
        by_end: As they begin and end, while everything goes on; else as they lie on
            the disk afterwards.
    """
    rows = [(session, row) for session in sessions for row in session.rows]
    found: list[tuple[int, Step | Remark]] = []
    for session, row in rows:
        event = event_of(session, row)
        if not by_end or isinstance(event, Remark):
            found.append((row.created, event))
            continue
        half = event.calls[: len(event.calls) // 2]
        begun = msgspec.structs.replace(event, is_over=False, completed=0, calls=half)
        ends = [row.created, row.completed or 0, *(call.ended or 0 for call in row.calls)]
        found += [(row.created, begun), (max(ends), event)]
    for _, event in sorted(found, key=lambda pair: pair[0]):
        yield event
