"""
The benchmark: what the exporter costs, as ratios within one run.

Each measure is taken in turns with its baseline, in processes of their own, and
the best of each counts; so a figure can be compared between machines where
seconds cannot.  Asserts nothing and knows nothing of how the exporter works.

    python tests/bench/run.py --parts 1000000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from processes import generated, probe
from rich.console import Console
from rich.table import Table

ROUNDS: Final = 3
TINY: Final = 1_000
"""Parts of the database that stands for next to nothing."""

_UNITS: Final = {"s": 1.0, "ms": 1e3, "µs": 1e6, "MB": 1e-6, "kB": 1e-3}

console = Console(highlight=False)
Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One line of the result; the values are in seconds or bytes."""

    measure: str
    unit: str
    ours: float
    baseline: float

    @property
    def ratio(self) -> float | None:
        """Ours by the baseline's; None where the system does not tell."""
        return self.ours / self.baseline if self.baseline else None

    def cells(self) -> tuple[str, ...]:
        """Return the line as the table shows it."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}"
        return self.measure, self._short(self.ours), self._short(self.baseline), ratio

    def _short(self, value: float) -> str:
        shown = value * _UNITS[self.unit]
        decimals = max(0, 4 - len(str(int(shown))))
        return f"{shown:,.{decimals}f} {self.unit}"


@dataclass(frozen=True)
class Subject:
    """A database and the ledger of an exporter that reads it."""

    source: Path
    ledger: Path

    def forget(self) -> None:
        """Let the next read be the first one."""
        for path in self.ledger.parent.glob(f"{self.ledger.name}*"):
            path.unlink()

    def first_read(self) -> dict[str, Any]:
        """Read everything into a new ledger, which is left there."""
        self.forget()
        return probe("history", self.source, self.ledger)

    def measure(self, name: str) -> dict[str, Any]:
        """Take a measure with the ledger as it is."""
        return probe(name, self.source, self.ledger)


def alternately(*measures: Callable[[], dict[str, Any]]) -> list[Runs]:
    """Return what each measure found in every round, all of them in turns."""
    runs: list[Runs] = [[] for _ in measures]
    for _ in range(ROUNDS):
        for measure, found in zip(measures, runs, strict=True):
            found.append(measure())
    return runs


def best(runs: Runs, key: str = "seconds") -> float:
    """Return the smallest value of all rounds."""
    return float(min(run[key] for run in runs))


@dataclass(frozen=True)
class Bench:
    """The databases of one run, and the measures over them."""

    scratch: Path
    generation: str
    parts: int
    big: Subject
    tenth: Subject
    tiny: Subject

    @classmethod
    def over(cls, directory: Path, scratch: Path, parts: int, generation: str) -> Bench:
        """Make the databases that are not there yet."""

        def subject(count: int) -> Subject:
            source = generated(directory, count, generation)
            return Subject(source, scratch / f"ledger-{count}.db")

        sizes = (parts, max(TINY, parts // 10), TINY)
        return cls(scratch, generation, parts, *(subject(count) for count in sizes))

    def first_read(self) -> list[Row]:
        """Measure the first read, its memory, and the restart that spares it."""
        source, big, tenth = self.big.source, self.big, self.tenth
        ours, again, sql, old, small = alternately(
            big.first_read,
            lambda: big.measure("history"),
            lambda: probe("group-by", source, self.generation),
            lambda: probe("group-by-stdlib", source, self.generation),
            tenth.first_read,
        )
        console.print(f"calls: {ours[0]['calls']:,} by the exporter, {sql[0]['calls']:,} by SQL")
        first, size = best(ours), f"{max(TINY, self.parts // 10):,} parts"
        new, older = sql[0]["sqlite"], old[0]["sqlite"]
        memory, other = (max(run["memory"] for run in runs) for runs in (ours, small))
        return [
            Row(f"first read / GROUP BY, SQLite {new}", "s", first, best(sql)),
            Row(f"first read / the same, Python's {older}", "s", first, best(old)),
            Row("restart on its ledger / first read", "ms", best(again), first),
            Row(f"first read, peak memory / {size}", "MB", memory, other),
        ]

    def steady(self) -> list[Row]:
        """Measure what a poll costs: with nothing new, and with one commit more."""
        self.tiny.first_read()
        big, tiny = alternately(
            lambda: self.big.measure("unchanged"), lambda: self.tiny.measure("unchanged")
        )
        size = f"{TINY:,} parts"
        unchanged = Row(f"poll of an unchanged source / {size}", "µs", best(big), best(tiny))
        grown, grown_tiny = self._copy(self.big), self._copy(self.tiny)
        big, tiny = alternately(
            lambda: grown.measure("commits"), lambda: grown_tiny.measure("commits")
        )
        return [unchanged, Row(f"CPU per commit / {size}", "ms", best(big), best(tiny))]

    def _copy(self, subject: Subject) -> Subject:
        """Return a copy that may grow; a source of the same name goes on with its ledger."""
        directory = self.scratch / "growing"
        directory.mkdir(exist_ok=True)
        return Subject(
            Path(shutil.copy(subject.source, directory)),
            Path(shutil.copy(subject.ledger, directory)),
        )

    def scrape(self) -> list[Row]:
        """Measure the page of metrics against the client library's own of the same series."""
        (runs,) = alternately(lambda: self.big.measure("scrape"))
        one = runs[0]
        samples = f"{one['samples']:,} samples, the client library's {one['baseline_samples']:,}"
        console.print(f"scrape: {samples}")
        return [
            Row("scrape, time / client library", "ms", best(runs), best(runs, "baseline_seconds")),
            Row("scrape, size / client library", "kB", one["bytes"], one["baseline_bytes"]),
        ]


def show(rows: list[Row], parts: int, generation: str) -> None:
    """Print the result."""
    title = f"{parts:,} parts of {generation}, best of {ROUNDS}"
    table = Table("measure", title=title)
    for head in ("ours", "baseline", "ratio"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)


def report(rows: list[Row], parts: int, generation: str) -> str:
    """Return the result as JSON; values are seconds or bytes, ``unit`` is the table's."""
    about = {
        "parts": parts,
        "generation": generation,
        "rounds": ROUNDS,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
    }
    lines = [{**asdict(row), "ratio": row.ratio} for row in rows]
    return json.dumps({**about, "rows": lines}, indent=2) + "\n"


def flags() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--parts",
        type=int,
        default=200_000,
        help="size of the database; below 500000 its tenth is read by one process instead "
        "of two, and the ratios of memory show that rather than growth (default: %(default)s)",
    )
    parser.add_argument("--generation", choices=("v1", "v2"), default="v1")
    parser.add_argument(
        "--dir", "--keep", type=Path, help="keep the databases here, or use those that are here"
    )
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    given = parser.parse_args()
    if given.parts <= TINY:
        parser.error(f"--parts must be more than {TINY}")
    return given


def main() -> None:
    """Run every measure and print the table."""
    given = flags()
    if given.dir:
        given.dir.mkdir(parents=True, exist_ok=True)
    # Beside the databases: they are copied, and a ledger shall lie on the same disk.
    with tempfile.TemporaryDirectory(dir=given.dir, prefix="scratch-") as scratch:
        made = Path(scratch)
        bench = Bench.over(given.dir or made, made, given.parts, given.generation)
        rows = [*bench.first_read(), *bench.scrape(), *bench.steady()]
    show(rows, given.parts, given.generation)
    if given.json:
        given.json.write_text(report(rows, given.parts, given.generation), encoding="utf-8")


if __name__ == "__main__":
    main()
