"""
Measures of the page of metrics, beside the client library's page of the same series.

The series are made up, as many as the limits of labels allow, and have gone
through a ledger.  Knows nothing of a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count, product
from pathlib import Path
from random import Random
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from opencode_exporter.chunk import Chunk
from opencode_exporter.events import COMPLETED, ERROR, Event, Invocation
from opencode_exporter.expose.snapshot import AllSeries
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.service.settings import Settings
from opencode_exporter.source.opencode.tables.part_v1 import PartTable

_TOOLS: Final = 100
_SKILLS: Final = 100
_AGENTS: Final = tuple(f"agent-{number}" for number in range(5))
_PROJECTS: Final = tuple(f"project-{number}" for number in range(5))
_PLACES: Final = tuple(product(_AGENTS, _PROJECTS))
_BEGAN_MS: Final = 1_793_491_200_000
_ROUNDS: Final = 10


def fill(ledger: Ledger, source: str) -> None:
    """Count calls of so many names that there are more than 5 000 series, and commit."""
    events = list(_calls())
    ledger.apply(source, Chunk("part", PartTable.kind, events=events, rows=len(events)))
    ledger.set_baseline()
    ledger.commit()


def _calls() -> Iterator[Event]:
    rng, numbers = Random(1), count()  # noqa: S311  # a simulation, no secret
    for name, (agent, project), status in product(range(_TOOLS), _PLACES, (COMPLETED, ERROR)):
        yield _call(rng, next(numbers), f"tool_{name:03d}", status, agent, project)
    for name, (agent, project), status in product(range(_SKILLS), _PLACES, (COMPLETED, ERROR)):
        yield _call(rng, next(numbers), "skill", status, agent, project, f"skill-{name:03d}")


def _call(
    rng: Random,
    number: int,
    tool: str,
    status: str,
    agent: str,
    project: str,
    skill: str | None = None,
) -> Invocation:
    started, duration = _BEGAN_MS + number * 1000, rng.randrange(100_000)
    return Invocation(
        session=f"session-{number % 500}",
        message=f"message-{number}",
        call=f"call-{number}",
        part="",
        tool=tool,
        status=status,
        reason="timeout" if status == ERROR else "",
        started=started,
        ended=started + duration,
        duration=duration,
        wait=rng.randrange(9_000),
        output_bytes=rng.randrange(100_000),
        truncated=number % 10 == 0,
        skill=skill,
        agent=agent,
        project=project,
    )


def scrape(source: Path, _ledger: Path) -> dict[str, float]:
    """Make the page: again while nothing changes, after each call more, and by the library."""
    exporter = Exporter(Settings(source_paths=(source,)), {}, source.parent / "home")
    try:
        fill(exporter.ledger, source.name)
        numbers = count(1)
        first = time.perf_counter()
        exporter.pages.metrics("")
        first = time.perf_counter() - first
        same, page = _fastest(lambda: exporter.pages.metrics("").body)
        changed, _ = _fastest(
            lambda: exporter.pages.metrics("").body,
            lambda: _more(exporter.ledger, source.name, next(numbers)),
        )
        snapshot = exporter.pages.snapshot().series
    finally:
        exporter.close()
    registry = _registry(snapshot)
    theirs, other = _fastest(lambda: generate_latest(registry))
    return {
        "seconds": same,
        "changed_seconds": changed,
        "first_seconds": first,
        "series": sum(len(series) for series in snapshot.values()),
        "samples": _samples(page),
        "bytes": len(page),
        "baseline_seconds": theirs,
        "baseline_samples": _samples(other),
        "baseline_bytes": len(other),
    }


def _more(ledger: Ledger, source: str, number: int) -> None:
    """Count one call more."""
    call = _call(Random(number), -number, "tool_007", COMPLETED, *_PLACES[7])  # noqa: S311
    ledger.apply(source, Chunk("part", PartTable.kind, events=[call], rows=1))
    ledger.commit()


def _fastest(
    make: Callable[[], bytes], before: Callable[[], None] = lambda: None
) -> tuple[float, bytes]:
    """Return the shortest time that a page took, and the page."""
    best, page = float("inf"), b""
    for _ in range(_ROUNDS):
        before()
        began = time.perf_counter()
        page = make()
        best = min(best, time.perf_counter() - began)
    return best, page


def _samples(page: bytes) -> int:
    return sum(not line.startswith(b"#") for line in page.splitlines())


def _registry(snapshot: AllSeries) -> CollectorRegistry:
    """Return the client library's own metrics with the series of a snapshot."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    for metric, series in snapshot.items():
        about = (metric.family, metric.help, metric.labels)
        made: Counter | Gauge | Histogram
        if metric.kind == "histogram":
            made = Histogram(*about, buckets=metric.buckets, registry=registry)
        elif metric.kind == "counter":
            made = Counter(*about, registry=registry)
        else:
            made = Gauge(*about, registry=registry)
        for labels in series:
            _touch(made.labels(*labels) if labels else made)
    return registry


def _touch(child: Counter | Gauge | Histogram) -> None:
    """Give a series a value that takes about as many digits as a real one."""
    if isinstance(child, Histogram):
        child.observe(12.345)
    else:
        child.inc(1234)
