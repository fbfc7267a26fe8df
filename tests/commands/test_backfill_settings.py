"""The history with times ends where it is told to, and shows what the exporter's settings show."""

from __future__ import annotations

import apsw
import pytest

from commands.backfilling import backfilled, first_page
from commands.joining import assert_joins, assert_never_falls, counted
from harness.clock import HOUR_MS
from harness.exporters import Bench
from ledger.expected_starts import called, event_times, recorded
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.filters import Filters, NameFilter, parse_pattern


@pytest.mark.parametrize("skip", [False, True])
def test_until_may_be_just_before_the_baseline(skip: bool, bench: Bench) -> None:
    """It is then as if nothing had been said, and one millisecond more is refused."""
    called(bench, "read", bench.clock.ms)
    bench.clock.advance(hours=1)
    first_page(bench, history="skip" if skip else "count")
    baseline = bench.clock.ms
    assert backfilled(bench, until_ms=baseline - 1) == backfilled(bench)
    ends = {samples[-1][0] for of in backfilled(bench).series.values() for samples in of.values()}
    assert ends == {baseline - 1}
    with pytest.raises(ConfigError, match="before --until"):
        backfilled(bench, until_ms=baseline)


def test_until_before_everything_is_refused(bench: Bench) -> None:
    """There would be nothing in it."""
    called(bench, "read", bench.clock.ms)
    first_page(bench)
    with pytest.raises(ConfigError, match="nothing happened before --until"):
        backfilled(bench, until_ms=bench.clock.ms - 5 * HOUR_MS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1.18.33", "2.0.15"])
def test_what_is_left_out_of_pages_is_left_out_of_the_history(name: str, bench: Bench) -> None:
    """The filters of tools and skills hold here, too."""
    filters = Filters(tool=NameFilter(exclude=parse_pattern("read|shell")))
    page = first_page(recorded(name, bench), filters=filters)
    past = backfilled(bench, filters=filters)
    assert_joins(past, page)
    tools = {dict(labels)["tool"] for labels in past.series["opencode_tool_invocations_total"]}
    assert tools
    assert not tools & {"read", "shell"}


@pytest.mark.slow
def test_names_without_a_slot_stay_in_the_overflow(bench: Bench) -> None:
    """Which names are labels was decided when they were counted, and the ledger knows it."""
    for number in range(110):
        called(bench, f"tool-{number % 10}{number // 10}", bench.clock.ms)
    page = first_page(bench)
    assert page.value("opencode_tool_invocations_total", tool="_other", status="completed") == 12
    # The first ones are gone: read anew, others would take their slots.
    db = apsw.Connection(str(bench.source))
    db.execute("DELETE FROM part WHERE rowid <= 30")
    db.close()
    past = backfilled(bench)
    assert_joins(past, page)
    overflow = frozenset({("tool", "_other"), ("status", "completed")})
    samples = past.series["opencode_tool_invocations_total"][overflow]
    assert samples[0][1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1.18.33", "2.0.15"])
def test_history_that_does_not_count_ends_at_zero(name: str, bench: Bench) -> None:
    """With --history=skip it rises to all there was, then falls to 0, where the exporter began."""
    page = first_page(recorded(name, bench), history="skip")
    everything = bench.read_once()
    past = backfilled(bench)
    assert {value for of_name in past.last().values() for value in of_name.values()} == {0}
    assert {value for _, _, value in counted(page)} == {0}
    for series, labels, value in counted(everything):
        samples = past.series.get(series, {}).get(labels, [(0, 0.0), (1, 0.0)])
        assert samples[-2][1] == value, (series, labels)
        assert samples[-1][0] == samples[-2][0] + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1.18.33", "2.0.15"])
def test_until_cuts_off_and_changes_nothing(name: str, bench: Bench) -> None:
    """A history that ends earlier is the same until then."""
    first_page(recorded(name, bench))
    whole = backfilled(bench, step_s=1200)
    times = sorted(time for found in event_times(bench.source).values() for time in found)
    until = times[len(times) // 2]
    part = backfilled(bench, step_s=1200, until_ms=until)
    assert part.series
    for series, by_labels in part.series.items():
        for labels, samples in by_labels.items():
            assert samples[-1][0] == until
            before = [sample for sample in whole.series[series][labels] if sample[0] <= until]
            assert before[1:] == samples[1 : len(before)] or before == samples[:-1]
            assert whole.value(series, labels, until) <= samples[-1][1]


@pytest.mark.slow
@pytest.mark.parametrize("projects", ["hash", "off"])
def test_projects_have_the_names_that_the_exporter_gives_them(projects: str, bench: Bench) -> None:
    """Hashed or hidden, with the ledger's salt: the series go on as the same."""
    page = first_page(recorded("1.18.33", bench), project_names=projects)
    past = backfilled(bench, project_names=projects)
    assert_joins(past, page)
    assert_never_falls(past)
    shown = {dict(labels)["project"] for labels in past.series["opencode_tool_usage_total"]}
    assert "demo-project" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1.18.33", "2.0.15"])
def test_a_metric_that_is_full_overflows_as_it_did(name: str, bench: Bench) -> None:
    """Where a metric has as many series as it may, the others are in `_other` in the past, too."""
    page = first_page(recorded(name, bench), series_limit=20)
    assert page.total("opencode_exporter_label_overflow_total") > 0
    past = backfilled(bench, series_limit=20)
    assert_joins(past, page)
    assert_never_falls(past)
