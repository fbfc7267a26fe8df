"""
What is shown: the snapshot of now, by the rules about what is shown and how.

Put together from what the ledger has committed and what is known of sources and
of ourselves; immutable once made.  Applies the rules about what is shown:
nothing that counts before the baseline, zeros for names known beforehand, the
choice of how projects are named, tools and skills that are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import add as add_up
from typing import Final, Literal, TypeVar

from opencode_exporter import catalog as c
from opencode_exporter.catalog.vocabulary import CATEGORIES, SKILL_TOOL, InstalledSkill, category_of
from opencode_exporter.counting.labels import clean, limit_of
from opencode_exporter.counting.series import Labels, Value, merge, number_of
from opencode_exporter.counting.totals import KNOWN_BEFOREHAND
from opencode_exporter.counting.turns.cache import ACTIVE_MS
from opencode_exporter.events import OVERFLOW, STATUSES, TODO_STATUSES, UNKNOWN
from opencode_exporter.expose.exemplars import ExemplarsBySeries
from opencode_exporter.expose.filters import Filters
from opencode_exporter.expose.health import SourceHealth
from opencode_exporter.expose.snapshot import AllSeries, Later, Numbers, Snapshot
from opencode_exporter.ledger.published import Published

T = TypeVar("T")
ProjectNames = Literal["name", "hash", "off"]
_Series = dict[c.Metric, dict[Labels, Value]]
_CATCH_UP_SHOWN_MS: Final = 5 * 60_000  # long enough for every scrape interval in use
_OURS_KNOWN: Final[Mapping[c.Metric, tuple[Labels, ...]]] = {
    c.UNATTRIBUTED: ((),),
    c.COPIES_SKIPPED: (("fork",), ("upgrade",)),
    c.LATE_ENDS: (("completed",), ("error",), ("denied",), ("aborted",)),
}
"""Series of ourselves that are shown at 0 before anything is counted."""
_SHOWN_AT_ZERO: Final = frozenset(metric.name for metric in (*KNOWN_BEFOREHAND, *_OURS_KNOWN))
_OURS_WAITING: Final = frozenset({c.ROWS_REJECTED, c.LABEL_OVERFLOW})
"""Series of ourselves that come whole as well: alerts ask by how much they grew."""


@dataclass(frozen=True)
class Surroundings:
    """Everything that a snapshot needs beside the ledger."""

    sources: Sequence[tuple[str, SourceHealth]]  # by name; those beyond the limit share one
    gone: Mapping[str, SourceHealth]  # what was counted of others
    skills: frozenset[InstalledSkill]
    exports: Mapping[str, int]  # over OTLP, by result; empty if there are none
    spans: Mapping[str, int]  # likewise
    exemplars: ExemplarsBySeries
    servers: frozenset[str]  # names of MCP servers in OpenCode's configuration
    build: tuple[str, str, str]  # version, python, sqlite
    started_ms: int  # when this process began, Unix
    projects: ProjectNames
    filters: Filters
    series_limit: int
    ledger_bytes: int  # on disk
    steady_ms: int  # of a clock that is never set
    now_ms: int  # time of day, Unix


def take(known: Published, around: Surroundings) -> Snapshot:
    """Return every series as of now, of what the ledger has published and what is around it."""
    counted = known.baseline_ms > 0
    salt = known.salt
    shown = _of_ledger(known.series, around.projects, salt, counted=counted)
    if counted:
        tools, skills = _names(known, "tool"), _names(known, "skill")
        _fill_known(shown, around.series_limit, tools, skills)
        shown[c.TOOL_INFO] = {tool_labels(tool, around.servers): 1 for tool in tools}
        shown[c.SKILL_INSTALLED] = {
            (skill.name if skill.name in skills else OVERFLOW, skill.scope): 1
            for skill in around.skills
        }
        shown |= _in_flight(known)
        _add_active(shown, known, around)
        if known.hot_files:
            shown[c.FILE_HOT_EDITS] = {(clean(path),): edits for path, edits in known.hot_files}
    _add_sources(shown, around.sources)
    _add_polls(shown, [*around.sources, *around.gone.items()])
    _add_ourselves(shown, known, around)
    series = {m: around.filters.shown(m.labels, series) for m, series in shown.items()}
    return Snapshot(
        series,
        around.now_ms,
        Later(partial(_starts_of, series, known, around.projects, salt)),
        around.started_ms,
        around.exemplars,
        known.births,
        Later(partial(_born_of, series, known, around.projects, salt)),
    )


def at_baseline(
    totals: Mapping[str, Mapping[Labels, Value]],
    names: Mapping[str, Iterable[str]],
    how: ProjectNames,
    salt: str,
    limit: int,
) -> AllSeries:
    """
    Return what counts of the first page after the history was counted.

    Args:
        totals: The ledger's series at the baseline.
        names: Of the tools and skills that are shown at 0 where they have no count.
        how: How projects are shown.
        salt: For their hashes.
        limit: The most series that one metric may have.
    """
    shown = _of_ledger(totals, how, salt, counted=True)
    _fill_known(shown, limit, [*names["tool"]], [*names["skill"]])
    return {
        metric: series
        for metric, series in shown.items()
        if metric.waits_for_baseline and metric.kind != "gauge"
    }


def _of_ledger(
    known: Mapping[str, Mapping[Labels, Value]], how: ProjectNames, salt: str, *, counted: bool
) -> _Series:
    """Return the ledger's series that are shown; ``counted``: the history is in."""
    shown: _Series = {}
    for name, series in known.items():
        metric = c.BY_NAME.get(name)
        waits = metric is not None and (metric.waits_for_baseline or metric in _OURS_WAITING)
        if metric is None or (waits and not counted):
            continue
        shown[metric] = _name_projects(metric, series, how, salt, partial(merge, metric))
    return shown


def _starts_of(shown: AllSeries, known: Published, how: ProjectNames, salt: str) -> Numbers:
    """Return the starts of the series that are in the ledger, or known beforehand."""
    starts: dict[c.Metric, Mapping[Labels, int]] = {}
    for metric, series in shown.items():
        counted = known.starts.get(metric.name, {})
        if metric.kind == "gauge" or not (counted or metric.name in _SHOWN_AT_ZERO):
            continue
        at_zero = known.baseline_ms if metric.waits_for_baseline else known.began_ms
        own = _name_projects(metric, counted, how, salt, min)
        starts[metric] = {labels: own.get(labels, at_zero) for labels in series}
    return starts


def _born_of(shown: AllSeries, known: Published, how: ProjectNames, salt: str) -> Numbers:
    """Return the births of the series that appeared after the baseline."""
    births: dict[c.Metric, Mapping[Labels, int]] = {}
    for metric in shown:
        born = known.born.get(metric.name)
        if born and metric.kind != "gauge":
            of_all = {labels: born.get(labels, 0) for labels in known.series[metric.name]}
            births[metric] = _name_projects(metric, of_all, how, salt, min)
    return births


def _names(known: Published, label: str) -> list[str]:
    """Return the names in use or known beforehand: once shown, a name stays."""
    return [*known.names[label], *known.places[label], UNKNOWN, OVERFLOW]


def _fill_known(shown: _Series, limit: int, tools: list[str], skills: list[str]) -> None:
    """Export what is known beforehand at 0: ``increase()`` does not see a series' first value."""
    edits = [name for name in tools if CATEGORIES.get(name) == "edit"]
    names = {("tool",): tools, ("skill",): skills}
    for metric in KNOWN_BEFOREHAND:
        if metric.labels in names:
            some = edits if metric is c.EDIT_ABANDONED else names[metric.labels]
            _fill(shown, metric, [(name,) for name in some], limit)
    for metric, some in ((c.TOOL_INVOCATIONS, tools), (c.SKILL_INVOCATIONS, skills)):
        series = [(name, status) for name in some for status in STATUSES]
        _fill(shown, metric, series, limit)
    _fill(shown, c.COMPACTIONS, [("auto",), ("manual",)], limit)


def _fill(shown: _Series, metric: c.Metric, wanted: Iterable[Labels], limit: int) -> None:
    series = shown.setdefault(metric, {})
    for labels in wanted:
        if len(series) < limit:
            series.setdefault(labels, 0)


def _name_projects(
    metric: c.Metric,
    series: Mapping[Labels, T],
    how: ProjectNames,
    salt: str,
    join: Callable[[T, T], T],
) -> dict[Labels, T]:
    """Return a value of each series by its shown labels; joined where these are the same."""
    if how == "name" or "project" not in metric.labels:
        return dict(series)
    renamed: dict[Labels, T] = {}
    for labels, value in series.items():
        key = shown_labels(metric, labels, how, salt)
        renamed[key] = join(renamed[key], value) if key in renamed else value
    return renamed


def shown_labels(metric: c.Metric, labels: Labels, how: ProjectNames, salt: str) -> Labels:
    """Return the labels of a series as they are shown."""
    if how == "name" or "project" not in metric.labels:
        return labels
    at = metric.labels.index("project")
    return (*labels[:at], _shown_project(labels[at], how, salt), *labels[at + 1 :])


@lru_cache(maxsize=256)
def _shown_project(name: str, how: ProjectNames, salt: str) -> str:
    if how == "off":
        return ""
    if name in (UNKNOWN, OVERFLOW):
        return name
    return hashlib.blake2b(f"{salt}{name}".encode(), digest_size=4).hexdigest()


def tool_labels(tool: str, servers: frozenset[str]) -> tuple[str, str, str]:
    """Return tool, category and MCP server: the longest name that its name begins with."""
    if tool in CATEGORIES:
        return tool, CATEGORIES[tool], ""
    # 1.x names an MCP tool server_tool, 2.x server.tool.
    owners = [tool[:at] for at, sign in enumerate(tool) if sign in "_." and tool[:at] in servers]
    if owners:
        return tool, "mcp", owners[-1]
    # Some plugins register one tool per skill.
    return tool, SKILL_TOOL if tool.startswith("skills_") else category_of(tool), ""


def _in_flight(known: Published) -> dict[c.Metric, dict[Labels, Value]]:
    counts: dict[Labels, Value] = {(name,): 0 for name in known.names["tool"]}
    oldest: dict[Labels, Value] = {}
    named = {*known.names["tool"], *known.places["tool"]}
    for tool, started in known.in_flight:
        if tool in named or len(named) < limit_of("tool") - 2:
            named.add(tool)
        labels = (tool if tool in named else OVERFLOW,)
        counts[labels] = merge(c.TOOL_IN_FLIGHT, counts.get(labels), 1)
        oldest[labels] = merge(c.TOOL_OLDEST_START, oldest.get(labels), started)
    return {c.TOOL_IN_FLIGHT: counts, c.TOOL_OLDEST_START: oldest}


def _add_active(shown: _Series, known: Published, around: Surroundings) -> None:
    """Add active sessions, and the todo items of these."""
    active = {session for session, at in known.active.items() if around.now_ms - at < ACTIVE_MS}
    shown[c.SESSIONS_ACTIVE] = {(): len(active)}
    todos: dict[Labels, Value] = {(status,): 0 for status in (*TODO_STATUSES, OVERFLOW)}
    for _, health in around.sources:
        for session in active & health.todos.keys():
            for status, count in health.todos[session].items():
                todos[status,] = merge(c.TODOS, todos.get((status,)), count)
    shown[c.TODOS] = todos


def _add_sources(shown: _Series, sources: Iterable[tuple[str, SourceHealth]]) -> None:
    """Add the state of the sources; of several that share a name, the worst."""

    def add(metric: c.Metric, labels: Labels, value: int, join: Callable[[int, int], int]) -> None:
        series = shown.setdefault(metric, {})
        known = number_of(metric, series.get(labels, value))
        series[labels] = join(known, value) if labels in series else value

    versions = {OVERFLOW}
    for label, health in sources:
        add(c.UP, (label,), int(health.up), min)
        add(c.SOURCE_SUPPORTED, (label,), int(health.supported), min)
        for generation, version in health.versions.items():
            if len(versions) < limit_of("opencode_version") - 1:
                versions.add(clean(version))
            name = clean(version) if clean(version) in versions else OVERFLOW
            add(c.SOURCE_INFO, (label, generation, name), 1, min)
        for part, size in health.bytes.items():
            add(c.SOURCE_BYTES, (label, part), size, add_up)
        progress = round(health.progress * c.HISTORY_PROGRESS.scale)
        add(c.HISTORY_PROGRESS, (label,), progress, min)
        if health.last_poll_ms:
            add(c.LAST_POLL, (label,), health.last_poll_ms, min)


def _add_polls(shown: _Series, sources: Iterable[tuple[str, SourceHealth]]) -> None:
    """Add the polls of all sources that there have been: counts do not fall."""
    polls = shown.setdefault(c.POLLS, {})
    durations = shown.setdefault(c.POLL_DURATION, {})
    for label, health in sources:
        for result, count in health.polls.items():
            polls[label, result] = merge(c.POLLS, polls.get((label, result)), count)
        durations[label,] = merge(c.POLL_DURATION, durations.get((label,)), health.durations)


def _add_ourselves(shown: _Series, known: Published, around: Surroundings) -> None:
    shown[c.BUILD_INFO] = {around.build: 1}
    shown[c.START] = {(): around.started_ms}
    shown[c.LEDGER_BYTES] = {(): around.ledger_bytes}
    for metric, results in ((c.OTLP_EXPORTS, around.exports), (c.OTLP_SPANS, around.spans)):
        shown[metric] = {(result,): count for result, count in results.items()}
    late = known.late_ms and around.steady_ms - known.late_ms < _CATCH_UP_SHOWN_MS
    shown[c.CATCHING_UP] = {(): int(bool(late))}
    if known.baseline_ms:
        shown[c.BASELINE] = {(): known.baseline_ms}
    for metric, at_zero in _OURS_KNOWN.items():
        series = shown.setdefault(metric, {})
        for labels in at_zero:
            series.setdefault(labels, 0)
