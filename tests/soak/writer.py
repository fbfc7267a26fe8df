"""
One writer: a process that does to the database what an OpenCode does, at random.

    python -m soak.writer DIRECTORY NUMBER LIFE GENERATION SEED RATE

Ends in good order at SIGTERM, and anywhere at SIGKILL.  Whatever it cannot do
because of a lock is a complaint: its fellows only write when it does not.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import apsw

from harness import databases
from harness.databases import V1, V2
from opencode_exporter.demo.store import schema
from soak.moves_v1 import MovesV1
from soak.moves_v2 import MovesV2
from soak.place import Place
from soak.upgrade import is_due, upgrade

_IDS: Final = 1 << 28
"""So many ids a writer may make in one life."""


def open_moves(place: Place, generation: str, owner: str, rng: Random) -> MovesV1 | MovesV2:
    """Open the database as a program of that generation does; hold the turn."""
    there = place.source.exists()
    if generation == "v1":
        return MovesV1(place, V1(place.source, ddl="" if there else None), owner, rng)
    made = MovesV2(place, V2(place.source, ddl="" if there else schema("v2")), owner, rng)
    if is_due(made):
        upgrade(made)
    return made


def choices(moves: MovesV1 | MovesV2) -> list[tuple[Callable[[], None], int]]:
    """Return what a writer may do, and how often."""
    own: list[tuple[Callable[[], None], int]] = []
    if isinstance(moves, MovesV1):
        own = [(moves.late, 6), (moves.prune, 4)]
    return [
        *own,
        (moves.work, 600),
        (moves.go_on, 60),
        (moves.finish, 60),
        (moves.begin, 20),
        (moves.leave, 6),
        (moves.beside, 20),
        (moves.junk, 6),
        (moves.spoil, 12),
        (moves.fork, 8),
        (moves.drop, 10),
        (moves.drop_newest, 14),
        (moves.undo, 6),
        (moves.export, 4),
        (moves.bring, 5),
        (moves.passive, 3),
        (moves.truncate, 3),
        (moves.reopen, 8),
        (moves.vacuum, 1),
    ]


class Writer:
    """Moves at random until it is stopped."""

    def __init__(self, place: Place, moves: MovesV1 | MovesV2, rng: Random, rate: float) -> None:
        self._place = place
        self._moves = moves
        self._rng = rng
        self._rate = rate
        self._choices, self._weights = zip(*choices(moves), strict=True)
        self._stopped = threading.Event()

    def stop_when_told(self) -> None:
        """End after the present move, once SIGTERM comes: no handler, which could meet a wait."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=self._wait_for_it, daemon=True).start()

    def _wait_for_it(self) -> None:
        signal.sigwait({signal.SIGTERM})
        self._stopped.set()

    def run(self) -> None:
        """Move until stopped, then close the database."""
        while not self._stopped.wait(self._rng.expovariate(self._rate)):
            with self._place.turn():
                self._move()
        with self._place.turn():
            self._moves.close()

    def _move(self) -> None:
        move = self._rng.choices(self._choices, self._weights)[0]
        try:
            move()
        except (apsw.BusyError, apsw.LockedError) as err:
            self._place.complain(f"a writer met a lock at {move.__name__}: {err}")


def main() -> None:
    """Write until told to end."""
    directory, number, life, generation, seed, rate = sys.argv[1:]
    rng = Random(f"{seed} {number} {life}")  # noqa: S311  # repeatable on purpose
    databases._numbers = itertools.count(int(life) * _IDS)
    place = Place(Path(directory))
    with place.turn():
        moves = open_moves(place, generation, f"w{number}", rng)
    writer = Writer(place, moves, rng, float(rate))
    writer.stop_when_told()
    writer.run()


if __name__ == "__main__":
    main()
