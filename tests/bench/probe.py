"""
One measure of the exporter or of a baseline, in a process of its own.

Prints what it found as a JSON object.  Every time is taken inside the process,
without the interpreter's start.  Knows nothing of the other measures.

    python tests/bench/probe.py history big.db ledger.db
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import baseline
import generate
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

from opencode_exporter import catalog as c
from opencode_exporter.config import Settings
from opencode_exporter.service import Exporter
from opencode_exporter.snapshot import Snapshot

COMMITS: Final = 200
_POLLS: Final = 2_000
_SCRAPES: Final = 50

Found = Mapping[str, float | str]


@contextmanager
def _exporter(source: Path, ledger: Path) -> Iterator[Exporter]:
    settings = Settings(source_paths=(source,), ledger_path=ledger)
    exporter = Exporter(settings, {}, ledger.parent / "home")
    try:
        yield exporter
    finally:
        exporter.close()


def history(source: Path, ledger: Path) -> Found:
    """Read everything: into a new ledger, or what is left to read into one that exists."""
    began = time.perf_counter()
    with _exporter(source, ledger) as exporter:
        exporter.poll()
        seconds = time.perf_counter() - began
        if not exporter.ledger.published.baseline_ms:
            raise SystemExit(f"The history was not read: {exporter.pages.not_ready()}")
        calls = sum(
            value
            for value in exporter.pages.snapshot()[c.TOOL_INVOCATIONS].values()
            if isinstance(value, int)
        )
    return {"seconds": seconds, "calls": calls}


def group_by(source: Path, generation: str) -> Found:
    """Run the baseline's statement with the SQLite that the exporter uses."""
    seconds, rows = baseline.measure(source, generation)
    calls = sum(row[2] for row in rows)
    return {"seconds": seconds, "calls": calls, "sqlite": apsw.sqlite_lib_version()}


def group_by_stdlib(source: Path, generation: str) -> Found:
    """Run the baseline's statement with the SQLite of Python."""
    import baseline_stdlib  # noqa: PLC0415  # only this measure loads a second SQLite

    seconds, rows = baseline_stdlib.measure(source, generation)
    calls = sum(row[2] for row in rows)
    return {"seconds": seconds, "calls": calls, "sqlite": baseline_stdlib.VERSION}


def commits(source: Path, ledger: Path) -> Found:
    """Poll after each new commit; the writer's own work is not in the time."""
    used = 0.0
    with _exporter(source, ledger) as exporter:
        exporter.poll()
        for _ in generate.append(source, COMMITS):
            began = time.process_time()
            exporter.poll()
            used += time.process_time() - began
    return {"seconds": used / COMMITS}


def unchanged(source: Path, ledger: Path) -> Found:
    """Poll again and again while nobody writes."""
    with _exporter(source, ledger) as exporter:
        exporter.poll()
        began = time.perf_counter()
        for _ in range(_POLLS):
            exporter.poll()
        return {"seconds": (time.perf_counter() - began) / _POLLS}


def scrape(source: Path, ledger: Path) -> Found:
    """Make the page of metrics, and the client library's own page of the same series."""
    with _exporter(source, ledger) as exporter:
        exporter.poll()
        ours, page = _repeat(lambda: exporter.pages.metrics("").body)
        registry = _registry(exporter.pages.snapshot())
        theirs, other = _repeat(lambda: generate_latest(registry))
    return {
        "seconds": ours,
        "bytes": len(page),
        "samples": _samples(page),
        "baseline_seconds": theirs,
        "baseline_bytes": len(other),
        "baseline_samples": _samples(other),
    }


def _repeat(make: Callable[[], bytes]) -> tuple[float, bytes]:
    """Return the shortest time that a page took, and the page."""
    best, page = float("inf"), b""
    for _ in range(_SCRAPES):
        began = time.perf_counter()
        page = make()
        best = min(best, time.perf_counter() - began)
    return best, page


def _samples(page: bytes) -> int:
    return sum(not line.startswith(b"#") for line in page.splitlines())


def _registry(snapshot: Snapshot) -> CollectorRegistry:
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


_MEASURES: Final[Mapping[str, Callable[[Path, Path], Found]]] = {
    "history": history,
    "commits": commits,
    "unchanged": unchanged,
    "scrape": scrape,
}
_BASELINES: Final[Mapping[str, Callable[[Path, str], Found]]] = {
    "group-by": group_by,
    "group-by-stdlib": group_by_stdlib,
}


def main() -> None:
    """Do the measure named on the command line and print what it found."""
    name, source, other = sys.argv[1:]
    if name in _BASELINES:
        found = _BASELINES[name](Path(source), other)
    else:
        found = _MEASURES[name](Path(source), Path(other))
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
