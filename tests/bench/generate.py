"""
Makes large databases for benchmarks, in OpenCode's schema and proportions.

The rows are shaped by the demo's writers; here is only how many of them, when
and how fast.  The same seed makes the same file.  Knows nothing of the exporter.

    PYTHONPATH=tests python -m bench.generate --parts 1000000 --generation v1 --out big.db
    PYTHONPATH=tests python -m bench.generate --prose 0.9 --out talk.db
    PYTHONPATH=tests python -m bench.generate --append 100 --out big.db
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Event
from typing import Final

from bench.prose import Prose
from opencode_exporter.demo import store, world
from opencode_exporter.demo.agent import Agent
from opencode_exporter.demo.calls import Calls
from opencode_exporter.demo.plan import Step, Tokens, Work
from opencode_exporter.demo.play import Play, Player, Tempo
from opencode_exporter.demo.rows import Put, Tally
from opencode_exporter.demo.writers import writer

UNTIL: Final = 1_793_491_200_000
"""The end of the history, ms: fixed, so that a seed makes the same file on any day."""

_DAY: Final = 86_400_000
_SPAN: Final = 300 * _DAY
# Chosen by measurement: 316 tool parts, 4 to a message, 333 to a session, 1.85 KB each.
_TURNS: Final = 6.6
_PARALLEL: Final = 0.44
_BULK: Final = 0.68


class _Enough(Exception):  # noqa: N818  # ends the generation, is no error
    """As many parts as were asked for have been written."""


class _Limited(store.Bulk):
    """Writes rows until there are `limit` parts (tool calls and texts, in v2)."""

    limit = 0

    def __call__(self, table: str, values: tuple[object, ...]) -> None:
        """Take a row, or say that it is enough."""
        super().__call__(table, values)
        if table == "part" and self.rows["part"] >= self.limit:
            raise _Enough
        if table == "session_message" and self.rows[table] * PARTS_A_ROW >= self.limit:
            raise _Enough


PARTS_A_ROW: Final = 4
"""A v2 message stands for as many v1 parts."""


def generate(out: Path, *, parts: int, generation: str, seed: int = 1, prose: float = 0) -> Tally:
    """
    Write a database and return what ended in it.

    Args:
        out: The file; it must not exist.
        parts: Rows of ``part``; for v2 a quarter as many messages.
        generation: ``v1`` or ``v2``.
        seed: Chooses everything.
        prose: Share of text and reasoning; 0 for what agents write by themselves.
    """
    bulk = _Limited(store.create(out, generation))
    bulk.limit = parts
    # Of a Random each, so that the calls are the same however much is said.
    put: Put = Prose(bulk, prose, Random(seed)) if prose else bulk  # noqa: S311  # no secret
    made = writer(generation, put, Random(seed))  # noqa: S311  # a simulation, no secret
    made.partial = False
    for project in world.PROJECTS:
        made.project(project, UNTIL - _SPAN)
    agent = Agent(seed, generation, turns=_TURNS, bulk=_BULK, parallel=_PARALLEL)
    player = Player(made, Tempo())
    gap = _SPAN // max(1, parts // 333)
    now = UNTIL - _SPAN
    try:
        while True:
            finish(player.session(agent.work(), now), now)
            now = min(now + gap, UNTIL)
    except _Enough:
        bulk.close()
    return made.issued


def finish(play: Play, now: int) -> int:
    """Play a session to its end without waiting, and return when that is."""
    try:
        wait = next(play)
        while True:
            now += wait
            wait = play.send(now)
    except StopIteration as stop:
        return int(stop.value)


def append(path: Path, count: int, *, seed: int = 1) -> Generator[int, None, None]:
    """
    Add calls that have ended to a database, and yield after each commit.

    Yields:
        How many have been added.
    """
    connection = store.connect(path)
    generation = "v2" if connection.table_exists("main", "session_v2") else "v1"
    now = time.time_ns() // 1_000_000
    made = writer(generation, store.Direct(connection), Random(f"{seed} {now}"))  # noqa: S311
    made.partial = False
    work = Agent(seed + now, generation).work()
    turn = next(work.turns)
    with connection:
        made.project(work.project, now)
        session = made.open(work, now)
        made.prompt(session, turn, now)
    player = Player(made, Tempo())
    for added, step in enumerate(_steps(seed, work, count), start=1):
        turn.steps = iter((step,))
        with connection:
            now = finish(player.step(session, turn, step, now), now)
        yield added
    connection.close()


def live(path: Path, seconds: float) -> Iterator[float]:
    """
    Add calls at random moments for a while: alone, a second apart, and in bursts.

    Yields:
        When a call was committed, by the clock that never steps.
    """
    rng, pause = Random(1), Event()  # noqa: S311  # a simulation, no secret
    until = time.monotonic() + seconds
    with closing(append(path, sys.maxsize)) as commits:
        for _ in commits:
            yield time.monotonic()
            if time.monotonic() > until:
                return
            pause.wait(rng.choice((rng.uniform(0.2, 1), rng.uniform(0.001, 0.05))))


def _steps(seed: int, work: Work, count: int) -> Iterator[Step]:
    """Return steps of one call each, all of which end."""
    rng = Random(seed)  # noqa: S311  # a simulation, no secret
    calls = Calls(rng, work.project)
    for _ in range(count):
        call = calls.make(rng.choice(("read", "grep", "edit", "shell")))
        yield Step(thinking=40, speaking=20, tokens=Tokens(900, 80, 0, 4_000, 0), calls=[call])


def main() -> None:
    """Read the flags and make or extend a database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=1_000_000)
    parser.add_argument("--generation", choices=("v1", "v2"), default="v1")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--append", type=int, default=0, help="add calls to an existing file")
    parser.add_argument(
        "--live", type=float, default=0, help="add calls for so many seconds, and tell when"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--prose", type=float, default=0, help="share of rows and bytes that is text and reasoning"
    )
    flags = parser.parse_args()
    if flags.live:
        for committed in live(flags.out, flags.live):
            print(committed)  # noqa: T201
        return
    began = time.monotonic()
    if flags.append:
        added = sum(1 for _ in append(flags.out, flags.append, seed=flags.seed))
        print(f"{added} calls added, each in its own transaction")  # noqa: T201
    else:
        issued = generate(
            flags.out,
            parts=flags.parts,
            generation=flags.generation,
            seed=flags.seed,
            prose=flags.prose,
        )
        size = flags.out.stat().st_size
        print(f"{issued.rows.total()} calls that ended, {size / 1e9:.3f} GB")  # noqa: T201
    print(f"{time.monotonic() - began:.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
