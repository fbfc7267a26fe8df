"""
What a test needs, and the marker by which it says so.

Whoever asks for it on behalf of a test demands the marker, so that no test can forget it:
without it the test fails, also where everything is there. Whoever leaves marked tests out, as
`make quick` does, runs the others fast and on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_running: list[pytest.Item] = []
"""The test that runs now, if one does."""


@contextmanager
def asked_for_by(test: pytest.Item) -> Iterator[None]:
    """Know which test it is that asks, until the block ends."""
    _running.append(test)
    try:
        yield
    finally:
        _running.remove(test)


def demand(*markers: str) -> None:
    """Fail unless the running test carries one of these markers."""
    for test in _running:
        if not any(map(test.get_closest_marker, markers)):
            pytest.fail(f"this test needs more than Python: mark it pytest.mark.{markers[0]}")


def demand_time() -> None:
    """Fail unless the running test may start a program: that takes a second and more."""
    demand("slow", "real", "root")
