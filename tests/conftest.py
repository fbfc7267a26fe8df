"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from harness.clock import FakeClock
from harness.exporters import Bench
from harness.markers import asked_for_by

EXPLORES: Final = "PROPERTY_EXAMPLES" in os.environ
"""Whether properties are tried on as many new examples, instead of on the same few."""

# How fast a machine is makes no example pass or fail.
settings.register_profile(
    "explored", derandomize=False, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# A finding is told as it was found: it is there again on the next run, and making it
# smaller takes longer than a test may.
settings.register_profile(
    "the same on every run",
    settings.get_profile("explored"),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("explored" if EXPLORES else "the same on every run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let whoever explores wait until what was found has been made small."""
    for item in items if EXPLORES else ():
        item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let whoever asks for a real tool, or for time, know which test it is for."""
    with asked_for_by(item):
        return (yield)


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
