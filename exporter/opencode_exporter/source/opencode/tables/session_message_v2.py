"""The table of v2: ``session_message``, one row is one message with all its calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from opencode_exporter.chunk import DENSE, Anchor, OpenRow, RowKind
from opencode_exporter.decode.opencode.origins import V2
from opencode_exporter.decode.opencode.v2 import rows as decode_v2
from opencode_exporter.decode.opencode.v2.shapes import SessionMessageRow, is_step_over
from opencode_exporter.decode.values import Unusable
from opencode_exporter.events import Event, Invocation, Rejection, weight
from opencode_exporter.source.opencode.tables.large import (
    DATA,
    any_data,
    check_ids,
    is_large,
    large_data,
    name_of,
    number_of,
)
from opencode_exporter.source.opencode.tables.message_rows import FoundRow, MessageRows
from opencode_exporter.source.opencode.tables.table import (
    LOOKS,
    Bounds,
    ChunkBuilder,
    Known,
    Taken,
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
    kind: ClassVar[RowKind] = RowKind(V2)
    _TYPES = ", ".join(f"'{kind}'" for kind in decode_v2.ROW_TYPES)
    _SELECT = (
        "SELECT rowid, id, session_id, type, seq, time_created, time_updated, "
        f"CASE WHEN type IN ({_TYPES}) THEN CAST(data AS BLOB) END, octet_length(data) "
        "FROM session_message"
    )
    _CAREFULLY = (
        f"SELECT rowid, {name_of('id')}, {name_of('session_id')}, {name_of('type')}, "
        f"{number_of('seq')}, {number_of('time_created')}, {number_of('time_updated')}, "
        f"CASE WHEN octet_length(type) < 64 AND type IN ({_TYPES}) THEN {DATA} END, "
        "octet_length(data) FROM session_message"
    )

    def _take(self, found: Iterator[FoundRow], bounds: Bounds, known: Known) -> Taken:
        now = self._clock.now_ms()
        builder = ChunkBuilder(self.name, self.kind, now, known.get(self.name, ()))
        newest: deque[Anchor] = deque(maxlen=DENSE)
        rows = size = brings = 0
        for rowid, row_id, session_id, kind, seq, created, updated, data, length in found:
            check_ids(row_id, session_id, kind)
            rows += 1
            newest.append(Anchor(rowid, shown(row_id), integer(created)))
            session = text(session_id)
            usable = session is not None and text(row_id) is not None
            blob = data if usable and isinstance(data, bytes) else b""
            row = SessionMessageRow(
                shown(row_id), shown(kind), integer(created), integer(updated), blob
            )
            large = rowid if usable and is_large(data, length) else 0
            events, final = self._decode(row, session or "", now, large)
            read = length if large and row.type in decode_v2.ROW_TYPES else len(blob)
            size += read
            builder.add(row.id, row.changed, read, integer(seq), events, final=final)
            brings += sum(map(weight, events))
            if rows >= bounds.rows or size >= bounds.bytes or brings >= bounds.weight:
                break
            if not rows % LOOKS and self._clock.monotonic() >= bounds.until:
                break
        builder.chunk.rows = rows
        return Taken(builder.chunk, [*newest], weight=brings)

    def _decode(
        self, row: SessionMessageRow, session_id: str, now: int, large: int
    ) -> tuple[list[Event], bool]:
        """Return what a row says; of a large one the rowid is given, and its data are not."""
        if row.type not in decode_v2.ROW_TYPES:
            return [], True
        try:
            if large:
                row = row._replace(data=large_data(self._reader, self.name, large))
            decoded = decode_v2.decode(row, self._sessions.get(session_id), now)
        except Unusable as err:
            return [Rejection(row.id, err.cause, err.until)], True
        return decoded.events, decoded.final

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist, without reading their data."""
        return states(self._reader, self.name, ids)

    def went_on(self, call: Invocation, row: OpenRow, now: int, /) -> bool:
        """Return whether a later step or ``idle`` shows that the session went on without it."""
        rows = self._reader.query(
            f"SELECT rowid, type, {number_of('time_created')}, {DATA}, octet_length(data) "
            "FROM session_message "
            "WHERE session_id = ? AND type IN ('assistant', 'idle') AND seq > ? ORDER BY seq",
            (call.session, row.order),
        )
        for rowid, kind, created, data, length in rows:
            if is_large(data, length):
                data = any_data(self._reader, self.name, rowid)  # noqa: PLW2901
            is_over = True if kind == "idle" else is_step_over(data)
            if is_over is not None and is_evidence(created, row.updated, now, is_over=is_over):
                return True
        return False
