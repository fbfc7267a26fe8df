"""
Exporters in the process of a test, and what they expose.

They are real, on real files; nothing is put in their place but time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from harness.clock import FakeClock
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.service.settings import Settings

Labels = frozenset[tuple[str, str]]


class Exposed:
    """A page of metrics, parsed by the client library."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                series = self.samples.setdefault(sample.name, {})
                series[frozenset(sample.labels.items())] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series, None if it is not there."""
        return self.samples.get(name, {}).get(frozenset(labels.items()))

    def by(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """Return the sums over all other labels; series at 0 are left out."""
        sums: Counter[tuple[str, ...]] = Counter()
        for series, value in self.samples.get(name, {}).items():
            if value:
                sums[tuple(dict(series)[label] for label in labels)] += value  # type: ignore[assignment]
        return sums

    def total(self, name: str) -> float:
        """Return the sum over all series."""
        return sum(self.samples.get(name, {}).values())


@dataclass
class Bench:
    """Makes exporters in one process over one directory."""

    directory: Path
    clock: FakeClock
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """Where the database is, or will be."""
        return self.directory / "opencode.db"

    @property
    def ledger(self) -> Path:
        """Where the ledger is."""
        return self.directory / "state" / "opencode-exporter" / "ledger.db"

    def exporter(self, *, in_memory: bool = False, **settings: Any) -> Exporter:
        """Start an exporter (no server) on the source and its ledger."""
        given = {
            "source_paths": (self.source,),
            "ledger_path": None if in_memory else self.ledger,
            **settings,
        }
        return Exporter(Settings(**given), self.environ, self.directory / "home", clock=self.clock)

    def read_once(self, **settings: Any) -> Exposed:
        """Return what one read of everything into a fresh ledger exposes."""
        exporter = self.exporter(in_memory=True, **settings)
        try:
            exporter.poll()
            return exposed(exporter)
        finally:
            exporter.close()


def exposed(exporter: Exporter) -> Exposed:
    """Return what an exporter shows now."""
    return Exposed(exporter.pages.metrics("", process=False).body.decode())
