"""
One run: writers, exporter and scraper side by side, with a signal now and then.

Owns what happens when.  The choices follow from the seed; the moments at which
processes meet do not.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from harness.skill_files import put
from harness.waiting import SOON_S, wait_for
from opencode_exporter.demo.store import connect
from soak.place import Place
from soak.processes import Exporter, Writers
from soak.scraper import Scraper
from soak.usage import Usage
from soak.vocabulary import SKILLS

_UPGRADE_AT: Final = 0.3
"""Share of the time after which 2.x comes."""
_FOLDED_S: Final = SOON_S
_LOOK_S: Final = 0.1


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line."""

    seconds: float
    writers: int
    seed: int
    rate: float
    spoil: bool = False


def number(value: int) -> str:
    """Return a number as people read it."""
    return f"{value:,}".replace(",", " ")


class Violations:
    """What went wrong, and when; printed at once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._began = time.monotonic()
        self._say = say
        self.found: list[str] = []

    def __call__(self, sentence: str) -> None:
        """Note a violation."""
        self.found.append(sentence)
        self._say(f"violation at {time.monotonic() - self._began:.1f} s: {sentence}")


class Soak:
    """
    A run.

    Attributes:
        kills: How often the exporter was sent SIGKILL.
        terms: How often SIGTERM.
        slowest_end: The most seconds that took.
    """

    def __init__(self, place: Place, plan: Plan, say: Callable[[str], None]) -> None:
        self._place = place
        self._plan = plan
        self._say = say
        # One for each kind of choice: how they interleave is up to the machine.
        self._restarts, self._deaths, self._rng = (
            Random(f"{plan.seed} {kind}")  # noqa: S311  # repeatable on purpose
            for kind in ("restarts", "deaths", "others")
        )
        self._generations = ["v1"]
        self._complaints = 0
        self.slowest_end = 0.0
        self.violations = Violations(say)
        self.kills = self.terms = self.reloads = self.quiets = 0
        self.exporter = Exporter(place.source, place.directory / "exporter", home=place.home)
        self.writers = Writers(place, plan.writers, plan.seed, plan.rate)
        self.scraper = Scraper(place, self.exporter, self.violations)
        self.usage = Usage(place, self.exporter, self.violations)

    def run(self) -> None:
        """Run for the time that was asked for."""
        for name in SKILLS:
            put(self._place.home / ".config/opencode/skills" / name, name)
        try:
            self._start_writers()
            with self.exporter:
                with self._scraping() as is_well:
                    self._disturb(time.monotonic() + self._plan.seconds, is_well)
                    self.writers.stop_all()
                self._finish()
        finally:
            self.writers.kill_all()

    def _finish(self) -> None:
        self._look_at_writers()
        self.scraper.forget()
        if not any(self.scraper.compare() for _ in range(3)):
            self.violations("there was nothing to compare at the end")
        self.scraper.add_up()
        self._end_exporter()

    def _start_writers(self) -> None:
        for number in range(self._plan.writers):
            self.writers.start(number, self._rng.choice(self._generations))
            self.writers.wait_for_first()

    @contextlib.contextmanager
    def _scraping(self) -> Iterator[Callable[[], bool]]:
        """Scrape in another thread; yield what says whether it still does."""
        stopped = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                self.scraper.run(stopped)
            except BaseException as err:  # noqa: BLE001  # told to the main thread
                failed.append(err)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread.is_alive
        finally:
            stopped.set()
            thread.join()
        if failed:
            raise failed[0]

    def _disturb(self, until: float, is_well: Callable[[], bool]) -> None:
        """Do something to the processes, again and again."""
        began = told = time.monotonic()
        waits: dict[Callable[[], None], Callable[[], float]] = {
            self._restart: self._lifetime,
            self._kill_writer: lambda: self._deaths.expovariate(1 / 4),
            self._reload: lambda: self._rng.expovariate(1 / 20),
            self._quieten: lambda: self._rng.expovariate(1 / 30),
        }
        due = {event: began + wait() for event, wait in waits.items()}
        due[self._upgrade] = began + self._plan.seconds * _UPGRADE_AT
        while (now := time.monotonic()) < until and is_well():
            for event in [event for event, at in due.items() if now >= at]:
                event()
                again = waits.get(event)
                due[event] = time.monotonic() + again() if again else math.inf
            self._look_around()
            if now - told >= min(60.0, self._plan.seconds / 4):
                told = now
                self._say(f"{now - began:.0f} s: {self.progress}")
            threading.Event().wait(_LOOK_S)
        if self._plan.spoil:
            self.scraper.truth.counts.tools["read", "completed"] += 1

    def _look_around(self) -> None:
        for dead in self.writers.dead():
            self._replace(dead)
        self._look_at_writers()
        self.usage.look(self.exporter.life, self.scraper.truth.settled)

    # What is done to the exporter.

    def _lifetime(self) -> float:
        """Return how long a life lasts: mostly some seconds, now and then long enough to grow."""
        if self._restarts.random() < 0.1:
            return min(self._plan.seconds / 4, self._restarts.uniform(20, 180))
        return self._restarts.expovariate(1 / 4)

    def _restart(self) -> None:
        if self._restarts.random() < 0.6:
            self.exporter.kill()
            self.kills += 1
        else:
            self._end_exporter()
        while self._restarts.random() < 0.3:
            # Some do not live to see their first poll, or are killed in it.
            self.exporter.launch()
            threading.Event().wait(self._restarts.uniform(0, 1.5))
            self.exporter.kill()
            self.kills += 1
        self.exporter.start()

    def _end_exporter(self) -> None:
        code, seconds = self.exporter.end()
        self.terms += 1
        self.slowest_end = max(self.slowest_end, seconds)
        if code or seconds > SOON_S:
            self.violations(f"SIGTERM ended with exit code {code} after {seconds:.1f} s")

    def _reload(self) -> None:
        self.exporter.reload()
        self.reloads += 1

    @property
    def progress(self) -> str:
        """What has happened so far, as the last line shows it."""
        return (
            f"{number(self.scraper.truth.operations)} operations, "
            f"{number(self.kills + self.terms)} restarts "
            f"({number(self.kills)} SIGKILL, {number(self.terms)} SIGTERM), "
            f"{number(self.scraper.scrapes)} scrapes, "
            f"{number(len(self.violations.found))} violations"
        )

    # What is done to the writers.

    def _kill_writer(self) -> None:
        number = self._rng.randrange(self._plan.writers)
        self._replace(number)

    def _replace(self, number: int) -> None:
        self.writers.kill(number)
        self.writers.start(number, self._rng.choice(self._generations))

    def _upgrade(self) -> None:
        """Let 2.x come: all of 1.x is gone at that moment, with calls that run."""
        self.writers.kill_all()
        self.writers.start(0, "v2")
        wait_for(self._is_upgraded, 60)
        self._generations = ["v1", "v2", "v2"]
        for number in range(1, self._plan.writers):
            self.writers.start(number, self._rng.choice(self._generations))

    def _is_upgraded(self) -> bool:
        if 0 in self.writers.dead():  # some kill themselves, also while they upgrade
            self.writers.start(0, "v2")
        with self._place.turn():
            database = connect(self._place.source)
            try:
                sql = "SELECT count(*) FROM sqlite_master WHERE name = 'kv'"
                if not database.execute(sql).get:
                    return False
                return bool(database.execute("SELECT count(*) FROM kv").get)
            finally:
                database.close()

    def _quieten(self) -> None:
        """Let every OpenCode end, look at what is left, and start others."""
        self.writers.stop_all()
        self.quiets += 1
        wal = self._place.source.with_name("opencode.db-wal")
        until = time.monotonic() + _FOLDED_S
        with self._place.turn():
            while wal.exists() and time.monotonic() < until:
                # Our poll of some milliseconds may have met that very moment.
                connect(self._place.source).close()
            if wal.exists():
                self.violations("the -wal stays behind after the last close")
        for number in range(self._plan.writers):
            self.writers.start(number, self._rng.choice(self._generations))

    def _look_at_writers(self) -> None:
        """Take up what they complain about."""
        complaints = self._place.complaints()
        for sentence in complaints[self._complaints :]:
            self.violations(sentence)
        self._complaints = len(complaints)
