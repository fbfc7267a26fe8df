"""
What is measured: a database and an exporter's ledger of it, in as many rounds as are wanted.

Knows that a measure is a probe in a process of its own, not what it finds.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import probe

Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """A database and the ledger of an exporter that reads it."""

    source: Path
    ledger: Path

    def forget(self) -> None:
        """Let the next read be the first one."""
        for path in self.ledger.parent.glob(f"{self.ledger.name}*"):
            path.unlink()

    def first_read(self, name: str = "history") -> dict[str, Any]:
        """Read everything into a new ledger, which is left there."""
        self.forget()
        return self.measure(name)

    def measure(self, name: str, seconds: float = 0) -> dict[str, Any]:
        """Take a measure with the ledger as it is."""
        return probe(name, self.source, self.ledger, seconds)

    def copy(self, directory: Path) -> Subject:
        """Return a copy that may grow; a source of the same name goes on with its ledger."""
        # The ledger apart: what is written to it would wake who watches the source.
        (directory / "state").mkdir(parents=True, exist_ok=True)
        ledger = directory / "state" / self.ledger.name
        if self.ledger.exists():
            shutil.copy(self.ledger, ledger)
        return Subject(Path(shutil.copy(self.source, directory)), ledger)


def best(runs: Runs, key: str = "seconds") -> float:
    """Return the smallest value of all rounds."""
    return float(min(run[key] for run in runs))
