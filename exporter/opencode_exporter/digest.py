"""
The digest: what needs no judgement, summed where it was read.

Nearly all of a history are invocations that have ended, that no fork can have
copied and that load no skill.  A digest holds their sums, and the keys by which
the ledger makes sure that none of them has been counted.  It is all or nothing:
where one key is known already, the same rows are read again, event by event.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TypeGuard

import msgspec

from opencode_exporter import identity
from opencode_exporter.aggregate import Aggregate, ToolKey, ToolSum
from opencode_exporter.events import Event, Invocation
from opencode_exporter.traces import Blocks, packed


class Digest(msgspec.Struct, gc=False, array_like=True):
    """Plain invocations; ``keys`` and ``owners`` are arrays of 64-bit integers, one a call."""

    keys: bytes
    owners: bytes
    traces: Blocks
    sums: list[tuple[ToolKey, ToolSum]]
    first_end: int  # ms, of the call that ended first; 0 without calls

    def claims(self) -> Iterator[tuple[int, int]]:
        """Yield each call's key and its owner."""
        return zip(_integers(self.keys), _integers(self.owners), strict=True)

    def key_list(self) -> list[int]:
        """Return the keys."""
        return _integers(self.keys).tolist()


class Digester:
    """Sums plain invocations of one generation until it is asked for the digest."""

    def __init__(self, generation: str) -> None:
        self._generation = generation
        self._claims: dict[int, int] = {}
        self._traces: dict[int, array[int]] = {}
        self._sums = Aggregate()
        self._first_end = 0

    def take(self, events: Iterable[Event]) -> list[Event]:
        """Sum the plain ones, and return the others."""
        left: list[Event] = []
        claims, add, generation = self._claims, self._sums.add, self._generation
        session, owner = "", 0
        time, block = -1, array("Q")
        for event in events:
            if not _is_plain(event) or (key := identity.invocation_key(event)) in claims:
                left.append(event)  # to be judged; among them namesakes of plain ones
                continue
            claims[key] = identity.owner(event, generation)
            if event.session != session:  # events come session by session
                session, owner = event.session, identity.session_owner(event.session)
            print_ = identity.fingerprint(event)
            if print_ >> identity.PRINT_BITS != time:
                time = print_ >> identity.PRINT_BITS
                block = self._traces.setdefault(time, array("Q"))
            block.append(packed(print_, owner))
            add(event)
            if event.ended > 0 and not 0 < self._first_end <= event.ended:
                self._first_end = event.ended
        return left

    def digest(self) -> Digest:
        """Return what was summed."""
        return Digest(
            keys=array("q", self._claims.keys()).tobytes(),
            owners=array("q", self._claims.values()).tobytes(),
            traces={time: block.tobytes() for time, block in self._traces.items()},
            sums=[*self._sums.tools().items()],
            first_end=self._first_end,
        )


def _is_plain(event: Event) -> TypeGuard[Invocation]:
    return (
        isinstance(event, Invocation)
        and event.status is not None
        and event.skill is None
        and not event.suspect
    )


def _integers(data: bytes) -> array[int]:
    found = array("q")
    found.frombytes(data)
    return found
