"""
The history as a file with times, written as the command does, and read again.

The client library's parser of OpenMetrics drops buckets that have several times (0.25.0),
so samples are read by its parser of the text format, whose lines are the same; that
the file is OpenMetrics is for promtool to say. Nothing here knows what a test asserts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_fd_to_metric_families

from harness.exporters import Bench, Exposed, Labels, exposed
from opencode_exporter.commands.backfill import Job, Written, run
from opencode_exporter.service.settings import Settings

SCRAPE: Final = {"job": "opencode", "instance": "ada"}
MINUTE_MS: Final = 60_000
_TEXT_SCALE: Final = 1_000_000  # the text format has ms, of which the parser makes seconds
Sample = tuple[int, float]
"""Unix ms and value."""


@dataclass
class Past:
    """Samples in the order of the file, by name and labels; those of a scrape are left out."""

    series: dict[str, dict[Labels, list[Sample]]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Past:
        """Read a file."""
        found = cls()
        scrape = set(SCRAPE.items())
        with path.open(encoding="utf-8") as file:
            for family in text_fd_to_metric_families(file):
                for sample in family.samples:
                    labels = frozenset(sample.labels.items())
                    assert labels >= scrape
                    at = round(float(str(sample.timestamp)) * _TEXT_SCALE)
                    of_name = found.series.setdefault(sample.name, {})
                    of_name.setdefault(labels - scrape, []).append((at, sample.value))
        return found

    def value(self, name: str, labels: Labels, at: int) -> float:
        """Return what a series shows at a time, ms: 0 before its first sample."""
        samples = self.series[name][labels]
        place = bisect_right(samples, at, key=lambda sample: sample[0])
        return samples[place - 1][1] if place else 0.0

    def total(self, name: str, at: int) -> float:
        """Return the sum over all series of a metric at a time, ms."""
        return sum(self.value(name, labels, at) for labels in self.series.get(name, {}))

    def last(self) -> dict[str, dict[Labels, float]]:
        """Return the last value of each series."""
        return {
            name: {labels: samples[-1][1] for labels, samples in series.items()}
            for name, series in self.series.items()
        }


def backfilled(bench: Bench, *, step_s: int = 1800, until_ms: int = 0, **settings: Any) -> Past:
    """Write the history of a bench as the command does, and read it."""
    return Past.of(backfill_file(bench, step_s=step_s, until_ms=until_ms, **settings)[0])


def backfill_file(
    bench: Bench, *, step_s: int = 1800, until_ms: int = 0, **settings: Any
) -> tuple[Path, Written]:
    """Write the history of a bench as the command does; return the file and what it came to."""
    job = Job(bench.ledger, bench.directory / "history.om", SCRAPE, step_s, until_ms)
    given = Settings(**{"source_paths": (bench.source,), **settings})
    home = bench.directory / "home"
    silent: Callable[..., None] = lambda *_: None  # noqa: E731
    return job.output, run(job, given, bench.environ, home, bench.clock, silent, silent)


def first_page(bench: Bench, **settings: Any) -> Exposed:
    """Let an exporter count the history into its ledger, and return what it shows first."""
    exporter = bench.exporter(**settings)
    try:
        exporter.poll()
        return exposed(exporter)
    finally:
        exporter.close()
