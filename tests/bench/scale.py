"""
The simulation: what years of use make of the ledger.

Invents steps and invocations in the proportions of a real history, a year of them, and
takes them into a real ledger, so that ten million parts need no database of 18 GB.  Prints
a line for each tenth: what the ledger weighs, what a poll with one invocation more
costs, and how long a restart takes.  Knows nothing of how rows are read.

    python tests/bench/scale.py --parts 10000000
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from opencode_exporter import catalog as c
from opencode_exporter.batch import Chunk
from opencode_exporter.digest import Digester
from opencode_exporter.events import (
    COMPLETED,
    ERROR,
    Event,
    Invocation,
    Remark,
    Session,
    Step,
    StepCall,
    Tokens,
)
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.ledger.store import Store
from opencode_exporter.waker import SystemClock

CALLS_A_PART: Final = 0.315
"""Of a thousand parts of a real history, 315 are invocations."""
_YEAR_MS: Final = 365 * 86_400_000
_BEGAN_MS: Final = 1_760_000_000_000
_CALLS_A_SESSION: Final = 57
_CALLS_A_MESSAGE: Final = 1.5
_FORKED: Final = 0.02
"""Share of sessions that are forks, which copy half a session."""
_CHUNK: Final = 1_250
_COMMIT: Final = 12_500
_SINGLES: Final = 100
_LEAST_PARTS: Final = 20_000
_TOOLS: Final = ("read", "shell", "edit", "grep", "glob", "write", "webfetch", "subagent", "skill")

console = Console(highlight=False)


class Line(NamedTuple):
    """The ledger after some invocations."""

    calls: int
    ledger_bytes: int
    commit_s: float
    restart_s: float
    peak_bytes: int


def invocations(calls: int, random: Random) -> Iterator[Invocation]:
    """Yield invocations without end, session by session, so many in a year; forks copy."""
    made = session = 0
    while True:
        began = _BEGAN_MS + _YEAR_MS * made // calls
        count = random.randint(2, 2 * _CALLS_A_SESSION)
        own = [*_session(f"ses_{session:08x}", began, count, random)]
        yield from own
        made += count
        session += 1
        if random.random() < _FORKED:
            yield from _fork(own[: count // 2], f"ses_{session:08x}")
            session += 1


def _session(session: str, began: int, calls: int, random: Random) -> Iterator[Invocation]:
    at, message = began, 0
    for call in range(calls):
        if random.random() < 1 / _CALLS_A_MESSAGE:
            message += 1
            at += random.randint(2_000, 60_000)
        took = random.randint(5, 20_000)
        tool = random.choice(_TOOLS)
        yield Invocation(
            session=session,
            message=f"msg_{session}_{message:04x}",
            call=f"call_{random.getrandbits(96):024x}",
            part=f"prt_{session}_{call:06x}",
            tool=tool,
            status=ERROR if random.random() < 0.05 else COMPLETED,
            started=at + 500,
            ended=at + 500 + took,
            duration=took,
            output_bytes=2_000,
            skill=f"skill-{random.randrange(30)}" if tool == "skill" else None,
            agent="build",
            project=f"project-{random.randrange(12)}",
            message_created=at,
        )


def _fork(own: list[Invocation], session: str) -> Iterator[Invocation]:
    """Yield the copies of a session's invocations in another one."""
    for event in own:
        yield Invocation(
            session=session,
            message=f"{event.message}_f",
            call=event.call,
            part=f"{event.part}_f",
            tool=event.tool,
            status=event.status,
            started=event.started,
            ended=event.ended,
            duration=event.duration,
            suspect=True,
            message_created=event.message_created,
        )


class Messages:
    """The messages that hold the invocations, and those of the user between them."""

    def __init__(self) -> None:
        self._calls: list[Invocation] = []

    def of(self, events: Iterable[Invocation]) -> Iterator[Step | Remark]:
        """Yield the rows that are whole; the last one waits for more calls."""
        for event in events:
            if self._calls and event.message != self._calls[0].message:
                yield from _rows(self._calls)
                self._calls = []
            self._calls.append(event)


def _rows(calls: list[Invocation]) -> Iterator[Step | Remark]:
    """Yield a step, and before every some of them what the user says."""
    first, last = calls[0], calls[-1]
    head: dict[str, Any] = {"session": first.session, "generation": "v1", "suspect": first.suspect}
    where = Session(first.session, first.project, 0)
    at = first.message_created
    if first.message[-1:] in "08":
        said = f"{first.message}u"
        yield Remark(**head, message=said, created=at - 1, kind="human", role="user", where=where)
    yield Step(
        **head,
        message=first.message,
        created=at,
        is_over=True,
        completed=last.ended,
        agent="build",
        provider="acme",
        model=f"model-{len(calls) % 4}",
        finish="tool-calls",
        tokens=Tokens(3_000, 800, 0, 40_000, 1_000),
        cost=10**8,
        calls=tuple(
            StepCall(call.tool, call.status, skill=call.skill or "", targets=(call.started,))
            for call in calls
        ),
        where=where,
    )


class Simulation:
    """A ledger that takes in what is invented."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ledger = self._opened()
        self.issued = 0
        self._messages = Messages()

    def _opened(self) -> Ledger:
        return Ledger(
            Store(self._path),
            SystemClock(),
            series_limit=2000,
            counts_history=True,
            abandon_after_ms=6 * 3_600_000,
        )

    def take(self, events: list[Invocation]) -> None:
        """
        Take events in as a first read does: most of them summed.

        Raises:
            SystemExit: An invocation was taken for a known one.
        """
        self._apply(self._summed("part", events), events)
        self._apply(self._summed("message", [*self._messages.of(events)]), ())

    def _summed(self, table: str, events: Sequence[Event]) -> Chunk:
        digester = Digester("v1")
        left = digester.take(events)
        digest, rows = digester.digest()
        if not self._ledger.is_new(digest):
            raise SystemExit("What was never issued before is known.")
        return Chunk(table, "v1", events=[*left, *rows], digest=digest, rows=len(events))

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
            self._apply(Chunk("part", "v1", events=[event], rows=1), [event])
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

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()


def _peak() -> int:
    """Return the most memory that this process ever had, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def run(parts: int, ledger: Path) -> list[Line]:
    """
    Simulate a year with so many parts.

    Raises:
        SystemExit: The ledger has not counted every invocation exactly once.
    """
    calls = round(parts * CALLS_A_PART)
    events = invocations(calls, Random(7))  # noqa: S311  # the same year each time
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


if __name__ == "__main__":
    main()
