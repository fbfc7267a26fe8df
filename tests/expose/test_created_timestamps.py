"""Created timestamps: what an OpenMetrics page says of the starts of its series."""

from __future__ import annotations

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.exporters import Bench
from harness.processes.prometheus import Prometheus
from harness.web_server import FakeBackend, endpoint, serving
from ledger.expected_starts import (
    NAMES,
    polled,
    recorded,
)
from opencode_exporter import catalog as c
from opencode_exporter.expose.prometheus import Rendered, Renderer


def parsed(page: Rendered) -> list[Metric]:
    """Return the families of an OpenMetrics page by the standard's rules."""
    text = page.body.decode()
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return list(families)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_created_timestamps_are_the_starts(name: str, bench: Bench) -> None:
    """With the flag every counter and histogram of OpenMetrics says since when it counts."""
    recorded(name, bench)
    with polled(bench, in_memory=True, created_timestamps=True) as exporter:
        snapshot = exporter.pages.snapshot()
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
        ): snapshot.start_ms(metric, labels) / 1000
        for metric in c.ON_PAGE
        if metric.kind != "gauge"
        for labels in snapshot.series.get(metric, ())
    }


@pytest.mark.parametrize("accept", ["", CONTENT_TYPE_LATEST])
def test_created_timestamps_change_nothing_else(accept: str, bench: Bench) -> None:
    """Without the flag, and as text, there are none; the other lines are the same."""
    recorded(NAMES[0], bench)
    with polled(bench, in_memory=True) as exporter:
        snapshot = exporter.pages.snapshot()
    without, with_ = (
        Renderer(created=created).render(snapshot, accept, process=False)
        for created in (False, True)
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

    async def metrics(self, accept: str, timeout_s: float, viewer: str) -> Rendered:
        """Answer."""
        del accept, timeout_s, viewer
        return self.page


@pytest.mark.real
def test_prometheus_scrapes_created_timestamps(bench: Bench) -> None:
    """A real Prometheus takes the page, and stores the starts as series."""
    recorded(NAMES[0], bench)
    with polled(bench, in_memory=True, created_timestamps=True) as exporter:
        snapshot = exporter.pages.snapshot()
        page = exporter.pages.metrics(CONTENT_TYPE_LATEST)
    with serving(OnePage(page)) as server:
        host, port = endpoint(server)
        with Prometheus(f"{host}:{port}", bench.directory / "prometheus") as prometheus:
            prometheus.scraped(0)
            (start,) = prometheus.query(
                'opencode_tool_invocations_created{status="aborted",tool="read"}'
            ).values()
    assert start == snapshot.start_ms(c.TOOL_INVOCATIONS, ("read", "aborted")) / 1000
