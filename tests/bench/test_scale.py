"""The simulation of years of use runs, and holds its own count against the ledger's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes.process import with_our_modules

pytestmark = pytest.mark.slow


def test_simulated_year_ends_with_every_invocation_counted(tmp_path: Path) -> None:
    """Ten lines, each with a ledger that grows by what was counted and little else."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.scale", "--parts", "40000", "--dir", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env={**with_our_modules(), "COLUMNS": "120"},
        timeout=120,
    )
    lines = re.findall(r"^│ ([\d,]+) +│ +([\d.]+) MB │ +([\d.]+) │", done.stdout, re.MULTILINE)
    assert len(lines) == 10
    calls = [int(line[0].replace(",", "")) for line in lines]
    sizes = [count * float(line[2]) for count, line in zip(calls, lines, strict=True)]
    assert calls[-1] >= 40_000 * 0.315
    # An empty ledger has its size, too: what counts is what each invocation adds, with the
    # messages that hold it.
    assert 8 < (sizes[-1] - sizes[3]) / (calls[-1] - calls[3]) < 80
    assert (tmp_path / "ledger-40000.db").exists()
    served = re.search(r"serves it takes (\d+) MB, .* allow\s+(\d+) MB", done.stdout)
    assert served
    if sys.platform == "linux":  # elsewhere nobody tells
        assert 20 < int(served[1]) < 100
        assert int(served[2]) < 128
