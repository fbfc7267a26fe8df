"""
The result of the benchmark, as a table and as JSON.

Knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

_UNITS: Final = {"s": 1.0, "ms": 1e3, "µs": 1e6, "MB": 1e-6, "kB": 1e-3, "%": 1e2}

console = Console(highlight=False)


@dataclass(frozen=True)
class Row:
    """One line of the result; the values are in seconds, bytes or parts of one core."""

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


def show(rows: list[Row], given: argparse.Namespace) -> None:
    """Print the result."""
    title = f"{given.parts:,} parts of {given.generation}, best of {given.rounds}"
    table = Table("measure", title=title)
    for head in ("ours", "baseline", "ratio"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)


def report(rows: list[Row], given: argparse.Namespace) -> str:
    """Return the result as JSON; values are seconds, bytes or cores, ``unit`` is the table's."""
    about = {
        "parts": given.parts,
        "generation": given.generation,
        "rounds": given.rounds,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
    }
    lines = [{**asdict(row), "ratio": row.ratio} for row in rows]
    return json.dumps({**about, "rows": lines}, indent=2) + "\n"
