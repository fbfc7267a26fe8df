"""
Traces: by which prints a fork's copies are known, and whose session left them.

Kept apart from the keys, as they are asked for seldom and come by the million:
eight bytes each, in one block for the 17 minutes in which an invocation began.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from opencode_exporter.identity import PRINT_BITS, SESSION_BITS

_PRINT_MASK: Final = (1 << PRINT_BITS) - 1
_SESSION_MASK: Final = (1 << SESSION_BITS) - 1

Blocks = dict[int, bytes]
"""Traces by the time they are of, one after the other in the order they were left."""

BlockLookup = Callable[[Iterable[int]], Blocks]
"""Returns those blocks that are in the ledger."""


class Traces:
    """
    The traces of the present batch, and those that a chunk may have to be held against.

    Args:
        lookup: Reads the ledger.
        is_empty: Whether the ledger has none yet.
    """

    def __init__(self, lookup: BlockLookup, *, is_empty: bool) -> None:
        self._lookup = lookup
        # Times of stand-ins; None where nobody knows, as the ledger has been there before.
        self._stood_in: set[int] | None = set() if is_empty else None
        self.begin()

    def begin(self) -> None:
        """Begin a batch: the one before has been committed, or thrown away."""
        self._new: dict[int, array[int]] = {}
        self._known: dict[int, dict[int, int]] = {}
        self._shared: set[int] = set()  # prints that several sessions have left

    def new(self) -> Blocks:
        """Return what the batch adds to each block."""
        return {time: left.tobytes() for time, left in self._new.items()}

    def prepare(self, prints: Iterable[int]) -> None:
        """Look up, in one statement, all blocks that some prints may be in."""
        self._prepare({print_ >> PRINT_BITS for print_ in prints})

    def _prepare(self, wanted: AbstractSet[int]) -> None:
        times = wanted - self._known.keys()
        stored = self._lookup(times) if times else {}
        for time in times:
            block = unpacked(stored.get(time, b""))
            block.extend(self._new.get(time, ()))
            # The first session that left a print owns it.
            known = self._known[time] = {
                trace >> SESSION_BITS: trace & _SESSION_MASK for trace in reversed(block)
            }
            if len(known) < len(block):
                self._note_shared(time, block)

    def _note_shared(self, time: int, traces: Iterable[int]) -> None:
        known = self._known[time]
        self._shared.update(
            time << PRINT_BITS | trace >> SESSION_BITS
            for trace in traces
            if known[trace >> SESSION_BITS] != trace & _SESSION_MASK
        )

    def owner(self, print_: int) -> int | None:
        """Return the session that left a print, if one did."""
        if print_ >> PRINT_BITS not in self._known:
            self.prepare([print_])
        return self._known[print_ >> PRINT_BITS].get(print_ & _PRINT_MASK)

    def leave(self, print_: int, session: int) -> None:
        """Note that a session left a print, unless one did already."""
        if self.owner(print_) is None:
            self._leave(print_, session)

    def _leave(self, print_: int, session: int) -> None:
        time = print_ >> PRINT_BITS
        self._known[time].setdefault(print_ & _PRINT_MASK, session)
        self._new.setdefault(time, array("Q")).append(packed(print_, session))

    def leave_too(self, print_: int, session: int) -> bool:
        """Note that a session left a print, and return whether another did first."""
        owner = self.owner(print_)
        if owner is None:
            self._leave(print_, session)
            return False
        if owner == session or print_ in self._shared:
            return False
        self._shared.add(print_)
        self._leave(print_, session)
        return True

    def is_left_by_another(self, print_: int, session: int) -> bool:
        """Say whether a session other than this one has left a print."""
        owner = self.owner(print_)
        return owner is not None and (owner != session or print_ in self._shared)

    def stand_in(self, print_: int) -> None:
        """Note that a copy was counted instead of its original, which had not been seen."""
        self.leave(print_ ^ 1, 0)
        if self._stood_in is not None:
            self._stood_in.add(print_ >> PRINT_BITS)

    def is_stood_in(self, print_: int) -> bool:
        """Say whether a copy has been counted for whoever has this print."""
        return self.owner(print_ ^ 1) is not None

    def any_stood_in(self, blocks: Blocks) -> bool:
        """Say the same of many, by what they would leave."""
        known = self._stood_in
        times = blocks.keys() if known is None else blocks.keys() & known
        self._prepare(times)
        return any(
            (trace >> SESSION_BITS) ^ 1 in self._known[time]
            for time in times
            for trace in unpacked(blocks[time])
        )

    def add(self, blocks: Blocks) -> None:
        """Note traces that were collected elsewhere."""
        for time, data in blocks.items():
            more = unpacked(data)
            self._new.setdefault(time, array("Q")).extend(more)
            known = self._known.get(time)
            if known is not None:
                for trace in more:
                    known.setdefault(trace >> SESSION_BITS, trace & _SESSION_MASK)
                self._note_shared(time, more)


def packed(print_: int, session: int) -> int:
    """Return a trace as it is kept in the block of its time."""
    return (print_ & _PRINT_MASK) << SESSION_BITS | session


def unpacked(data: bytes) -> array[int]:
    """Return the traces of a block."""
    found = array("Q")
    found.frombytes(data)
    return found
