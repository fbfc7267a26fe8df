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


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an empty home."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return an empty worktree."""
    folder = tmp_path / "work" / "project"
    folder.mkdir(parents=True)
    return folder
