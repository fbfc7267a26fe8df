"""
The demo: a database with a history, and agents that go on working in it.

Owns time: history is played at once, with times of the past; the living part
waits for each change on the stop event, so it ends as soon as that is set.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from pathlib import Path
from random import Random
from typing import Final, Literal

from opencode_exporter.demo import store, world
from opencode_exporter.demo.agent import Agent
from opencode_exporter.demo.play import Play, Player, Tempo
from opencode_exporter.demo.rows import Tally
from opencode_exporter.demo.writers import writer

_DAY: Final = 86_400_000
_HOUR: Final = 3_600_000
SESSIONS_A_DAY: Final = 38.0
"""As many as some busy agents open."""
_LANES: Final = 3
_LIVE: Final = Tempo(model=0.08, user=0.02)
_BROKEN_AT_MS: Final = (60_000, 120_000, 180_000)
"""Latest loads of the broken skill, since the history ended: not before anybody looks, and
often enough for an alert within minutes."""


class Demo:
    """
    A simulated OpenCode and its database.

    Args:
        directory: Gets ``opencode.db`` and ``config/opencode/skills``.
        generation: ``v1`` writes as OpenCode 1.18.33 does, ``v2`` as 2.0.15.
        history_days: How far the past reaches back.
        pace: 1 is a few calls a second; waits are divided by it.
        seed: Chooses the work; times are those of the clock.
        sessions_a_day: How many sessions a day of the past has.
    """

    def __init__(
        self,
        directory: Path,
        *,
        generation: Literal["v1", "v2"] = "v2",
        history_days: float = 3,
        pace: float = 1,
        seed: int = 1,
        sessions_a_day: float = SESSIONS_A_DAY,
    ) -> None:
        self.path = directory / "opencode.db"
        self._directory = directory
        self._generation = generation
        self._days = history_days
        self._sessions_a_day = sessions_a_day
        self._pace = pace
        self._connection = store.create(self.path, generation)
        rng = Random(seed)  # noqa: S311  # a simulation, no secret
        self._rng = rng
        self._writer = writer(generation, store.Direct(self._connection), rng)
        self._agent = Agent(seed, generation)
        self._tempo = Tempo()
        self._player = Player(self._writer, self._tempo)
        self._due: list[tuple[int, int, Play]] = []
        self._lanes: set[int] = set()
        self._started = 0
        self._speed = 1.0  # history is played as it would have been lived

    @property
    def issued(self) -> Tally:
        """The calls that have ended so far, history included."""
        return self._writer.issued

    def create(self) -> Tally:
        """
        Write the skills and the history, which ends now.

        Returns:
            The calls that ended in it.  Sessions that were at work at its end go on in `run`.
        """
        world.write_skills(self._directory)
        now = _now()
        begin = now - int(self._days * _DAY)
        with self._connection:
            for project in world.PROJECTS:
                self._writer.project(project, begin)
            for at in self._starts(begin, now):
                self._start(at, lane=False)
            while self._due and self._due[0][0] <= now:
                # Rows of the past are written once; the last hour as it was lived.
                self._writer.partial = self._due[0][0] > now - _HOUR
                at, number, play = heapq.heappop(self._due)
                self._advance(play, number, at)
        self._writer.partial = True
        return self.issued

    def run(self, stop: threading.Event) -> None:
        """
        Work on a few sessions at a time until `stop` is set, then close the database.

        From here on `world.BROKEN` does not load.
        """
        self._tempo.model, self._tempo.user = _LIVE.model, _LIVE.user
        self._speed = self._pace
        # What history left open would wait as long as history does.
        now = _now()
        self._due = [(min(at, now + 5_000), number, play) for at, number, play in self._due]
        heapq.heapify(self._due)
        for lane in range(_LANES):
            self._start(now + 400 * lane, lane=True)
        self._agent.broken.add(world.BROKEN)
        for after in _BROKEN_AT_MS:
            self._start(now + int(after / self._speed), lane=False, wanted=world.BROKEN)
        while not stop.wait(self._until_due()):
            _, number, play = heapq.heappop(self._due)
            if not self._advance(play, number, _now()) and number in self._lanes:
                self._lanes.remove(number)
                self._start(_now() + 1_000, lane=True)
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _until_due(self) -> float:
        """Return the seconds until the next change."""
        return max(0.0, (self._due[0][0] - _now()) / 1000)

    def _start(self, at: int, *, lane: bool, wanted: str = "") -> None:
        """Plan a session; its rows are first written at `at`, ms."""
        self._started += 1
        if lane:
            self._lanes.add(self._started)
        play = self._session(wanted)
        next(play)
        heapq.heappush(self._due, (at, self._started, play))

    def _session(self, wanted: str) -> Play:
        now = yield 0
        return (yield from self._player.session(self._agent.work(wanted), now))

    def _advance(self, play: Play, number: int, now: int) -> bool:
        """Play a session up to its next wait; return whether there is one."""
        try:
            wait = play.send(now)
        except StopIteration:
            return False
        heapq.heappush(self._due, (now + max(0, int(wait / self._speed)), number, play))
        return True

    def _starts(self, begin: int, end: int) -> list[int]:
        """Return the start times of the history's sessions: more by day than by night."""
        rng = self._rng
        wanted = round(self._days * self._sessions_a_day)
        starts: list[int] = []
        while len(starts) < wanted:
            at = rng.randrange(begin, end)
            if rng.random() < 0.55 - 0.45 * math.cos(at % _DAY / _DAY * math.tau):
                starts.append(at)
        return sorted(starts)


def _now() -> int:
    return time.time_ns() // 1_000_000
