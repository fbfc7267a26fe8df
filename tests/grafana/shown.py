"""
What a user sees who opens a dashboard over two exporters.

Fills in the variables, runs the queries as Grafana would, and keeps the answers.
Nothing here knows what a test asserts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from grafana.dashboards import Json, Query, dashboard
from grafana.templating import Filling, Times, resolve
from harness.processes.prometheus import Prometheus


class Series(NamedTuple):
    """One series of an answer: its labels, its numbers, and whether they are of now alone."""

    labels: dict[str, str]
    values: list[float]
    is_instant: bool


@dataclass
class Shown:
    """
    Dashboards over the data of a Prometheus, one instance of the exporter at a time.

    Attributes:
        watched: The seconds for which there is data.
    """

    prometheus: Prometheus
    times: Times
    instances: list[str]
    watched: int
    _fillings: dict[tuple[str, str], Filling] = field(default_factory=dict)
    _answers: dict[tuple[str, Query, str], list[Series]] = field(default_factory=dict)

    def offered(self, uid: str, instance: str) -> dict[str, list[str]]:
        """Return what each variable offers."""
        return resolve(dashboard(uid), self.prometheus, self.times, instance)[1]

    def answer(self, uid: str, query: Query, instance: str) -> list[Series]:
        """Return the answer to a query while an instance is chosen."""
        key = uid, query, instance
        if key not in self._answers:
            self._answers[key] = list(self._asked(*key))
        return self._answers[key]

    def answers(self, uid: str, query: Query) -> list[Series]:
        """Return the answers to a query, those of all instances."""
        return [one for name in self.instances for one in self.answer(uid, query, name)]

    def _times(self, query: Query) -> Times:
        """Return the times of a query: a comparison with the range before needs two of them."""
        times = self.times.with_step(query.least_step)
        if "offset $__range" in query.expr:
            return replace(times, start=times.end - self.watched / 2)
        return times

    def _asked(self, uid: str, query: Query, instance: str) -> Iterator[Series]:
        key = uid, instance
        if key not in self._fillings:
            self._fillings[key] = resolve(dashboard(uid), self.prometheus, self.times, instance)[0]
        times = self._times(query)
        filling = Filling(self._fillings[key].values | times.values())
        asked = {"query": filling.filled(query.expr)}
        if query.is_range:
            # The last point is of the end: with few minutes of data, it may be the only one.
            start = times.end - (times.end - times.start) // times.step * times.step
            span = {"start": str(start), "end": str(times.end), "step": str(times.step)}
            yield from _series(self.prometheus.api("query_range", asked | span), is_instant=False)
        if query.is_instant:
            moment = {"time": str(times.end)}
            yield from _series(self.prometheus.api("query", asked | moment), is_instant=True)


def _series(data: Json, *, is_instant: bool) -> Iterator[Series]:
    if data["resultType"] == "scalar":
        yield Series({}, [float(data["result"][1])], is_instant)
        return
    for one in data["result"]:
        pairs = one["values"] if "values" in one else [one["value"]]
        yield Series(one["metric"], [float(value) for _, value in pairs], is_instant)
