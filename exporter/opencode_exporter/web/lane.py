"""
The lane of those who ask on before they have been answered.

A client that has sent a thousand requests at once would have a thousand answers before
anybody else has one.  Its next one waits until those of others have had their turn, and all
such requests together are so many a second.
Nothing here knows what a request is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_APART_S: Final = 0.005


class Lane:
    """Calls back those who wait, one after the other and in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[object, Callable[[], None]] = {}
        self._is_moving = False

    def wait(self, who: object, go_on: Callable[[], None]) -> None:
        """Have somebody called back when it is its turn."""
        self._waiting[who] = go_on
        if not self._is_moving:
            self._is_moving = True
            self._move()

    def leave(self, who: object) -> None:
        """Call somebody back no more; safe for one who does not wait."""
        self._waiting.pop(who, None)

    def __contains__(self, who: object) -> bool:
        return who in self._waiting

    def _move(self) -> None:
        asyncio.get_running_loop().call_later(_APART_S, self._call)

    def _call(self) -> None:
        self._is_moving = bool(self._waiting)
        if self._is_moving:
            self._waiting.pop(next(iter(self._waiting)))()
            self._move()
