"""
The poller: sources, tailer and ledger put to work, one poll after the other.

Owns what is known of each source's health.  Runs in one thread; a source that
fails says why and stops neither the others nor the page.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from opencode_exporter.chunk import Chunk
from opencode_exporter.clock import Clock
from opencode_exporter.errors import (
    LedgerDamagedError,
    LedgerError,
    SourceChangedError,
    SourceError,
    SourceUnsupportedError,
)
from opencode_exporter.expose.health import SourceHealth
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.service.read_ahead import WORTH_IT_ROWS, Plan, plan, read_ahead, rows_in
from opencode_exporter.source.locate import label_sources
from opencode_exporter.source.opencode.damage import Damage, load
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.sessions import (
    archived,
    directories,
    opencode_version,
    todos,
)
from opencode_exporter.source.opencode.source import Signature, Source
from opencode_exporter.source.opencode.tailer import Stretch, Tailer
from opencode_exporter.source.skills import SkillScanner
from opencode_exporter.vocabulary import InstalledSkill

log = logging.getLogger(__name__)

_TRIES: Final = 3
_COMMIT_ROWS: Final = 10_000  # or as many events; measured: more take memory, and no less time
_REPEAT_S: Final = 30.0
_SCAN_EVERY_S: Final = 60.0
_SLEEPERS_EVERY_S: Final = 60.0

Progress = Callable[[str, float, int], None]
"""Told of the first read: source, share read (0 to 1), rows read so far."""


class Poller:
    """Polls every source into one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        abandon_after_ms: int,
        scanner: SkillScanner,
        with_paths: bool = False,
        progress: Progress | None = None,
        summaries: bool = True,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._abandon_after = abandon_after_ms
        self._tailer = Tailer(
            clock, abandon_after_ms=abandon_after_ms, with_paths=with_paths, summaries=summaries
        )
        self._progress = progress
        self._looked: dict[str, float] = {}  # when sleeping rows were looked at
        self._passed_over: set[str] = set()  # sources that changed since
        self._scanner = scanner
        self._scanned = clock.monotonic() - _SCAN_EVERY_S
        self._directories: dict[str, set[tuple[str, str]]] = {}
        self.skills: frozenset[InstalledSkill] = frozenset()
        self.servers: frozenset[str] = frozenset()
        self._signatures: dict[str, Signature] = {}
        self._damage: dict[str, Damage] = {}
        self._logged: dict[str, tuple[str, float]] = {}
        self.sources: dict[str, Source] = {}
        self.health: dict[str, SourceHealth] = {}
        self.shown: list[tuple[str, SourceHealth]] = []
        """The same by their names in metrics."""
        self.gone: dict[str, SourceHealth] = {}
        """What was counted of sources that are not there now, by these names."""
        self.stopping = False
        """Set to end a long poll after its current chunk; nothing is lost."""

    def watch(self, paths: Sequence[Path]) -> None:
        """Set which files are polled; what was known of others is kept in the ledger."""
        names, before = label_sources(paths), self.health
        self.sources = {label: Source(path, label) for label, path in names.items()}
        self.health = {label: before.get(label) or self._found(label) for label in names}
        for label in before.keys() - names.keys():
            self._lost(label, before[label])
        self.shown = [(self._shown(label), health) for label, health in self.health.items()]

    def _shown(self, label: str) -> str:
        """Return a source's name in metrics; those of too many share one."""
        return self._ledger.names.slots.take("source", label)

    def _found(self, label: str) -> SourceHealth:
        """Return what is known of a source that was not there: its counts go on."""
        known = self.gone.get(label)
        self.gone = {name: health for name, health in self.gone.items() if name != label}
        return known or SourceHealth()

    def _lost(self, label: str, health: SourceHealth) -> None:
        """Keep what was counted of a source that is not there any more."""
        name, counted = self._shown(label), health.counted()
        known = self.gone.get(name)
        self.gone = {**self.gone, name: known.plus(counted) if known else counted}

    def forget(self) -> None:
        """Read every source anew at the next poll: the ledger knows nothing of them."""
        self._signatures.clear()
        self._looked.clear()
        self._passed_over.clear()
        for health in self.health.values():
            health.up, health.is_read, health.progress = False, False, 0.0

    def fail(self, err: LedgerError) -> None:
        """Show that no source can be polled, because of the ledger."""
        for source in self.sources.values():
            self._failed(source, self.health[source.label], err)

    def poll(self) -> None:
        """
        Poll every source once, and set the baseline when the history is in.

        Raises:
            LedgerDamagedError: Nothing can be counted in this ledger any more.
            LedgerError: The baseline could not be written.
        """
        for source in self.sources.values():
            if self.stopping:
                return
            self._poll(source)
        if self._clock.monotonic() - self._scanned >= _SCAN_EVERY_S:
            self._scan_skills()
        if self.stopping:
            return
        self._settle()
        if not self._ledger.baseline_ms:
            self._set_baseline()

    def _settle(self) -> None:
        """End what has been silent too long; once more if that cannot be written now."""
        try:
            self._settle_unseen()
            self._ledger.settle(self._tailer.patience.is_over)
        except LedgerDamagedError:
            raise
        except LedgerError as err:
            self.fail(err)

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

    def _poll(self, source: Source) -> None:
        health = self.health[source.label]
        began = self._clock.monotonic()
        try:
            for attempt in range(1, _TRIES + 1):
                try:
                    self._read(source, health, attempt)
                    break
                except SourceChangedError:
                    if attempt == _TRIES:
                        raise
        except LedgerDamagedError:
            raise
        except (SourceError, LedgerError) as err:
            self._failed(source, health, err)
        except Exception as err:  # noqa: BLE001  # a defect of ours must not pass for a good poll
            self._failed(source, health, _defect(err))
        else:
            self._ended(source, health)
        health.observe(self._clock.monotonic() - began)

    def _ended(self, source: Source, health: SourceHealth) -> None:
        """Show a poll that ended well, as far as the source is whole."""
        if self.stopping:
            return  # cut short: freshness is claimed only for a whole poll
        health.is_read, health.supported, health.progress = True, True, 1.0
        if damage := self._damage.get(source.label):
            err = damage.as_error()
            if health.problem != str(err):  # once, since only the user can mend it
                extra = {"source": source.label, "err": err.message, "hint": err.hint}
                log.warning("source is damaged", extra=extra)
            health.up, health.is_damaged, health.problem = False, True, str(err)
            health.polls["error"] += 1
        else:
            self._succeeded(source, health)

    def _succeeded(self, source: Source, health: SourceHealth) -> None:
        if health.problem:
            log.info("source is read again", extra={"source": source.label})
        health.up, health.is_damaged, health.problem = True, False, ""
        health.polls["ok"] += 1
        health.last_poll_ms = self._clock.now_ms()
        self._logged.pop(source.label, None)

    def _failed(self, source: Source, health: SourceHealth, err: SourceError | LedgerError) -> None:
        health.up, health.is_damaged, health.problem = False, False, str(err)
        health.supported = not isinstance(err, SourceUnsupportedError)
        health.polls["error"] += 1
        self._signatures.pop(source.label, None)
        text, when = self._logged.get(source.label, ("", 0.0))
        now = self._clock.monotonic()
        if text != str(err) or now - when >= _REPEAT_S:
            self._logged[source.label] = (str(err), now)
            ours = isinstance(err, LedgerError)
            log.warning(
                "ledger cannot be used" if ours else "source cannot be read",
                extra={"source": source.label, "err": err.message, "hint": err.hint},
            )

    def _read(self, source: Source, health: SourceHealth, attempt: int) -> None:
        """Take in what is new, if the files changed or an open call ran out of time."""
        signature = source.signature()
        health.bytes = source.sizes()
        if self._signatures.get(source.label) == signature and not self._has_waited(source.label):
            return
        try:
            # The first poll may be long, and a second attempt must not fail as the first did.
            short = attempt == 1 and health.is_read
            with source.open(unnoticed=short) as reader:
                known, file = self._ledger.notes.damage(source.label), signature.main
                damage = load(known, file[0] if file else 0)
                reader.damage = self._damage[source.label] = damage
                self._look_for_skills(source.label, reader)
                self._take_in(source, health, reader)
                health.versions = {
                    generation: opencode_version(reader, generation)
                    for generation in reader.layout.generations
                }
        finally:
            # Chunks taken in before a failure were whole; they count.
            if source.label in self._damage:  # none is noted, too: it has been mended
                self._ledger.notes.damaged(source.label, self._damage[source.label].dump())
            self._ledger.commit()
        if not self.stopping:
            self._signatures[source.label] = signature
        health.bytes = source.sizes()

    def _look_for_skills(self, label: str, reader: Reader) -> None:
        """Scan the disk before anything of a source is counted: it says which names are real."""
        if label not in self._directories:
            self._directories[label] = directories(reader)
            self._scan_skills()
        elif self._clock.monotonic() - self._scanned >= _SCAN_EVERY_S:
            self._directories[label] = directories(reader)

    def _scan_skills(self) -> None:
        everywhere = set().union(*self._directories.values())
        self.skills = self._scanner.scan(
            (Path(directory), Path(worktree)) for directory, worktree in everywhere
        )
        self.servers = self._scanner.servers
        self._ledger.names.installed_skills = frozenset(skill.name for skill in self.skills)
        self._scanned = self._clock.monotonic()

    def _take_in(self, source: Source, health: SourceHealth, reader: Reader) -> None:
        label = source.label
        self._ledger.begin_again(label)
        intake = self._intake(label, health, reader)
        stretches = self._tailer.ahead(reader, self._ledger.cursors(label))
        if planned := _worth_reading_ahead(reader, stretches):
            ahead = read_ahead(reader, source.path, planned, self._tailer, self._ledger.is_new)
            with contextlib.closing(ahead) as chunks:
                intake(chunks)
            stretches = self._tailer.ahead(reader, self._ledger.cursors(label))
        rows = [*self._ledger.open_rows(label)]
        if is_long_ago := self._are_due(label):
            before_ms = self._clock.now_ms() - self._abandon_after
            rows += self._ledger.sleeping_rows(label, before_ms)
        intake(self._tailer.read(reader, stretches, rows))
        if self.stopping:
            return
        if is_long_ago:
            self._looked[label] = self._clock.monotonic()
            self._passed_over.discard(label)
            # Of a session that was put away all rows are known now.
            self._ledger.archive(archived(reader, self._ledger.unobserved_sessions()))
        else:
            self._passed_over.add(label)
        for chunk in self._tailer.settle(reader, self._ledger.open_rows(label)):
            self._ledger.apply(label, chunk)
        self._look_again(label, reader, self._ledger.overdue_rows())
        self._ledger.notes.read(label)
        health.todos = todos(reader, self._ledger.active_sessions())

    def _look_again(self, label: str, reader: Reader, rows: Mapping[str, list[str]]) -> None:
        for chunk in self._tailer.again(reader, rows):
            self._ledger.apply(label, chunk)

    def _are_due(self, label: str) -> bool:
        last = self._looked.get(label)
        return last is None or self._clock.monotonic() - last >= _SLEEPERS_EVERY_S

    def _intake(
        self, label: str, health: SourceHealth, reader: Reader
    ) -> Callable[[Iterable[Chunk]], None]:
        """Return what takes chunks of a source into the ledger, and tells how far it is."""
        rows = 0

        def take_in(chunks: Iterable[Chunk]) -> None:
            nonlocal rows
            waiting = 0
            for chunk in chunks:
                # Before more of a session counts, how its open rows ended meanwhile.
                self._look_again(label, reader, self._ledger.open_rows_beside(chunk))
                self._ledger.apply(label, chunk)
                rows += chunk.rows
                waiting += max(chunk.rows, len(chunk.events))
                if waiting >= _COMMIT_ROWS:
                    self._ledger.commit()
                    waiting = 0
                if not self._ledger.baseline_ms:
                    health.progress = chunk.progress
                    if self._progress:
                        self._progress(label, chunk.progress, rows)
                if self.stopping:
                    return

        return take_in

    def _has_waited(self, label: str) -> bool:
        """Say whether something of an unchanged source has waited long enough."""
        if label in self._passed_over and self._are_due(label):
            return True
        if self._ledger.overdue_rows():
            return True
        if self._ledger.is_due(label):
            return True
        now = self._clock.now_ms()
        rows = self._ledger.open_rows(label)
        if any(0 < row.wake <= now for row in rows):
            return True
        # A later step grows old enough to show that an open call will not end.
        if any(row.calls for row in rows) and self._are_due(label):
            return True
        return any(row.calls and self._tailer.patience.is_over(row.silent_since) for row in rows)


def _worth_reading_ahead(reader: Reader, stretches: Sequence[Stretch]) -> Plan:
    """Return how other processes read what is new, or nothing where that is not worth it."""
    if reader.is_unnoticed or sum(stretch.rows for stretch in stretches) < WORTH_IT_ROWS:
        return ()
    planned = plan(reader, stretches)  # rowids have gaps
    return planned if rows_in(planned) >= WORTH_IT_ROWS else ()


def _defect(err: Exception) -> SourceError:
    """Say where we failed; the text of the error might hold row content."""
    *_, last = traceback.extract_tb(err.__traceback__)
    return SourceError(
        f"the exporter failed ({type(err).__name__} at {Path(last.filename).name}:{last.lineno})",
        hint="it is tried again; please report it with the version",
    )
