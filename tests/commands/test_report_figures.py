"""The report's figures: what is computed from a snapshot, and how it becomes JSON."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from commands.report_snapshot import NOON_MS, snapshot
from opencode_exporter import catalog as c
from opencode_exporter.commands.report import Asked, Report, figures, units
from opencode_exporter.commands.report.queries import quantile

REPORT = figures(snapshot(), Asked(NOON_MS))
EMPTY = figures({}, Asked(NOON_MS))


# Quantiles.


@pytest.mark.parametrize(("q", "expected"), [(0.2, 0.048), (0.5, 0.15), (0.8, 0.72), (1, 1)])
def test_quantiles_are_those_of_prometheus(q: float, expected: float) -> None:
    """The histogram and its quantiles are from the tests of Prometheus' own query language."""
    assert quantile(q, (0.1, 0.2, 1), (50, 20, 40, 10)) == pytest.approx(expected)


def test_quantile_of_nothing_is_not_known() -> None:
    """Without an observation there is no quantile, not 0."""
    assert quantile(0.5, (1, 2), (0, 0, 0)) is None


def test_quantile_beyond_the_last_edge_is_that_edge() -> None:
    """Of observations beyond the last edge no more is known than that edge."""
    assert quantile(0.5, (1, 2), (1, 0, 5)) == 2


counts = st.lists(st.integers(0, 1000), min_size=2, max_size=20)


@example([57, 3], 0.95)  # was 0.010000000000000002, beyond its edge
@given(counts, st.floats(0.001, 1))
def test_quantile_agrees_with_its_definition(cells: list[int], q: float) -> None:
    """It lies in the first bucket that holds the rank, and as far in as the rank is."""
    edges = c.DURATION_BUCKETS[: len(cells) - 1]
    found = quantile(q, edges, cells)
    below = [0, *accumulate(cells)]
    rank = q * below[-1]
    if not below[-1]:
        assert found is None
        return
    at = next(i for i in range(len(cells)) if below[i + 1] >= rank)
    if at == len(edges):
        assert found == edges[-1]
        return
    low = edges[at - 1] if at else 0
    share = (rank - below[at]) / (below[at + 1] - below[at])
    assert found == pytest.approx(low + share * (edges[at] - low))
    assert found is not None
    assert low <= found <= edges[at]


@example([57, 3])
@given(counts)
def test_quantiles_rise_within_the_edges(cells: list[int]) -> None:
    """The median is never above the 95th percentile, and both lie within the edges."""
    edges = c.DURATION_BUCKETS[: len(cells) - 1]
    middle, high = quantile(0.5, edges, cells), quantile(0.95, edges, cells)
    if middle is None or high is None:
        assert not sum(cells)
    else:
        assert 0 <= middle <= high <= edges[-1]


# Figures.


def test_success_is_completed_of_completed_and_failed() -> None:
    """Denied, aborted and abandoned invocations are counted apart and not in the rate."""
    pdf = REPORT.skills[0].invocations
    assert (pdf.total, pdf.completed, pdf.error) == (25, 18, 1)
    assert (pdf.denied, pdf.aborted, pdf.abandoned) == (2, 1, 3)
    assert pdf.success_rate == pytest.approx(18 / 19, abs=1e-6)


def test_rate_of_what_was_never_decided_is_not_known() -> None:
    """Where every call was denied there is no success rate, neither 0 nor 1."""
    tracker = REPORT.tools[2]
    assert (tracker.tool, tracker.invocations.denied) == ("tracker_search", 3)
    assert tracker.invocations.success_rate is None


def test_skills_are_those_that_were_asked_for_by_use() -> None:
    """The most loaded skill is first; one without a load is not among them."""
    assert [one.skill for one in REPORT.skills] == ["pdf", "review", "_unknown"]
    pdf = REPORT.skills[0]
    assert (pdf.sessions, pdf.reloads, pdf.content_bytes) == (11, 7, 43_210)
    assert pdf.errors == {"timeout": 1}
    assert pdf.triggers == {"model": 19, "user": 6}
    assert (pdf.first_used, pdf.last_used) == ("2026-11-18T12:00:00Z", "2026-11-18T21:00:00Z")


def test_duration_is_that_of_completed_and_failed_together() -> None:
    """The 18 quick loads and the one that failed slowly are one distribution."""
    pdf = REPORT.skills[0].duration
    assert pdf.count == 19
    assert pdf.mean_seconds == pytest.approx((18 * 0.03 + 5000) / 19)
    assert pdf.p50_seconds == pytest.approx(0.02 + 0.02 * 9.5 / 18, abs=1e-6)
    assert pdf.p95_seconds == c.DURATION_BUCKETS[-1]


def test_run_holds_the_work_that_its_skill_governed() -> None:
    """Outcomes, calls, retries, tokens and dollars of the runs stand with their skill."""
    runs = REPORT.skills[0].runs
    assert (runs.outcomes.total, runs.outcomes.succeeded, runs.outcomes.failed) == (13, 9, 3)
    assert runs.outcomes.success_rate == 0.75
    assert (runs.invocations.total, runs.invocations.error, runs.retries) == (40, 2, 2)
    assert (runs.tokens.total, runs.tokens.cache_read) == (2_040_000, 2_000_000)
    assert runs.cost_usd == 0.75
    assert REPORT.skills[1].runs.outcomes.success_rate is None


def test_never_used_is_installed_and_never_asked_for() -> None:
    """Skills on disk without any load are listed with where they lie."""
    found = [(one.skill, one.scope) for one in REPORT.never_used]
    assert found == [("idle", "project"), ("spare", "builtin")]


def test_tools_are_sorted_by_use() -> None:
    """Each tool has its category, server, times, reasons and output; uncalled ones are left out."""
    assert [one.tool for one in REPORT.tools] == ["shell", "edit", "tracker_search"]
    shell, edit, tracker = REPORT.tools
    assert (shell.category, shell.server, tracker.server) == ("shell", None, "tracker")
    assert (shell.output_bytes, shell.outputs_truncated, shell.wait.count) == (5_700_000, 4, 1)
    assert (edit.retries, list(edit.errors)) == (12, ["edit_mismatch", "file_access"])
    assert edit.duration.p50_seconds is None


def test_edit_formats_are_told_by_model() -> None:
    """Each tool and model is a cell; changes say how many went in at the first attempt."""
    cells = {(one.tool, one.provider, one.model): one.attempts for one in REPORT.edit_formats}
    assert cells["edit", "acme", "large"].success_rate == pytest.approx(55 / 90, abs=1e-6)
    assert cells["patch", "acme", "small"].success_rate is None
    (changes,) = REPORT.edit_changes
    assert (changes.made, changes.at_first_attempt, changes.abandoned) == (4, 3, 6)


def test_languages_models_and_transitions_are_sorted_by_use() -> None:
    """Lines, steps and pairs are summed over all other labels."""
    assert [one.language for one in REPORT.languages] == ["go", "python", "_other"]
    large, small = REPORT.models
    assert (large.steps, large.finishes) == (130, {"tool-calls": 90, "stop": 40})
    assert (large.cost_usd, large.retries, large.tokens.total) == (12.5, 3, 1_050_000)
    assert (small.steps, small.cost_usd, small.duration.count) == (7, 0, 0)
    pairs = [(one.from_skill, one.to_skill, one.count) for one in REPORT.transitions]
    assert pairs == [("pdf", "pdf", 5), ("pdf", "review", 5), ("review", "pdf", 2)]


def test_agents_have_their_own_success_with_each_skill() -> None:
    """The cells are summed over triggers and projects."""
    cells = {(one.agent, one.skill): one.invocations.total for one in REPORT.agents_skills}
    assert cells == {
        ("build", "pdf"): 19,
        ("plan", "pdf"): 6,
        ("plan", "review"): 7,
        ("build", "_unknown"): 4,
    }


def test_totals_are_everything_together() -> None:
    """Sessions, turns, steps, calls, tokens and dollars over all labels."""
    totals = REPORT.totals
    assert (totals.sessions, totals.sessions_by_kind) == (13, {"root": 10, "subagent": 3})
    assert (totals.turns.total, totals.turns.success_rate) == (42, 0.95)
    assert (totals.turn_duration.count, totals.steps, totals.in_flight) == (1, 137, 2)
    assert (totals.invocations.total, totals.skill_loads.total) == (2108, 36)
    assert (totals.tokens.total, totals.cost_usd) == (1_050_009, 12.5)


def test_what_runs_now_is_not_known_of_one_project() -> None:
    """The gauge of invocations in flight has no project, so a report on one says null."""
    asked = Asked(NOON_MS, project="shop")
    assert figures(snapshot(), asked).totals.in_flight is None


def test_every_source_is_listed_with_its_state() -> None:
    """One that cannot be read is there and says so; rejected rows are not passed over."""
    broken, good = REPORT.sources
    assert (broken.source, broken.up, broken.newest_event) == ("broken.db", False, None)
    assert (good.up, good.rows_rejected, good.newest_event) == (True, 2, "2026-11-18T22:00:00Z")
    assert [one.opencode_version for one in good.versions] == ["1.18.33", "2.0.15"]


def test_nothing_counted_is_zeros_and_unknowns() -> None:
    """A snapshot without a series makes a report of 0, null and empty lists."""
    assert EMPTY.totals.sessions == EMPTY.totals.cost_usd == 0
    assert EMPTY.totals.invocations.success_rate is None
    assert EMPTY.period.newest_event is None
    assert (EMPTY.skills, EMPTY.tools, EMPTY.models, EMPTY.never_used) == ((), (), (), ())


# JSON.


def keys(found: Any) -> set[str]:
    """Return the names of all members that are fields, at any depth."""
    if isinstance(found, list):
        return set().union(*map(keys, found))
    if isinstance(found, dict):
        return set(found).union(*map(keys, found.values()))
    return set()


def test_json_is_the_figures() -> None:
    """What is written is read back as the same report, with keys in snake_case."""
    written = msgspec.json.encode(REPORT)
    assert msgspec.json.decode(written, type=Report) == REPORT
    names = keys(msgspec.json.decode(written)) - {"tool-calls"}
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_json_begins_with_what_was_asked_for() -> None:
    """Version, time, period and project come first; what was not asked for is null."""
    asked = figures(snapshot(), Asked(NOON_MS, since_ms=NOON_MS - 1000, project="shop"))
    head = list(msgspec.to_builtins(asked).items())[:4]
    assert head == [
        ("version", 1),
        ("generated_at", "2026-11-18T12:00:00Z"),
        ("since", "2026-11-18T11:59:59Z"),
        ("project", "shop"),
    ]
    assert (REPORT.since, REPORT.project) == (None, None)


# Units.


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (units.rate(1), "100 %"),
        (units.rate(0.99999), "99.9 %"),
        (units.rate(0), "0 %"),
        (units.rate(0.29), "29.0 %"),
        (units.duration(0.0042), "4.2 ms"),
        (units.duration(0.9996), "1 s"),
        (units.duration(59.7), "1 min"),
        (units.duration(90), "1.5 min"),
        (units.duration(7200), "2 h"),
        (units.short(0), "0"),
        (units.short(999), "999"),
        (units.short(12_345), "12.3k"),
        (units.short(999_960), "1.0M"),
        (units.short(213_400_000), "213M"),
        (units.short(43_210, "B"), "43.2 kB"),
        (units.dollars(0), "$0"),
        (units.dollars(0.00001), "<$0.0001"),
        (units.dollars(0.0113), "$0.0113"),
        (units.dollars(1234.5), "$1,234.50"),
        (units.several(1, "row"), "1 row"),
        (units.several(1200, "row"), "1,200 rows"),
    ],
)
def test_numbers_are_written_as_people_read_them(written: str, expected: str) -> None:
    """Each number has the unit that suits it, and a rate is never rounded up to all."""
    assert written == expected
