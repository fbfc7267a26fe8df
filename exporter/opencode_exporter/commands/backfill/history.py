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
from opencode_exporter.commands.backfill.period import Period
from opencode_exporter.commands.backfill.timeline import Series, Timeline
from opencode_exporter.counting.calls import Aggregate
from opencode_exporter.counting.labels import within_limit
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.series import Delta, Labels, Value, merge
from opencode_exporter.counting.sums import Sums
from opencode_exporter.counting.tally import Sum, Tally
from opencode_exporter.errors import SourceError
from opencode_exporter.events import Event, Invocation, Rejection, Step, UserSkillLoad
from opencode_exporter.expose.shown import shown_labels
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.ledger.store import Batch, Store
from opencode_exporter.service.installed import Installed
from opencode_exporter.service.poller import Poller
from opencode_exporter.service.settings import Settings, sources
from opencode_exporter.service.source_poll import Progress
from opencode_exporter.source.opencode.tailer import Tailer
from opencode_exporter.source.skills.scanner import SkillScanner


@dataclass(frozen=True)
class History:
    """Where what is read goes, and by which rules."""

    known: Known
    period: Period
    timeline: Timeline
    settings: Settings
    _found: dict[str, set[Labels]] = field(default_factory=dict)

    def note(self, place: int, deltas: Iterable[Delta]) -> None:
        """Note what a sample is the first to show."""
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
        """Return when an event counted, Unix ms: as soon as it could be seen."""
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
        self._place: int | None = None
        self._kept: dict[int | None, tuple[Aggregate, dict[Sum, Value]]] = {
            None: (self.calls, self.tally.sums)
        }

    def at(self, ms: int) -> None:
        """Count what comes next at a time."""
        place = self._history.period.place(ms)
        if place == self._place:
            return
        if place not in self._kept:
            self._kept[place] = Aggregate(), {}
        self._place = place
        # The tally itself is in the hands of those who count into it.
        self.calls, self.tally.sums = self._kept[place]

    def at_event(self, event: Event) -> None:
        """Count what comes next at the time of an event."""
        self.at(self._history.when(event))

    def fold(self, names: RealNames) -> Iterator[Delta]:
        """Put everything on the timeline; nothing is left to be counted."""
        slots, knows = names.slots, names.knows
        for place, (calls, sums) in self._kept.items():
            if place is None:
                continue
            tally = Tally(sums.items())
            self._history.note(place, [*calls.fold(slots, knows), *tally.fold(slots, knows)])
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
    store.write(Batch(slots=[*history.known.slots], meta={"salt": history.known.salt}))
    ledger = Ledger(
        store,
        clock,
        series_limit=settings.series_limit,
        counts_history=True,
        abandon_after_ms=settings.abandon_after_ms,
        sums=partial(_SumsInTime, history),
    )
    poller = Poller(
        ledger,
        Tailer(clock, Patience(clock, settings.abandon_after_ms), summaries=False),
        Installed(SkillScanner(home, environ), ledger.names, clock),
        clock,
        progress=progress,
    )
    poller.watch(sources(settings.source_paths, environ, home)[0])
    poller.poll()
    ledger.close()
    for label, health in poller.health.items():
        if not health.is_read:
            raise SourceError(f"{label}: {health.problem}")
    history.timeline.finish()
