"""
Decode steps of v2: a row of ``session_message`` becomes a step of the model or a remark.

Pure.  Knows what the fields of OpenCode 2.x mean for turns; the invocations of a row
are decoded elsewhere, and given.
"""

from __future__ import annotations

from typing import Final

import msgspec

from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.opencode.call_json import Asked, Recorded
from opencode_exporter.decode.opencode.copies import is_suspect_v2
from opencode_exporter.decode.opencode.origins import V2
from opencode_exporter.decode.opencode.targets import file_changes, targets
from opencode_exporter.decode.opencode.usage import cost_of, tokens_of
from opencode_exporter.decode.opencode.v1.endings import ran_by_provider
from opencode_exporter.decode.opencode.v2.shapes import (
    Data,
    Item,
    MessageTimes,
    Model,
    SessionMessageRow,
    State,
)
from opencode_exporter.decode.values import mapping, name_or, whole
from opencode_exporter.events import (
    COMPLETED,
    DENIED,
    ERROR,
    OUTCOMES,
    UNKNOWN,
    Invocation,
    Remark,
    Session,
    Step,
    StepCall,
)
from opencode_exporter.times import passed

TABLE: Final = "session_message"
_COMPACTION: Final = "compaction"
"""A type of rows; and the agent of 1.x that does the same."""


def step_call(
    item: Item,
    state: State,
    call: Invocation,
    asked: Asked,
    inner: list[Invocation],
    session: Session,
) -> StepCall:
    """
    Return a call as its step shows it.

    Args:
        item: Its JSON.
        state: How far it is.
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
        refused=call.status == DENIED and verdicts.is_refusal(told),
        targets=targets(call.tool, asked, meta, session.directory),
        child=call.child,
        files=file_changes(call.tool, call.status, asked, meta, state.text, session),
        inner=tuple((one.tool, one.status or ERROR) for one in inner),
        own=not (
            item.executed is True
            or ran_by_provider(item.providerState)
            or (state.status == "error" and meta.interrupted is True)
        ),
    )


def step(
    row: SessionMessageRow, data: Data, calls: list[StepCall], session: Session, now: int
) -> Step:
    """
    Return the step of the model that a row of the type ``assistant`` is.

    Where 1.x's loop ran it, before 2.x imported it, the step itself tells that its turn
    ends: those never streamed.
    """
    times, model = data.time or MessageTimes(), data.model or Model()
    finish, error = name_or(data.finish, ""), _error(data.error)
    completed, streamed = passed(times.completed, now), passed(times.streamed, now)
    is_over = times.completed is not None
    return Step(
        session=session.id,
        message=row.id,
        table=TABLE,
        origin=V2,
        created=row.created,
        is_over=is_over,
        completed=completed,
        streamed=streamed,
        agent=name_or(whole(data.agent), UNKNOWN),
        provider=name_or(model.providerID, UNKNOWN),
        model=name_or(model.id, UNKNOWN),
        finish=finish,
        error=error,
        tokens=tokens_of(data.tokens),
        cost=cost_of(data.cost),
        retries=int(bool(mapping(data.retry))),
        calls=tuple(calls),
        where=session.kept(),
        suspect=is_suspect_v2(session, row.id, row.created, row.changed),
        changed=row.changed,
        tells_end=bool(completed and finish and not streamed and not error),
        is_unfinished=is_over and not finish and not error,
    )


def _error(value: object) -> str:
    """Return the name of an error, nothing where there is none."""
    return name_or(whole(mapping(value).get("type")), UNKNOWN if value else "")


def remark(row: SessionMessageRow, data: Data, skills: tuple[str, ...], session: Session) -> Remark:
    """
    Return what a row of another type says of its turn.

    Args:
        row: The row.
        data: Its JSON.
        skills: Those that the user invoked with it.
        session: Its session.
    """
    kind = {"idle": "idle", _COMPACTION: "note"}.get(row.type, "human")
    found = Remark(
        session=session.id,
        message=row.id,
        table=TABLE,
        origin=V2,
        created=row.created,
        kind=kind,
        role="user" if row.type == "user" else "",
        outcome=_outcome(data.outcome) if kind == "idle" else "",
        skills=skills,
        where=session.kept(),
        suspect=is_suspect_v2(session, row.id, row.created, row.changed),
    )
    return _compaction(found, data) if row.type == _COMPACTION else found


def _outcome(value: object) -> str:
    """Return the outcome that ``idle`` tells; nothing for a word that we do not know."""
    return value if isinstance(value, str) and value in OUTCOMES else ""


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
        provider=name_or(model.providerID, UNKNOWN),
        model=name_or(model.id, UNKNOWN),
        tokens=tokens_of(data.tokens),
        cost=cost_of(data.cost),
    )
