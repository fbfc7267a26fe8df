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
_LONGEST_RETRY_S: Final = 60.0
_HOLDS_MS: Final = 5_000  # a watch that lives so long stands
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
    """
    Calls ``wake`` when something happens to a database or its WAL.

    Only an accelerator: whatever ends a watch is logged once, the timer goes on,
    and the watch is tried again.
    """

    def __init__(self, wake: Callable[[], None], *, force_polling: bool) -> None:
        self._wake = wake
        self._force_polling = force_polling
        self._is_lost = False
        self._pause_s = _RETRY_S
        self._told: set[Path] = set()

    async def watch(self, wanted: Callable[[], tuple[Path, ...]], stop: asyncio.Event) -> None:
        """
        Watch until told to stop.

        Args:
            wanted: Returns the directories; asked again when one of them appears.
            stop: Set to end.
        """
        clock = asyncio.get_running_loop().time
        while not stop.is_set():
            began = clock()
            try:
                directories = wanted()
                await self._watch(self._named(watchable(directories)), directories, stop)
            except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit):
                raise
            # Out of watches, a directory that went away, a file in it whose name is not UTF-8,
            # or a panic of the library, which is no Exception.
            except BaseException as err:  # noqa: BLE001
                await self._lost(err, clock() - began, stop)

    async def _lost(self, err: BaseException, held_s: float, stop: asyncio.Event) -> None:
        """Log that nothing is watched, and wait: longer after each watch that ended soon."""
        if not self._is_lost:
            self._is_lost = True
            log.warning("cannot watch, polling by timer", extra={"err": _cause(err)})
        self._wake()  # what else happened may have been told together with it
        if held_s >= _LONGEST_RETRY_S:
            self._pause_s = _RETRY_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, _LONGEST_RETRY_S)
        await _wait(stop, pause_s)

    def _holds(self) -> None:
        if self._is_lost:
            self._is_lost = False
            log.info("watching again")

    def _named(self, directories: tuple[Path, ...]) -> tuple[Path, ...]:
        """Return the directories that can be watched; the library knows no names but UTF-8."""
        named = []
        for directory in directories:
            try:
                str(directory).encode("utf-8")
            except UnicodeEncodeError:
                if directory not in self._told:
                    self._told.add(directory)
                    extra = {"err": "its name is not UTF-8", "directory": str(directory)}
                    log.warning("cannot watch, polling by timer", extra=extra)
            else:
                named.append(directory)
        return tuple(named)

    async def _watch(
        self, watched: tuple[Path, ...], directories: tuple[Path, ...], stop: asyncio.Event
    ) -> None:
        if not watched:
            await _wait(stop, _LONGEST_RETRY_S)
            return
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
            rust_timeout=_HOLDS_MS,
            yield_on_timeout=True,
        ):
            self._holds()
            if not changes:
                continue
            self._wake()
            gone = any(change == Change.deleted and Path(p) in watched for change, p in changes)
            if gone or self._named(watchable(directories)) != watched:
                return

    @staticmethod
    def _concerns(path: str, directories: tuple[Path, ...]) -> bool:
        """Return whether a change is one of a database, its WAL, or the way to their directory."""
        changed = Path(path)
        if _FILES.fullmatch(changed.name):
            return True
        return any(changed == way for d in directories for way in (d, *d.parents))


def _cause(err: BaseException) -> str:
    """Return what went wrong, of the group that a task of the library makes of it."""
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    return str(err) or type(err).__name__


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
