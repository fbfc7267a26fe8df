"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import Bench, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that a test steps by hand."""
    return FakeClock()


@pytest.fixture
def bench(tmp_path: Path, clock: FakeClock) -> Bench:
    """Make exporters over files below a directory of this test's own."""
    return Bench(tmp_path, clock)
