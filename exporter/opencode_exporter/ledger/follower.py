"""
Followers: who hears of single invocations, and when they count for good.

The ledger knows nothing of what a follower does with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from opencode_exporter.events import Invocation


class Follower(Protocol):
    """Follows the live invocations of one ledger; only the thread that polls calls it."""

    def counted(self, event: Invocation) -> None:
        """Hear of an invocation that counts with the next commit, if there is one."""
        ...

    def committed(self, running: Iterable[Invocation]) -> None:
        """
        Hear that what was counted since the last time is on disk.

        Args:
            running: The calls that run now.
        """
        ...

    def forget(self) -> None:
        """Hear that it is not, and will be counted again."""
        ...
