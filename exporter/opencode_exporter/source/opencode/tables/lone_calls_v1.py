"""Calls of v1 that are read without their message: what is asked of that comes beside them."""

from __future__ import annotations

from typing import Any

from opencode_exporter.decode.opencode.v1.calls import call_of, may_be_typed, was_typed
from opencode_exporter.decode.opencode.v1.endings import looks_typed
from opencode_exporter.decode.opencode.v1.invocations import PartRow, invocation
from opencode_exporter.decode.opencode.v1.shapes import Part, message, parse_part
from opencode_exporter.decode.values import Message, Unusable
from opencode_exporter.events import NO_SESSION, Event, Rejection
from opencode_exporter.source.opencode.reader import LARGEST, Reader
from opencode_exporter.source.opencode.session_rows import Sessions
from opencode_exporter.source.opencode.tables.large import DATA, any_data, is_large
from opencode_exporter.source.opencode.tables.message_parts_v1 import PART_TABLE
from opencode_exporter.source.opencode.tables.table import ChunkBuilder, integer

ToolRow = tuple[Part, tuple[Any, ...]]
"""A tool part, and the row that it was decoded from."""


class LoneCalls:
    """
    Makes events of tool parts.

    Args:
        reader: The open source.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sessions = Sessions(reader, reader.layout.sessions["v1"], generation="v1")

    def add(self, builder: ChunkBuilder, tools: list[ToolRow], now: int) -> None:
        """Add what tool parts say to a chunk."""
        messages = self._messages({row[2] for _, row in tools})
        outside = self._outside_steps(tools)
        nothing = Message()
        ended, known = builder.chunk.events.append, builder.known
        about = messages.get
        session = NO_SESSION
        for part, (_, part_id, message_id, session_id, updated, _, created, size) in tools:
            if session.id != session_id:  # rows come session by session
                session = self._sessions.get(session_id)
            events: list[Event]
            if message_id in outside and may_be_typed(part):
                # What the user typed, or will have: nothing says so while it runs.
                final = was_typed(part)
                builder.add(part_id, updated, size, 0, [], final=final)
                continue
            try:
                row = PartRow(part_id, message_id, created)
                event = invocation(call_of(part), row, about(message_id, nothing), session, now)
            except Unusable as err:
                events = [Rejection(part_id, err.cause, err.until)]
                final = err.cause != "status"  # a word of the future may still end
            else:
                if event.status is None or part_id in known:
                    events, final = [event], event.status is not None
                else:
                    ended(event)  # nearly all of them
                    continue
            builder.add(part_id, updated, size, 0, events, final=final)

    def _outside_steps(self, tools: list[ToolRow]) -> set[str]:
        """Return the messages without a step, of the ones with commands that may be the user's."""
        ids = {row[2] for part, row in tools if part.tool == "bash" and looks_typed(part.callID)}
        if not ids:
            return ids
        sql = (
            f"SELECT message_id, {DATA} FROM part "
            "WHERE message_id IN (SELECT value FROM json_each(?)) "
            f"AND CASE WHEN octet_length(data) <= {LARGEST} "
            "THEN instr(CAST(data AS BLOB), CAST('\"step-start\"' AS BLOB)) END"
        )
        found, _ = self._reader.by_ids(PART_TABLE, sql, [*ids], _step_begun)
        return ids.difference(found)

    def _messages(self, ids: set[str]) -> dict[str, Message]:
        """Return what is asked of messages, in one statement for all of a chunk."""
        sql = (
            f"SELECT id, {DATA}, time_created, rowid, octet_length(data) FROM message "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return dict(self._reader.by_ids("message", sql, [*ids], self._message)[0])

    def _message(self, row: tuple[Any, ...]) -> tuple[str, Message]:
        name, data, created, rowid, size = row
        if is_large(data, size):
            data = any_data(self._reader, "message", rowid)
        return name, message(data, integer(created))


def _step_begun(row: tuple[Any, ...]) -> str:
    """Return the message of a part that begins a step, else nothing."""
    of, data = row
    return str(of) if parse_part(data).type == "step-start" else ""
