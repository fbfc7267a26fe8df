"""Since when each series counts: what was first is not before it, and it stays for good."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from databases import V1, V2
from opencode_exporter import catalog as c
from opencode_exporter.aggregate import Labels, Value
from opencode_exporter.exposition import Rendered, Renderer
from opencode_exporter.filters import Filters, NameFilter, parse_pattern
from opencode_exporter.ledger.totals import KNOWN_BEFOREHAND, Times, starts_of
from opencode_exporter.service import Exporter
from opencode_exporter.snapshot import Moment
from oracle.model import Call, Row, Session
from oracle.reading import read
from prometheus import Prometheus
from replaying import Replay
from support import HOUR_MS, RECORDINGS, Bench, truth, unpack
from web_harness import FakeBackend, endpoint, serving

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
Series = tuple[str, Labels]
Happened = dict[Series, int]
"""When what a series counts happened for the first time, Unix ms."""
NEW = "opencode_tool_usage_total"
"""A metric that shows no series before there is something to count."""


def first_events(*paths: Path) -> Happened:
    """Return the first event of many series of databases at rest, as the oracle reads them."""
    found: dict[Series, list[int]] = defaultdict(list)
    for session in read(*paths):
        for row in session.rows:
            for series, at in _of_row(session, row):
                found[series].append(at)
    return {series: min(times) for series, times in found.items()}


def _of_row(session: Session, row: Row) -> Iterator[tuple[Series, int]]:
    if row.role:
        yield ("opencode_messages_total", (row.role, row.agent)), row.created
        yield ("opencode_sessions_total", (session.kind, session.project)), row.created
    if row.compaction:
        yield (c.COMPACTIONS.name, (row.compaction,)), row.created
    if row.kind != "step":
        return
    over = row.completed or row.created
    for kind, used in row.tokens.items():
        if used:
            yield ("opencode_tokens_total", (row.provider, row.model, kind)), over
    if row.finish:
        yield ("opencode_steps_total", (row.provider, row.model, row.finish)), over
    for call in row.calls:
        yield from _of_call(session, row, call)


def _of_call(session: Session, row: Row, call: Call) -> Iterator[tuple[Series, int]]:
    if call.ended is None:
        return  # it is over when it is given up, which the database does not show
    status = call.status
    where = (row.agent, session.project, status)
    yield ("opencode_tool_invocations_total", (call.tool, status)), call.ended
    yield ("opencode_tool_usage_total", (call.tool, *where)), call.ended
    if call.reason:
        yield ("opencode_tool_errors_total", (call.tool, call.reason)), call.ended


def started(moment: Moment) -> Happened:
    """Return the start of every series that counts, by metric and labels."""
    return {
        (metric.name, labels): moment.start_ms(metric, labels)
        for metric, series in moment.series.items()
        if metric.kind != "gauge"
        for labels in series
    }


def counting(moment: Moment) -> set[Series]:
    """Return the series that have counted something."""
    return {
        (metric.name, labels)
        for metric, series in moment.series.items()
        for labels, value in series.items()
        if value
    }


@contextmanager
def polled(bench: Bench, **settings: Any) -> Iterator[Exporter]:
    """Give an exporter that has polled once."""
    with closing(bench.exporter(**settings)) as exporter:
        exporter.poll()
        yield exporter


def recorded(name: str, bench: Bench) -> Bench:
    """Lay out a recording, a day after it was made."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    return bench


def called(bench: Bench, tool: str, at: int) -> None:
    """Write a call of 1.x that began at a time and took 20 ms, and let a second pass."""
    with V1(bench.source, ddl="" if bench.source.exists() else None, now=at - 3) as db:
        db.tool(db.message(db.session()), tool=tool, start=at, end=at + 20)
    bench.clock.ms = max(bench.clock.ms, at) + 1000


# What a history says.


@pytest.mark.parametrize("name", NAMES)
def test_history_counts_since_its_first_event(name: str, bench: Bench) -> None:
    """No series starts after its first event, and none before the first of all."""
    recorded(name, bench)
    with polled(bench) as exporter:
        moment = exporter.pages.moment()
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
        before = started(exporter.pages.moment())
    bench.clock.advance(hours=2)
    with polled(bench) as exporter:
        after = started(exporter.pages.moment())
        process = exporter.pages.moment().began_ms
    ours = ("opencode_exporter_polls_total", "opencode_exporter_poll_duration_seconds")
    assert {after[series] for series in after if series[0] in ours} == {process}
    assert {key: at for key, at in before.items() if key[0] not in ours} == {
        key: at for key, at in after.items() if key[0] not in ours and key in before
    }
    with polled(bench, in_memory=True) as exporter:
        moment = exporter.pages.moment()
    again = started(moment)
    of_events = {key for key in counting(moment) & before.keys() if "exporter" not in key[0]}
    assert of_events
    assert {key: again[key] for key in of_events} == {key: before[key] for key in of_events}


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
    moment = exporter.pages.moment()
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
        starts = exporter.pages.moment().starts[c.BY_NAME[NEW]]
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
        before = exporter.pages.moment()
        assert before.series[c.TOOL_INVOCATIONS]["grep", "completed"] == 0
        assert before.start_ms(c.TOOL_INVOCATIONS, ("grep", "completed")) == baseline
        called(bench, "grep", bench.clock.ms)
        exporter.poll()
        after = exporter.pages.moment()
        assert after.series[c.TOOL_INVOCATIONS]["grep", "completed"] == 1
        assert after.start_ms(c.TOOL_INVOCATIONS, ("grep", "completed")) == baseline
        # Where nothing is shown beforehand, the baseline is no start.
        assert after.start_ms(c.TOOL_DURATION, ("grep", "completed")) > baseline


def test_metrics_with_known_names_are_those_that_have_zeros(bench: Bench) -> None:
    """Every series that the ledger does not have is at 0, and its metric is known to have such."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    with polled(bench) as exporter:
        moment, ledger = exporter.pages.moment(), exporter.ledger.published.series
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
            moment = exporter.pages.moment()
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
        moment = exporter.pages.moment()
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
        moment = exporter.pages.moment()
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
        moment = exporter.pages.moment()
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
        named = exporter.pages.moment()
    with polled(bench, in_memory=True, project_names=how) as exporter:
        hidden = exporter.pages.moment()
    usage = c.BY_NAME[NEW]
    assert hidden.starts[usage].keys() == hidden.series[usage].keys() != named.series[usage].keys()
    assert min(hidden.starts[usage].values()) == min(named.starts[usage].values())


def test_smallest_start_of_hidden_projects(bench: Bench) -> None:
    """A project that comes in later does not make a series that is shown as one younger."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    with polled(bench, project_names="off") as exporter:
        before = exporter.pages.moment().starts[c.BY_NAME[NEW]]
        with V1(bench.source, ddl="", now=bench.clock.ms) as db:
            db.tool(db.message(db.session(project="another")), tool="read")
        bench.clock.ms = db.now + 1000
        exporter.poll()
        moment = exporter.pages.moment()
    assert moment.starts[c.BY_NAME[NEW]] == before
    assert [*moment.series[c.BY_NAME[NEW]].values()] == [2]


def test_tools_that_are_left_out_have_no_start(bench: Bench) -> None:
    """A filter leaves nothing of a name behind."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    without = Filters(tool=NameFilter(exclude=parse_pattern("read")))
    with polled(bench, filters=without) as exporter:
        starts = exporter.pages.moment().starts
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


# On the page.


def parsed(page: Rendered) -> list[Metric]:
    """Return the families of an OpenMetrics page by the standard's rules."""
    text = page.body.decode()
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return list(families)


@pytest.mark.parametrize("name", NAMES)
def test_created_timestamps_are_the_starts(name: str, bench: Bench) -> None:
    """With the flag every counter and histogram of OpenMetrics says since when it counts."""
    recorded(name, bench)
    with polled(bench, in_memory=True, created_timestamps=True) as exporter:
        moment = exporter.pages.moment()
        page = exporter.pages.metrics(CONTENT_TYPE_LATEST, process=False)
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(page)
        for sample in family.samples
        if sample.name.endswith("_created")
    }
    assert found == {
        (
            f"{metric.family}_created",
            frozenset(zip(metric.labels, labels, strict=True)),
        ): moment.start_ms(metric, labels) / 1000
        for metric in c.ON_PAGE
        if metric.kind != "gauge"
        for labels in moment.series.get(metric, ())
    }


@pytest.mark.parametrize("accept", ["", CONTENT_TYPE_LATEST])
def test_created_timestamps_change_nothing_else(accept: str, bench: Bench) -> None:
    """Without the flag, and as text, there are none; the other lines are the same."""
    recorded(NAMES[0], bench)
    with polled(bench, in_memory=True) as exporter:
        moment = exporter.pages.moment()
    without, with_ = (
        Renderer(created=created).render(moment, accept, process=False) for created in (False, True)
    )
    lines = with_.body.splitlines()
    kept = [line for line in lines if b"_created" not in line.split(b"{")[0].split(b" ")[0]]
    assert kept == without.body.splitlines()
    assert (len(kept) < len(lines)) == bool(accept)
    assert with_.content_type == without.content_type


class OnePage(FakeBackend):
    """Answers with one page, whatever is asked for."""

    def __init__(self, page: Rendered) -> None:
        super().__init__()
        self.page = page

    async def metrics(self, accept: str, timeout_s: float) -> Rendered:
        """Answer."""
        del accept, timeout_s
        return self.page


@pytest.mark.real
def test_prometheus_scrapes_created_timestamps(bench: Bench) -> None:
    """A real Prometheus takes the page, and stores the starts as series."""
    recorded(NAMES[0], bench)
    with polled(bench, in_memory=True, created_timestamps=True) as exporter:
        moment = exporter.pages.moment()
        page = exporter.pages.metrics(CONTENT_TYPE_LATEST)
    with serving(OnePage(page)) as server:
        host, port = endpoint(server)
        with Prometheus(f"{host}:{port}", bench.directory / "prometheus") as prometheus:
            prometheus.scraped(0)
            (start,) = prometheus.query(
                'opencode_tool_invocations_created{status="aborted",tool="read"}'
            ).values()
    assert start == moment.start_ms(c.TOOL_INVOCATIONS, ("read", "aborted")) / 1000


def test_start_is_a_column_of_the_ledger(bench: Bench) -> None:
    """Whoever opens a ledger finds the start of each of its series beside its value."""
    called(bench, "read", bench.clock.ms - HOUR_MS)
    with polled(bench) as exporter:
        moment = exporter.pages.moment()
    with closing(apsw.Connection(str(bench.ledger))) as db:
        sql = "SELECT started FROM series WHERE metric = ?"
        (start,) = [started for (started,) in db.execute(sql, (NEW,))]
    assert [start] == [*moment.starts[c.BY_NAME[NEW]].values()]
