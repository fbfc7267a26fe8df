"""
A process that polls is killed by SIGKILL at random moments: nothing is lost or repeated.

``PROPERTY_ROUNDS=50`` does it so often instead of once.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from typing import Final

import pytest

from harness.clock import HOUR_MS
from harness.exporters import Bench, exposed
from harness.processes.process import LineProcess, with_our_modules
from properties import showing
from properties.account import ENDS
from properties.opencode import OpenCode
from properties.truth import Truth

ROUNDS: Final = int(os.environ.get("PROPERTY_ROUNDS", "1"))
KILLS: Final = 6
_FIRST_READ_S: Final = 0.15  # it takes about so long
pytestmark = pytest.mark.slow


def killed_while_polling(bench: Bench, after_s: float) -> None:
    """Start a process that polls, and kill it some time later."""
    command = [
        sys.executable,
        "-m",
        "properties.polling",
        str(bench.directory),
        str(bench.clock.ms),
    ]
    with LineProcess(command, "polling", environment=with_our_modules()) as polling:
        threading.Event().wait(after_s)
        polling.kill()
    assert polling.process.returncode == -signal.SIGKILL


def work(world: OpenCode, random_: random.Random, calls: int) -> None:
    """Write many steps in a session or two, some with calls that go on."""
    sessions = [world.begin("v1") for _ in range(2)]
    with world.db.db:
        for _ in range(calls):
            step = world.step(random_.choice(sessions), ["call_0"])
            if random_.random() < 0.9:
                world.progress(step.told[0], random_.choice(ENDS))
    if random_.random() < 0.5:
        world.fork(sessions[0])


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_killed_while_it_polls(bench: Bench, turn: int) -> None:
    """Whenever it is killed, the next one goes on: each call counts once, and nothing falls."""
    seed = random.randrange(10**6)  # noqa: S311  # moments, not secrets
    print(f"seed {seed}")  # noqa: T201  # shown when it fails
    random_ = random.Random(seed)  # noqa: S311
    world = OpenCode(bench.source, "v1")
    truth = Truth(world)
    shown: showing.Values = {}
    for number in range(KILLS):
        work(world, random_, 250 if number == 0 else 20)
        killed_while_polling(bench, random_.random() * _FIRST_READ_S)
        truth.polled(bench.clock.ms, whole=False)
        if number % 2 and random_.random() < 0.5:
            world.delete(random_.choice(world.sessions))
        exporter = bench.exporter()
        if number % 3 == 2:
            exporter.poll()
            truth.polled(bench.clock.ms, whole=True)
        page = exposed(exporter)
        showing.never_falls(shown, shown := showing.growing(page))
        if exporter.ledger.baseline_ms:
            truth.observe(page)
        exporter.close()
    world.pass_time(HOUR_MS)
    bench.clock.advance(hours=1)
    exporter = bench.exporter()
    exporter.poll()
    truth.polled(bench.clock.ms, whole=True)
    page = exposed(exporter)
    truth.observe(page)
    showing.agrees(page)
    showing.lasts(page, world, truth)
    showing.never_falls(shown, showing.growing(page))
    exporter.close()
    world.close()
