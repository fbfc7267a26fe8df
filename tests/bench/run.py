"""
The benchmark: what the exporter costs, as ratios within one run.

Each measure is taken in turns with its baseline, in processes of their own, and
the best of each counts; so a figure can be compared between machines where
seconds cannot.  Asserts nothing and knows nothing of how the exporter works.

    make bench PARTS=1000000
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import opencode_stats
from bench.processes import generated, probe
from bench.subject import Runs, Subject, best
from bench.table import Row, console, report, show

TINY: Final = 1_000
"""Parts of the database that stands for next to nothing."""
_PROSE: Final = 0.9
"""Share of text and reasoning in the database in which there is little else."""


@dataclass(frozen=True)
class Bench:
    """The databases of one run, and the measures over them."""

    scratch: Path
    generation: str
    parts: int
    big: Subject
    tenth: Subject
    tiny: Subject
    talk: Subject
    rounds: int
    seconds: float

    @classmethod
    def over(cls, directory: Path, scratch: Path, given: argparse.Namespace) -> Bench:
        """Make the databases that are not there yet."""
        parts, generation = given.parts, given.generation

        def subject(count: int, prose: float = 0) -> Subject:
            source = generated(directory, count, generation, prose)
            return Subject(source, scratch / f"ledger-{source.stem}.db")

        return cls(
            scratch,
            generation,
            parts,
            big=subject(parts),
            tenth=subject(max(TINY, parts // 10)),
            tiny=subject(TINY),
            talk=subject(parts, _PROSE),
            rounds=given.rounds,
            seconds=given.seconds,
        )

    def rows(self) -> list[Row]:
        """Take every measure."""
        return [
            *self.first_read(),
            *self.prose(),
            *self.commands(),
            *self.opencode_itself(),
            *self.backfill(),
            *self.scrape(),
            *self.steady(),
            *self.serving(),
        ]

    def alternately(self, *measures: Callable[[], dict[str, Any]]) -> list[Runs]:
        """Return what each measure found in every round, all of them in turns."""
        runs: list[Runs] = [[] for _ in measures]
        for _ in range(self.rounds):
            for measure, found in zip(measures, runs, strict=True):
                found.append(measure())
        return runs

    def first_read(self) -> list[Row]:
        """Measure the first read, its memory, and the restart that spares it."""
        source, big, tenth = self.big.source, self.big, self.tenth
        ours, again, by_one, sql, old, small = self.alternately(
            big.first_read,
            lambda: big.measure("history"),
            lambda: big.first_read("history-by-one"),
            lambda: self._group_by(source),
            lambda: probe("group-by-stdlib", source, self.generation),
            tenth.first_read,
        )
        console.print(f"calls: {ours[0]['calls']:,} by the exporter, {sql[0]['calls']:,} by SQL")
        first, size = best(ours), f"{max(TINY, self.parts // 10):,} parts"
        new, older = sql[0]["sqlite"], old[0]["sqlite"]
        memory, other = (max(run["memory"] for run in runs) for runs in (ours, small))
        alone = best(by_one), best(by_one, "cpu")
        return [
            Row(f"first read / GROUP BY, SQLite {new}", "s", first, best(sql)),
            Row(f"first read / the same, Python's {older}", "s", first, best(old)),
            Row("first read, CPU of all / GROUP BY", "s", best(ours, "cpu"), best(sql, "cpu")),
            Row("first read, one reader / GROUP BY", "s", alone[0], best(sql)),
            Row("first read, one reader, CPU of all / GROUP BY", "s", alone[1], best(sql, "cpu")),
            Row("restart on its ledger / first read", "ms", best(again), first),
            Row(f"first read, peak memory / {size}", "MB", memory, other),
        ]

    def _group_by(self, source: Path) -> dict[str, Any]:
        return probe("group-by", source, self.generation)

    def prose(self) -> list[Row]:
        """Measure the first read where nearly all is text and reasoning."""
        ours, sql = self.alternately(self.talk.first_read, lambda: self._group_by(self.talk.source))
        what = f"first read, {_PROSE:.0%} prose"
        return [
            Row(f"{what} / GROUP BY", "s", best(ours), best(sql)),
            Row(f"{what}, CPU of all / GROUP BY", "s", best(ours, "cpu"), best(sql, "cpu")),
        ]

    def commands(self) -> list[Row]:
        """Measure the commands that read everything, or as much of it as is asked for."""
        once, report, week, sql = self.alternately(
            lambda: self.big.measure("once"),
            lambda: self.big.measure("report"),
            lambda: self.big.measure("report-of-a-week"),
            lambda: self._group_by(self.big.source),
        )
        console.print(f"calls: {week[0]['calls']:,} in the last week of {report[0]['calls']:,}")
        return [
            Row("once / GROUP BY", "s", best(once), best(sql)),
            Row("report / GROUP BY", "s", best(report), best(sql)),
            Row("report --since 7d / report", "s", best(week), best(report)),
        ]

    def backfill(self) -> list[Row]:
        """Measure the history with its times against the first read, which has the same rows."""
        self.tenth.first_read()
        small = self.tenth.measure("backfill")
        first = self.big.first_read()
        ours = self.big.measure("backfill")
        console.print(f"backfill: {ours['samples']:,} samples, {ours['bytes'] / 1e6:,.0f} MB")
        size = f"{max(TINY, self.parts // 10):,} parts"
        return [
            Row("backfill, hourly / first read", "s", ours["seconds"], first["seconds"]),
            Row(f"backfill, peak memory / {size}", "MB", ours["memory"], small["memory"]),
        ]

    def steady(self) -> list[Row]:
        """Measure what a poll costs: with nothing new, and with one commit more."""
        self.tiny.first_read()
        big, tiny = self.alternately(
            lambda: self.big.measure("unchanged"), lambda: self.tiny.measure("unchanged")
        )
        size = f"{TINY:,} parts"
        unchanged = Row(f"poll of an unchanged source / {size}", "µs", best(big), best(tiny))
        where = self.scratch / "grown"
        grown, grown_tiny = self.big.copy(where), self.tiny.copy(where)
        big, tiny = self.alternately(
            lambda: grown.measure("commits"), lambda: grown_tiny.measure("commits")
        )
        return [unchanged, Row(f"CPU per commit / {size}", "ms", best(big), best(tiny))]

    def opencode_itself(self) -> list[Row]:
        """Measure the first read against OpenCode's own, where its executable is there."""
        if self.generation != "v1" or not opencode_stats.binary():
            console.print(f"opencode {opencode_stats.VERSION} is not there: left out")
            return []
        # Once: it takes long, and a copy of the database.
        theirs = probe("opencode-stats", self.big.source, self.scratch)
        ours = self.big.first_read()
        name = f"opencode stats {opencode_stats.VERSION}"
        return [
            Row(f"first read / {name}", "s", ours["seconds"], theirs["seconds"]),
            Row(f"first read, peak memory / {name}", "MB", ours["memory"], theirs["memory"]),
        ]

    def scrape(self) -> list[Row]:
        """Measure a full page of metrics against the client library's own of the same series."""
        pages, answers = self.alternately(
            lambda: self.tiny.measure("scrape"),
            lambda: self.tiny.copy(self.scratch / "scraped").measure("scrape-http"),
        )
        one, theirs = pages[0], best(pages, "baseline_seconds")
        console.print(
            f"scrape: {one['series']:,} series, a histogram being one; "
            f"{one['samples']:,} samples, the client library's {one['baseline_samples']:,}"
        )
        library = "the library's"
        return [
            Row(f"scrape, nothing changed / {library}", "ms", best(pages), theirs),
            Row(f"scrape, a call more / {library}", "ms", best(pages, "changed_seconds"), theirs),
            Row(f"scrape, over HTTP with gzip / {library}", "ms", best(answers), theirs),
            Row(f"scrape, size / {library}", "kB", one["bytes"], one["baseline_bytes"]),
        ]

    def serving(self) -> list[Row]:
        """Measure what a process costs while nothing happens, and how soon it sees a commit."""
        with ThreadPoolExecutor() as both:  # each is asleep nearly all the time
            ours = both.submit(self.big.measure, "idle", self.seconds)
            theirs = both.submit(self.tiny.measure, "idle-uvicorn", self.seconds)
            idle, empty = ours.result(), theirs.result()
        seen = self.big.copy(self.scratch / "watched").measure("visible", 2 * self.seconds)
        console.print(f"visible: {seen['commits']} commits")
        watcher = "bare watcher told"
        return [
            Row("idle CPU / an empty uvicorn", "%", idle["seconds"], empty["seconds"]),
            Row(f"commit to visible, p50 / {watcher}", "ms", seen["p50"], seen["baseline_p50"]),
            Row(f"commit to visible, p99 / {watcher}", "ms", seen["p99"], seen["baseline_p99"]),
        ]


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
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--seconds",
        type=float,
        default=30,
        help="how long to idle; commits are watched for twice as long (default: %(default)s)",
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
        rows = Bench.over(given.dir or made, made, given).rows()
    show(rows, given)
    if given.json:
        given.json.write_text(report(rows, given), encoding="utf-8")


if __name__ == "__main__":
    main()
