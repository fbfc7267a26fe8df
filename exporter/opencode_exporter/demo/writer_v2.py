"""
Writes work into a database of OpenCode 2.0.15: ``session_v2``, ``session_message``.

An assistant row holds a whole step and is written again at every change, each
time in a transaction of its own, unless `WriterV2.partial` is off: then only its
last state is.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from opencode_exporter.demo import shapes_v2 as shapes
from opencode_exporter.demo.ids import Ids
from opencode_exporter.demo.plan import Call, Fault, Project, Step, Turn, Work
from opencode_exporter.demo.rows import CallRow, Put, Session, StepRow, Tally, price, text

VERSION: Final = "2.0.15"


class WriterV2:
    """
    Gives planned work the shape of OpenCode 2.x; `WriterV1` documents the methods.

    Args:
        put: Writes a row.
        rng: For ids.
    """

    def __init__(self, put: Put, rng: Random) -> None:
        self._put = put
        self.ids = Ids(rng)
        self.partial = True
        self.issued = Tally()

    def project(self, project: Project, now: int) -> None:
        """Write a project and its worktree."""
        self._put("project", (project.id, project.worktree, "git", now, now, "[]"))
        self._put("worktree", (project.id, project.worktree, now))

    def open(self, work: Work, now: int) -> Session:
        """Write a new session."""
        session = Session(self.ids.session(now), work.project, work.title, work.slug, now)
        session.snapshot = self.ids.digest()
        session.kept = {} if work.forked else None
        self._session(session, now)
        return session

    def child(self, parent: Session, call: Call, turn: Turn, now: int) -> Session:
        """Write the session of a sub-agent."""
        title = call.input["description"]
        session = Session(self.ids.session(now), parent.project, title, parent.slug, now)
        session.parent, session.snapshot, session.agent = parent.id, parent.snapshot, turn.agent
        session.model = turn.model
        self._session(session, now)
        return session

    def prompt(self, session: Session, turn: Turn, now: int) -> None:
        """Write what the user asked; first of all, mend what a killed process left."""
        self._mend(session, now)
        session.model, session.prompt = turn.model, self.ids.ascending("msg", now)
        said = turn.prompt
        if session.parent is not None:
            said = f"You are a subagent spawned by another session.\n{said}"
        data: dict[str, Any] = {"time": {"created": now}, "text": said}
        kind = "user"
        if turn.invoked is not None:
            name, slash = turn.invoked
            body = f"Steps of {name}."
            if slash:
                kind = "skill"
                data = {"time": {"created": now}, "skill": name, "name": name, "text": body}
            else:
                loaded = {"id": name, "name": name, "text": shapes.skill_text(name, body)}
                data["skills"] = [loaded]
        elif session.parent is None:
            data["files"] = []
        row = (session.prompt, session.id, kind, self._next(session, 1), now, now, text(data))
        self._keep(session, row)

    def begin(self, session: Session, turn: Turn, step: Step, now: int) -> StepRow:
        """Write the row of a step that has just been asked for."""
        key, sequence = self.ids.ascending("msg", now), self._next(session, 3)
        row = StepRow(key, session, turn, step, now, sequence, session.prompt, session.snapshot)
        self._changed(row, now)
        return row

    def speak(self, row: StepRow, now: int) -> None:
        """Write what the model says before it calls tools."""
        row.spoken = True
        if row.step.text or row.step.reasoning:
            self._changed(row, now)

    def call(self, row: StepRow, call: Call, call_id: str, now: int) -> CallRow:
        """Write a call whose arguments arrive."""
        made = CallRow(call, call_id, "", now)
        row.calls.append(made)
        self._changed(row, now)
        return made

    def run(self, row: StepRow, made: CallRow, now: int) -> None:
        """Write that a call runs."""
        made.status, made.ran = "running", now
        if all(other.ran for other in row.calls) and len(row.calls) == len(row.step.calls):
            row.streamed = now
        self._changed(row, now)

    def progress(self, row: StepRow, made: CallRow, share: float, now: int) -> None:
        """Do nothing: 2.x keeps a command's output elsewhere until it has ended."""

    def end(self, row: StepRow, made: CallRow, now: int) -> None:
        """Write a call's last state."""
        made.ended, made.status = now, shapes.status_of(made.call)
        self._count(made)
        self._changed(row, now)

    def kill(self, row: StepRow, now: int) -> None:
        """Leave a step as a killed process does, until its session is continued."""
        row.session.left = row
        self._assistant(row, now)

    def finish(self, row: StepRow, now: int) -> None:
        """Write the end of a step: what it used, how it went."""
        row.completed = now
        stopped = any(made.call.fault in {Fault.INTERRUPTED, Fault.DECLINED} for made in row.calls)
        row.finish = "tool-calls" if row.calls else "stop"
        if stopped:
            row.finish, row.error = "error", {"type": "aborted", "message": "Step interrupted"}
        elif row.step.refused:
            message = {"type": "provider.invalid-request", "message": "Overloaded", "status": 529}
            row.finish, row.error = "error", message
        else:
            row.streamed = row.streamed or now
        if not row.step.refused:
            self._account(row)
        self._assistant(row, now)
        self._session(row.session, now)

    def idle(self, session: Session, outcome: str, now: int) -> None:
        """Write that a turn is over."""
        session.idle = (now, outcome)
        data = {"time": {"created": now}, "outcome": outcome}
        key = self.ids.ascending("msg", now)
        session.boundary = key
        self._keep(session, (key, session.id, "idle", self._next(session, 4), now, now, text(data)))
        self._session(session, now)

    def fork(self, origin: Session, now: int) -> Session:
        """Copy a session: the same rows under ids that end in their sequence numbers."""
        title = f"{origin.title} (fork #1)"
        session = Session(self.ids.session(now), origin.project, title, origin.slug, now)
        rows = [values for _, values in (origin.kept or {}).values()]
        session.origin, session.snapshot = origin.id, origin.snapshot
        session.boundary = text({"type": "through", "messageID": rows[-1][0]}) if rows else None
        session.sequence, session.model = origin.sequence, origin.model
        self._session(session, now)
        stem = self.ids.ascending("msg", now)
        for _, _, kind, sequence, created, _, data in rows:
            key = f"{stem}_{sequence}"
            self._put("session_message", (key, session.id, kind, sequence, created, now, data))
        return session

    def _mend(self, session: Session, now: int) -> None:
        row, session.left = session.left, None
        if row is None:
            return
        row.completed = now
        for made in row.calls:
            if not made.ended:
                made.ended, made.status = now, "error"
                self._count(made)
        self._assistant(row, now)

    def _count(self, made: CallRow) -> None:
        self.issued.count(made.call, shapes.name_of(made.call), made.status)

    def _account(self, row: StepRow) -> None:
        session, used = row.session, row.step.tokens
        parts = (used.input, used.output, used.reasoning, used.cache_read, used.cache_write)
        session.cost += price(row.step, row.turn.model)
        session.tokens = [a + b for a, b in zip(session.tokens, parts, strict=True)]

    def _next(self, session: Session, steps: int) -> int:
        """Return the number of a new row; every change takes one, so that they have gaps."""
        session.sequence += steps
        return session.sequence

    def _changed(self, row: StepRow, now: int) -> None:
        row.session.sequence += 1
        if self.partial:
            self._assistant(row, now)

    def _assistant(self, row: StepRow, now: int) -> None:
        model, step = row.turn.model, row.step
        time = {"created": row.created}
        if row.streamed:
            time["streamed"] = row.streamed
        if row.completed:
            time["completed"] = row.completed
        said = (("reasoning", step.reasoning), ("text", step.text)) if row.spoken else ()
        content = [{"type": kind, "text": words} for kind, words in said if words]
        snapshot: dict[str, Any] = {"start": row.snapshot}
        data: dict[str, Any] = {
            "time": time,
            "agent": row.turn.agent,
            "model": {"id": model.name, "providerID": model.provider, "variant": "default"},
            "content": content + [shapes.item(made) for made in row.calls],
            "snapshot": snapshot,
        }
        if row.finish:
            snapshot.update(end=row.snapshot, files=[])
            data["finish"] = row.finish
            if not step.refused:
                data["rawFinish"] = "tool_calls" if row.calls else "stop"
                data["cost"] = price(step, model)
                data["tokens"] = _tokens(step)
        if row.error:
            data["error"] = row.error
        values = (row.id, row.session.id, "assistant", row.sequence, row.created, now, text(data))
        self._keep(row.session, values)

    def _session(self, session: Session, now: int) -> None:
        model = session.model
        chosen = model and text({"id": model.name, "providerID": model.provider})
        self._put(
            "session_v2",
            (
                session.id,
                session.project.id,
                session.parent,
                session.origin,
                session.boundary if session.origin else None,
                session.slug,
                session.project.worktree,
                "",
                session.title,
                VERSION,
                session.cost,
                *session.tokens,
                session.agent,
                chosen,
                session.created,
                now,
                *(session.idle or (None, None)),
            ),
        )

    def _keep(self, session: Session, values: tuple[Any, ...]) -> None:
        if session.kept is not None:
            session.kept[values[0]] = ("session_message", values)
        self._put("session_message", values)


def _tokens(step: Step) -> dict[str, Any]:
    used = step.tokens
    return {
        "input": used.input,
        "output": used.output,
        "reasoning": used.reasoning,
        "cache": {"read": used.cache_read, "write": used.cache_write},
    }
