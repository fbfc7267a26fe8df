"""
The poller: every source polled in turn, into one ledger.

Owns which sources there are and what was counted of others.  Runs in one thread; a source
that fails stops neither the others nor the page.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from pathlib import Path

from opencode_exporter.clock import Clock
from opencode_exporter.errors import LedgerDamagedError, LedgerError
from opencode_exporter.expose.health import SourceHealth
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.service.backoff import Backoff
from opencode_exporter.service.installed import Installed
from opencode_exporter.service.source_poll import Progress, SourcePoll
from opencode_exporter.source.locate import label_sources
from opencode_exporter.source.opencode.schema import KnownColumns
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.tailer import Tailer

log = logging.getLogger(__name__)


class Poller:
    """
    Polls every source into one ledger.

    Args:
        ledger: The ledger.
        tailer: Reads the sources.
        installed: Looks for skills where their sessions are.
        clock: A stopwatch, and the time of day.
        progress: Told of the first read of each.

    Attributes:
        stopping: Set where a long poll is to end after its current chunk; nothing is lost.
        shown: What is known of each source, by its name in metrics.
        gone: What was counted of sources that are not there now, by these names.
    """

    def __init__(
        self,
        ledger: Ledger,
        tailer: Tailer,
        installed: Installed,
        clock: Clock,
        *,
        progress: Progress | None = None,
    ) -> None:
        self._ledger = ledger
        self._tailer = tailer
        self._clock = clock
        self._progress = progress
        self._polls: dict[str, SourcePoll] = {}
        self._backoff = Backoff(clock)  # of the ledger
        self.installed = installed
        self.sources: dict[str, Source] = {}
        self._columns: dict[str, KnownColumns] = {}
        self.shown: list[tuple[str, SourceHealth]] = []
        self.gone: dict[str, SourceHealth] = {}
        self.stopping = threading.Event()

    @property
    def health(self) -> dict[str, SourceHealth]:
        """What is known of each source, by its own name."""
        return {label: poll.health for label, poll in self._polls.items()}

    def stop(self) -> None:
        """End a long poll after its current chunk; nothing is lost."""
        self.stopping.set()

    def watch(self, paths: Sequence[Path]) -> None:
        """Set which files are polled; what was known of others is kept in the ledger."""
        names, before = label_sources(paths), self._polls
        self._columns = {label: self._columns.get(label) or KnownColumns() for label in names}
        self.sources = {
            label: Source(path, label, columns=self._columns[label])
            for label, path in names.items()
        }
        self._polls = {label: before.get(label) or self._found(label) for label in names}
        for label in before.keys() - names.keys():
            self._lost(label, before[label].health)
        self.shown = [(self._shown(label), health) for label, health in self.health.items()]

    def _shown(self, label: str) -> str:
        """Return a source's name in metrics; those of too many share one."""
        return self._ledger.names.slots.take("source", label)

    def _found(self, label: str) -> SourcePoll:
        """Return the poll of a source that was not there: its counts go on."""
        known = self.gone.get(label)
        self.gone = {name: health for name, health in self.gone.items() if name != label}
        return SourcePoll(
            label,
            known or SourceHealth(),
            ledger=self._ledger,
            tailer=self._tailer,
            installed=self.installed,
            clock=self._clock,
            is_stopping=self.stopping.is_set,
            progress=self._progress,
        )

    def _lost(self, label: str, health: SourceHealth) -> None:
        """Keep what was counted of a source that is not there any more."""
        name, counted = self._shown(label), health.counted()
        known = self.gone.get(name)
        self.gone = {**self.gone, name: known.plus(counted) if known else counted}

    def forget(self) -> None:
        """Read every source anew at the next poll: the ledger knows nothing of them."""
        for poll in self._polls.values():
            poll.forget()

    def fail(self, err: LedgerError) -> None:
        """Show that no source can be polled, because of the ledger."""
        self._backoff.failed()
        for poll in self._polls.values():
            poll.fail(err)

    def retry_s(self) -> float:
        """Return in how many seconds a source that failed is tried again; infinite for none."""
        waits = [poll.retry_s() for poll in self._polls.values()]
        return min((wait for wait in waits if wait), default=math.inf)

    def poll(self, *, patiently: bool = False) -> None:
        """
        Poll every source once, and set the baseline when the history is in.

        Args:
            patiently: Whether what has just failed is left alone for a while.

        Raises:
            LedgerDamagedError: Nothing can be counted in this ledger any more.
            LedgerError: The baseline could not be written.
        """
        for label, poll in self._polls.items():
            if self.stopping.is_set():
                return
            poll.poll(self.sources[label], patiently=patiently)
        self.installed.scan_when_due()
        if self.stopping.is_set():
            return
        self._settle(patiently=patiently)
        if not self._ledger.baseline_ms:
            self._set_baseline()

    def _settle(self, *, patiently: bool) -> None:
        """End what has been silent too long; once more if that cannot be written now."""
        if patiently and self._backoff.left_s():
            return
        try:
            self._settle_unseen()
            self._ledger.settle(self._tailer.patience.is_over)
        except LedgerDamagedError:
            raise
        except LedgerError as err:
            self.fail(err)
        else:
            self._backoff.succeeded()

    def _settle_unseen(self) -> None:
        """End what rests in databases that are not there, or have another name by now."""
        there = {label for label, source in self.sources.items() if not source.is_gone()}
        for label in set(self._ledger.open_sources()) - there:
            for chunk in self._tailer.settle_unseen(self._ledger.open_rows(label)):
                self._ledger.apply(label, chunk)

    def _set_baseline(self) -> None:
        """
        Begin to count forward: every source that can be read has been read, damage aside.

        One that fails does not hold up the others; what it holds is counted when
        it can be read, with ``opencode_exporter_catching_up``.
        """
        if not any(health.is_read for health in self.health.values()):
            return
        self._ledger.set_baseline()
        self._ledger.commit()
        log.info("history counted", extra={"sources": len(self.sources)})
