"""The table of v2: ``session_message``, one row is one message with all its calls."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection
from typing import ClassVar

import apsw

from opencode_exporter.batch import DENSE, Anchor, OpenRow
from opencode_exporter.decode import rows_v2 as decode_v2
from opencode_exporter.decode.shape_v2 import Row, is_step_over
from opencode_exporter.decode.values import Unusable
from opencode_exporter.events import Event, Invocation, Rejection
from opencode_exporter.tables.rows import MessageRows
from opencode_exporter.tables.table import (
    LOOKS,
    WITHOUT_BOUNDS,
    Bounds,
    Intake,
    Taken,
    as_bytes,
    integer,
    is_evidence,
    shown,
    states,
    text,
)


class MessageTable(MessageRows):
    """``session_message`` of v2: one row is one message with all its calls."""

    name: ClassVar[str] = "session_message"
    generation: ClassVar[str] = "v2"
    _TYPES = ", ".join(f"'{kind}'" for kind in decode_v2.ROW_TYPES)
    _IDS = "rowid, id, session_id, type"
    _REST = (
        "seq, time_created, time_updated, "
        f"CASE WHEN type IN ({_TYPES}) THEN CAST(data AS BLOB) END FROM session_message"
    )
    _SELECT = f"SELECT {_IDS}, {_REST}"
    _CAREFULLY = f"SELECT {as_bytes(_IDS, 'id', 'session_id', 'type')}, {_REST}"

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed, or that are asked for, in their order."""
        sql = f"{self._CAREFULLY} WHERE id IN (SELECT value FROM json_each(?)) ORDER BY rowid"
        return self._take(self._reader.query(sql, (json.dumps(ids),)), WITHOUT_BOUNDS, ids)

    def _take(self, cursor: apsw.Cursor, bounds: Bounds, known: Collection[str]) -> Taken:
        now = self._clock.now_ms()
        intake = Intake(self.name, self.generation, now, known)
        newest: deque[Anchor] = deque(maxlen=DENSE)
        rows = size = 0
        for rowid, row_id, session_id, kind, seq, created, updated, data in cursor:
            rows += 1
            newest.append(Anchor(rowid, shown(row_id), integer(created)))
            session = text(session_id)
            usable = isinstance(data, bytes) and session is not None and text(row_id) is not None
            blob = data if usable else b""
            size += len(blob)
            row = Row(shown(row_id), shown(kind), integer(created), integer(updated), blob)
            events, final = self._decode(row, session or "", now)
            intake.add(row.id, row.changed, len(blob), integer(seq), events, final=final)
            if rows >= bounds.rows or size >= bounds.bytes:
                break
            if not rows % LOOKS and self._clock.monotonic() >= bounds.until:
                break
        cursor.close()
        intake.chunk.rows = rows
        return Taken(intake.chunk, [*newest])

    def _decode(self, row: Row, session_id: str, now: int) -> tuple[list[Event], bool]:
        if row.type not in decode_v2.ROW_TYPES:
            return [], True
        try:
            decoded = decode_v2.decode(row, self._sessions.get(session_id), now)
        except Unusable as err:
            return [Rejection(row.id, err.cause)], True
        return decoded.events, decoded.final

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist, without reading their data."""
        return states(self._reader, self.name, ids)

    def went_on(self, call: Invocation, row: OpenRow, now: int) -> bool:
        """Say whether the session went on without the call: a later step, or ``idle``."""
        rows = self._reader.query(
            "SELECT type, time_created, CAST(data AS BLOB) FROM session_message "
            "WHERE session_id = ? AND type IN ('assistant', 'idle') AND seq > ? ORDER BY seq",
            (call.session, row.order),
        )
        for kind, created, data in rows:
            is_over = True if kind == "idle" else is_step_over(data)
            if is_over is not None and is_evidence(created, row.updated, now, is_over=is_over):
                return True
        return False
