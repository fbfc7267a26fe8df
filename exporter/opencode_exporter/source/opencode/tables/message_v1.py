"""
The other table of v1: ``message``, one row is one step of the model or a remark.

Each is read with its parts, which may be written after it: a row that does not tell
yet what it is stays open, as a step does until it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

from opencode_exporter.chunk import DENSE, Anchor, OpenRow, RowKind
from opencode_exporter.clock import Clock
from opencode_exporter.decode.opencode.origins import V1
from opencode_exporter.decode.opencode.v1.steps import (
    SETTLED_MS,
    MessageRow,
    step_or_remark,
)
from opencode_exporter.decode.values import Unusable
from opencode_exporter.events import Invocation, Rejection, Remark, Step, weight
from opencode_exporter.source.opencode.reader import LARGEST, Reader
from opencode_exporter.source.opencode.tables.large import (
    DATA,
    check_ids,
    is_large,
    large_data,
    name_of,
    number_of,
)
from opencode_exporter.source.opencode.tables.message_parts_v1 import MessageParts, Parts
from opencode_exporter.source.opencode.tables.message_rows import FoundRow, MessageRows
from opencode_exporter.source.opencode.tables.table import (
    LOOKS,
    Bounds,
    ChunkBuilder,
    Taken,
    integer,
    shown,
    states,
    text,
)

_Told = tuple[MessageRow, Step | Remark | Rejection]
"""A row, and what it says."""


class StepTable(MessageRows):
    """``message`` of v1: one row is one message, read with its parts."""

    name: ClassVar[str] = "message"
    generation: ClassVar[str] = "v1"
    kind: ClassVar[RowKind] = RowKind(V1)
    _SELECT = (
        "SELECT rowid, id, session_id, time_created, time_updated, CAST(data AS BLOB), "
        "octet_length(data) FROM message"
    )
    _CAREFULLY = (
        f"SELECT rowid, {name_of('id')}, {name_of('session_id')}, {number_of('time_created')}, "
        f"{number_of('time_updated')}, {DATA}, octet_length(data) FROM message"
    )
    # Parts come after their message and leave it as it is; and after a while without
    # any it is over all the same.
    _SIZE = (
        "octet_length(data) + (SELECT count(*) FROM part WHERE part.message_id = message.id) "
        "+ (time_updated <= {settled}) * 1099511627776"
    )

    def __init__(self, reader: Reader, clock: Clock, *, with_paths: bool = False) -> None:
        super().__init__(reader, clock, with_paths=with_paths)
        self._parts = MessageParts(reader)

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed, or that are asked for, in their order."""
        with self._reader.transaction():  # a message and its parts are of one moment
            return super().read_again(ids)

    def _take(self, rows: Iterator[FoundRow], bounds: Bounds, known: Collection[str]) -> Taken:
        """Return what the rows say; their parts are read for some rows at a time."""
        now = self._clock.now_ms()
        newest: deque[Anchor] = deque(maxlen=DENSE)
        told: list[_Told] = []
        size = tells = 0
        for some, parts, read in self._portions(rows, bounds.rows):
            newest.extend(Anchor(row[0], shown(row[1]), integer(row[3])) for row in some)
            more = [*self._told(some, parts, now)]
            told += more
            size += read
            tells += sum(weight(event) for _, event in more)
            is_much = size >= bounds.bytes or tells >= bounds.weight
            if is_much or self._clock.monotonic() >= bounds.until:
                break
        builder = ChunkBuilder(self.name, self.kind, now, known)
        self._add(builder, told, now)
        builder.chunk.rows = len(told)
        return Taken(builder.chunk, [*newest])

    def _portions(
        self, rows: Iterator[FoundRow], most: int
    ) -> Iterator[tuple[list[FoundRow], Mapping[str, Parts | None], int]]:
        """Yield some rows at a time with their parts, and the bytes of both."""
        while most > 0:
            some, size = _some(rows, min(LOOKS, most))
            most -= len(some)
            if not some:
                return
            for parts in self._parts.of([shown(row[1]) for row in some]):
                yield some[: parts.messages], parts.found, size + parts.bytes
                some, size = some[parts.messages :], 0

    def _told(
        self, rows: list[FoundRow], parts: Mapping[str, Parts | None], now: int
    ) -> Iterator[_Told]:
        for rowid, row_id, session_id, created, updated, data, size in rows:
            name, session = text(row_id), text(session_id)
            ours = parts.get(shown(row_id), [])
            row = MessageRow(
                shown(row_id),
                integer(created),
                integer(updated),
                max((integer(at) for _, at, _ in ours or ()), default=0),
            )
            try:
                if name is None or session is None:
                    raise Unusable("shape")  # noqa: TRY301  # as the decoder does
                if ours is None:
                    raise Unusable("damaged")  # noqa: TRY301
                if is_large(data, size):
                    data = large_data(self._reader, self.name, rowid)  # noqa: PLW2901
                if not isinstance(data, bytes):
                    raise Unusable("shape")  # noqa: TRY301
                where, said = self._sessions.get(session), [part for *_, part in ours]
                yield row, step_or_remark(row, data, said, where, now)
            except Unusable as err:
                yield row, Rejection(row.id, err.cause, err.until)

    def _add(self, builder: ChunkBuilder, told: list[_Told], now: int) -> None:
        """Take in what was told, in its order; open rows with the state to compare later."""
        still_open = [row.id for row, event in told if not _is_over(event)]
        found = self._states(still_open, now) if still_open else {}
        for row, event in told:
            updated, size = found.get(row.id, (row.updated, 0))
            wake = (row.updated or row.created) + SETTLED_MS
            builder.add(
                row.id,
                updated,
                size,
                0,
                [event],
                final=_is_over(event),
                wake=wake if wake > now else 0,
            )

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist; parts add to the size."""
        return self._states(ids, self._clock.now_ms())

    def _states(self, ids: list[str], now: int) -> dict[str, tuple[int, int]]:
        return states(self._reader, self.name, ids, self._SIZE.format(settled=now - SETTLED_MS))

    def went_on(self, _call: Invocation, _row: OpenRow, _now: int, /) -> bool:
        """Return False: rows of this table have no calls of their own."""
        return False


def _some(rows: Iterator[FoundRow], most: int) -> tuple[list[FoundRow], int]:
    """Return the next rows, and their bytes: few rows where these are many."""
    found: list[FoundRow] = []
    size = 0
    for row in rows:
        check_ids(*row[1:3])
        found.append(row)
        size += integer(row[6])
        if len(found) >= most or size >= LARGEST:
            break
    return found, size


def _is_over(event: Step | Remark | Rejection) -> bool:
    return not event.until if isinstance(event, Rejection) else event.is_over
