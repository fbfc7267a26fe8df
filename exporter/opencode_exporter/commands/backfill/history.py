"""
The history: the sources read once more, into a ledger in memory that tells times.

What counts, and how often, is decided by the same ledger as ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opencode_exporter import catalog as c
from opencode_exporter.clock import Clock, Patience
from opencode_exporter.commands.backfill.baseline import Baseline
from opencode_exporter.commands.backfill.timeline import Period, SeriesKey, Timeline
from opencode_exporter.counting.labels import within_limit
from opencode_exporter.counting.series import Delta, Labels, Value, merge
from opencode_exporter.counting.sums import DeltasBySpan, Span
from opencode_exporter.errors import SourceError
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
    """The timeline to fill, and the rules for it; follows when what counts happened."""

    baseline: Baseline
    period: Period
    timeline: Timeline
    settings: Settings
    _found: dict[str, set[Labels]] = field(default_factory=dict)

    def span_of(self, ms: int) -> Span:
        """Return the sample that is the first to show a time, Unix ms."""
        return self.period.sample(ms)

    def added(self, deltas: DeltasBySpan) -> None:
        """Put what was added to series on the timeline."""
        for sample, of_sample in deltas.items():
            if sample is not None:
                self._note(sample, of_sample)

    def _note(self, sample: int, deltas: Iterable[Delta]) -> None:
        added: dict[SeriesKey, Value] = {}
        for delta in deltas:
            metric = delta.metric
            if metric.kind == "gauge" or metric.only_otlp or not metric.waits_for_baseline:
                continue
            series = metric.name, self._labels(metric, delta.labels)
            added[series] = merge(metric, added.get(series), delta.value)
        self.timeline.add(sample, added)

    def _labels(self, metric: c.Metric, labels: Labels) -> Labels:
        """Return the labels under which the ledger counted, as they are shown."""
        how, salt = self.settings.project_names, self.baseline.salt
        counted: Collection[Labels] = self.baseline.totals.get(metric.name, {})
        if self.baseline.skips:  # nothing was counted: what is there already
            counted = self._found.setdefault(metric.name, set())
        if labels not in counted:
            labels = within_limit(metric, labels, len(counted), self.settings.series_limit)
        if self.baseline.skips:
            self._found[metric.name].add(labels)
        return shown_labels(metric, labels, how, salt)


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
    store.write(Changes(slots=[*history.baseline.slots], meta={"salt": history.baseline.salt}))
    rules = Rules(
        series_limit=settings.series_limit,
        abandon_after_ms=settings.abandon_after_ms,
        times=history,
    )
    ledger = Ledger(store, clock, rules)
    poller = Poller(
        ledger,
        Tailer(clock, Patience(clock, settings.abandon_after_ms)),
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
