"""
The scraper: asks for pages all the time, and has each of them checked.

Owns the truth.  Now and then it stops the writers for a moment: then what is
shown has to be equal to the truth, and the WAL has to fold within a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Final

import apsw
import httpx

from opencode_exporter.demo.store import connect
from soak.adding import HEADERS, Adding
from soak.checker import SOURCE, Bounds, Checker, Page
from soak.place import Place
from soak.processes import Exporter
from soak.truth import Counts, Truth

_ACCEPTS: Final = (
    "text/plain; version=0.0.4",
    "application/openmetrics-text; version=1.0.0",
    "*/*",
)
_PATIENCE_S: Final = 20.0
_AS_SERVER: Final = 0.3
_ASIDE_S: Final = 0.9
"""Answers that took longer may have given up waiting for a poll."""
_LAST_POLL: Final = "opencode_exporter_last_successful_poll_timestamp_seconds"


class Scraper:
    """
    Scrapes until told to stop.

    Attributes:
        scrapes: Pages that were checked.
        equal: How many of them were compared with nobody writing.
        behind: Pages that did not wait for a poll.
        down: Pages that said the source could not be read.
        adding: A Prometheus server that scrapes beside.
    """

    def __init__(self, place: Place, exporter: Exporter, report: Callable[[str], None]) -> None:
        self.truth = Truth(place.journal)
        self.scrapes = self.equal = self.behind = self.down = 0
        self._place = place
        self._exporter = exporter
        self._checker = Checker(report)
        self.adding = Adding(self._checker.say)
        self._rng = Random(0)  # noqa: S311  # when it asks cannot be repeated anyway
        self._up_in = 0
        self._client = httpx.Client(trust_env=False, timeout=_PATIENCE_S)

    def run(self, stopped: threading.Event) -> None:
        """Scrape until the event is set."""
        paused = time.monotonic()
        while not stopped.wait(self._rng.uniform(0.01, 0.3)):
            if time.monotonic() > paused:
                self.compare()
                paused = time.monotonic() + self._rng.uniform(0.5, 4)
            else:
                self.scrape()
            if self._rng.random() < _AS_SERVER:
                self.scrape_as_server()

    def scrape_as_server(self) -> None:
        """Ask for a page as a Prometheus server does."""
        page = self._ask(self._exporter.life, answers=self._exporter.answers, **HEADERS)
        if page is not None:
            self.adding.take(page)

    def add_up(self) -> None:
        """Compare what a server has added up, when all is written and nothing dies."""
        for _ in range(3):
            self.scrape_as_server()
        page = self._ask(self._exporter.life, answers=True)
        if page is not None:
            self.adding.agree(page)

    def forget(self) -> None:
        """Let what has been reported be reported again, if it is still so."""
        self._checker.forget()

    def compare(self) -> bool:
        """Stop the writers, and compare; say whether that was possible."""
        with self._place.turn():
            if not self._place.source.exists():
                return False
            database = connect(self._place.source)
            try:
                self.truth.follow()
                self.truth.resolve(database.execute("PRAGMA user_version").get)
                fits = self._fitting()
                if self._rng.random() < 0.3:
                    self._truncate(database)
            finally:
                database.close()
        self.equal += fits
        return fits

    def _fitting(self) -> bool:
        """Scrape until a page is up to date; say whether one was."""
        until = time.monotonic() + _PATIENCE_S
        life = self._exporter.life
        while True:
            if self.scrape():
                return True
            same = self._exporter.life == life and self._exporter.answers
            if not same:
                return False
            if time.monotonic() > until:
                self._checker.say(f"no page was up to date for {_PATIENCE_S:g} s")
                return False

    def _truncate(self, database: apsw.Connection) -> None:
        began = time.monotonic()
        database.set_busy_timeout(1000)
        busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        if busy or time.monotonic() - began > 1.1:
            self._checker.say("wal_checkpoint(TRUNCATE) did not end within a second")

    def scrape(self) -> bool:
        """Ask for a page and have it checked; say whether it was up to date."""
        exporter = self._exporter
        life, answers = exporter.life, exporter.answers
        self.truth.follow()
        least, decided = self.truth.at_least(), self.truth.decided
        began, asked = time.monotonic(), int(time.time() * 1000)
        page = self._ask(life, answers=answers)
        if page is None:
            return False
        # One that is told to end does not poll for those who wait; they get what there is.
        stayed = exporter.life == life and exporter.answers
        in_time = stayed and time.monotonic() - began < _ASIDE_S
        self.truth.follow()
        fits = in_time and (page.value(_LAST_POLL, source=SOURCE) or 0) * 1000 >= asked - 0.5
        self._checker.check(page, self._bounds(least if fits else None), life)
        self.scrapes += 1
        self._health(page, life, fits=fits)
        if fits and page.is_counting:
            self._place.seen = decided
        return fits and page.is_counting

    def _bounds(self, least: Counts | None) -> Bounds:
        return Bounds(least, self.truth.at_most())

    def _health(self, page: Page, life: int, *, fits: bool) -> None:
        self.behind += not fits
        if page.value("opencode_up", source=SOURCE) == 1:
            self._up_in = life
        elif self._up_in == life:
            self.down += 1
            self._checker.say(f"opencode_up is 0 in life {life}")

    def _ask(self, life: int, *, answers: bool, **more: str) -> Page | None:
        """Return a page, None if the exporter is on its way down or up; ``more``: headers."""
        encoding = self._rng.choice(("identity", "gzip"))
        headers = {"accept": self._rng.choice(_ACCEPTS), "accept-encoding": encoding, **more}
        url = f"http://{self._exporter.target}/metrics"
        try:
            answer = self._client.get(url, headers=headers)
        except httpx.TransportError as err:
            if answers and self._exporter.life == life and self._exporter.answers:
                self._checker.say(f"no answer: {type(err).__name__}")
            return None
        if answer.status_code != 200:
            self._checker.say(f"status {answer.status_code}")
            return None
        openmetrics = answer.headers["content-type"].startswith("application/openmetrics-text")
        try:
            return Page(answer.text, openmetrics=openmetrics)
        except ValueError as err:
            self._checker.say(f"the page cannot be parsed: {err}")
            return None
