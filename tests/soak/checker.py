"""
What must be true of every page of metrics, alone and after all pages before it.

Knows the truth's bounds at the moment of a page; knows neither processes nor
how a page was fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from soak import vocabulary
from soak.truth import Counts

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]

SOURCE: Final = "opencode.db"
BASELINE: Final = "opencode_exporter_baseline_timestamp_seconds"
_BEFORE_BASELINE: Final = ("opencode_up", "opencode_source_", "opencode_exporter_")
# Counted by the process, not by the ledger; they begin anew with it.
OF_THE_PROCESS: Final = ("opencode_exporter_poll", "opencode_exporter_otlp")
_TOOLS: Final = "opencode_tool_invocations_total"
_SKILLS: Final = "opencode_skill_invocations_total"
_TIMES: Final = "opencode_tool_duration_seconds"
_STEPS: Final = "opencode_steps_total"
_TOKENS: Final = "opencode_tokens_total"
_LATE: Final = "opencode_exporter_late_ends_total"
_REJECTED: Final = "opencode_exporter_rows_rejected_total"
_AGREE: Final = (
    (_TOOLS, "opencode_tool_usage_total", ("tool", "status")),
    (_SKILLS, "opencode_skill_usage_total", ("skill", "status")),
)
SURE: Final = 1e-6


class Page:
    """A parsed page."""

    def __init__(self, text: str, *, openmetrics: bool) -> None:
        parse: Callable[[str], Iterable[Metric]] = parse_openmetrics if openmetrics else parse_text
        self.values: dict[Series, float] = {}
        self.buckets: dict[Series, list[tuple[float, float]]] = {}
        self._names: dict[str, list[Series]] = {}
        self.growing: set[Series] = set()
        for family in parse(text):
            for sample in family.samples:
                self._add(family.type, sample.name, dict(sample.labels), sample.value)

    def _add(self, kind: str, name: str, labels: dict[str, str], value: float) -> None:
        edge = labels.get("le")
        if edge is not None:
            labels["le"] = f"{float(edge):g}"  # the two formats may write it differently
        series = (name, tuple(sorted(labels.items())))
        self.values[series] = value
        self._names.setdefault(name, []).append(series)
        if kind in ("counter", "histogram") and name.startswith("opencode_"):
            self.growing.add(series)
        if edge is not None:
            del labels["le"]
            rest = (name.removesuffix("_bucket"), tuple(sorted(labels.items())))
            self.buckets.setdefault(rest, []).append((float(edge), value))

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series, None if it is not there."""
        return self.values.get((name, tuple(sorted(labels.items()))))

    def by(self, name: str, labels: tuple[str, ...]) -> Counter[tuple[str, ...]]:
        """Return the sums over all other labels."""
        sums: Counter[tuple[str, ...]] = Counter()
        for series in self._names.get(name, ()):
            found = dict(series[1])
            sums[tuple(found[label] for label in labels)] += self.values[series]  # type: ignore[assignment]
        return sums

    @property
    def is_counting(self) -> bool:
        """Whether the history is in."""
        return bool(self.value(BASELINE))


@dataclass(frozen=True)
class Bounds:
    """What a page may show at least and at most; ``least`` is None if it may be behind."""

    least: Counts | None
    most: Counts


class Checker:
    """
    Holds page after page against what must be true of it.

    Args:
        report: Told of each violation once, in a sentence.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._said: set[str] = set()
        self._life = -1
        self._last: dict[Series, float] = {}
        self._counted = False

    def check(self, page: Page, bounds: Bounds, life: int) -> None:
        """Look at the next page, of the exporter's so manyeth process."""
        self._never_falls(page, life)
        self._histograms(page)
        self._agreement(page)
        if page.is_counting:
            self._counted = True
            self._truth(page, bounds)
        else:
            self._before_baseline(page)

    def forget(self) -> None:
        """Let what has been reported be news again."""
        self._said.clear()

    def say(self, sentence: str) -> None:
        """Report a violation, if it is news."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._report(sentence)

    def _never_falls(self, page: Page, life: int) -> None:
        anew = life != self._life
        self._life = life
        for series, last in self._last.items():
            if anew and series[0].startswith(OF_THE_PROCESS):
                continue
            now = page.values.get(series)
            if now is None:
                self.say(f"{spelled(series)} is gone, it was {last:g}")
            elif now < last - SURE:
                self.say(f"{spelled(series)} fell from {last:g} to {now:g}")
        self._last = {series: page.values[series] for series in page.growing}

    def _histograms(self, page: Page) -> None:
        for (name, labels), cells in page.buckets.items():
            values = [value for _, value in sorted(cells)]
            if values != sorted(values):
                self.say(f"buckets of {spelled((name, labels))} do not add up: {values}")
            if values[-1] != page.values.get((f"{name}_count", labels)):
                self.say(f"the last bucket of {spelled((name, labels))} is not its count")

    def _agreement(self, page: Page) -> None:
        for one, other, labels in _AGREE:
            whole, parts = page.by(one, labels), page.by(other, labels)
            if +whole != +parts:
                self.say(f"{other} and {one} differ: {_differences(parts, whole)}")
        loads: Counter[tuple[str, ...]] = Counter()
        for (skill, status), count in page.by(_SKILLS, ("skill", "status")).items():
            if status == "completed":
                loads[skill,] += count
        first = page.by("opencode_skill_sessions_total", ("skill",))
        first.update(page.by("opencode_skill_reloads_total", ("skill",)))
        if +loads != +first:
            self.say(f"first loads and reloads are not all loads: {_differences(first, loads)}")

    def _before_baseline(self, page: Page) -> None:
        if self._counted:
            self.say("the baseline is gone")
        early = [s for s in page.growing if not s[0].startswith(_BEFORE_BASELINE)]
        if early:
            self.say(f"{spelled(early[0])} is there before the baseline")

    def _truth(self, page: Page, bounds: Bounds) -> None:
        most, least = bounds.most, bounds.least or Counts()
        for name, labels, low, high in (
            (_TOOLS, ("tool", "status"), least.tools, most.tools),
            (_SKILLS, ("skill", "status"), least.skills, most.skills),
            (f"{_TIMES}_count", ("tool", "status"), least.timed, most.timed),
            (_STEPS, ("finish",), least.steps, most.steps),
            (_TOKENS, ("token_type",), least.tokens, most.tokens),
            (_LATE, ("status",), Counter(), most.late),
            (_REJECTED, (), Counter(), most.junk),
        ):
            shown = page.by(name, labels)
            if name == _TOOLS:
                shown = _as_told(shown)
            if too_much := _differences(shown, shown & high):
                self.say(f"{name} counts too much: {too_much}")
            if too_little := _differences(low & shown, low):
                self.say(f"{name} counts too little: {too_little}")
        if least.timed == most.timed:
            times = page.by(f"{_TIMES}_sum", ("tool", "status"))
            shown = Counter({key: round(1000 * seconds) for key, seconds in times.items()})
            if wrong := _differences(+shown, +most.ms):
                self.say(f"{_TIMES}_sum is wrong, ms: {wrong}")


def _as_told(shown: Counter[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    told: Counter[tuple[str, ...]] = Counter()
    for (tool, status), count in shown.items():
        told[vocabulary.told(tool, status)] += count
    return told


def spelled(series: Series) -> str:
    """Return a series as people write it."""
    labels = ",".join(f'{name}="{value}"' for name, value in series[1])
    return f"{series[0]}{{{labels}}}"


def _differences(
    shown: Mapping[tuple[str, ...], float], right: Mapping[tuple[str, ...], float]
) -> str:
    """Return in words where two counts differ, empty if nowhere."""
    keys = sorted(key for key in {*shown, *right} if shown.get(key, 0) != right.get(key, 0))
    return ", ".join(f"{'/'.join(k)} {shown.get(k, 0) - right.get(k, 0):+g}" for k in keys)
