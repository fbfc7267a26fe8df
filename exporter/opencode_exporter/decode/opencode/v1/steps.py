"""
Decode v1: a row of ``message`` with its parts becomes a step of the model or a remark.

Pure.  Knows what OpenCode 1.2 to 1.18 mean by it; does not know where rows come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from opencode_exporter.decode.opencode.copies import is_suspect_v1
from opencode_exporter.decode.opencode.origins import V1
from opencode_exporter.decode.opencode.usage import cost_of, tokens_of
from opencode_exporter.decode.opencode.v1.shapes import MessageData, Part
from opencode_exporter.decode.values import Unusable, id_of, mapping, name_or, text_or, whole
from opencode_exporter.events import (
    UNKNOWN,
    Remark,
    Session,
    Step,
    StepCall,
    Tokens,
)
from opencode_exporter.times import awaited, passed

TABLE: Final = "message"
SETTLED_MS: Final = 60_000
"""How long after its row a message's parts may still come: each is a write of its own."""


_NONE: Final = Tokens()


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
    row: MessageRow,
    data: MessageData,
    parts: Sequence[Part],
    calls: Sequence[StepCall],
    agent: str,
    session: Session,
    now: int,
) -> Step | Remark:
    """
    Return what a message says: a step of the model, or a remark.

    Args:
        row: The message.
        data: Its JSON.
        parts: Its parts, in their order; of one that is over and rests, those that bear on it.
        calls: Its calls, in their order: no commands that the user typed.
        agent: What `agent_of` returned.
        session: Its session, as it is kept.
        now: Unix ms; a message without parts waits for them for a while.

    Raises:
        Unusable: It is of no known role, or of our future.
    """
    if until := awaited(now, row.created, _completed(data)):
        raise Unusable("time", until)
    if data.role == "assistant":
        return _step(row, data, parts, calls, agent, session, now)
    if data.role == "user":
        return _remark(row, parts, agent, session, now)
    raise Unusable("role")


def _remark(
    row: MessageRow, parts: Sequence[Part], agent: str, session: Session, now: int
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
        agent=agent,
        compaction=compaction,
        where=session,
        suspect=is_suspect_v1(session, row.created, row.updated),
    )


def _step(
    row: MessageRow,
    data: MessageData,
    parts: Sequence[Part],
    calls: Sequence[StepCall],
    agent: str,
    session: Session,
    now: int,
) -> Step:
    """
    Return a step of the model.

    One that ran here is completed after its parts.  A fork and an import write the
    completed row first and its parts one by one: a step that finished is whole when
    the last ``step-start`` has its end; the call of a command's sub-agent has neither.
    1.18 asks again within one message when the stream breaks: two begin, and one ends.
    """
    tokens, cost, retried, going_on, tools = _NONE, 0, False, False, 0
    for part in parts:
        kind = part.type
        if kind == "tool":
            tools += 1
        elif kind == "step-start":
            going_on = True
        elif kind == "step-finish":
            going_on = False
            tokens = (
                tokens_of(part.tokens) if tokens is _NONE else tokens.plus(tokens_of(part.tokens))
            )
            cost += cost_of(part.cost)
        elif kind == "retry":
            retried = True
    finish, completed = name_or(data.finish, ""), _completed(data)
    is_whole = not finish or (bool(parts) and not going_on) or not row.may_grow(now)
    return Step(
        session.id,
        row.id,
        TABLE,
        V1,
        row.created,
        completed is not None and is_whole,
        passed(completed, now),
        0,
        agent,
        name_or(data.providerID, UNKNOWN),
        name_or(data.modelID, UNKNOWN),
        finish,
        _error(data.error),
        tokens,
        cost,
        int(retried),
        tuple(calls),
        isinstance(data.summary, msgspec.Raw) and bytes(data.summary) == b"true",
        tools > 0 and not calls and not finish,
        session,
        is_suspect_v1(session, row.created, row.updated),
        id_of(whole(text_or(data.parentID, ""))),
        max(row.updated, row.changed),
        True,
    )


def agent_of(data: MessageData) -> str:
    """Return the agent of a message, which older versions call mode."""
    return name_or(data.agent, name_or(data.mode, UNKNOWN))


def _completed(data: MessageData) -> object:
    """Return when a message was completed, None if it is not."""
    return data.time.completed if data.time is not None else None


def _error(error: object) -> str:
    """Return the name of an error; one without a name is an error all the same."""
    return name_or(whole(mapping(error).get("name")), UNKNOWN) if error else ""
