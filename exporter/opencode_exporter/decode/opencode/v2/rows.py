"""
Decode v2: a row of ``session_message`` becomes invocations, skill loads and a step.

Pure.  Knows what the JSON of OpenCode 2.x means, where one row is one message and
an assistant's row is rewritten as its calls go on.  One odd call is set aside by
itself; the others of its row count.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from opencode_exporter import times
from opencode_exporter.catalog import vocabulary
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.opencode.call_json import Asked, parse_asked
from opencode_exporter.decode.opencode.copies import is_suspect_v2
from opencode_exporter.decode.opencode.v1.endings import asked_of, ran_by_provider
from opencode_exporter.decode.opencode.v2.shapes import (
    TEXT_LEFT_OUT,
    Data,
    Error,
    Item,
    Metadata,
    SessionMessageRow,
    State,
    Times,
    parse,
)
from opencode_exporter.decode.opencode.v2.steps import remark, step, step_call
from opencode_exporter.decode.programs import program_of
from opencode_exporter.decode.values import (
    Unusable,
    amount,
    ended,
    id_of,
    mapping,
    moment,
    name_or,
    text_bytes,
    text_or,
    whole,
)
from opencode_exporter.events import (
    ABANDONED,
    ABORTED,
    COMPLETED,
    ERROR,
    UNKNOWN,
    Event,
    Invocation,
    Rejection,
    Session,
    StepCall,
    UserSkillLoad,
)

_OPEN: Final = {"streaming", "pending", "running"}
ROW_TYPES: Final = ("assistant", "skill", "user", "idle", "compaction")
"""Types of rows that can hold what we count."""


class Decoded(NamedTuple):
    """The events of a row, and whether it may still change what they say."""

    events: list[Event]
    final: bool


def decode(row: SessionMessageRow, session: Session, now: int) -> Decoded:
    """
    Return what a row says: its step or remark comes last, after its invocations.

    Raises:
        Unusable: Nothing of it can be read.
    """
    data, odd = parse(row)
    completed = data.time.completed if data.time is not None else None
    until = times.awaited(now, row.created, completed)
    if row.type != "assistant":
        if until:
            raise Unusable("time", until)
        loads = _user_loads(row, data, session, now)
        said = remark(row, data, tuple(load.skill for load in loads), session)
        return Decoded([*loads, said], said.is_over)
    events: list[Event] = [Rejection(row.id, cause) for cause in odd]
    agent = name_or(whole(data.agent), UNKNOWN)
    calls: list[StepCall] = []
    seen: dict[str, int] = {}
    final = is_over = completed is not None
    for item in data.content:
        if item.type != "tool":
            continue
        position = seen[item.id] = seen.get(item.id, -1) + 1
        try:
            state = _state(item)
            asked = _asked(item, state)
            call = _invocation(item, state, asked, row, session, agent, now)
        except Unusable as err:
            events.append(Rejection(row.id, err.cause, err.until))
            final = final and err.cause != "status"  # a word of the future may still end
            continue
        call = msgspec.structs.replace(call, part=str(position)) if position else call
        if is_over and call.status is None:  # a step that is over has none that goes on
            call = msgspec.structs.replace(call, status=ABANDONED, running=False)
        inner = _nested(state, call)
        events += [call, *inner]
        calls.append(step_call(item, state, call, asked, inner, session))
    if until:  # its calls count by themselves; it would count with times that are not its own
        return Decoded([*events, Rejection(row.id, "time", until)], final)
    itself = step(row, data, calls, session, now)
    events.append(itself)
    return Decoded(events, final and not itself.is_unfinished)


def _state(item: Item) -> State:
    if item.state is None:
        raise Unusable("state")
    return item.state


def _asked(item: Item, state: State) -> Asked:
    """Return what is asked of a built-in tool; others may be asked anything."""
    tool = verdicts.canonical(item.name)
    is_read = tool in vocabulary.CATEGORIES or tool == verdicts.INVALID_TOOL
    return parse_asked(state.input) if is_read else Asked()


def _invocation(
    item: Item,
    state: State,
    asked: Asked,
    row: SessionMessageRow,
    session: Session,
    agent: str,
    now: int,
) -> Invocation:
    stamps = item.time or Times()
    named_none = state.error is not None and verdicts.names_no_tool(state.error.message)
    tool = UNKNOWN if named_none else verdicts.canonical(item.name)
    refused: tuple[str, str] | None = None
    if tool == verdicts.INVALID_TOOL:  # imported: 1.x handed to it what it refused
        tool, refused = _imported(item, state, asked)
    created = moment(stamps.created, now, stamps.ran, stamps.completed)
    ran = moment(stamps.ran, now, stamps.completed) if stamps.ran is not None else 0
    fields: dict[str, Any] = {"vouched": False, "running": state.status == "running"}
    if state.status in ("completed", "error"):
        fields = _ending(state, tool, asked)
        if refused:
            # The model can ask for that tool itself, and name anything.
            fields |= {"status": refused[0], "reason": refused[1], "vouched": False}
        if fields["status"] == ABANDONED:
            fields["ended"] = 0  # nobody saw the end
        else:
            end = stamps.completed if stamps.completed is not None else stamps.created
            fields["ended"] = over = ended(end, now)
            if stamps.completed is not None:
                fields["duration"] = times.lasted(ran or created, over, row.created)
        fields["wait"] = times.lasted(created, ran)
    elif state.status not in _OPEN:
        raise Unusable("status")
    return Invocation(
        session=session.id,
        message=row.id,
        call=id_of(item.id),
        part="",
        tool=tool,
        started=created,
        agent=agent,
        project=session.project,
        suspect=is_suspect_v2(session, row.id, created, row.changed),
        message_created=row.created,
        skill=_skill(state, asked) if tool == vocabulary.SKILL_TOOL else None,
        root=session.root,
        child=_child(state) if tool == vocabulary.AGENT_TOOL else "",
        **fields,
    )


def _imported(item: Item, state: State, asked: Asked) -> tuple[str, tuple[str, str] | None]:
    """Return the tool of an imported ``invalid``; with status and reason if it was refused."""
    error = state.error.message if state.error is not None else ""
    given = asked_of(asked.tool, asked.error)
    # 1.x's own answer says what was wrong; any other is the provider's result.
    answered = state.status == "completed" and not verdicts.is_refusal_output(state.text)
    named = given.tool != UNKNOWN
    if (answered and named) or ran_by_provider(item.providerState):
        return verdicts.canonical(given.tool), None
    name, reason = verdicts.refused_call(given.tool, given.error, error)
    return name, (ERROR, reason)


def _ending(state: State, tool: str, asked: Asked) -> dict[str, Any]:
    """Return the fields that only an ended call has."""
    error, meta = state.error or Error(), state.metadata or Metadata()
    text = state.text
    status, reason, vouched = COMPLETED, "", True
    if state.status == "error":
        status, reason = verdicts.verdict(error.message, error.type)
        # A call that ended before its name was checked proves no tool.
        vouched = status not in (ABORTED, ABANDONED) and error.type != "tool.input-json"
    fields: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "vouched": vouched,
        "output_bytes": text_bytes(text) + state.left_out,
        "truncated": meta.truncated is True,
    }
    if tool == vocabulary.SHELL_TOOL:
        fields["program"] = program_of(asked.command)
        fields["exit"] = (
            "timeout"
            if meta.timeout is True
            else verdicts.shell_exit(meta.exit, text, ended=status == COMPLETED)
        )
    return fields


def _nested(state: State, parent: Invocation) -> list[Invocation]:
    """Return the calls inside ``execute``, under their own names, without a duration."""
    meta = state.metadata
    if parent.status is None or meta is None or not meta.toolCalls:
        return []
    return [
        msgspec.structs.replace(
            parent,
            call=f"{parent.call}\0{position}",
            tool=verdicts.canonical(call.tool) or UNKNOWN,
            status=COMPLETED if call.status == "completed" else ERROR,
            reason="" if call.status == "completed" else "other",
            vouched=True,  # a tool that does not exist is not listed there
            duration=-1,
            wait=-1,
            output_bytes=0,
            truncated=False,
            skill=None,
            program="",
            exit="",
        )
        for position, call in enumerate(meta.toolCalls)
    ]


def _user_loads(
    row: SessionMessageRow, data: Data, session: Session, now: int
) -> list[UserSkillLoad]:
    """Return the skills that a row of type ``skill`` or ``user`` says the user invoked."""
    named: list[tuple[str, str, int]] = []
    if row.type == "skill":
        name = text_or(data.name, text_or(data.skill, UNKNOWN))
        named = [(name, text_or(data.text, ""), amount(data.left_out))]
    elif row.type == "user" and isinstance(data.skills, list):
        for entry in data.skills:
            found = mapping(entry)
            name = text_or(found.get("name"), text_or(found.get("id"), text_or(entry, UNKNOWN)))
            left_out = amount(found.get(TEXT_LEFT_OUT))
            named.append((name, text_or(found.get("text"), ""), left_out))
    if not named:
        return []
    at = moment(data.time.created if data.time else row.created, now)
    return [
        UserSkillLoad(
            session=session.id,
            message=row.id,
            position=position,
            skill=name_or(whole(name), UNKNOWN),
            at=at,
            content_bytes=text_bytes(text) + left_out,
            project=session.project,
            suspect=is_suspect_v2(session, row.id, at, row.changed),
        )
        for position, (name, text, left_out) in enumerate(named)
    ]


def _skill(state: State, asked: Asked) -> str:
    loaded = state.metadata.name if state.metadata else None
    return name_or(loaded, name_or(asked.id, name_or(asked.name, UNKNOWN)))


def _child(state: State) -> str:
    meta = state.metadata or Metadata()
    return id_of(text_or(meta.sessionID, text_or(meta.sessionId, "")))
