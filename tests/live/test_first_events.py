"""A real Prometheus sees first events: what `increase()` says is what happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from live.first_events import Scene, wrong


@pytest.mark.real
@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_increase_is_what_happened(generation: str, tmp_path: Path) -> None:
    """
    A real Prometheus saw 0 of 14 first calls under names that were new to it.

    Every counter and histogram is added up from its first sample on, through kills and
    restarts of the exporter, a restart of Prometheus, and a first start between scrapes.
    """
    seen = Scene(tmp_path, generation, pace=4).play(30)
    late = [one for one in seen if one.at_baseline is None and one.rise]
    assert len({one.name for one in late}) > 20
    assert wrong(seen) == []
