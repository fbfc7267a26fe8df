"""
One measure of the exporter or of a baseline, in a process of its own.

Prints what it found as a JSON object.  Every time is taken inside the process,
without the interpreter's start.  Knows nothing of the other measures.

    PYTHONPATH=tests python -m bench.probe history big.db ledger.db 0
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import apsw

from bench import baseline, generate, page, reading, serving
from bench.reading import Found, Stopwatch, exporter_over

COMMITS: Final = 200
_POLLS: Final = 2_000


def group_by(source: Path, generation: str) -> Found:
    """Run the baseline's statement with the SQLite that the exporter uses."""
    watch = Stopwatch()
    seconds, rows = baseline.measure(source, generation)
    cpu, calls = watch.read()["cpu"], sum(row[2] for row in rows)
    return {"seconds": seconds, "cpu": cpu, "calls": calls, "sqlite": apsw.sqlite_lib_version()}


def group_by_stdlib(source: Path, generation: str) -> Found:
    """Run the baseline's statement with the SQLite of Python."""
    from bench import baseline_stdlib  # noqa: PLC0415  # only this measure loads a second SQLite

    seconds, rows = baseline_stdlib.measure(source, generation)
    calls = sum(row[2] for row in rows)
    return {"seconds": seconds, "calls": calls, "sqlite": baseline_stdlib.VERSION}


def opencode_statistics(source: Path, scratch: str) -> Found:
    """Let OpenCode read a copy."""
    from bench import opencode_stats  # noqa: PLC0415  # would add to the memory of the others

    return opencode_stats.measure(source, Path(scratch))


def commits(source: Path, ledger: Path) -> Found:
    """Poll after each new commit; the writer's own work is not in the time."""
    used = 0.0
    with exporter_over(source, ledger) as exporter:
        exporter.poll()
        for _ in generate.append(source, COMMITS):
            began = time.process_time()
            exporter.poll()
            used += time.process_time() - began
    return {"seconds": used / COMMITS}


def unchanged(source: Path, ledger: Path) -> Found:
    """Poll again and again while nobody writes."""
    with exporter_over(source, ledger) as exporter:
        exporter.poll()
        began = time.perf_counter()
        for _ in range(_POLLS):
            exporter.poll()
        return {"seconds": (time.perf_counter() - began) / _POLLS}


_MEASURES: Final[Mapping[str, Callable[[Path, Path], Found]]] = {
    "history": reading.history,
    "history-by-one": reading.history_by_one,
    "backfill": reading.backfill,
    "once": reading.once,
    "report": reading.report,
    "report-of-a-week": reading.report_of_a_week,
    "commits": commits,
    "unchanged": unchanged,
    "scrape": page.scrape,
}
_TIMED: Final[Mapping[str, Callable[[Path, Path, float], Found]]] = {
    "idle": serving.idle,
    "idle-uvicorn": serving.idle_uvicorn,
    "visible": serving.visible,
    "scrape-http": serving.scrape_http,
}
"""Measures that last as long as they are told."""
_BASELINES: Final[Mapping[str, Callable[[Path, str], Found]]] = {
    "group-by": group_by,
    "group-by-stdlib": group_by_stdlib,
    "opencode-stats": opencode_statistics,
}


def main() -> None:
    """Do the measure named on the command line and print what it found."""
    name, source, other, seconds = sys.argv[1:]
    if name in _BASELINES:
        found = _BASELINES[name](Path(source), other)
    elif name in _TIMED:
        found = _TIMED[name](Path(source), Path(other), float(seconds))
    else:
        found = _MEASURES[name](Path(source), Path(other))
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
