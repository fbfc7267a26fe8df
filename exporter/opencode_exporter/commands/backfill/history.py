"""
The history: the sources read once more, into a ledger in memory that notes times.

What counts, and how often, is decided by the same ledger as ever; only its sums
are kept apart by time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from opencode_exporter import catalog as c
from opencode_exporter.clock import Clock, Patience
from opencode_exporter.commands.backfill.known import Known
from opencode_exporter.commands.backfill.timeline import Period, Series, Timeline
from opencode_exporter.counting.labels import within_limit
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.series import Delta, Labels, Value, merge
from opencode_exporter.counting.sums import Sums
from opencode_exporter.errors import SourceError
from opencode_exporter.events import Event, Invocation, Rejection, Step, UserSkillLoad
from opencode_exporter.expose.shown import shown_labels
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.ledger.rules import Rules
from opencode_exporter.ledger.store import Changes, Store
from opencode_exporter.service.installed import Installed
from opencode_exporter.service.poller import Poller
from opencode_exporter.service.settings import Settings
from opencode_exporter.service.source_poll import Progress
from opencode_exporter.source.locate import databases
from opencode_exporter.source.opencode.tailer import Tailer
from opencode_exporter.source.skills.scanner import SkillScanner


@dataclass(frozen=True)
class History:
    """The timeline to fill, and the rules for it."""

    known: Known
    period: Period
    timeline: Timeline
    settings: Settings
    _found: dict[str, set[Labels]] = field(default_factory=dict)

    def note(self, place: int, deltas: Iterable[Delta]) -> None:
        """Add deltas to the timeline, at the sample that is the first to show them."""
        added: dict[Series, Value] = {}
        for delta in deltas:
            metric = delta.metric
            if metric.kind == "gauge" or metric.only_otlp or not metric.waits_for_baseline:
                continue
            series = metric.name, self._labels(metric, delta.labels)
            added[series] = merge(metric, added.get(series), delta.value)
        self.timeline.add(place, added)

    def _labels(self, metric: c.Metric, labels: Labels) -> Labels:
        """Return the labels under which the ledger counted, as they are shown."""
        how, salt = self.settings.project_names, self.known.salt
        counted: Collection[Labels] = self.known.totals.get(metric.name, {})
        if self.known.skips:  # nothing was counted: what is there already
            counted = self._found.setdefault(metric.name, set())
        if labels not in counted:
            labels = within_limit(metric, labels, len(counted), self.settings.series_limit)
        if self.known.skips:
            self._found[metric.name].add(labels)
        return shown_labels(metric, labels, how, salt)

    def when(self, event: Event) -> int:
        """Return when an event counted, Unix ms: when it could first be seen."""
        if isinstance(event, Invocation):
            began = event.started or event.message_created
            return event.ended or began + self.settings.abandon_after_ms
        if isinstance(event, UserSkillLoad):
            return event.at
        if isinstance(event, Step):
            return event.completed or event.created
        return 0 if isinstance(event, Rejection) else event.created


class _SumsInTime(Sums):
    """Sums of a batch, apart by the sample that is the first to show them."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._by_sample: dict[int | None, Sums] = {}

    def at(self, ms: int) -> Sums:
        """Return the sums of the sample that is the first to show a time, Unix ms."""
        sample = self._history.period.sample(ms)
        sums = self._by_sample.get(sample)
        if sums is None:
            sums = self._by_sample[sample] = Sums()
        return sums

    def of(self, event: Event) -> Sums:
        """Return the sums of the time of an event."""
        return self.at(self._history.when(event))

    def deltas(self, names: RealNames) -> Iterator[Delta]:
        """Put everything on the timeline; nothing is left to be counted by the ledger."""
        for sample, sums in self._by_sample.items():
            if sample is not None:
                self._history.note(sample, sums.deltas(names))
        return iter(())


def read(
    history: History,
    environ: Mapping[str, str],
    home: Path,
    clock: Clock,
    progress: Progress | None = None,
) -> None:
    """
    Read all sources onto the timeline.

    Raises:
        SourceError: One of them cannot be read: the history would be none.
    """
    settings = history.settings
    store = Store(None)
    store.write(Changes(slots=[*history.known.slots], meta={"salt": history.known.salt}))
    rules = Rules(
        series_limit=settings.series_limit,
        abandon_after_ms=settings.abandon_after_ms,
        sums=partial(_SumsInTime, history),
    )
    ledger = Ledger(store, clock, rules)
    poller = Poller(
        ledger,
        Tailer(clock, Patience(clock, settings.abandon_after_ms), summaries=False),
        Installed(SkillScanner(home, environ, clock), ledger.names, clock),
        clock,
        progress=progress,
    )
    poller.watch(databases(settings.source_paths, environ, home))
    poller.poll()
    ledger.close()
    for label, health in poller.health.items():
        if not health.is_read:
            raise SourceError(f"{label}: {health.problem}")
    history.timeline.finish()
