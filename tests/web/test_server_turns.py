"""Who has a turn when many want one: of comparing a password, of an answer to the next request."""

from __future__ import annotations

import asyncio

import pytest

from harness.waiting import PATIENCE_S
from harness.web_server import raw_exchange, serving
from opencode_exporter.web import http_server as web_protocol
from opencode_exporter.web.auth import BusyError, FairLock
from opencode_exporter.web.http_server import PipelineQueue


def test_turns_go_round_among_clients() -> None:
    """Who asks once is next, however many of others wait; of one client the last is next."""
    order: list[str] = []

    async def take(lock: FairLock, client: str, name: str, *, is_last: bool = False) -> None:
        async with lock.hold(client, is_last=is_last):
            order.append(name)
            await asyncio.sleep(0)

    async def run() -> None:
        lock = FairLock()
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(take(lock, "crowd", f"crowd {number}"))
            tasks.create_task(take(lock, "other", "stranger", is_last=True))
            tasks.create_task(take(lock, "one", "one"))
            await asyncio.sleep(0)

    asyncio.run(run())
    assert order == ["crowd 0", "one", "crowd 3", "crowd 2", "crowd 1", "stranger"]


def test_who_waits_too_long_in_a_crowd_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places are bounded: the one goes that would be last."""
    monkeypatch.setattr("opencode_exporter.web.auth._MOST_WAITING", 2)
    busy: list[str] = []

    async def take(lock: FairLock, name: str) -> None:
        try:
            async with lock.hold("crowd"):
                await asyncio.sleep(0)
        except BusyError:
            busy.append(name)

    async def run() -> None:
        lock = FairLock()
        async with asyncio.TaskGroup() as tasks:
            for name in ("has it", "first", "second", "third", "fourth"):
                tasks.create_task(take(lock, name))

    asyncio.run(run())
    assert busy == ["first", "second"]


@pytest.mark.parametrize("when", ["waiting", "having it", "as it is given"])
def test_turn_of_one_who_leaves_is_passed_on(when: str) -> None:
    """Nobody waits for a turn that somebody has who is gone."""

    async def run() -> None:
        lock = FairLock()
        release = asyncio.Event()

        async def take() -> None:
            async with lock.hold("one"):
                await release.wait()

        first = asyncio.create_task(take())
        await asyncio.sleep(0)
        second = asyncio.create_task(take())
        await asyncio.sleep(0)
        if when == "having it":
            first.cancel()
        elif when == "waiting":
            second.cancel()
            release.set()
        else:
            release.set()
            await asyncio.sleep(0)  # the first has done, and the second does not know yet
            second.cancel()
        release.set()
        await asyncio.gather(first, second, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S), lock.hold("other"):
            pass

    asyncio.run(run())


def test_lane_calls_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which they came; who leaves is called no more."""
    monkeypatch.setattr(web_protocol, "_APART_S", 0.001)
    called: list[str] = []

    async def run() -> None:
        queue = PipelineQueue()
        done = asyncio.Event()
        for name in ("a", "b", "c"):
            queue.add(name, lambda name=name: called.append(name))  # type: ignore[misc]
        queue.remove("b")
        queue.remove("nobody")
        queue.add("last", done.set)
        assert "a" in queue
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        assert "a" not in queue
        again = asyncio.Event()
        queue.add("a", again.set)
        await asyncio.wait_for(again.wait(), PATIENCE_S)

    asyncio.run(run())
    assert called == ["a", "c"]


def test_requests_sent_at_once_are_all_answered() -> None:
    """A client that does not wait for answers gets them all the same, in order."""
    one = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with serving() as server:
        answer = raw_exchange(server, one * 200 + last)
    assert (answer.count(b" 200 OK"), answer.count(b" 404 ")) == (200, 1)
