"""
One exporter: its ledger, what polls into that, and the pages over both.

Owns what becomes of a ledger that is damaged, at the start or later.  Knows no server,
no loop and no signal.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

from opencode_exporter.clock import Clock, Patience, SystemClock
from opencode_exporter.errors import ConfigError, LedgerDamagedError, LedgerError
from opencode_exporter.expose.health import PushHealth
from opencode_exporter.ledger.file import set_aside
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.ledger.rules import Rules
from opencode_exporter.ledger.scope import Scope
from opencode_exporter.ledger.store import Store
from opencode_exporter.service.installed import Installed
from opencode_exporter.service.poller import Poller
from opencode_exporter.service.settings import Settings
from opencode_exporter.service.source_poll import Progress
from opencode_exporter.service.views import Pages
from opencode_exporter.source.locate import databases, directories, is_source
from opencode_exporter.source.opencode.tailer import Tailer
from opencode_exporter.source.skills.scanner import SkillScanner

log = logging.getLogger(__name__)


def open_ledger(settings: Settings, clock: Clock) -> Ledger:
    """
    Open the ledger; a damaged one is kept aside and counting starts at zero from now.

    Raises:
        LedgerError: It is held by another exporter, too new, or cannot be opened.
    """
    rules = _rules(settings)

    def load() -> Ledger:
        store = Store(settings.ledger_path)
        try:
            return Ledger(store, clock, rules)
        except BaseException:
            store.drop()
            raise

    try:
        return load()
    except LedgerDamagedError:
        if settings.ledger_path is None:
            raise
        _keep_aside(settings.ledger_path, clock)
        return load()


def _rules(settings: Settings) -> Rules:
    return Rules(
        series_limit=settings.series_limit,
        abandon_after_ms=settings.abandon_after_ms,
        counts_history=settings.history == "count",
        scope=Scope(settings.since_ms, settings.only_project),
        files_top=settings.files_top,
    )


def _keep_aside(path: Path, clock: Clock, instance_id: str = "") -> None:
    # Over OTLP it goes on as the same instance, if it is still known which.
    kept = {"instance_id": instance_id} if instance_id else {}
    # A smaller total rebuilt from history would look like traffic.
    aside = set_aside(path, clock.now_ms(), {"history": "skip", **kept})
    log.error(
        "ledger is damaged: kept aside, counting starts at zero from now",
        extra={"ledger": str(path), "aside": str(aside)},
    )


class Exporter:
    """One exporter: a ledger, its poller and the pages over them."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        home: Path,
        *,
        clock: Clock | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.settings = settings
        self._environ = environ
        self._home = home
        clock = clock or SystemClock()
        self._clock = clock
        self._damaged = False
        self._replaced = False  # the damaged ledger is aside, the empty one not open yet
        self._refuse_a_source()
        self.ledger = open_ledger(settings, clock)
        patience = Patience(clock, settings.abandon_after_ms)
        self.poller = Poller(
            self.ledger,
            Tailer(clock, patience, with_paths=settings.files_top > 0),
            Installed(SkillScanner(home, environ, clock), self.ledger.names, clock),
            clock,
            progress=progress,
        )
        self.pushes = PushHealth()
        self.pages = Pages(self.ledger, self.poller, self.pushes, settings, clock)

    def _refuse_a_source(self) -> None:
        path, named = self.settings.ledger_path, self.settings.source_paths
        with contextlib.suppress(OSError):  # out of files: then the ledger cannot be opened, either
            if path is not None and is_source(path, named, self._environ, self._home):
                raise ConfigError(
                    f"{path} is, or would be, a database that is read, so it cannot be the ledger",
                    hint="choose another file with --ledger.path",
                )

    def directories(self) -> tuple[Path, ...]:
        """Return the directories in which databases are, or may appear."""
        return directories(self.settings.source_paths, self._environ, self._home)

    def poll(self, *, patiently: bool = False) -> None:
        """Poll every database there is; ``patiently``: except those that have just failed."""
        with contextlib.suppress(OSError):  # out of files: the known databases stay
            files = databases(self.settings.source_paths, self._environ, self._home)
            self.poller.watch(files)
        try:
            self._poll(patiently=patiently)
        except LedgerError as err:
            self.poller.fail(err)

    def retry_s(self) -> float:
        """Return in how many seconds a database that failed is polled again; infinite for none."""
        return self.poller.retry_s()

    def _poll(self, *, patiently: bool) -> None:
        if not self._damaged:
            try:
                self.poller.poll(patiently=patiently)
            except LedgerDamagedError:
                # Found when a page of it is read, which may be long after the start.
                self._damaged = True
            else:
                return
        self._start_over()
        self.poller.poll()

    def _start_over(self) -> None:
        """Keep the damaged ledger aside and count on in an empty one, at zero from now."""
        path = self.settings.ledger_path
        if path is None:
            return
        self.ledger.drop()
        if not self._replaced:
            _keep_aside(path, self._clock, self.ledger.notes.instance_id)
            self._replaced = True
        self.ledger.start_over(Store(path))
        self._damaged = self._replaced = False
        self.poller.forget()

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()
