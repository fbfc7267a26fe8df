"""The poll loop: when it polls, who waits for it, and how it ends; with no web and no source."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from harness.waiting import PATIENCE_S
from opencode_exporter.service.poll_loop import PollLoop

LONG_S: Final = 10 * PATIENCE_S


class Polls:
    """Polls that are counted, and can be held up."""

    def __init__(self, due_s: float = LONG_S) -> None:
        self.asked: list[bool] = []
        self.due_s = due_s
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: Exception | None = None

    def poll(self, is_asked: bool) -> float:
        """Poll once."""
        self.asked.append(is_asked)
        self.begun.release()
        assert self.go_on.wait(PATIENCE_S)
        if self.error:
            raise self.error
        return self.due_s

    async def beginning(self) -> None:
        """Wait until another poll has begun."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=PATIENCE_S)


def looping(
    polls: Polls, body: Callable[[PollLoop], Awaitable[None]], *, interval_s: float = LONG_S
) -> None:
    """Run something beside a loop whose first poll is over, and stop the loop then."""

    async def run() -> None:
        over = asyncio.Event()
        loop = PollLoop(polls.poll, interval_s=interval_s, polled=over.set)
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(PATIENCE_S):
            tasks.create_task(loop.run())
            await polls.beginning()
            await over.wait()
            await body(loop)
            polls.go_on.set()
            loop.stop()

    asyncio.run(run())


def test_who_asks_waits_for_a_poll_that_began_later() -> None:
    """A poll that runs may have begun before the last commit: it is not the one to wait for."""
    polls = Polls()

    async def body(loop: PollLoop) -> None:
        polls.go_on.clear()
        loop.changed()
        await polls.beginning()
        waiting = asyncio.create_task(loop.poll_before(PATIENCE_S))
        await asyncio.sleep(0)
        polls.go_on.set()
        await waiting
        assert polls.asked == [False, False, True]

    looping(polls, body)


def test_many_who_ask_share_a_poll() -> None:
    """A hundred scrapes at once are one poll."""
    polls = Polls()

    async def body(loop: PollLoop) -> None:
        await asyncio.gather(*(loop.poll_before(PATIENCE_S) for _ in range(100)))
        assert polls.asked == [False, True]

    looping(polls, body)


def test_who_asks_waits_no_longer_than_the_time_that_is_left() -> None:
    """A page is rendered without a poll that takes too long."""
    polls = Polls()

    async def body(loop: PollLoop) -> None:
        polls.go_on.clear()
        await loop.poll_before(0.01)
        await polls.beginning()

    looping(polls, body)


def test_thread_can_ask_as_well() -> None:
    """A push asks from a thread of its own."""
    polls = Polls()

    async def body(loop: PollLoop) -> None:
        await asyncio.to_thread(loop.poll_from_thread, PATIENCE_S)
        assert polls.asked == [False, True]

    looping(polls, body)


@pytest.mark.parametrize("error", [None, ValueError("a defect")])
def test_timer_rings_when_the_poll_said_and_after_an_error(error: Exception | None) -> None:
    """A source that failed is tried again without a wake; a defect does not end the loop."""
    polls = Polls(due_s=LONG_S if error else 0.01)
    polls.error = error

    async def body(_loop: PollLoop) -> None:
        await polls.beginning()

    looping(polls, body, interval_s=0.01 if error else LONG_S)
    assert not any(polls.asked)


def test_stop_lets_those_go_who_wait() -> None:
    """The page is not held up by a poll that is to end."""
    polls = Polls()

    async def body(loop: PollLoop) -> None:
        polls.go_on.clear()
        loop.changed()
        await polls.beginning()
        waiting = asyncio.create_task(loop.poll_before(LONG_S))
        await asyncio.sleep(0)
        loop.stop()
        await waiting

    looping(polls, body)
    assert polls.asked == [False, False]
