"""
The summary: sums of plain events, made in the process that read them.

Nearly all of a history are invocations that have ended, that no fork can have
copied and that load no skill, and steps and remarks that are over.  A summary holds
their sums, and the keys by which the ledger makes sure that none of them has been
counted.  It is all or nothing: where one key is known already, the same rows are read
again, event by event.  Steps and remarks are in it as well: to make turns of them is
left to the ledger.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final, TypeGuard

import msgspec

from opencode_exporter.bits import block_of, unpacked
from opencode_exporter.chunk import Chunk
from opencode_exporter.counting import keys
from opencode_exporter.counting.calls import CallSums, ToolKey, ToolSum
from opencode_exporter.counting.fork_prints import Blocks, packed
from opencode_exporter.counting.measures import measure_all
from opencode_exporter.counting.series import Value
from opencode_exporter.counting.tally import Tally, TallyKey
from opencode_exporter.events import Event, Invocation, Remark, Step
from opencode_exporter.times import SENSIBLE_MS

NO_TIME: Final = 1 << 62
"""The first time of nothing: later than any."""


class Summary(msgspec.Struct, gc=False, array_like=True):
    """Plain invocations; ``keys`` and ``owners`` are arrays of 64-bit integers, one a call."""

    keys: bytes
    owners: bytes
    prints: Blocks
    calls: list[tuple[ToolKey, ToolSum]]
    first_end: int  # ms, of the call that ended first; 0 without calls
    first: int  # ms, the first time of anything in it; `NO_TIME` without any
    rows: list[Step | Remark]  # in the order of the source, of sessions that are plain
    measures: list[tuple[TallyKey, Value]]  # what these say by themselves

    def claims(self) -> Iterator[tuple[int, int]]:
        """Yield each call's key and its owner."""
        return zip(unpacked(self.keys), unpacked(self.owners), strict=True)

    def key_list(self) -> list[int]:
        """Return the keys."""
        return unpacked(self.keys).tolist()


class SummedChunk(Chunk, kw_only=True):
    """What was read of a source for the first time: most of its events are summed."""

    summary: Summary


class Summarizer:
    """Sums plain events of rows of one origin until it is asked for the summary."""

    def __init__(self, origin: int) -> None:
        self._origin = origin
        self._claims: dict[int, int] = {}
        self._prints: dict[int, array[int]] = {}
        self._sums = CallSums()
        self._first_end = NO_TIME
        self._first = NO_TIME
        self._rows: list[Step | Remark] = []
        self._owners = keys.SessionOwners()

    def take(self, events: Iterable[Event]) -> list[Event]:
        """Sum plain events, keep rows of sessions for the end, and return all others."""
        left: list[Event] = []
        calls: list[Invocation] = []
        for event in events:
            if isinstance(event, Step | Remark):
                self._rows.append(event)
            elif not _is_plain(event) or not self._claim(event, keys.invocation_key(event)):
                left.append(event)  # need admission; among them namesakes of plain ones
            else:
                calls.append(event)
        self._sums.count_calls(calls)
        self._first_end = min([self._first_end, *(call.ended for call in calls if call.ended > 0)])
        self._first = min(self._first, first_of([call.started for call in calls]))
        return left

    def _claim(self, event: keys.Judged, key: int) -> bool:
        """Note key and print of an event, unless the key is taken."""
        if key in self._claims:
            return False
        self._claims[key] = keys.owner(event, self._origin)
        print_ = keys.fingerprint(event)
        time = print_ >> keys.PRINT_BITS
        block = self._prints.get(time)
        if block is None:
            block = self._prints[time] = block_of()
        block.append(packed(print_, self._owners.of(event.session)))
        return True

    def summary(self) -> tuple[Summary, list[Event]]:
        """Return the summary, and the rows of sessions that need admission."""
        odd: set[str] = set()
        rows: list[Step | Remark] = []
        left: list[Event] = []
        tally = Tally()
        for row in self._rows:
            # What follows in its session has to wait for it.
            if row.suspect or not row.is_over or row.session in odd:
                odd.add(row.session)
                left.append(row)
            elif self._claim(row, keys.row_key(row)):
                rows.append(row)
            else:
                odd.add(row.session)
                left.append(row)
        measure_all(tally, rows)
        summary = Summary(
            keys=block_of(self._claims.keys()).tobytes(),
            owners=block_of(self._claims.values()).tobytes(),
            prints={time: block.tobytes() for time, block in self._prints.items()},
            calls=[*self._sums.by_tool().items()],
            first_end=self._first_end if self._first_end < NO_TIME else 0,
            first=first_of([self._first, self._first_end, *(row.created for row in rows)]),
            rows=rows,
            measures=[*tally.values.items()],
        )
        return summary, left


def first_of(times: Iterable[int]) -> int:
    """Return the first of some times (ms) that make sense."""
    return min((at for at in times if at >= SENSIBLE_MS), default=NO_TIME)


def _is_plain(event: Event) -> TypeGuard[Invocation]:
    return (
        isinstance(event, Invocation)
        and event.status is not None
        and event.skill is None
        and not event.suspect
        and event.message_created > 0
    )
