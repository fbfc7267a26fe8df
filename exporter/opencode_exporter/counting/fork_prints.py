"""
Fork prints: how the copies that a fork makes are known, and whose session left them.

Kept apart from the keys, as they are asked for seldom and come by the million:
eight bytes each, in one block for the 17 minutes in which an invocation began.  A block
that is full has further ones below it, told apart by the next bits of a print: so what
is looked through for one print is bounded, however much happened at one time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from opencode_exporter.bits import unpacked
from opencode_exporter.counting.keys import PRINT_BITS, SESSION_BITS

_BYTES: Final = 8
FULL: Final = 512 * _BYTES  # a page
"""Bytes of a block from which on what else belongs there is left below it."""
_KEPT: Final = 2048 * FULL
"""Bytes of blocks that are kept at hand."""
_PRINT_MASK: Final = (1 << PRINT_BITS) - 1
_SESSION_MASK: Final = (1 << SESSION_BITS) - 1
_PRINT_BYTES: Final = PRINT_BITS // 8
_PRINT_AT: Final = _BYTES - _PRINT_BYTES if sys.byteorder == "little" else 0
_TIME_BITS: Final = 22
_BRANCH_BITS: Final = 4

Blocks = dict[int, bytes]
"""Prints with their sessions by place, one after the other in the order they were left."""

BlockLookup = Callable[[Collection[int]], Iterable[tuple[int, bytes]]]
"""Returns those places that have a block in the ledger, with it."""


def place_of(print_: int, level: int) -> int:
    """
    Return where a print may be kept, so many levels below the block of its time.

    The place of that is the time; those below are numbered, level by level, before it.
    """
    if not level:
        return print_ >> PRINT_BITS
    first = ((1 << _BRANCH_BITS * level) - 1) // ((1 << _BRANCH_BITS) - 1)
    branch = (print_ & _PRINT_MASK) >> PRINT_BITS - _BRANCH_BITS * level
    return (first + branch) << _TIME_BITS | print_ >> PRINT_BITS


class ForkPrints:
    """
    The prints of one batch, and those of the ledger that it may have to be held against.

    Args:
        lookup: Reads blocks from the ledger.
        stand_ins: The times of all stand-ins, which new ones join; None where they are not
            known, as the ledger is older than this process.
    """

    def __init__(self, lookup: BlockLookup, stand_ins: set[int] | None) -> None:
        self._lookup = lookup
        self._stand_ins = stand_ins
        self._new: dict[int, bytearray] = {}
        self._blocks: dict[int, bytearray] = {}  # those of the ledger, with what is new
        self._kept = 0

    def _forget_blocks(self) -> None:
        self._blocks = {}
        self._kept = 0

    def new(self) -> Blocks:
        """Return what the batch adds to each block."""
        return {place: bytes(left) for place, left in self._new.items()}

    def prepare(self, prints: Iterable[int]) -> None:
        """Look up, in one statement, the first blocks that some prints may be in."""
        self._fetch({print_ >> PRINT_BITS for print_ in prints})

    def _fetch(self, places: Iterable[int]) -> None:
        missing = {*places} - self._blocks.keys()
        if self._kept > _KEPT:
            self._forget_blocks()
        for place, block in self._lookup(missing) if missing else ():
            missing.discard(place)
            self._keep(place, block)
            if self._kept > _KEPT:
                return  # the others are fetched when they are asked for
        for place in missing:
            self._keep(place, b"")

    def _keep(self, place: int, block: bytes) -> None:
        self._blocks[place] = bytearray(block) + self._new.get(place, b"")
        self._kept += len(self._blocks[place])

    def _block(self, place: int) -> bytearray:
        if place not in self._blocks:
            self._fetch((place,))
        return self._blocks[place]

    def _find(self, print_: int) -> tuple[int, list[int]]:
        """Return where a print is to be left, and the sessions that have left it, in order."""
        level = 0
        found: list[int] = []
        while True:
            place = place_of(print_, level)
            block = self._block(place)
            found += _sessions_in(block, print_)
            if len(block) < FULL:
                return place, found
            level += 1

    def owner(self, print_: int) -> int | None:
        """Return the session that left a print first, if one did."""
        found = self._find(print_)[1]
        return found[0] if found else None

    def leave(self, print_: int, session: int) -> None:
        """Note that a session left a print, unless one did already."""
        place, found = self._find(print_)
        if not found:
            self._append(place, _bytes_of(print_, session))

    def leave_again(self, print_: int, session: int) -> bool:
        """Note that a session left a print; return whether it is the second one to do so."""
        place, found = self._find(print_)
        if session in found or len(found) > 1:
            return False
        self._append(place, _bytes_of(print_, session))
        return bool(found)

    def is_left_by_another(self, print_: int, session: int) -> bool:
        """Return whether a session other than this one has left a print."""
        return any(one != session for one in self._find(print_)[1])

    def _append(self, place: int, data: bytes) -> None:
        self._new.setdefault(place, bytearray()).extend(data)
        self._blocks[place] += data
        self._kept += len(data)

    def stand_in(self, print_: int) -> None:
        """Note that a copy was counted instead of its original, which had not been seen."""
        self.leave(print_ ^ 1, 0)
        if self._stand_ins is not None:
            self._stand_ins.add(print_ >> PRINT_BITS)

    def is_stood_in(self, print_: int) -> bool:
        """Return whether a copy was counted in place of the event with this print."""
        return self.owner(print_ ^ 1) is not None

    def any_stood_in(self, blocks: Blocks) -> bool:
        """Return whether a copy was counted for any print in blocks, whose places are times."""
        known = self._stand_ins
        times = blocks.keys() if known is None else blocks.keys() & known
        self._fetch(times)
        return any(
            self.is_stood_in(time << PRINT_BITS | left >> SESSION_BITS)
            for time in times
            for left in unpacked(blocks[time])
        )

    def leave_blocks(self, blocks: Blocks) -> None:
        """Leave prints that were collected in another process; their places are times."""
        self._fetch(blocks.keys())
        for time, block in blocks.items():
            if len(self._block(time)) + len(block) <= FULL:
                self._append(time, block)
                continue
            for left in unpacked(block):
                self.leave_again(time << PRINT_BITS | left >> SESSION_BITS, left & _SESSION_MASK)


def _bytes_of(print_: int, session: int) -> bytes:
    return packed(print_, session).to_bytes(_BYTES, sys.byteorder)


def _sessions_in(block: bytearray, print_: int) -> Iterator[int]:
    """Yield the sessions that left a print in a block, the first one first."""
    bits = (print_ & _PRINT_MASK).to_bytes(_PRINT_BYTES, sys.byteorder)
    at = block.find(bits)
    while at >= 0:
        if at % _BYTES == _PRINT_AT:
            left = block[at - _PRINT_AT : at - _PRINT_AT + _BYTES]
            yield int.from_bytes(left, sys.byteorder) & _SESSION_MASK
        at = block.find(bits, at + 1)


def packed(print_: int, session: int) -> int:
    """Return a print with its session, as both are kept in the block of their time."""
    return (print_ & _PRINT_MASK) << SESSION_BITS | session
