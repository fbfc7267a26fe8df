"""
Bits: 64 of them stand for a text, and integers of 64 bits lie one after the other in bytes.

Pure.  What is kept of ids, names and paths is made here, so that the same text is the
same number everywhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from xxhash import xxh3_64_intdigest


def hashed(text: str) -> int:
    """Return 64 bits that stand for a text."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def block_of(integers: Iterable[int] = ()) -> array[int]:
    """Return integers of 64 bits as an array, whose bytes `unpacked` reads."""
    return array("Q", integers)


def unpacked(data: bytes) -> array[int]:
    """Return the integers of 64 bits that lie in some bytes."""
    found = block_of()
    found.frombytes(data)
    return found
