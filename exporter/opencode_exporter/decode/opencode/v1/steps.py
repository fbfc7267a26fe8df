"""
Decode v1: a row of ``message`` with its parts becomes a step of the model or a remark.

Pure.  Knows what OpenCode 1.2 to 1.18 mean by it; does not know where rows come from.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec

from opencode_exporter.catalog import vocabulary
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.opencode.call_json import (
    Asked,
    Recorded,
    parse_asked,
)
from opencode_exporter.decode.opencode.copies import is_suspect_v1
from opencode_exporter.decode.opencode.origins import V1
from opencode_exporter.decode.opencode.targets import file_changes, targets
from opencode_exporter.decode.opencode.usage import cost_of, tokens_of
from opencode_exporter.decode.opencode.v1.endings import (
    asked_of,
    ending_of,
    is_typed,
    ran_by_provider,
    ran_tool,
)
from opencode_exporter.decode.opencode.v1.shapes import (
    MessageData,
    Part,
    State,
    Time,
    parse_message,
)
from opencode_exporter.decode.values import Unusable, id_of, mapping, name_or, text_or, whole
from opencode_exporter.events import (
    COMPLETED,
    DENIED,
    ERROR,
    UNKNOWN,
    Remark,
    Session,
    Step,
    StepCall,
    Tokens,
)
from opencode_exporter.times import awaited, believable, passed

TABLE: Final = "message"
SETTLED_MS: Final = 60_000
"""How long after its row a message's parts may still come: each is a write of its own."""


class MessageRow(NamedTuple):
    """A row of ``message``."""

    id: str
    created: int
    updated: int
    changed: int = 0  # ms, of it and its parts

    def may_grow(self, now: int) -> bool:
        """
        Return whether parts of it may be missing because they are written after it.

        By the row's last change: when it was created is what a fork and an import copy.
        """
        return (self.updated or self.created) > now - SETTLED_MS


def step_or_remark(
    row: MessageRow, given: bytes, parts: Collection[Part], session: Session, now: int
) -> Step | Remark:
    """
    Return what a message says: a step of the model, or a remark.

    Args:
        row: The message.
        given: Its JSON.
        parts: What `parse_part` returned of its parts, in their order.
        session: Its session.
        now: Unix ms; a message without parts waits for them for a while.

    Raises:
        Unusable: The row's data are not JSON, of no known role, or of our future.
    """
    data = parse_message(given)
    completed = data.time.completed if data.time is not None else None
    if until := awaited(now, row.created, completed):
        raise Unusable("time", until)
    if data.role == "assistant":
        return _step(row, data, parts, session, now)
    if data.role == "user":
        return _remark(row, data, parts, session, now)
    raise Unusable("role")


def _remark(
    row: MessageRow, data: MessageData, parts: Collection[Part], session: Session, now: int
) -> Remark:
    """Return what the user says; until a part tells what it is, it may become anything."""
    compaction = ""
    for part in parts:
        if part.type == "compaction":
            compaction = "auto" if part.auto else "manual"
    is_synthetic = all(part.synthetic is True for part in parts)
    is_over = bool(compaction) or not is_synthetic or not row.may_grow(now)
    is_note = bool(compaction) or (is_synthetic and (bool(parts) or not is_over))
    return Remark(
        session=session.id,
        message=row.id,
        table=TABLE,
        origin=V1,
        created=row.created,
        kind="note" if is_note else "human",
        is_over=is_over,
        role="user",
        agent=_agent(data),
        compaction=compaction,
        where=session.kept(),
        suspect=is_suspect_v1(session, row.created, row.updated),
    )


def _step(
    row: MessageRow, data: MessageData, parts: Collection[Part], session: Session, now: int
) -> Step:
    """
    Return a step of the model.

    One that ran here is completed after its parts.  A fork and an import write the
    completed row first and its parts one by one: a step that finished is whole when
    the last ``step-start`` has its end; the call of a command's sub-agent has neither.
    1.18 asks again within one message when the stream breaks: two begin, and one ends.
    """
    calls = []
    tokens, cost, retried, going_on, typed = Tokens(), 0, False, False, False
    in_step = any(part.type == "step-start" for part in parts)
    for part in parts:
        kind = part.type
        if kind == "tool":
            if _is_typed(part, in_step=in_step):
                typed = True
            else:
                calls.append(_call(part, session, now))
        elif kind == "step-start":
            going_on = True
        elif kind == "step-finish":
            going_on = False
            tokens = tokens.plus(tokens_of(part.tokens))
            cost += cost_of(part.cost)
        elif kind == "retry":
            retried = True
    finish = name_or(data.finish, "")
    completed = data.time.completed if data.time is not None else None
    is_whole = not finish or (bool(parts) and not going_on) or not row.may_grow(now)
    return Step(
        session=session.id,
        message=row.id,
        table=TABLE,
        origin=V1,
        created=row.created,
        is_over=completed is not None and is_whole,
        completed=passed(completed, now),
        agent=_agent(data),
        provider=name_or(data.providerID, UNKNOWN),
        model=name_or(data.modelID, UNKNOWN),
        finish=finish,
        error=_error(data.error),
        tokens=tokens,
        cost=cost,
        retries=int(retried),
        calls=tuple(calls),
        is_summary=isinstance(data.summary, msgspec.Raw) and bytes(data.summary) == b"true",
        is_note=typed and not calls and not finish,
        where=session.kept(),
        suspect=is_suspect_v1(session, row.created, row.updated),
        parent=id_of(whole(text_or(data.parentID, ""))),
        changed=max(row.updated, row.changed),
        tells_end=True,
    )


def _call(part: Part, session: Session, now: int) -> StepCall:
    state = part.state or State()
    meta = state.metadata or Recorded()
    tool = verdicts.canonical(part.tool or UNKNOWN)
    is_read = tool in vocabulary.CATEGORIES or tool == verdicts.INVALID_TOOL
    asked = parse_asked(state.input) if is_read else Asked()
    status, vouched, provider = None, state.status == "running", ran_by_provider(part.metadata)
    if state.status in ("completed", "error"):
        tool, status, _, vouched = ending_of(
            tool,
            state.status,
            state.error,
            asked_of(asked.tool, asked.error),
            provider=provider,
            # Only of a command without an exit code is it asked what its output says.
            output=state.told if part.tool == "bash" and type(meta.exit) is not int else "",
            code=meta.exit,
        )
    skill = child = ""
    if tool == vocabulary.SKILL_TOOL and status == COMPLETED:
        skill = name_or(meta.name, name_or(asked.name, UNKNOWN))
    elif tool == vocabulary.AGENT_TOOL:
        child = id_of(text_or(meta.sessionId, ""))
    stamps = state.time or Time()
    return StepCall(
        tool,
        status,
        vouched,
        skill,
        believable(stamps.start, now),
        passed(stamps.end, now),
        status == ERROR or (type(meta.exit) is int and meta.exit != 0),
        status == DENIED and verdicts.is_refusal(state.error),
        targets(tool, asked, meta, session.directory),
        child,
        file_changes(tool, status, asked, meta, "", session),
        own=not (provider or (state.status == "error" and meta.interrupted is True)),
    )


def _is_typed(part: Part, *, in_step: bool) -> bool:
    """Return whether a call is a command that the user typed."""
    state = part.state or State()
    meta = state.metadata or Recorded()
    known = ran_tool(meta.exit, meta.truncated)
    return part.tool == "bash" and is_typed(
        part.callID, state.status, in_step=in_step, ran_tool=known
    )


def _agent(data: MessageData) -> str:
    return name_or(data.agent, name_or(data.mode, UNKNOWN))


def _error(error: object) -> str:
    """Return the name of an error; one without a name is an error all the same."""
    return name_or(whole(mapping(error).get("name")), UNKNOWN) if error else ""
