"""
The watcher: tells when a file of a source may have changed.

Wakes on what the system reports of the directories, and looks at them itself
where nothing is reported (``--watch.force-polling``).  A wake is a hint, no more:
the poll decides whether anything is new.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

log = logging.getLogger(__name__)

_FILES: Final = re.compile(r".*\.db(-wal)?")
_DEBOUNCE_MS: Final = 100
_STEP_MS: Final = 50  # the watching thread looks this often, also when nothing happens
_POLL_DELAY_MS: Final = 300
_RETRY_S: Final = 5.0
_SETTLED_S: Final = 0.5


def watchable(directories: Iterable[Path]) -> tuple[Path, ...]:
    """Return the directories, each replaced by its nearest parent while it does not exist."""
    found = []
    for directory in directories:
        here = directory
        # Path.is_dir raises in a directory that may not be entered.
        while not os.path.isdir(here) and here != here.parent:  # noqa: PTH112
            here = here.parent
        found.append(here)
    return tuple(dict.fromkeys(found))


class Watcher:
    """Calls ``wake`` when something happens to a database or its WAL."""

    def __init__(self, wake: Callable[[], None], *, force_polling: bool) -> None:
        self._wake = wake
        self._force_polling = force_polling

    async def watch(self, wanted: Callable[[], tuple[Path, ...]], stop: asyncio.Event) -> None:
        """
        Watch until told to stop.

        Args:
            wanted: Returns the directories; asked again when one of them appears.
            stop: Set to end.
        """
        while not stop.is_set():
            directories = wanted()
            watched = watchable(directories)
            try:
                await self._watch(watched, directories, stop)
            except (OSError, RuntimeError) as err:
                # Out of watches, or a directory that went away: the timer still polls.
                log.warning("cannot watch, polling by timer", extra={"err": str(err)})
                await _wait(stop, _RETRY_S)

    async def _watch(
        self, watched: tuple[Path, ...], directories: tuple[Path, ...], stop: asyncio.Event
    ) -> None:
        # What happened before the watch stood was reported to nobody.
        asyncio.get_running_loop().call_later(_SETTLED_S, self._wake)
        async for changes in awatch(
            *watched,
            watch_filter=lambda _change, path: self._concerns(path, directories),
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=stop,
            force_polling=self._force_polling or None,
            poll_delay_ms=_POLL_DELAY_MS,
            recursive=False,
            ignore_permission_denied=True,
        ):
            self._wake()
            gone = any(change == Change.deleted and Path(p) in watched for change, p in changes)
            if gone or watchable(directories) != watched:
                return

    @staticmethod
    def _concerns(path: str, directories: tuple[Path, ...]) -> bool:
        """Say whether a change is one of a database, its WAL, or the way to their directory."""
        changed = Path(path)
        if _FILES.fullmatch(changed.name):
            return True
        return any(changed == way for d in directories for way in (d, *d.parents))


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
