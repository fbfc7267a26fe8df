"""
The poll of one source: what is new in it is read, decoded and taken into the ledger.

Owns what is known of the source's health.  A source that fails says why, and is left
alone for a while.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from opencode_exporter.chunk import Chunk
from opencode_exporter.clock import Clock, LineLimit
from opencode_exporter.errors import (
    LedgerDamagedError,
    LedgerError,
    SourceChangedError,
    SourceError,
    SourceUnsupportedError,
)
from opencode_exporter.expose.health import SourceHealth
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.service.backoff import Backoff
from opencode_exporter.service.installed import Installed
from opencode_exporter.service.read_ahead import WORTH_IT_ROWS, Plan, plan, read_ahead, rows_in
from opencode_exporter.source.opencode.damage import Damage, load
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.selection import select
from opencode_exporter.source.opencode.session_rows import archived, opencode_version, todos
from opencode_exporter.source.opencode.source import Signature, Source
from opencode_exporter.source.opencode.stretches import Stretch
from opencode_exporter.source.opencode.tailer import Tailer

log = logging.getLogger(__name__)

_TRIES: Final = 3
_COMMIT_ROWS: Final = 10_000  # or as many events; measured: more take memory, and no less time
_SLEEPERS_EVERY_S: Final = 60.0

Progress = Callable[[str, float, int], None]
"""Told of the first read: source, share read (0 to 1), rows read so far."""


class SourcePoll:
    """
    Polls one source into the ledger.

    Args:
        label: The source's name in metrics.
        health: What is known of it; kept up to date.
        ledger: Takes in what it brings.
        tailer: Reads it.
        installed: Looks for skills where its sessions are.
        clock: A stopwatch, and the time of day.
        is_stopping: Whether a long poll is to end after its current chunk.
        progress: Told of the first read.
    """

    def __init__(
        self,
        label: str,
        health: SourceHealth,
        *,
        ledger: Ledger,
        tailer: Tailer,
        installed: Installed,
        clock: Clock,
        is_stopping: Callable[[], bool],
        progress: Progress | None,
    ) -> None:
        self.label = label
        self.health = health
        self._ledger = ledger
        self._tailer = tailer
        self._installed = installed
        self._clock = clock
        self._is_stopping = is_stopping
        self._progress = progress
        self._backoff = Backoff(clock)
        self._lines = LineLimit()
        self._damage: Damage | None = None
        self._looked: Signature | None = None  # before it was read the last time
        self._read_signature: Signature | None = None  # of what was read to its end
        self._sleepers_s: float | None = None  # when sleeping rows were looked at
        self._changed_since = False

    def forget(self) -> None:
        """Read the source anew at the next poll: the ledger knows nothing of it."""
        self._read_signature, self._sleepers_s, self._changed_since = None, None, False
        self.health.up, self.health.is_read, self.health.progress = False, False, 0.0

    def retry_s(self) -> float:
        """Return in how many seconds a source that failed is tried again; 0 for no such one."""
        return self._backoff.left_s()

    def fail(self, err: SourceError | LedgerError) -> None:
        """Show that the source cannot be polled."""
        health = self.health
        health.up, health.is_damaged, health.problem = False, False, str(err)
        health.supported = not isinstance(err, SourceUnsupportedError)
        health.polls["error"] += 1
        self._read_signature = None
        failures = self._backoff.failed(self._looked)
        if self._lines.held_back(str(err), self._clock.monotonic()) is None:
            return
        extra = {"source": self.label, "err": err.message, "hint": err.hint, "failures": failures}
        ours = isinstance(err, LedgerError)
        log.warning("ledger cannot be used" if ours else "source cannot be read", extra=extra)

    def poll(self, source: Source, *, patiently: bool) -> None:
        """
        Poll once.

        Args:
            source: The source.
            patiently: Whether it is left alone if it has just failed and looks the same.

        Raises:
            LedgerDamagedError: Nothing can be counted in this ledger any more.
        """
        if patiently and self._backoff.left_s() and self._backoff.holds(_looks(source)):
            return
        began = self._clock.monotonic()
        self._looked = None
        try:
            for attempt in range(1, _TRIES + 1):
                try:
                    self._read(source, attempt)
                    break
                except SourceChangedError:
                    if attempt == _TRIES:
                        raise
        except LedgerDamagedError:
            raise
        except (SourceError, LedgerError) as err:
            self.fail(err)
        except Exception as err:  # noqa: BLE001  # a defect of ours must not pass for a good poll
            self.fail(_defect(err))
        else:
            self._ended()
        self.health.observe(self._clock.monotonic() - began)

    def _ended(self) -> None:
        """Show a poll that ended well, as far as the source is whole."""
        health, failures = self.health, self._backoff.succeeded()
        self._lines = LineLimit()
        if self._is_stopping():
            return  # cut short: freshness is claimed only for a whole poll
        health.is_read, health.supported, health.progress = True, True, 1.0
        if self._damage:
            err = self._damage.as_error()
            if health.problem != str(err):  # once, since only the user can mend it
                extra = {"source": self.label, "err": err.message, "hint": err.hint}
                log.warning("source is damaged", extra=extra)
            health.up, health.is_damaged, health.problem = False, True, str(err)
            health.polls["error"] += 1
            return
        if health.problem:
            again = {"source": self.label, "failures": failures}
            log.info("source is read again", extra=again)
        health.up, health.is_damaged, health.problem = True, False, ""
        health.polls["ok"] += 1
        health.last_poll_ms = self._clock.now_ms()

    def _read(self, source: Source, attempt: int) -> None:
        """Take in what is new, if the files changed or an open call ran out of time."""
        signature = self._looked = source.signature()
        self.health.bytes = source.sizes()
        if self._read_signature == signature and not self._has_waited():
            return
        is_lost = False
        try:
            # The first poll may be long, and a second attempt must not fail as the first did.
            short = attempt == 1 and self.health.is_read
            with source.open(unnoticed=short) as reader:
                known, file = self._ledger.notes.damage(self.label), signature.main
                self._damage = load(known, file.inode if file else 0)
                reader.spare(self._damage)
                self._installed.look(self.label, reader)
                self._take_in(source, reader)
                self.health.versions = {
                    generation: opencode_version(reader, generation)
                    for generation in reader.layout.generations
                }
        except LedgerDamagedError:
            is_lost = True  # a commit would fail for another reason, and hide this one
            raise
        finally:
            # Chunks taken in before a failure were whole; they count.
            if self._damage is not None and not is_lost:  # none is noted, too: it has been mended
                self._ledger.notes.damaged(self.label, self._damage.dump())
            if not is_lost:
                self._ledger.commit()
        if not self._is_stopping():
            self._read_signature = signature
        self.health.bytes = source.sizes()

    def _take_in(self, source: Source, reader: Reader) -> None:
        """Take in what is new since the cursors, and what has become of open rows."""
        label, ledger, tailer = self.label, self._ledger, self._tailer
        ledger.begin_again(label)
        rows_read = 0
        stretches = self._ahead(reader)
        if planned := _worth_reading_ahead(reader, stretches):
            ahead = read_ahead(reader, source.path, planned, tailer, ledger.is_new)
            with contextlib.closing(ahead) as chunks:
                rows_read = self._count(reader, chunks)
            stretches = tailer.ahead(reader, ledger.cursors(label))
        rows = [*ledger.open_rows(label)]
        if is_long_ago := self._are_sleepers_due():
            before_ms = self._clock.now_ms() - tailer.patience.limit_ms
            rows += ledger.sleeping_rows(label, before_ms)
        self._count(reader, tailer.read(reader, stretches, rows), rows_read)
        if self._is_stopping():
            return
        self._changed_since = not is_long_ago
        if is_long_ago:
            self._sleepers_s = self._clock.monotonic()
            # Of a session that was put away all rows are known now.
            ledger.archive(archived(reader, ledger.unobserved_sessions()))
        for chunk in tailer.settle(reader, ledger.open_rows(label)):
            ledger.apply(label, chunk)
        for chunk in tailer.again(reader, ledger.overdue_rows()):
            ledger.apply(label, chunk)
        ledger.notes.read(label)
        self.health.todos = todos(reader, ledger.active_sessions())

    def _ahead(self, reader: Reader) -> list[Stretch]:
        """Return what has not been read yet, as far as it can matter."""
        ledger, cursors = self._ledger, self._ledger.cursors(self.label)
        stretches = self._tailer.ahead(reader, cursors, summed=ledger.takes_summaries)
        if ledger.since_ms and not cursors:
            return select(reader, stretches, ledger.since_ms)
        return stretches

    def _count(self, reader: Reader, chunks: Iterable[Chunk], rows: int = 0) -> int:
        """Take chunks into the ledger, and tell how far it is; return the rows there were."""
        waiting = 0
        # Before more of a session counts, how its open rows ended meanwhile.
        first = self._ledger.open_rows_beside
        for chunk in self._tailer.after_rows(reader, chunks, first):
            self._ledger.apply(self.label, chunk)
            rows += chunk.rows
            waiting += max(chunk.rows, len(chunk.events))
            if waiting >= _COMMIT_ROWS:
                self._ledger.commit()
                waiting = 0
            if not self._ledger.baseline_ms and chunk.cursor is not None:
                self.health.progress = chunk.progress
                if self._progress:
                    self._progress(self.label, chunk.progress, rows)
            if self._is_stopping():
                break
        return rows

    def _are_sleepers_due(self) -> bool:
        """Return whether it is a minute since the rows were looked at that hardly change."""
        last = self._sleepers_s
        return last is None or self._clock.monotonic() - last >= _SLEEPERS_EVERY_S

    def _has_waited(self) -> bool:
        """Return whether something of an unchanged source has waited long enough."""
        ledger, label = self._ledger, self.label
        if self._changed_since and self._are_sleepers_due():
            return True
        if ledger.overdue_rows() or ledger.is_due(label):
            return True
        now = self._clock.now_ms()
        rows = ledger.open_rows(label)
        if any(0 < row.wake <= now for row in rows):
            return True
        # A later step grows old enough to show that an open call will not end.
        if any(row.calls for row in rows) and self._are_sleepers_due():
            return True
        return any(row.calls and self._tailer.patience.is_over(row.silent_since) for row in rows)


def _worth_reading_ahead(reader: Reader, stretches: Sequence[Stretch]) -> Plan:
    """Return how other processes read what is new, or nothing where that is not worth it."""
    if reader.is_unnoticed or sum(stretch.rows for stretch in stretches) < WORTH_IT_ROWS:
        return ()
    if reader.damage:  # others know nothing of it
        return ()
    planned = plan(reader, stretches)  # rowids have gaps
    return planned if rows_in(planned) >= WORTH_IT_ROWS else ()


def _looks(source: Source) -> Signature | None:
    try:
        return source.signature()
    except SourceError:
        return None


def _defect(err: Exception) -> SourceError:
    """Return where we failed; the text of the error might hold row content."""
    *_, last = traceback.extract_tb(err.__traceback__)
    return SourceError(
        f"the exporter failed ({type(err).__name__} at {Path(last.filename).name}:{last.lineno})",
        hint="it is tried again; please report it with the version",
    )
