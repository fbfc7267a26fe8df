"""Since when each series counts: what was first is not before it, and it stays for good."""

from __future__ import annotations

import random
from contextlib import closing

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.oracle.reading import read
from harness.clock import HOUR_MS
from harness.databases import V1, V2
from harness.exporters import Bench
from harness.recordings import unpack
from harness.replaying import Replay
from ledger.expected_starts import (
    NAMES,
    NEW,
    Happened,
    called,
    counting,
    first_events,
    polled,
    recorded,
    started,
)
from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Labels, Value
from opencode_exporter.counting.totals import KNOWN_BEFOREHAND, Times, starts_of
from opencode_exporter.expose.filters import Filters, NameFilter, parse_pattern
from opencode_exporter.service.exporter import Exporter

# What a history says.


@pytest.mark.parametrize("name", NAMES)
def test_history_counts_since_its_first_event(name: str, bench: Bench) -> None:
    """No series starts after its first event, and none before the first of all."""
    recorded(name, bench)
    with polled(bench) as exporter:
        moment = exporter.pages.snapshot()
    starts, events = started(moment), first_events(bench.source)
    first_of_all = min(
        min(filter(None, [row.created, *(call.started for call in row.calls)]))
        for session in read(bench.source)
        for row in session.rows
    )
    assert events.keys() <= counting(moment)
    late = {series: starts[series] - at for series, at in events.items() if starts[series] > at}
    assert not late
    assert min(starts.values()) >= first_of_all


@pytest.mark.parametrize("name", NAMES)
def test_restart_and_second_read_change_no_start(name: str, bench: Bench) -> None:
    """A start is in the ledger; of a history, it is the same in every ledger that counts it."""
    recorded(name, bench)
    with polled(bench) as exporter:
        before = started(exporter.pages.snapshot())
    bench.clock.advance(hours=2)
    with polled(bench) as exporter:
        after = started(exporter.pages.snapshot())
        process = exporter.pages.snapshot().began_ms
    ours = ("opencode_exporter_polls_total", "opencode_exporter_poll_duration_seconds")
    assert {after[series] for series in after if series[0] in ours} == {process}
    assert {key: at for key, at in before.items() if key[0] not in ours} == {
        key: at for key, at in after.items() if key[0] not in ours and key in before
    }
    with polled(bench, in_memory=True) as exporter:
        moment = exporter.pages.snapshot()
    again = started(moment)
    of_events = {key for key in counting(moment) & before.keys() if "exporter" not in key[0]}
    assert of_events
    assert {key: again[key] for key in of_events} == {key: before[key] for key in of_events}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_starts_stay_while_rows_come_in(name: str, seed: int, bench: Bench) -> None:
    """Over polls and restarts no start moves, and none is after the first event."""
    chance = random.Random(seed)  # noqa: S311  # of a test
    replay = Replay(unpack(name, bench.directory / "old"), bench.source)
    moves = replay.moves()
    bench.clock.ms = moves[0].at
    exporter = bench.exporter()
    known: Happened = {}
    for move in moves:
        bench.clock.ms = max(bench.clock.ms, move.at)
        move.write()
        if chance.random() < 0.3:
            exporter.poll()
            known = unmoved(known, exporter)
        if chance.random() < 0.1:
            exporter.close()
            exporter = bench.exporter()
    replay.close()
    for hours in (0, 2, 24):
        bench.clock.advance(hours=hours)
        exporter.poll()
        known = unmoved(known, exporter)
    exporter.close()
    events = first_events(bench.source)
    late = {series: known[series] - at for series, at in events.items() if known[series] > at}
    assert not late


def unmoved(known: Happened, exporter: Exporter) -> Happened:
    """Assert that what has started starts at the same time still; return all starts."""
    moment = exporter.pages.snapshot()
    starts = {
        series: at
        for series, at in started(moment).items()
        if not series[0].startswith("opencode_exporter_poll")
    }
    assert known.keys() <= starts.keys()
    assert {series: starts[series] for series in known} == known
    assert max(starts.values(), default=0) <= moment.at_ms
    return starts


# What is counted while we look on.


def test_live_series_starts_at_its_first_event(bench: Bench) -> None:
    """A series that nobody could know of before counts since the call that made it."""
    began = bench.clock.ms
    called(bench, "read", began - HOUR_MS)
    with polled(bench) as exporter:
        for tool in ("grep", "edit", "grep"):
            called(bench, tool, bench.clock.ms + 60_000)
            exporter.poll()
        starts = exporter.pages.snapshot().starts[c.BY_NAME[NEW]]
    # Its message and session are a little older than a call.
    found = {tool: start for (tool, *_), start in starts.items()}
    assert found["read"] in range(began - HOUR_MS - 3, began - HOUR_MS + 1)
    assert found["grep"] in range(began + 61_000 - 3, began + 61_000 + 1)
    assert found["edit"] in range(began + 122_000 - 3, began + 122_000 + 1)


def test_series_shown_at_0_starts_at_the_baseline(bench: Bench) -> None:
    """A name that is known beforehand has its start before it is used, and keeps it."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    baseline = bench.clock.ms
    with polled(bench) as exporter:
        bench.clock.advance(hours=1)
        before = exporter.pages.snapshot()
        assert before.series[c.TOOL_INVOCATIONS]["grep", "completed"] == 0
        assert before.start_ms(c.TOOL_INVOCATIONS, ("grep", "completed")) == baseline
        called(bench, "grep", bench.clock.ms)
        exporter.poll()
        after = exporter.pages.snapshot()
        assert after.series[c.TOOL_INVOCATIONS]["grep", "completed"] == 1
        assert after.start_ms(c.TOOL_INVOCATIONS, ("grep", "completed")) == baseline
        # Where nothing is shown beforehand, the baseline is no start.
        assert after.start_ms(c.TOOL_DURATION, ("grep", "completed")) > baseline


def test_metrics_with_known_names_are_those_that_have_zeros(bench: Bench) -> None:
    """Every series that the ledger does not have is at 0, and its metric is known to have such."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    with polled(bench) as exporter:
        moment, ledger = exporter.pages.snapshot(), exporter.ledger.published.series
    zeros = {
        metric
        for metric, series in moment.series.items()
        if metric.kind != "gauge" and metric.waits_for_baseline
        if series.keys() - ledger.get(metric.name, {}).keys()
    }
    of_skills = {metric for metric in KNOWN_BEFOREHAND if metric.labels[:1] == ("skill",)}
    assert zeros >= set(KNOWN_BEFOREHAND) - of_skills
    assert zeros <= set(KNOWN_BEFOREHAND)


def test_exporter_counts_its_own_work_since_the_ledger_began(bench: Bench) -> None:
    """What is no event of OpenCode has no older start than the ledger, and keeps it."""
    began = bench.clock.ms
    for _ in range(2):
        called(bench, "read", began - 24 * HOUR_MS)
        with polled(bench) as exporter:
            moment = exporter.pages.snapshot()
            assert set(moment.starts[c.ROWS_READ].values()) == {began + 1000}
            assert moment.start_ms(c.LATE_ENDS, ("error",)) == began + 1000
            assert moment.start_ms(c.POLLS, ("opencode.db", "ok")) == bench.clock.ms


def test_history_that_is_skipped_starts_nothing(bench: Bench) -> None:
    """Where the history does not count, nothing counts since before the ledger began."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    baseline = bench.clock.ms
    with polled(bench, history="skip") as exporter:
        called(bench, "read", bench.clock.ms + 5000)
        exporter.poll()
        moment = exporter.pages.snapshot()
    assert counting(moment) >= {("opencode_tool_invocations_total", ("read", "completed"))}
    assert min(started(moment).values()) == baseline


@pytest.mark.parametrize("generation", ["v1", "v2"])
@pytest.mark.parametrize("odd", [0, -5, 12, 4_000_000_000_000_000])
def test_times_that_make_no_sense_start_nothing(generation: str, odd: int, bench: Bench) -> None:
    """A time of before OpenCode is none, and one that is yet to come is now."""
    now = bench.clock.ms
    if generation == "v1":
        with V1(bench.source, now=now - 1000) as old:
            old.tool(old.message(old.session(), created=odd), start=odd, end=odd)
    else:
        with V2(bench.source, now=now - 1000) as new:
            new.idle(new.session(), created=odd)
            called_v2 = new.session()
            new.user(called_v2, created=odd)
    with polled(bench) as exporter:
        moment = exporter.pages.snapshot()
    assert counting(moment)
    assert set(started(moment).values()) <= set(range(now - 1000, now + 1))


def test_turn_that_is_given_up_starts_no_later_than_its_last_row(bench: Bench) -> None:
    """What ends by silence alone ended when it fell silent."""
    with V1(bench.source, now=bench.clock.ms) as db, polled(bench) as exporter:
        session = db.session()
        db.message(session, role="user")
        db.tool(db.message(session))
        last = db.now
        bench.clock.ms = last + 1000
        exporter.poll()
        bench.clock.advance(hours=24)
        exporter.poll()
        moment = exporter.pages.snapshot()
    assert [*moment.series[c.TURNS]] == [("build", "abandoned")]
    assert moment.start_ms(c.TURNS, ("build", "abandoned")) <= last


# What is shown of it.


@pytest.mark.parametrize("how", ["hash", "off"])
def test_hidden_projects_start_with_the_first_of_them(how: str, bench: Bench) -> None:
    """Series that are shown as one start with the oldest; labels are those that are shown."""
    with V1(bench.source, now=bench.clock.ms - HOUR_MS) as db:
        for project in ("one", "two"):
            db.tool(db.message(db.session(project=project)))
            db.now += 60_000
    with polled(bench, in_memory=True) as exporter:
        named = exporter.pages.snapshot()
    with polled(bench, in_memory=True, project_names=how) as exporter:
        hidden = exporter.pages.snapshot()
    usage = c.BY_NAME[NEW]
    assert hidden.starts[usage].keys() == hidden.series[usage].keys() != named.series[usage].keys()
    assert min(hidden.starts[usage].values()) == min(named.starts[usage].values())


def test_smallest_start_of_hidden_projects(bench: Bench) -> None:
    """A project that comes in later does not make a series that is shown as one younger."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    with polled(bench, project_names="off") as exporter:
        before = exporter.pages.snapshot().starts[c.BY_NAME[NEW]]
        with V1(bench.source, ddl="", now=bench.clock.ms) as db:
            db.tool(db.message(db.session(project="another")), tool="read")
        bench.clock.ms = db.now + 1000
        exporter.poll()
        moment = exporter.pages.snapshot()
    assert moment.starts[c.BY_NAME[NEW]] == before
    assert [*moment.series[c.BY_NAME[NEW]].values()] == [2]


def test_tools_that_are_left_out_have_no_start(bench: Bench) -> None:
    """A filter leaves nothing of a name behind."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    without = Filters(tool=NameFilter(exclude=parse_pattern("read")))
    with polled(bench, filters=without) as exporter:
        starts = exporter.pages.snapshot().starts
    assert not any("read" in labels for series in starts.values() for labels in series)


# The rule by itself.

batches = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from((c.TOOL_USAGE, c.TOOL_INVOCATIONS, c.ROWS_READ)),
            st.sets(st.sampled_from("abc"), min_size=1),
        ),
        st.integers(1, 1000),
    )
)


@given(history=batches, live=batches)
def test_start_falls_in_history_and_stays_after(
    history: list[tuple[dict[c.Metric, set[str]], int]],
    live: list[tuple[dict[c.Metric, set[str]], int]],
) -> None:
    """A new series never starts after its first event; what has started stays after a history."""
    known: dict[str, dict[Labels, int]] = {}
    for baseline, several in ((0, history), (2000, live)):
        for names, first in several:
            changed: dict[str, dict[Labels, Value]] = {
                metric.name: {(one,): 1 for one in some} for metric, some in names.items()
            }
            times = Times(first if not baseline else first + 3000, baseline, 1)
            for name, starts in starts_of(changed, known, times).items():
                of_metric = known.setdefault(name, {})
                for labels, start in starts.items():
                    if not baseline or labels not in of_metric:
                        assert start <= times.first
                    else:
                        assert start == of_metric[labels]
                    of_metric[labels] = start


def test_start_is_a_column_of_the_ledger(bench: Bench) -> None:
    """Whoever opens a ledger finds the start of each of its series beside its value."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    with polled(bench) as exporter:
        moment = exporter.pages.snapshot()
    with closing(apsw.Connection(str(bench.ledger))) as db:
        sql = "SELECT started FROM series WHERE metric = ?"
        (start,) = [started for (started,) in db.execute(sql, (NEW,))]
    assert [start] == [*moment.starts[c.BY_NAME[NEW]].values()]
