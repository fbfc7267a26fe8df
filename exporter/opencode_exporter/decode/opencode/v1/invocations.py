"""
Decode v1: a row of ``part`` becomes an invocation.

Pure.  Knows what OpenCode 1.2 to 1.18 mean by it; does not know where rows come from.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from opencode_exporter import times
from opencode_exporter.catalog import vocabulary
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.opencode.copies import is_surely_copied_v1, is_suspect_v1
from opencode_exporter.decode.opencode.v1.calls import ENDED, Call
from opencode_exporter.decode.opencode.v1.shapes import State
from opencode_exporter.decode.programs import program_of
from opencode_exporter.decode.values import (
    Message,
    Unusable,
    ended,
    id_of,
    moment,
    text_bytes,
)
from opencode_exporter.events import Invocation, Session

_OPEN: Final = {"pending", "running"}


class PartRow(NamedTuple):
    """What a row says of a tool part, beside its JSON."""

    id: str
    message: str
    created: int = 0  # ms; a fork, an import and an upgrade stamp it anew


def invocation(call: Call, row: PartRow, about: Message, session: Session, now: int) -> Invocation:
    """
    Return the invocation that a tool part shows.

    Args:
        call: What `call_of` returned.
        row: Its row.
        about: Its message.
        session: Its session.
        now: Unix ms; times far ahead of it are refused.

    Raises:
        Unusable: Its state, status or times cannot be read.
    """
    state = call.part.state
    if state is None:
        raise Unusable("state")
    stamps = state.time
    start, end = (stamps.start, stamps.end) if stamps is not None else (None, None)
    if state.status in ENDED:
        # Nearly all times are fine; `moment` says what is wrong with the others.
        if not (type(start) is int and type(end) is int and 0 < start <= end < now):
            start, end = moment(start, now, end), ended(end, now, start)
        return _ended(call, row, about, session, start, end)
    if state.status not in _OPEN:
        raise Unusable("status")
    stamped = moment(start, now) if start is not None else 0
    if stamped:
        suspect = stamped < session.created or is_suspect_v1(session, about.created, row.created)
    else:
        suspect = is_surely_copied_v1(session, about.created, row.created)
    started, tool = stamped, call.tool
    if tool == vocabulary.SHELL_TOOL and not suspect and _has_printed(state):
        started = _true_start(stamped, row, about)
    return Invocation(
        session=session.id,
        message=row.message,
        call=id_of(call.part.callID),
        part=row.id,
        tool=tool,
        vouched=call.vouched,
        running=state.status == "running",
        started=started,
        skill=call.skill if tool == vocabulary.SKILL_TOOL else None,
        agent=about.agent,
        project=session.project,
        suspect=suspect,
        message_created=about.created,
        root=session.root,
        child=call.child if tool == vocabulary.AGENT_TOOL else "",
        stamped=stamped if started != stamped else 0,
    )


def _has_printed(state: State) -> bool:
    output = state.metadata.output if state.metadata is not None else msgspec.UNSET
    return isinstance(output, msgspec.Raw) and bytes(output) not in (b'""', b"null", b"false")


def _true_start(stamped: int, row: PartRow, about: Message) -> int:
    """
    Return when a command began: 1.14.48 to 1.18.20 stamp it anew whenever it prints.

    Its row is as old as the call, where it lies within its message; those of forks,
    imports and upgrades are younger.
    """
    return row.created if 0 < about.created <= row.created < stamped else stamped


def _ended(
    call: Call, row: PartRow, about: Message, session: Session, stamped: int, ended: int
) -> Invocation:
    """Return a call that has ended."""
    part, state, recorded, asked, _, tool, status, reason, vouched = call
    output, started = state.output, stamped
    suspect = stamped < session.created or is_suspect_v1(session, about.created, row.created)
    program = how = child = ""
    skill = None
    if tool == vocabulary.SHELL_TOOL:
        program = program_of(asked.command)
        how = verdicts.shell_exit(recorded.exit, output, ended=state.status == "completed")
        if not suspect:
            started = _true_start(stamped, row, about)
    elif tool == vocabulary.SKILL_TOOL:
        skill = call.skill
    elif tool == vocabulary.AGENT_TOOL:
        child = call.child
    # By position: keywords take twice the time, and there are millions of these.
    return Invocation(
        session.id,
        row.message,
        id_of(part.callID),
        row.id,
        tool,
        status,
        reason,
        vouched,
        False,
        started,
        ended,
        times.lasted(started, ended, about.created),
        -1,
        state.left_out + (len(output) if output.isascii() else text_bytes(output)),
        recorded.truncated is True,
        skill,
        program,
        how,
        about.agent,
        session.project,
        suspect,
        about.created,
        session.root,
        child,
        stamped if started != stamped else 0,
    )
