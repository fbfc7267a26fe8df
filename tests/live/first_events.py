"""
What a real Prometheus makes of first events: an agent, the exporter and restarts of both.

The demo's agent works from a history of minutes, so that nearly every series appears
while it is watched.  Run by hand it goes on for an hour:
``PYTHONPATH=tests python -m live.first_events --minutes 60 --directory D``.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from harness.exporters import Exposed, Labels
from harness.processes.process import LineProcess
from harness.processes.prometheus import Prometheus
from harness.processes.served import Served
from harness.waiting import wait_for
from opencode_exporter import catalog as c

OF_PROCESS: Final = frozenset(
    metric.name for metric in (c.POLLS, c.POLL_DURATION, c.OTLP_EXPORTS, c.OTLP_SPANS)
)
"""Families that begin anew with each process."""


class Seen(NamedTuple):
    """What Prometheus has of one series, and what is true of it."""

    name: str
    labels: Labels
    first: float
    rise: float  # added up from one sample to the next
    falls: int
    increase: float  # what `increase()` answers
    last: float  # the true value in the end
    at_baseline: float | None  # None: it appeared later


class Scene:
    """An agent at work, the exporter over its database, and a Prometheus over that."""

    def __init__(self, directory: Path, generation: str, pace: float) -> None:
        self._directory = directory
        self._agent = [
            *(sys.executable, "-m", "opencode_exporter.demo"),
            *("--directory", str(directory / "agent"), "--generation", generation),
            *("--history-days", "0.02", "--pace", str(pace)),
        ]
        self.exporter = Served(
            directory / "agent" / "opencode.db", directory / "exporter", home=directory / "agent"
        )
        self.began = time.time()

    def prometheus(self) -> Prometheus:
        """Return a Prometheus; each one goes on with the data of the one before."""
        return Prometheus(self.exporter.target, self._directory / "prometheus")

    @contextmanager
    def agent(self) -> Iterator[LineProcess]:
        """Run the agent; it has written its history, and waits for SIGCONT to go on."""
        (self._directory / "agent").mkdir(parents=True)
        with LineProcess(self._agent) as agent:
            assert agent.answer().startswith("ready")
            agent.send(signal.SIGSTOP)
            yield agent

    def play(self, seconds: float, seed: int = 1) -> list[Seen]:
        """Let it all run, with restarts, and return what Prometheus has seen."""
        rng = random.Random(seed)  # noqa: S311  # a simulation, no secret
        with self.agent() as agent, ExitStack() as running:
            with self.prometheus() as prometheus:
                _pause(2)  # scrapes that find nobody: the first start comes in the middle
                running.enter_context(self.exporter)
                wait_for(self.exporter.is_ready)
                prometheus.scraped(time.time())
                agent.send(signal.SIGCONT)
                self._live(prometheus, time.monotonic() + seconds / 2, rng)
            _pause(rng.uniform(2, 4))
            with self.prometheus() as prometheus:
                self._live(prometheus, time.monotonic() + seconds / 2, rng)
                agent.stop()
                return self._compared(prometheus)

    def _live(self, prometheus: Prometheus, until: float, rng: random.Random) -> None:
        """Kill the exporter, or stop it, and start it again, until a time is reached."""
        while time.monotonic() < until:
            _pause(min(rng.uniform(4, 12), max(1.0, until - time.monotonic())))
            if rng.random() < 0.5:
                self.exporter.kill()
            else:
                self.exporter.stop()
            _pause(rng.choice((0, 0, 2)))
            self.exporter.start()
            prometheus.scraped(time.time())

    def _compared(self, prometheus: Prometheus) -> list[Seen]:
        last = prometheus.scraped(time.time(), times=3)
        page = self.exporter.page()
        self.exporter.stop()
        at_baseline = self._baseline()
        found: list[Seen] = []
        for metric in c.ON_PAGE:
            if metric.kind == "gauge" or metric.name in OF_PROCESS:
                continue
            names = [metric.name]
            if metric.kind == "histogram":
                names = [f"{metric.name}_{part}" for part in ("bucket", "count", "sum")]
            for name in names:
                found += self._series(prometheus, metric, name, page, at_baseline, last)
        return found

    def _series(
        self,
        prometheus: Prometheus,
        metric: c.Metric,
        name: str,
        page: Exposed,
        at_baseline: dict[tuple[str, tuple[str, ...]], Any],
        last: float,
    ) -> Iterator[Seen]:
        seconds = int(time.time() - self.began) + 60
        shown = prometheus.api("query", {"query": f"{name}[{seconds}s]", "time": f"{last:.3f}"})
        increases = prometheus.query(f"increase({name}[{seconds}s])", last)
        for series in shown["result"]:
            more = {"__name__", "job", "instance"}
            labels = {key: text for key, text in series["metric"].items() if key not in more}
            values = [float(value) for _, value in series["values"]]
            pairs = [*pairwise(values)]
            key = metric.name, tuple(labels.get(label, "") for label in metric.labels)
            known = frozenset(series["metric"].items()) - {("__name__", name)}
            truth = page.value(name, **labels)
            assert truth is not None, f"{name} {labels} is not on the page any more"
            yield Seen(
                name,
                frozenset(labels.items()),
                first=values[0],
                rise=sum(new - old if new >= old else new for old, new in pairs),
                falls=sum(new < old for old, new in pairs),
                increase=increases.get(known, 0.0),
                last=truth,
                at_baseline=at_baseline.get(key),
            )

    def _baseline(self) -> dict[tuple[str, tuple[str, ...]], Any]:
        ledger = apsw.Connection(str(self._directory / "exporter" / "ledger.db"))
        sql = "SELECT metric, labels, value FROM baseline"
        rows: list[Any] = ledger.execute(sql).fetchall()
        ledger.close()
        return {
            (name, tuple(json.loads(labels))): json.loads(value) for name, labels, value in rows
        }


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def wrong(seen: list[Seen]) -> list[str]:
    """Return what is not right about series, a line each."""
    lines = []
    for one in seen:
        label = f"{one.name}{dict(one.labels)}"
        if one.falls:
            lines.append(f"{label} fell {one.falls} times")
        if abs(one.first + one.rise - one.last) > 1e-6 * max(1.0, one.last):
            lines.append(f"{label}: from {one.first} by {one.rise}, and it is {one.last}")
        if one.at_baseline is None and one.first:
            lines.append(f"{label} began at {one.first}")
        # It goes a little beyond what it has seen, but not before a 0.
        slack = 1e-6 if one.first == 0 else 0.2
        if not abs(one.increase - one.rise) <= slack * max(1.0, one.rise):
            lines.append(f"{label}: increase() says {one.increase}, and it is {one.rise}")
    return lines


def main() -> None:
    """Run it for some minutes, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--directory", type=Path, required=True, help="a new one")
    parser.add_argument("--generation", choices=("v1", "v2"), default="v2")
    parser.add_argument("--pace", type=float, default=1)
    flags = parser.parse_args()
    seen = Scene(flags.directory, flags.generation, flags.pace).play(60 * flags.minutes)
    late = [one for one in seen if one.at_baseline is None]
    faults = wrong(seen)
    words = f"{len(seen)} series, {len(late)} appeared later, {sum(o.rise for o in seen):.0f} added"
    sys.stdout.write("\n".join([*faults, words, ""]))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
