"""
The simulation: what years of use make of the ledger.

Invents steps and invocations in the proportions of a real history, a year of them, and
takes them into a real ledger, so that ten million parts need no database of 18 GB; a part
of them as a live exporter does, which sees them run first.  Prints a line for each tenth:
what the ledger weighs, what a poll with one invocation more costs, and how long a restart
takes.  At the end a real exporter serves that ledger.  Knows nothing of how rows are read.

    make scale PARTS=10000000
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from bench import generate, page, processes, year
from opencode_exporter import catalog as c
from opencode_exporter.chunk import Chunk, OpenRow
from opencode_exporter.clock import SystemClock
from opencode_exporter.counting.summary import Summarizer, SummedChunk
from opencode_exporter.events import (
    Event,
    Invocation,
)
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.ledger.rules import Rules
from opencode_exporter.ledger.store import Store
from opencode_exporter.source.opencode.tables.part_v1 import PartTable

PART: Final = PartTable.kind
CALLS_A_PART: Final = 0.315
"""Of a thousand parts of a real history, 315 are invocations."""
_CHUNK: Final = 1_250
_COMMIT: Final = 12_500
_SINGLES: Final = 100
_LIVE: Final = 4
"""One in so many chunks is seen while its invocations run."""
_AT_ONCE: Final = 50
_SCRAPES: Final = 20
_LEAST_PARTS: Final = 20_000

console = Console(highlight=False)


class Line(NamedTuple):
    """The ledger after some invocations."""

    calls: int
    ledger_bytes: int
    commit_s: float
    restart_s: float
    peak_bytes: int


class Simulation:
    """A ledger that takes in what is invented."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ledger = self._opened()
        self.issued = 0
        self._chunks = 0
        self._messages = year.Messages()

    def _opened(self) -> Ledger:
        rules = Rules(series_limit=2000, abandon_after_ms=6 * 3_600_000)
        return Ledger(Store(self._path), SystemClock(), rules)

    def take(self, events: list[Invocation]) -> None:
        """
        Take events in as a first read does, most of them summed; or as a live exporter.

        Raises:
            SystemExit: An invocation was taken for a known one.
        """
        self._chunks += 1
        if self._chunks % _LIVE:
            self._apply(self._summed("part", events), events)
        else:
            for start in range(0, len(events), _AT_ONCE):
                self._watch(events[start : start + _AT_ONCE])
        self._apply(self._summed("message", [*self._messages.of(events)]), ())

    def _watch(self, events: list[Invocation]) -> None:
        """See invocations run, and then that they have ended."""
        own = [event for event in events if not event.suspect]
        rows = [
            OpenRow(
                "part", PART, event.part, event.started, 1, event.started, calls=(_going(event),)
            )
            for event in own
        ]
        self._apply(Chunk("part", PART, open_rows=rows), ())
        self._ledger.commit()
        ended = [event.part for event in own]
        chunk = Chunk("part", PART, events=[*events], settled=ended, rows=len(events))
        self._apply(chunk, events)
        self._ledger.commit()

    def _summed(self, table: str, events: Sequence[Event]) -> Chunk:
        summarizer = Summarizer(PART.origin)
        left = summarizer.take(events)
        summary, rows = summarizer.summary()
        if not self._ledger.is_new(summary):
            raise SystemExit("What was never issued before is known.")
        return SummedChunk(table, PART, events=[*left, *rows], summary=summary, rows=len(events))

    def _apply(self, chunk: Chunk, events: Iterable[Invocation]) -> None:
        self._ledger.apply("opencode.db", chunk)
        self.issued += sum(not event.suspect for event in events)

    def commit(self) -> None:
        """Commit what was taken in, and end what is silent."""
        self._ledger.commit()
        self._ledger.settle(lambda _: True)

    def measure(self, events: Iterable[Invocation]) -> Line:
        """Take some in one at a time, start again, and say what it cost."""
        costs = []
        for event in events:
            began = time.perf_counter()
            self._apply(Chunk("part", PART, events=[event], rows=1), [event])
            self._ledger.commit()
            costs.append(time.perf_counter() - began)
        self._ledger.close()
        began = time.perf_counter()
        self._ledger = self._opened()
        restart = time.perf_counter() - began
        return Line(self.issued, self._ledger.size(), median(costs), restart, _peak())

    def counted(self) -> int:
        """Return how many invocations have been counted."""
        series = self._ledger.published.series[c.TOOL_INVOCATIONS.name]
        return sum(value for value in series.values() if isinstance(value, int))

    def fill(self) -> None:
        """Count as many names as the limits of labels allow."""
        page.fill(self._ledger, "opencode.db")

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()


def _going(event: Invocation) -> Invocation:
    """Return an invocation as it was before it ended."""
    return msgspec.structs.replace(event, status=None, running=True, ended=0, duration=-1)


def _peak() -> int:
    """Return the most memory that this process ever had, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def serve(ledger: Path, scratch: Path) -> tuple[int, int]:
    """Return what an exporter takes, bytes, that serves a ledger; and with all names there are."""
    source = scratch / "opencode.db"
    generate.generate(source, parts=1000, generation="v1")
    plain = processes.serve(source, ledger, _SCRAPES)
    simulation = Simulation(ledger)
    simulation.fill()
    simulation.close()
    return plain, processes.serve(source, ledger, _SCRAPES)


def run(parts: int, ledger: Path) -> list[Line]:
    """
    Simulate a year with so many parts.

    Raises:
        SystemExit: The ledger has not counted every invocation exactly once.
    """
    calls = round(parts * CALLS_A_PART)
    events = year.invocations(calls, Random(7))  # noqa: S311  # the same year each time
    simulation = Simulation(ledger)
    lines: list[Line] = []
    for tenth in range(1, 11):
        waiting = 0
        while simulation.issued < calls * tenth // 10 - _SINGLES:
            batch = list(islice(events, _CHUNK))
            simulation.take(batch)
            waiting += len(batch)
            if waiting >= _COMMIT:
                simulation.commit()
                waiting = 0
        simulation.commit()
        lines.append(simulation.measure(islice(events, _SINGLES)))
    if simulation.counted() != simulation.issued:
        raise SystemExit(f"{simulation.issued} issued, {simulation.counted()} counted")
    simulation.close()
    return lines


def show(lines: list[Line], parts: int) -> None:
    """Print the result."""
    table = Table("invocations", title=f"a year with {parts:,} parts")
    for head in ("ledger", "bytes each", "one more, p50", "restart", "peak memory"):
        table.add_column(head, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            f"{line.calls:,}",
            f"{line.ledger_bytes / 1e6:,.1f} MB",
            f"{line.ledger_bytes / line.calls:.1f}",
            f"{line.commit_s * 1e3:.2f} ms",
            f"{line.restart_s * 1e3:.1f} ms",
            f"{line.peak_bytes / 1e6:.0f} MB",
        )
    console.print(table)


def main() -> None:
    """Simulate, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=10_000_000)
    parser.add_argument("--dir", type=Path, help="keep the ledger here")
    flags = parser.parse_args()
    if flags.parts < _LEAST_PARTS:
        parser.error(f"--parts must be at least {_LEAST_PARTS}")
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        directory = flags.dir or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        ledger = directory / f"ledger-{flags.parts}.db"
        if ledger.exists():
            parser.error(f"{ledger} is there already")
        show(run(flags.parts, ledger), flags.parts)
        plain, full = serve(ledger, Path(scratch))
        console.print(
            f"An exporter that serves it takes {plain / 1e6:.0f} MB, "
            f"with as many series as the limits allow {full / 1e6:.0f} MB."
        )


if __name__ == "__main__":
    main()
