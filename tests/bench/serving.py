"""
Measures of a whole serving exporter: idling, noticing a commit, answering a scrape.

The service runs in this process, so that what it has published is seen without
a scrape, which would have asked for a poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import uvicorn
from watchfiles import awatch

from bench.page import fill
from opencode_exporter import catalog as c
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.service.service import Service
from opencode_exporter.service.settings import Settings

_SETTLED_S: Final = 1.0  # the watcher's own wake after its start is over
_LOOK_S: Final = 0.001
_CATCH_UP_S: Final = 10.0
_REPORTED_S: Final = 0.5
_DEBOUNCE_MS: Final = 100
_SCRAPES: Final = 50
_HEADERS: Final = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2",
    "Accept-Encoding": "gzip",
}
"""What Prometheus sends."""

T = TypeVar("T")


def idle(source: Path, ledger: Path, seconds: float) -> dict[str, float]:
    """Serve while nobody writes and nobody scrapes; a share of one core is found."""
    return {"seconds": asyncio.run(_served(source, ledger, lambda _e, _p: _burnt(seconds)))}


def idle_uvicorn(_source: Path, _ledger: Path, seconds: float) -> dict[str, float]:
    """Let an empty uvicorn do the same."""

    async def empty(_scope: object, _receive: object, _send: object) -> None:
        """Answer nothing: nobody asks."""

    async def serve() -> float:
        # Told that it is one: it would call the application to find out.
        config = uvicorn.Config(empty, port=0, lifespan="off", interface="asgi3", log_config=None)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        share = await _burnt(seconds)
        server.should_exit = True
        await task
        return share

    return {"seconds": asyncio.run(serve())}


def visible(source: Path, ledger: Path, seconds: float) -> dict[str, float]:
    """Find how long after a commit its call is published, and when a bare watcher wakes."""
    return asyncio.run(_served(source, ledger, lambda e, _p: _watched(e, source, seconds)))


def scrape_http(source: Path, ledger: Path, _seconds: float) -> dict[str, float]:
    """Scrape a full page over HTTP, compressed, as Prometheus does."""
    settings = Settings(source_paths=(source,), ledger_path=ledger)
    exporter = Exporter(settings, {}, ledger.parent / "home")
    exporter.poll()
    fill(exporter.ledger, source.name)
    exporter.close()
    return asyncio.run(_served(source, ledger, lambda _e, port: asyncio.to_thread(_scraped, port)))


async def _served(
    source: Path, ledger: Path, measure: Callable[[Exporter, int], Awaitable[T]]
) -> T:
    """Return what a measure finds while the service runs and its history is in."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    settings = Settings(source_paths=(source,), ledger_path=ledger, listen=(f"127.0.0.1:{port}",))
    exporter = Exporter(settings, {}, ledger.parent / "home")
    service = Service(exporter)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(service.run())
        try:
            while not exporter.ledger.published.baseline_ms:  # noqa: ASYNC110  # tells nobody
                await asyncio.sleep(_LOOK_S)
            await asyncio.sleep(_SETTLED_S)
            return await measure(exporter, port)
        finally:
            service.stop()


async def _burnt(seconds: float) -> float:
    """Return the share of a core that this process takes from now on."""
    await asyncio.sleep(min(_SETTLED_S, seconds))
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) / (time.perf_counter() - began)


async def _watched(exporter: Exporter, source: Path, seconds: float) -> dict[str, float]:
    before = _calls(exporter)
    stop = asyncio.Event()
    reports: list[float] = []
    published: list[tuple[float, int]] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_note_reports(source.parent, reports, stop))
        tasks.create_task(_note_published(exporter, published, stop))
        commits = await _written(source, seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_S):
                while _calls(exporter) < before + len(commits):  # noqa: ASYNC110  # tells nobody
                    await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(_REPORTED_S)
        stop.set()
    if not published or published[-1][1] != before + len(commits):
        raise SystemExit(f"{len(commits)} calls were committed, seen were {published[-1:]}.")
    seen = [count for _, count in published]
    ours, theirs = [], []
    for number, committed in enumerate(commits, start=before + 1):
        ours.append(published[bisect_left(seen, number)][0] - committed)
        theirs.append(reports[min(bisect_left(reports, committed), len(reports) - 1)] - committed)
    found: dict[str, float] = {"commits": len(commits)}
    for percent in (50, 99):
        found[f"p{percent}"] = _percentile(ours, percent)
        found[f"baseline_p{percent}"] = _percentile(theirs, percent)
    return found


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _calls(exporter: Exporter) -> int:
    series = exporter.ledger.published.series.get(c.TOOL_INVOCATIONS.name, {})
    return sum(value for value in series.values() if isinstance(value, int))


async def _note_reports(directory: Path, reports: list[float], stop: asyncio.Event) -> None:
    """Note when a watcher is told of a change, and does nothing about it."""
    watch = awatch(directory, debounce=_DEBOUNCE_MS, recursive=False, stop_event=stop)
    reports.extend([time.monotonic() async for _ in watch])


async def _note_published(
    exporter: Exporter, published: list[tuple[float, int]], stop: asyncio.Event
) -> None:
    """Note when the calls on the page become more."""
    known = exporter.ledger.published
    while not stop.is_set():
        await asyncio.sleep(_LOOK_S)
        if exporter.ledger.published is not known:
            known = exporter.ledger.published
            published.append((time.monotonic(), _calls(exporter)))


async def _written(source: Path, seconds: float) -> list[float]:
    """Let another process commit calls, and return when each was committed."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.generate"),
        *("--live", str(seconds), "--out", str(source)),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await writer.communicate()
    if writer.returncode:
        raise SystemExit("The writer failed; its reason stands above.")
    # The clock that never steps is one for all processes of a machine.
    return [float(line) for line in told.split()]


def _scraped(port: int) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times, size = [], 0
    for _ in range(_SCRAPES):
        began = time.perf_counter()
        connection.request("GET", "/metrics", headers=_HEADERS)
        size = len(connection.getresponse().read())
        times.append(time.perf_counter() - began)
    connection.close()
    return {"seconds": min(times[1:]), "first_seconds": times[0], "bytes": size}
