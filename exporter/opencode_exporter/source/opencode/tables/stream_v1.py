"""
The stream of v1: messages with their parts, each read once, in two cursors side by side.

What nearly all of a history goes through.  Of a step that is over and rests only those
parts leave SQLite that bear on it; where that does not do, its parts are asked for again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

from opencode_exporter.decode.opencode.v1.calls import may_be_typed
from opencode_exporter.decode.opencode.v1.rows import FoundPart, Given, given_in
from opencode_exporter.decode.opencode.v1.shapes import parse_part
from opencode_exporter.decode.opencode.v1.steps import MessageRow
from opencode_exporter.events import LONGEST_NAME
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.tables.large import OddIdError, check_ids
from opencode_exporter.source.opencode.tables.message_parts_v1 import BROKEN, MOST, WHOLE_BYTES
from opencode_exporter.source.opencode.tables.table import integer

_IDLE: Final = ("text", "reasoning", "step-start", "patch", "snapshot", "file", "agent")
"""Parts that say nothing of a step that is over, by what their JSON begins with."""
_HEAD: Final = 16
_HEADS: Final = ", ".join("'" + f'{{"type":"{kind}","'[:_HEAD] + "'" for kind in _IDLE)
_IS_STEP: Final = 'instr(CAST({}data AS BLOB), CAST(\'"role":"assistant"\' AS BLOB))'
"""SQL: whether a message is a step, as OpenCode writes it."""
_MESSAGES: Final = (
    "SELECT rowid, id, session_id, time_created, time_updated, CAST(data AS BLOB), "
    f"{_IS_STEP.format('')} FROM message "
    "WHERE rowid >= ? AND rowid <= ? ORDER BY rowid"
)
_PARTS: Final = (
    "SELECT m.rowid, p.rowid, p.id, p.session_id, p.time_created, p.time_updated, "
    "CAST(p.data AS BLOB) FROM message m CROSS JOIN part p ON p.message_id = m.id "
    "WHERE m.rowid >= ? AND m.rowid <= ? "
    f"AND (substr(p.data, 1, {_HEAD}) IN ({_HEADS}) "
    f"AND {_IS_STEP.format('m.')} "
    "AND NOT instr(CAST(p.data AS BLOB), CAST('\"tool\"' AS BLOB)) "
    f"AND NOT ({BROKEN.replace('data', 'p.data')})) IS NOT 1 ORDER BY m.rowid"
)


_NO_PART: Final[tuple[Any, ...]] = (None,)
"""Stands behind the last row."""


class Streamed(NamedTuple):
    """A message; without its parts where they have to be asked for again."""

    rowid: int
    session: str
    row: MessageRow
    given: Given
    parts: list[FoundPart] | None
    bytes: int  # read


def stream(reader: Reader, first: int, last: int, now: int) -> Generator[Streamed]:
    """
    Yield messages with their parts, in the order of their rowids.

    Args:
        reader: The open source, within a transaction.
        first: The first rowid.
        last: The last one.
        now: Unix ms.

    Raises:
        UnicodeDecodeError, apsw.TooBigError, OddIdError: A row has to be read with care.
    """
    with (
        closing(reader.query(_MESSAGES, (first, last))) as messages,
        closing(reader.query(_PARTS, (first, last))) as parts,
    ):
        part = next(parts, _NO_PART)
        for rowid, name, session, created, updated, data, is_step in messages:
            check_ids(name, session)
            if bytes in (type(name), type(session)):  # no part names it so
                raise OddIdError
            found: list[FoundPart] | None = []
            size = len(data) if type(data) is bytes else 0
            if part[0] == rowid:
                found, more, part = _parts(part, parts, session)
                size += more
            given = given_in(data)
            changed = max([part.updated for part in found]) if found else 0
            row = MessageRow(str(name), integer(created), integer(updated), changed)
            if is_step and found is not None and not _tell_all(row, given, found, now):
                found = None
            yield Streamed(rowid, str(session), row, given, found, size)


def _parts(
    row: tuple[Any, ...], rows: Iterator[Any], session: object
) -> tuple[list[FoundPart] | None, int, tuple[Any, ...]]:
    """
    Return the parts of a message, their bytes, and the first row of the next message.

    No parts are returned if one is odd, or they are too much.

    Args:
        row: The row of the first.
        rows: The rows behind it.
        session: The session of the message.
    """
    found: list[FoundPart] = []
    size, message, is_odd = 0, row[0], False
    while row[0] == message:
        _, rowid, name, of_session, created, updated, data = row
        row = next(rows, _NO_PART)
        if is_odd:
            continue
        is_odd = (
            of_session != session
            or not type(name) is type(of_session) is str
            or not type(created) is type(updated) is int
            or len(name) > LONGEST_NAME
            or type(data) is not bytes
            or size > WHOLE_BYTES
            or len(found) >= MOST
        )
        if not is_odd:
            size += len(data)
            part = parse_part(data)
            found.append(FoundPart(rowid, name, of_session, created, updated, len(data), part))
    if len(found) > 1:
        found.sort()
    return (None if is_odd else found), size, row


def _tell_all(row: MessageRow, given: Given, parts: list[FoundPart], now: int) -> bool:
    """Return whether the parts that were read tell all that a message says."""
    data, problem = given
    if problem is not None or data.role != "assistant" or row.may_grow(now):
        return False
    if data.time is None or data.time.completed is None:
        return False
    return not any(one.part.tool == "bash" and may_be_typed(one.part) for one in parts)
