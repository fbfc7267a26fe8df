"""Every recording shows what an independent computation over the whole database expects."""

from __future__ import annotations

import pytest

from contract.oracle.comparing import cells_of, differences
from contract.oracle.executions import executions
from contract.oracle.totals import expected
from harness.clock import HOUR_MS
from harness.exporters import Bench
from harness.places import RECORDINGS
from harness.recordings import truth, unpack
from opencode_exporter import catalog as c
from opencode_exporter.decode.languages import language_of

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_agrees_with_the_independent_computation(name: str, bench: Bench) -> None:
    """Sessions, turns, steps, runs, tokens, cost, edits: the first read counts them all."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    page = bench.read_once()
    wanted = expected(*sorted(bench.directory.rglob("opencode*.db")), of=language_of)
    del wanted["opencode_todos"]  # of sessions that are active, and none is a day later
    assert list(differences(wanted, page)) == []


@pytest.mark.parametrize("name", NAMES)
def test_executions_agree_with_the_independent_computation(name: str, bench: Bench) -> None:
    """Execution times by tool, agent and class of error, which are not on the page."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    exporter = bench.exporter(in_memory=True)
    exporter.poll()
    found = exporter.ledger.published.series[c.EXECUTE_TOOL.name]
    exporter.close()
    assert cells_of(found) == executions(*sorted(bench.directory.rglob("opencode*.db")))
