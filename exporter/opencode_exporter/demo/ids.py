"""
Ids as OpenCode makes them: 48 bits of time and counter, then 14 random characters.

Owns the format, the wrap of the 48 bits (August 2026) included: ids made after
it sort before older ones, which is what a reader has to live with.
Knows nothing of rows.
"""

from __future__ import annotations

from random import Random
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEX: Final = "0123456789abcdef"
_MASK: Final = (1 << 48) - 1


class Ids:
    """A source of ids; the same `Random` gives the same ids."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._last = 0
        self._counter = 0

    def ascending(self, prefix: str, now: int) -> str:
        """Return an id of a message (``msg``) or part (``prt``) made at `now`, ms."""
        return f"{prefix}_{self._stamp(now) & _MASK:012x}{self.characters(14)}"

    def session(self, now: int) -> str:
        """Return a session's id: its bits are inverted, so that newer ones sort first."""
        return f"ses_{~self._stamp(now) & _MASK:012x}{self.characters(14)}"

    def characters(self, count: int) -> str:
        """Return random letters and digits."""
        return "".join(self._rng.choices(_ALPHABET, k=count))

    def digest(self) -> str:
        """Return 40 hexadecimal digits, as git names commits and trees."""
        return "".join(self._rng.choices(_HEX, k=40))

    def _stamp(self, now: int) -> int:
        if now != self._last:
            self._last, self._counter = now, 0
        self._counter += 1
        return now * 4096 + self._counter
