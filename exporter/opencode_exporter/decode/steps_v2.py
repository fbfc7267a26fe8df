"""
Decode steps of v2: a row of ``session_message`` becomes a step of the model or a remark.

Pure.  Knows what the fields of OpenCode 2.x mean for turns; the invocations of a row
are decoded elsewhere, and given.
"""

from __future__ import annotations

import msgspec

from opencode_exporter import classify
from opencode_exporter.decode.details import Asked, Recorded, amount, file_changes, targets
from opencode_exporter.decode.shape_v2 import Data, MessageTimes, Model, Row, State
from opencode_exporter.decode.usage import cost_of, moment_or_none, tokens_of
from opencode_exporter.decode.values import mapping, text_or, whole
from opencode_exporter.events import (
    ABANDONED,
    COMPLETED,
    DENIED,
    ERROR,
    UNKNOWN,
    Invocation,
    Remark,
    Session,
    Step,
    StepCall,
)

_COMPACTION = "compaction"
"""A type of rows; and the agent of 1.x that does the same."""


def step_call(
    state: State, call: Invocation, asked: Asked, inner: list[Invocation], session: Session
) -> StepCall:
    """
    Return a call as its step shows it.

    Args:
        state: Its JSON.
        call: Its invocation.
        asked: Its input.
        inner: The calls inside it.
        session: Its session.
    """
    meta = state.metadata or Recorded()
    told = state.error.message if state.error is not None else ""
    return StepCall(
        tool=call.tool,
        status=call.status,
        vouched=call.vouched,
        skill=(call.skill or "") if call.status == COMPLETED else "",
        started=call.started,
        ended=call.ended,
        failed=call.status == ERROR or (type(meta.exit) is int and meta.exit != 0),
        refused=call.status == DENIED and classify.is_refusal(told),
        targets=targets(call.tool, asked, meta, session.directory),
        child=call.child,
        files=file_changes(call.tool, call.status, asked, meta, state.text, session),
        inner=tuple((one.tool, one.status or ERROR) for one in inner),
    )


def step(row: Row, data: Data, calls: list[StepCall], session: Session, now: int) -> Step:
    """Return the step of the model that a row of the type ``assistant`` is."""
    times, model = data.time or MessageTimes(), data.model or Model()
    return Step(
        session=session.id,
        message=row.id,
        generation="v2",
        created=moment_or_none(row.created, now),
        is_over=times.completed is not None,
        completed=moment_or_none(times.completed, now),
        streamed=moment_or_none(times.streamed, now),
        agent=text_or(whole(data.agent), UNKNOWN),
        provider=text_or(model.providerID, UNKNOWN),
        model=text_or(model.id, UNKNOWN),
        finish=text_or(data.finish, ""),
        error=_error(data.error),
        tokens=tokens_of(data.tokens),
        cost=cost_of(data.cost),
        retries=amount(mapping(data.retry).get("attempt")),
        calls=tuple(calls),
        where=session.kept(),
        suspect=row.created < session.created,
    )


def _error(value: object) -> str:
    """Return the name of an error, nothing where there is none."""
    return text_or(whole(mapping(value).get("type")), UNKNOWN if value else "")


def remark(row: Row, data: Data, skills: tuple[str, ...], session: Session, now: int) -> Remark:
    """
    Return what a row of another type says of its turn.

    Args:
        row: The row.
        data: Its JSON.
        skills: Those that the user invoked with it.
        session: Its session.
        now: Unix ms; times far ahead of it are none.
    """
    kind = {"idle": "idle", _COMPACTION: "note"}.get(row.type, "human")
    found = Remark(
        session=session.id,
        message=row.id,
        generation="v2",
        created=moment_or_none(row.created, now),
        kind=kind,
        role="user" if row.type == "user" else "",
        outcome=text_or(data.outcome, ABANDONED) if kind == "idle" else "",
        skills=skills,
        where=session.kept(),
        suspect=row.created < session.created,
    )
    return _compaction(found, data) if row.type == _COMPACTION else found


def _compaction(found: Remark, data: Data) -> Remark:
    """Add what a compaction took; one that failed used tokens, too, but is none."""
    model, mode = data.model or Model(), ""
    if data.status == "completed":
        mode = "manual" if data.reason == "manual" else "auto"
    return msgspec.structs.replace(
        found,
        is_over=data.status != "running",
        agent=_COMPACTION,
        compaction=mode,
        provider=text_or(model.providerID, UNKNOWN),
        model=text_or(model.id, UNKNOWN),
        tokens=tokens_of(data.tokens),
        cost=cost_of(data.cost),
    )
