"""`make backfill-demo` brings the past into Prometheus, goes on, and leaves nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from harness.processes.scripts import Stack
from harness.real_tools import real_tool
from harness.waiting import wait_for

SCRIPT = "backfill_demo.py"
CALLS = "sum(increase(opencode_tool_invocations_total{job='opencode'}[20d]))"


def asked(demo: Stack, query: str) -> float:
    """Return the number that Prometheus answers with, 0 without an answer."""
    found = demo.prometheus(f"query?query={query}")["result"]
    return float(found[0]["value"][1]) if found else 0.0


@pytest.mark.real
@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_past_and_present_are_in_one_prometheus(generation: str, tmp_path: Path) -> None:
    """All that was counted at first has times, and what is scraped goes on from there."""
    real_tool("prometheus")
    real_tool("promtool")
    words = ("--days=30", "--sessions-a-day=2", "--step=6h", f"--generation={generation}")
    demo = Stack(tmp_path, SCRIPT, *words)
    with demo:
        demo.says("Ready.")
        assert "promtool makes blocks of it" in demo.log
        assert "&g0.range_input=30d" in demo.log
        wait_for(lambda: asked(demo, "up{job='opencode'}") == 1)
        total = wait_for(lambda: asked(demo, "sum(opencode_tool_invocations_total)"))
        assert total > 500
        past = asked(demo, CALLS)
        assert 0.5 * total < past < 0.8 * total
        assert asked(demo, "sum(resets(opencode_turns_total[30d]))") == 0
        assert demo.stop() == 0, demo.log
    assert demo.leaves_nothing()


@pytest.mark.real
def test_it_ends_in_order_at_any_time(tmp_path: Path) -> None:
    """Ctrl-C while the agent's past is written ends all, and nothing is left."""
    real_tool("prometheus")
    demo = Stack(tmp_path, SCRIPT, "--days=365")
    with demo:
        wait_for(lambda: list(demo.temporary.rglob("opencode.db")))
        demo.send(signal.SIGINT)
        assert demo.wait() == 0, demo.log
    assert demo.leaves_nothing()


@pytest.mark.slow
def test_it_says_that_prometheus_is_missing(tmp_path: Path) -> None:
    """It says what to install, before it does anything."""
    demo = Stack(tmp_path, SCRIPT, PATH=str(tmp_path))
    with demo:
        assert demo.wait() == 1
    assert "apt install prometheus" in demo.log
    assert demo.leaves_nothing()
