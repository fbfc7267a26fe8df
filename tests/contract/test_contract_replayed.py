"""What happens while the exporter looks on counts as what it finds when all is over."""

from __future__ import annotations

import random

import pytest

from contract.oracle.comparing import cells_of, differences
from contract.oracle.executions import executions
from contract.oracle.totals import expected
from harness.exporters import Bench, exposed
from harness.places import RECORDINGS
from harness.recordings import unpack
from harness.replaying import Replay
from opencode_exporter import catalog as c
from opencode_exporter.decode.languages import language_of

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_row_by_row_with_restarts_in_between(name: str, seed: int, bench: Bench) -> None:
    """Turns go on over polls and restarts, and end with the sums of the whole database."""
    chance = random.Random(seed)  # noqa: S311  # of a test
    replay = Replay(unpack(name, bench.directory / "old"), bench.source)
    moves = replay.moves()
    bench.clock.ms = moves[0].at
    exporter = bench.exporter()
    for move in moves:
        bench.clock.ms = max(bench.clock.ms, move.at)
        move.write()
        if chance.random() < 0.5:
            exporter.poll()
        if chance.random() < 0.1:
            exporter.close()
            exporter = bench.exporter()
    replay.close()
    exporter.poll()
    bench.clock.advance(hours=24)
    exporter.poll()
    wanted = expected(bench.source, of=language_of)
    del wanted["opencode_todos"]
    found = list(differences(wanted, exposed(exporter)))
    assert not found, "\n".join(found)
    assert cells_of(exporter.ledger.published.series[c.EXECUTE_TOOL.name]) == executions(
        bench.source
    )
    exporter.close()
