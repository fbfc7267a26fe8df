"""
Turns: one at a time, and whoever comes in crowds waits behind the others of the crowd.

Among those that wait, the client is next that had its last turn longest ago, and of a
client the request that came last: those before it may have been given up, and who asks
once is not behind a hundred who ask again and again.
Nothing here knows what a turn is for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

_MOST_WAITING: Final = 512
_KEPT: Final = 1000  # clients


class BusyError(Exception):
    """It waited until others, who came later, had taken all places."""


@dataclass(eq=False)
class _Waiting:
    """One who waits; ``turn`` is True when it is its turn, and False when it will not be."""

    client: str
    is_last: bool
    turn: asyncio.Future[bool] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Turns:
    """Turns of one event loop."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: list[_Waiting] = []  # in the order in which they came
        self._had: OrderedDict[str, int] = OrderedDict()  # by client: the number of its last turn
        self._number = 0

    @contextlib.asynccontextmanager
    async def turn(self, client: str, *, is_last: bool = False) -> AsyncIterator[None]:
        """
        Wait for a turn, and have it.

        Args:
            client: Who asks.
            is_last: Whether all others go first.

        Raises:
            BusyError: Too many others have come since.
        """
        if self._is_taken and not await self._has_come(_Waiting(client, is_last)):
            raise BusyError
        self._is_taken = True
        self._number += 1
        self._had[client] = self._number
        self._had.move_to_end(client)
        if len(self._had) > _KEPT:
            self._had.popitem(last=False)
        try:
            yield
        finally:
            self._pass_on()

    async def _has_come(self, one: _Waiting) -> bool:
        self._waiting.append(one)
        if len(self._waiting) > _MOST_WAITING:
            self._take_out(max(self._waiting, key=self._rank), is_next=False)
        try:
            return await one.turn
        except asyncio.CancelledError:
            if one in self._waiting:
                self._waiting.remove(one)
            elif one.turn.done() and not one.turn.cancelled() and one.turn.result():
                self._pass_on()  # it was given a turn that it cannot take
            raise

    def _pass_on(self) -> None:
        # The turn stays taken meanwhile, so that nobody gets in between.
        self._is_taken = False
        while self._waiting and not self._is_taken:
            following = min(reversed(self._waiting), key=self._rank)
            self._is_taken = self._take_out(following, is_next=True)

    def _take_out(self, one: _Waiting, *, is_next: bool) -> bool:
        """Tell one that waits how it ended; return False if nobody hears it any more."""
        self._waiting.remove(one)
        if one.turn.done():
            return False
        one.turn.set_result(is_next)
        return True

    def _rank(self, one: _Waiting) -> tuple[bool, int]:
        return one.is_last, self._had.get(one.client, 0)
