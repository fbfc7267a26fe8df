"""
Writes work into a database of OpenCode 1.18.33: ``session``, ``message``, ``part``.

Rows are written again and again as they grow, each time in a transaction of
their own, unless `Writer.partial` is off: then only their last state is.  Does
not write ``event``, the journal that 1.17 and later keep beside them.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from opencode_exporter.demo import shapes_v1 as shapes
from opencode_exporter.demo.ids import Ids
from opencode_exporter.demo.plan import Call, Fault, Project, Step, Turn, Work
from opencode_exporter.demo.rows import CallRow, Put, Session, StepRow, Tally, price, text

VERSION: Final = "1.18.33"


class WriterV1:
    """
    Gives planned work the shape of OpenCode 1.x.

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
        """Write a project and its directory."""
        self._put("project", (project.id, project.worktree, "git", now, now, "[]"))
        self._put("project_directory", (project.id, project.worktree, now))

    def open(self, work: Work, now: int) -> Session:
        """Write a new session."""
        session = Session(self.ids.session(now), work.project, work.title, work.slug, now)
        session.snapshot = self.ids.digest()
        session.kept = {} if work.forked else None
        self._session(session, now)
        return session

    def child(self, parent: Session, call: Call, turn: Turn, now: int) -> Session:
        """Write the session of a sub-agent."""
        title = f"{call.input['description']} (@{turn.agent} subagent)"
        session = Session(self.ids.session(now), parent.project, title, parent.slug, now)
        session.parent, session.snapshot = parent.id, parent.snapshot
        self._session(session, now)
        return session

    def prompt(self, session: Session, turn: Turn, now: int) -> None:
        """Write the message that opens a turn."""
        session.agent, session.model = turn.agent, turn.model
        session.prompt = self.ids.ascending("msg", now)
        data = {
            "role": "user",
            "time": {"created": now},
            "agent": turn.agent,
            "model": {"providerID": turn.model.provider, "modelID": turn.model.name},
            "summary": {"diffs": list[str]()},
        }
        self._keep(session, "message", (session.prompt, session.id, now, now, text(data)))
        part = {"type": "text", "text": turn.prompt}
        self._part(session, session.prompt, self.ids.ascending("prt", now), now, now, part)

    def begin(self, session: Session, turn: Turn, step: Step, now: int) -> StepRow:
        """Write the message of a step that has just been asked for."""
        key = self.ids.ascending("msg", now)
        row = StepRow(key, session, turn, step, now, 0, session.prompt, session.snapshot)
        if self.partial:
            self._message(row, now)
        return row

    def speak(self, row: StepRow, now: int) -> None:
        """Write what the model says before it calls tools."""
        row.spoken = True
        self._add(row, {"snapshot": row.snapshot, "type": "step-start"}, row.created, row.created)
        for kind, said in (("reasoning", row.step.reasoning), ("text", row.step.text)):
            if said:
                part = {"type": kind, "text": said, "time": {"start": row.created, "end": now}}
                self._add(row, part, row.created, now)

    def call(self, row: StepRow, call: Call, call_id: str, now: int) -> CallRow:
        """Write a call whose arguments arrive."""
        made = CallRow(call, call_id, self.ids.ascending("prt", now), now, status="pending")
        row.calls.append(made)
        if self.partial:
            self._tool(row, made, shapes.pending(), now)
        return made

    def run(self, row: StepRow, made: CallRow, now: int) -> None:
        """Write that a call runs."""
        made.status, made.ran = "running", now
        if self.partial:
            self._tool(row, made, shapes.running(made.call, now, None, made.child), now)

    def progress(self, row: StepRow, made: CallRow, share: float, now: int) -> None:
        """Write a command's row again, with the output so far."""
        output = made.call.output[: int(len(made.call.output) * share)]
        self._tool(row, made, shapes.running(made.call, made.ran, output), now)

    def end(self, row: StepRow, made: CallRow, now: int) -> None:
        """Write a call's last state."""
        made.ended = now
        state = shapes.ended(made.call, made.ran, now, origin=row.session.id, child=made.child)
        made.status = state["status"]
        self._tool(row, made, state, now)
        self.issued.count(made.call, shapes.name_of(made.call), made.status)
        if made.call.tool == "todowrite" and made.status == "completed":
            for position, todo in enumerate(made.call.input["todos"]):
                rest = (todo["content"], todo["status"], todo["priority"])
                self._put("todo", (row.session.id, position, *rest, now, now))

    def kill(self, row: StepRow, now: int) -> None:
        """Leave a step as a killed process does: calls that run for ever, no end."""
        self._message(row, now)
        for made in row.calls:
            if not made.ended:
                output = "" if made.call.tool == "shell" else None
                state = shapes.running(made.call, made.ran, output, made.child)
                self._tool(row, made, state, now)

    def finish(self, row: StepRow, now: int) -> None:
        """Write the end of a step: what it used, what it changed."""
        row.completed = now
        interrupted = any(made.call.fault is Fault.INTERRUPTED for made in row.calls)
        if interrupted or row.step.refused:
            row.error = _aborted() if interrupted else _refused()
        else:
            row.finish = "tool-calls" if row.calls else "stop"
            self._account(row, now)
        self._message(row, now)
        self._session(row.session, now)

    def idle(self, session: Session, outcome: str, now: int) -> None:
        """Write that a turn is over: 1.x does not."""

    def fork(self, origin: Session, now: int) -> Session:
        """Copy a session with all its messages and parts, under new ids."""
        title = f"{origin.title} (fork #1)"
        session = Session(self.ids.session(now), origin.project, title, origin.slug, now)
        session.snapshot, session.prompt = origin.snapshot, origin.prompt
        self._session(session, now)
        renamed: dict[str, str] = {}
        for table, values in (origin.kept or {}).values():
            if table == "message":
                key, _, created, _, data = values
                renamed[key] = self.ids.ascending("msg", now)
                for old, new in renamed.items():
                    data = data.replace(f'"parentID":"{old}"', f'"parentID":"{new}"')
                self._put(table, (renamed[key], session.id, created, now, data))
        for table, values in (origin.kept or {}).values():
            if table == "part":
                key = self.ids.ascending("prt", now)
                message = renamed[values[1]]
                self._put(table, (key, message, session.id, now, now, values[-1]))
        return session

    def _account(self, row: StepRow, now: int) -> None:
        session = row.session
        cost = price(row.step, row.turn.model)
        used = row.step.tokens
        session.cost += cost
        parts = (used.input, used.output, used.reasoning, used.cache_read, used.cache_write)
        session.tokens = [a + b for a, b in zip(session.tokens, parts, strict=True)]
        part = {
            "reason": row.finish,
            "snapshot": row.snapshot,
            "type": "step-finish",
            "tokens": _tokens(row),
            "cost": cost,
        }
        self._add(row, part, now, now)
        changed = [
            path for made in row.calls if made.status == "completed" for path in _changed(made.call)
        ]
        if changed:
            self._add(row, {"type": "patch", "hash": row.snapshot, "files": changed}, now, now)
            session.snapshot = self.ids.digest()

    def _message(self, row: StepRow, now: int) -> None:
        worktree, model = row.session.project.worktree, row.turn.model
        time = {"created": row.created}
        if row.completed:
            time["completed"] = row.completed
        data: dict[str, Any] = {
            "parentID": row.prompt,
            "role": "assistant",
            "mode": row.turn.agent,
            "agent": row.turn.agent,
            "path": {"cwd": worktree, "root": worktree},
            "cost": price(row.step, model) if row.finish else 0,
            "tokens": _tokens(row) if row.finish else _no_tokens(),
            "modelID": model.name,
            "providerID": model.provider,
            "time": time,
        }
        if row.finish:
            data["finish"] = row.finish
        if row.error:
            data["error"] = row.error
        self._keep(row.session, "message", (row.id, row.session.id, row.created, now, text(data)))

    def _tool(self, row: StepRow, made: CallRow, state: dict[str, Any], now: int) -> None:
        data = shapes.part(made.call, made.id, state)
        if not made.ended and made.status == "pending":
            data["tool"] = shapes.name_of(made.call)
        self._part(row.session, row.id, made.row, made.created, now, data)

    def _add(self, row: StepRow, data: dict[str, Any], created: int, now: int) -> None:
        key = self.ids.ascending("prt", created)
        self._part(row.session, row.id, key, created, now, data)

    def _part(
        self, session: Session, message: str, key: str, created: int, now: int, data: dict[str, Any]
    ) -> None:
        self._keep(session, "part", (key, message, session.id, created, now, text(data)))

    def _session(self, session: Session, now: int) -> None:
        model = session.model
        chosen = model and text({"id": model.name, "providerID": model.provider})
        self._put(
            "session",
            (
                session.id,
                session.project.id,
                session.parent,
                session.slug,
                session.project.worktree,
                "",
                session.title,
                VERSION,
                *(0, 0, 0),
                session.cost,
                *session.tokens,
                session.agent,
                chosen,
                session.created,
                now,
            ),
        )

    def _keep(self, session: Session, table: str, values: tuple[Any, ...]) -> None:
        if session.kept is not None:
            session.kept[values[0]] = (table, values)
        self._put(table, values)


def _changed(call: Call) -> list[str]:
    match call.tool:
        case "edit" | "write":
            return [call.input["path"]]
        case "patch":
            return [each["path"] for each in call.facts["files"]]
    return []


def _tokens(row: StepRow) -> dict[str, Any]:
    used = row.step.tokens
    parts = (used.input, used.output, used.reasoning, used.cache_read, used.cache_write)
    return {
        "total": sum(parts),
        "input": used.input,
        "output": used.output,
        "reasoning": used.reasoning,
        "cache": {"write": used.cache_write, "read": used.cache_read},
    }


def _no_tokens() -> dict[str, Any]:
    return {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}


def _aborted() -> dict[str, Any]:
    return {"name": "MessageAbortedError", "data": {"message": "The operation was aborted."}}


def _refused() -> dict[str, Any]:
    return {
        "name": "APIError",
        "data": {"message": "Overloaded", "statusCode": 529, "isRetryable": False},
    }
