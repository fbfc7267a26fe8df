"""Months of history in a real Prometheus, and on into what it scrapes."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from contract.oracle.reading import read
from harness.exporters import Exposed, Labels
from harness.processes.command import Place
from harness.processes.ports import free_port
from harness.processes.prometheus import Prometheus
from harness.real_tools import real_tool
from harness.waiting import wait_for
from ledger.expected_starts import event_times
from opencode_exporter import catalog as c
from opencode_exporter.demo import Demo

WEEKS = 9
WEEK_S = 7 * 86_400
STEP_S = 3600
COUNTED = (c.TOOL_INVOCATIONS, c.TOOL_USAGE, c.TOOL_ERRORS, c.STEPS)
"""Metrics of which the oracle's events are one each."""
Counts = Counter[tuple[str, ...]]
pytestmark = [pytest.mark.slow, pytest.mark.real]


@dataclass
class Joined:
    """
    A Prometheus that has the history of an exporter, and scrapes it.

    Attributes:
        source: The database.
        url: Where the exporter listens.
        first: What it served first.
        live: What it served, when its agent had gone on working.
        scraped_s: When that was scraped, Unix seconds.
    """

    prometheus: Prometheus
    source: Path
    url: str
    first: Exposed
    live: Exposed
    scraped_s: float

    @property
    def baseline_s(self) -> float:
        """When the exporter began to count, Unix seconds."""
        return self.first.total("opencode_exporter_baseline_timestamp_seconds")

    def hour_s(self, back: int = 0) -> int:
        """Return the time of the last sample of the history at a whole step, or one before."""
        return (int(self.baseline_s) // STEP_S - back) * STEP_S


@pytest.fixture(scope="module", params=["v1", "v2"])
def joined(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Joined]:
    """Count months, stop, write them down and import them as the command says, and go on."""
    directory = tmp_path_factory.mktemp("joined")
    place = Place(directory)
    demo = Demo(
        place.source.parent,
        generation=request.param,
        history_days=7 * WEEKS,
        pace=20,
        sessions_a_day=2,
    )
    demo.create()
    instance = f"127.0.0.1:{free_port()}"
    flags = ("--source.path", str(place.source), "--ledger.path", str(directory / "ledger.db"))
    serve = ("serve", *flags, "--web.listen-address", instance)
    with place.running(*serve) as (process, url):
        wait_for(lambda: httpx.get(f"{url}/-/ready").status_code == 200)
        first = Exposed(httpx.get(f"{url}/metrics").text)
        assert process.stop() == 0
    data = directory / "prometheus" / "data"
    retention = imported(place, (*flags, "--label", f"instance={instance}"), directory, data)
    with (
        place.running(*serve) as (_, url),
        Prometheus(instance, data.parent, retention=retention) as prometheus,
    ):
        work_on(demo)
        live = Exposed(httpx.get(f"{url}/metrics").text)
        scraped_s = prometheus.scraped(since=live.total("opencode_exporter_last_poll"), times=3)
        yield Joined(prometheus, place.source, url, first, live, scraped_s)


def imported(place: Place, flags: tuple[str, ...], directory: Path, data: Path) -> str:
    """Write the history and do what the command says then; return the retention it asks for."""
    done = place.run(
        *("backfill", *flags, "--label", "job=opencode", "--step", "1h"),
        *("--output", str(directory / "history.om")),
    )
    assert done.returncode == 0, done.stderr
    said = done.stderr.replace("\\\n", " ")
    [command] = re.findall(r"^ +(promtool .*)$", said, re.MULTILINE)
    words = shlex.split(command.replace("DATA_DIRECTORY_OF_PROMETHEUS", str(data)))
    made = subprocess.run(
        [real_tool(words[0]), *words[1:]], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    [retention] = re.findall(r"--storage\.tsdb\.retention\.time=(\d+d)", said)
    return str(retention)


def work_on(demo: Demo) -> None:
    """Let the agent work for a while."""
    stop = threading.Event()
    before = sum(demo.issued.verdicts.values())
    agent = threading.Thread(target=demo.run, args=(stop,))
    agent.start()
    wait_for(lambda: sum(demo.issued.verdicts.values()) >= before + 40)
    stop.set()
    agent.join()
    demo.close()


def test_every_week_has_the_increase_that_it_had(joined: Joined) -> None:
    """`increase()` over each week of the past is what the oracle counts in that week."""
    events = event_times(joined.source)
    # What runs inside `execute` counts, and the oracle knows no times of it.
    inside = {
        tool for session in read(joined.source) for call in session.calls for tool, _ in call.nested
    }
    grown = 0
    for week in range(WEEKS):
        end_s = joined.hour_s() - week * WEEK_S
        for metric in COUNTED:
            wanted = {
                values: sum((end_s - WEEK_S) * 1000 < at <= end_s * 1000 for at in times)
                for (name, values), times in events.items()
                if name == metric.name
            }
            answer = joined.prometheus.query(f"increase({metric.name}[1w])", end_s)
            counts = whole(metric, answer)
            known = {values: count for values, count in counts.items() if values[0] not in inside}
            assert known == +Counter(wanted), (metric.name, week)
            grown += sum(wanted.values())
    assert grown > 2000


def whole(metric: c.Metric, answer: Mapping[Labels, float]) -> Counts:
    """Return whole numbers by a metric's labels; when calls were given up the oracle has not."""
    found: Counts = Counter()
    for labels, value in answer.items():
        assert value == pytest.approx(round(value), abs=1e-6)
        by_name = dict(labels)
        if "abandoned" not in by_name.values():
            found[tuple(by_name[label] for label in metric.labels)] = round(value)
    return +found


def test_history_goes_on_into_the_scrapes(joined: Joined) -> None:
    """Before and after the baseline it is one series, which never falls."""
    end_s = int(joined.scraped_s)
    window = f"{end_s - joined.hour_s(1)}s"
    for name in joined.first.samples:
        if re.fullmatch(r"opencode_(?!exporter).+_(total|count|sum|bucket)", name):
            assert set(joined.prometheus.query(f"resets({name}[{window}])").values()) <= {0.0}
    for metric in COUNTED:
        before = total_at(joined, metric, joined.hour_s(1))
        last = total_at(joined, metric, joined.baseline_s - 0.001)
        now = total_at(joined, metric, joined.scraped_s)
        assert last == joined.first.total(metric.name)
        assert now == joined.live.total(metric.name) > last
        rise = joined.prometheus.number(f"sum(increase({metric.name}[{window}]))", end_s)
        assert rise == pytest.approx(now - before, rel=0.01)


def total_at(joined: Joined, metric: c.Metric, at_s: float) -> float:
    """Return the sum over all series of a metric, as Prometheus has it at a time."""
    found = joined.prometheus.number(f"sum({metric.name})", at_s)
    assert found is not None
    return found
