"""Pages: what is kept from the page before never shows in the next one."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from harness.databases import V1
from harness.exporters import Bench
from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Histogram
from opencode_exporter.expose import prometheus
from opencode_exporter.expose.prometheus import Renderer
from opencode_exporter.expose.snapshot import AllSeries, Snapshot

TEXT = "text/plain; version=0.0.4; charset=utf-8"
FORMATS = ("", CONTENT_TYPE_LATEST, "text/plain;version=1.0.0;escaping=dots")
METRICS = (c.TOOL_INVOCATIONS, c.TOOL_DURATION, c.TOOL_IN_FLIGHT, c.BASELINE)
NAMES = ("read", "edit", 'quoted "name"', "two\nlines", "back\\slash", "carriage\rreturn", "# é")


CELLS = st.lists(st.integers(0, 9), min_size=20, max_size=20)


@st.composite
def all_series(draw: st.DrawFn) -> AllSeries:
    """Return some series of some metrics."""
    return {
        metric: draw(
            st.dictionaries(
                st.tuples(*(st.sampled_from(NAMES) for _ in metric.labels)),
                st.builds(Histogram, CELLS, st.integers(0, 9))
                if metric.kind == "histogram"
                else st.integers(0, 3),
                max_size=5,
            )
        )
        for metric in draw(st.lists(st.sampled_from(METRICS), unique=True))
    }


def snapshot_of(series: AllSeries) -> Snapshot:
    """Return a snapshot with some series, of which each has a start of its own."""
    starts = {
        metric: {labels: 1_700_000_000_000 + sum(map(len, labels)) for labels in of_metric}
        for metric, of_metric in series.items()
    }
    return Snapshot(series, 1_795_000_000_000, starts, 1_794_000_000_000)


def page(renderer: Renderer, series: AllSeries, accept: str) -> bytes:
    """Return some series as a page."""
    return renderer.render(snapshot_of(series), accept, process=False).body


@settings(max_examples=40, deadline=None)
@given(
    scrapes=st.lists(st.tuples(all_series(), st.sampled_from(FORMATS)), max_size=8),
    created=st.booleans(),
)
def test_page_is_that_of_its_snapshot(
    scrapes: list[tuple[AllSeries, str]], *, created: bool
) -> None:
    """Whatever was shown before, in whatever format, a page is the one made from nothing."""
    renderer = Renderer(created=created)
    for series, accept in scrapes:
        fresh = Renderer(created=created)
        assert page(renderer, series, accept) == page(fresh, series, accept)


def test_scrapes_at_the_same_time_do_not_mix() -> None:
    """Threads that render different snapshots at once each get their own."""

    def numbered(number: int) -> AllSeries:
        names = [(f"tool_{n}", "completed") for n in range(20)]
        return {c.TOOL_INVOCATIONS: {name: n * number % 5 for n, name in enumerate(names)}}

    pages = [numbered(number) for number in range(4)]
    expected = [page(Renderer(), series, "") for series in pages]
    renderer = Renderer()
    with ThreadPoolExecutor(50) as threads:
        got = list(threads.map(lambda n: page(renderer, pages[n % 4], ""), range(400)))
    assert got == [expected[number % 4] for number in range(400)]


def test_few_formats_are_kept() -> None:
    """A client that asks for ever new versions gets each of them, and takes no more memory."""
    renderer = Renderer()
    names = [(f"tool_{number}", "completed") for number in range(100)]
    series: AllSeries = {c.TOOL_INVOCATIONS: dict.fromkeys(names, 1)}
    memory = []
    tracemalloc.start()
    try:
        for number in range(20):
            accept = f"application/openmetrics-text;version=1.{number}.0"
            rendered = renderer.render(snapshot_of(series), accept, process=False)
            assert f"version=1.{number}.0;" in rendered.content_type
            assert rendered.body.endswith(b"# EOF\n")
            memory.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert memory[-1] - memory[9] < len(rendered.body)


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=abc",
        "application/openmetrics-text;version=1.x",
        "application/openmetrics-text;version=.",
        "application/openmetrics-text;version",
        ";;;,=,;version=",
    ],
)
def test_accept_header_that_makes_no_sense_gets_a_page(accept: str) -> None:
    """A version that is no number is not an error of ours."""
    rendered = Renderer().render(snapshot_of({c.BASELINE: {(): 1}}), accept)
    assert b"opencode_exporter_baseline_timestamp_seconds 0.001\n" in rendered.body


def test_version_that_is_no_number_gets_text() -> None:
    """What cannot be understood counts as not asked for."""
    accept = "application/openmetrics-text;version=next"
    nothing = snapshot_of({})
    asked = Renderer().render(nothing, accept)
    assert asked.content_type == Renderer().render(nothing).content_type == TEXT


@pytest.mark.parametrize(("lines", "series"), [(5, 2), (1, 2), (0, 1), (3, 0)])
def test_lines_that_belong_to_nobody_are_an_error(lines: int, series: int) -> None:
    """Were one of them missing, samples moved to the series beside theirs, in silence."""
    with pytest.raises(ValueError, match=f"{lines} lines of {series} series"):
        list(prometheus._shared_out(c.UP, [b"opencode_up 1"] * lines, series))
    assert list(prometheus._shared_out(c.UP, [b"a", b"b", b"c", b"d"], 2)) == [
        [b"a", b"b"],
        [b"c", b"d"],
    ]


def test_exporter_shows_each_call_at_once(bench: Bench) -> None:
    """The page that an exporter keeps up to date is the one that a fresh exporter makes."""
    with V1(bench.source) as database:
        message = database.message(database.session())
        exporter = bench.exporter()
        for tool in ("read", "bash", "read", "skill", "my_tool", "read"):
            database.tool(message, tool=tool)
            exporter.poll()
            series = exporter.pages.snapshot().series
            for accept in FORMATS:
                kept = exporter.pages.metrics(accept, process=False).body
                assert kept == page(Renderer(), series, accept)
        exporter.close()
