"""
The poll loop: when to poll, and who waits for it.

One poll at a time, in a thread of its own: when something changed, when somebody asks, and
when the timer rings.  Knows no source, no web server and no push.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

log = logging.getLogger(__name__)

_MIN_BETWEEN_S: Final = 0.2  # wakes come by the dozen while a model streams


class PollLoop:
    """
    Polls from `run` until `stop`.

    Made where an event loop runs; only `poll_from_thread` may be called from other threads.

    Args:
        poll: Polls once, in another thread.  It is told whether somebody waits for the poll,
            and returns in how many seconds the next one is due at the latest.
        interval_s: The same, where a poll ends with an error.
        polled: Called after each poll.
    """

    def __init__(
        self,
        poll: Callable[[bool], float],
        *,
        interval_s: float,
        polled: Callable[[], None] = lambda: None,
    ) -> None:
        self._poll = poll
        self._interval_s = interval_s
        self._polled = polled
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="poll")
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._is_asked = False  # no pause before the next poll
        self._is_stopped = False
        self._begun = 0
        self._done = 0
        self._next = asyncio.Event()  # set and replaced at the end of a poll

    async def run(self) -> None:
        """Poll until `stop`; a poll that runs then is waited for."""
        try:
            while not self._is_stopped:
                self._wake.clear()
                is_asked, self._is_asked = self._is_asked, False
                self._begun += 1
                ask = partial(self._poll_once, is_asked)
                due_s = await self._loop.run_in_executor(self._thread, ask)
                self._done = self._begun
                self._tell()
                self._polled()
                await self._until_wanted(self._loop.time(), due_s)
        finally:
            self._thread.shutdown()

    def changed(self) -> None:
        """Poll soon: something may be new."""
        self._wake.set()

    async def poll_before(self, within_s: float) -> None:
        """Return when a poll that began after this call has ended, or the time is over."""
        wanted = self._begun + 1  # one that runs may have begun before the last commit
        self._is_asked = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._done < wanted and not self._is_stopped:
                    await self._next.wait()

    def poll_from_thread(self, within_s: float) -> None:
        """Do the same from another thread."""
        polled = asyncio.run_coroutine_threadsafe(self.poll_before(within_s), self._loop)
        with contextlib.suppress(TimeoutError):
            polled.result(2 * within_s)

    def stop(self) -> None:
        """Begin no other poll; whoever waits for one goes on with what there is."""
        self._is_stopped = True
        self._wake.set()
        self._tell()

    def _tell(self) -> None:
        ended, self._next = self._next, asyncio.Event()
        ended.set()

    def _poll_once(self, is_asked: bool) -> float:
        try:
            return self._poll(is_asked)
        except Exception:
            # A defect of ours must not take the page away; it is shown and tried again.
            log.exception("poll failed")
            return self._interval_s

    async def _until_wanted(self, polled_s: float, due_s: float) -> None:
        """Wait for a change or the timer; a burst of changes becomes one poll."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._wake.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(polled_s + _MIN_BETWEEN_S):
                # A scrape does not wait for the burst to end.
                while not (self._is_asked or self._is_stopped):
                    self._wake.clear()
                    await self._wake.wait()
