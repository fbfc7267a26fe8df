"""
Every query of every dashboard is run: against a real Prometheus that scrapes two demos.

One demo writes as 1.x does and one as 2.x does, since each generation has metrics
that the other has not. A query has an answer if one of the two gives it one.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from grafana.dashboards import UIDS, Dashboard, Json, dashboard
from grafana.promql import Selector, declared, labels_of, parsed
from grafana.shown import Series, Shown
from grafana.templating import Times
from harness.processes.command import Place
from harness.processes.ports import free_port
from harness.processes.prometheus import Prometheus
from harness.waiting import wait_for

each = pytest.mark.parametrize("uid", UIDS)
real = pytest.mark.real

SILENT: dict[tuple[str, str, str], str] = {
    ("opencode-models", "Requests that were repeated, ${over:text}", "A"): (
        "the simulated agent repeats no request to a model"
    ),
    ("opencode-models", "Compactions of the context, ${over:text}", "A"): (
        "the simulated agent never fills its context"
    ),
    ("opencode-exporter", "Rejected rows since the beginning", "A"): "no row of the demo is bad",
    ("opencode-exporter", "Labels beyond the limit since the beginning", "A"): (
        "the demo has few names"
    ),
}
"""Targets that have no answer over the demo, as (dashboard, panel, refId), and why."""

UNFILTERED: dict[tuple[str, str, str], str] = {}
"""Targets that show all of something although a variable could choose, and why."""

OTHERS = {
    "up": {"job", "instance"},
    "ALERTS": {"job", "instance", "alertname", "alertstate", "severity"},
}
"""What Prometheus itself adds, with its labels."""
CHOICES = ("project", "agent", "skill", "tool")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A Prometheus that has watched two demos at work."""
    directory = tmp_path_factory.mktemp("dashboards")
    instances = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with Prometheus(instances[0], directory / "prometheus", beside=instances[1:]) as prometheus:
        with ExitStack() as running:
            running.enter_context(demo(directory / "new", instances[0], "v2"))
            running.enter_context(demo(directory / "old", instances[1], "v1"))
            wait_for(lambda: has_data(prometheus, instances), 120, every=0.5)
            end = time.time()
        yield Shown(prometheus, Times(end - 900, end, step=5, scrape=1), instances, WATCHED)


@contextmanager
def demo(directory: Path, address: str, generation: str) -> Iterator[None]:
    """Serve a fast demo until the block ends."""
    directory.mkdir()
    flags = {"web.listen-address": address, "demo.generation": generation, "demo.pace": "100"}
    words = [word for flag, text in flags.items() for word in (f"--{flag}", text)]
    with Place(directory).running("demo", *words) as (process, _):
        yield
        process.stop()  # it removes its database


def watched(prometheus: Prometheus, instance: str, times: int) -> bool:
    """Return whether an instance that counts was scraped often enough."""
    counted = f'opencode_exporter_baseline_timestamp_seconds{{instance="{instance}"}}'
    return (prometheus.number(f"count_over_time({counted}[1h])") or 0) >= times


WATCHED = 30
"""Scrapes of each demo, one a second."""
RARE = (
    "opencode_skill_errors_total",
    "opencode_skill_run_retries_total",
    "opencode_tool_errors_total",
)
"""Events that each demo must have shown for once, while it was watched."""


def has_data(prometheus: Prometheus, instances: list[str]) -> bool:
    """Return whether enough has happened in both demos."""
    happened = [
        prometheus.number(f"count(sum by (instance) (increase({metric}[30s])) > 0)")
        for metric in RARE
    ]
    return all(watched(prometheus, instance, WATCHED) for instance in instances) and all(
        count == len(instances) for count in happened
    )


# What is asked for.


def known_labels(selector: Selector) -> set[str] | None:
    """Return the labels that a selector's series have, None if there are no such series."""
    name = selector.metric
    if name.startswith("process_"):
        return {"job", "instance"}
    if name in OTHERS:
        return OTHERS[name]
    metric = declared(name)
    if metric is None:
        return None
    return {*metric.labels, "job", "instance"} | ({"le"} if name.endswith("_bucket") else set())


def expressions(board: Dashboard) -> Iterator[tuple[str, str]]:
    """Return every expression of a dashboard, and where it stands."""
    for query in [*board.queries, *board.annotation_queries]:
        yield f"{query.place} {query.ref}".strip(), query.expr


@each
def test_queries_ask_for_metrics_and_labels_that_exist(uid: str) -> None:
    """Each metric is in the catalogue, and each label is one of its metrics."""
    wrong = []
    for place, expr in expressions(dashboard(uid)):
        known: set[str] = set()
        for selector in parsed(expr).selectors:
            labels = known_labels(selector)
            if labels is None:
                wrong.append(f"{place}: there is no {selector.metric or selector}")
                continue
            known |= labels
            unknown = {matcher.label for matcher in selector.matchers} - labels
            wrong += [f"{place}: {selector.metric} has no label {label}" for label in unknown]
        unknown = labels_of(expr) - known
        wrong += [f"{place}: no metric of it has the label {label}" for label in unknown]
    assert not wrong, "\n".join(wrong)


@each
def test_queries_filter_by_what_a_user_can_choose(uid: str) -> None:
    """
    Where all metrics of a target have the label of a variable, each is filtered by it.

    Where one skill or tool alone is chosen, it is for the panels about it.
    """
    board, wrong = dashboard(uid), []
    choices = [
        one["name"]
        for one in board.variables
        if one["name"] in CHOICES and one.get("multi") and not one.get("hide")
    ]
    for query in board.queries:
        selectors = parsed(query.expr).selectors
        for name in choices:
            if (uid, query.place, query.ref) in UNFILTERED or not all(
                name in (known_labels(selector) or set()) for selector in selectors
            ):
                continue
            wrong += [
                f"{query.place} {query.ref}: {selector.metric} without ${name}"
                for selector in selectors
                if not any(name in matcher.value for matcher in selector.matching(name))
            ]
    assert not wrong, "\n".join(wrong)


# What is answered.


@pytest.mark.slow
@real
@each
def test_every_variable_offers_something(uid: str, shown: Shown) -> None:
    """Each variable has values to choose from, for each of the two instances."""
    for instance in shown.instances:
        offered = shown.offered(uid, instance)
        assert [name for name, found in offered.items() if not found] == []
    assert set(offered["instance"]) == set(shown.instances)


@pytest.mark.slow
@real
@each
def test_every_query_is_answered(uid: str, shown: Shown) -> None:
    """No target is refused, and none is empty but those whose reason is written down."""
    wrong = []
    for query in dashboard(uid).queries:
        try:
            if not shown.answers(uid, query) and (uid, query.place, query.ref) not in SILENT:
                wrong.append(f"{query.place} {query.ref}: no answer to {query.expr}")
        except AssertionError as error:
            wrong.append(f"{query.place} {query.ref}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@real
@each
def test_every_annotation_is_answered(uid: str, shown: Shown) -> None:
    """Each annotation marks the restart of an exporter."""
    for query in dashboard(uid).annotation_queries:
        assert shown.answers(uid, query), query


def maps_nan(panel: Json) -> bool:
    """Return whether a panel says what it shows for what is no number."""
    properties = [
        one["value"]
        for override in panel["fieldConfig"].get("overrides", [])
        for one in override["properties"]
        if one["id"] == "mappings"
    ]
    mappings = [panel["fieldConfig"].get("defaults", {}).get("mappings") or [], *properties]
    matches = [one["options"].get("match") for some in mappings for one in some]
    return bool({"nan", "null+nan"} & set(matches))


@pytest.mark.slow
@real
@each
def test_answers_are_numbers(uid: str, shown: Shown) -> None:
    """No number of now is NaN or infinite, no line is nothing else, and none goes to infinity."""
    board = dashboard(uid)
    may_lack = {panel["title"] for panel in board.panels if maps_nan(panel)}
    wrong = []
    for query in board.queries:
        found = shown.answers(uid, query)
        odd = [one for one in found if any(map(math.isinf, one.values))]
        if query.place not in may_lack:
            odd += [one for one in found if one.is_instant and any(map(math.isnan, one.values))]
        lines = [value for one in found for value in one.values if not one.is_instant]
        if odd or (lines and not any(map(math.isfinite, lines))):
            wrong.append(f"{query.place} {query.ref}: {[one.labels for one in odd] or 'all NaN'}")
    assert not wrong, "\n".join(wrong)


def named(legend: str, series: Series) -> str:
    """Return what a line is called."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: series.labels.get(found[1], ""), legend)


@pytest.mark.slow
@real
@each
def test_legends_name_their_lines(uid: str, shown: Shown) -> None:
    """Each label of a legend is in the answer, and no two lines of a target have one name."""
    wrong = []
    for query in dashboard(uid).queries:
        if query.is_table:
            continue
        for instance in shown.instances:
            lines = [one for one in shown.answer(uid, query, instance) if not one.is_instant]
            names = Counter(named(query.legend, one) for one in lines)
            wrong += [
                f"{query.place}: {n} lines are {name!r}" for name, n in names.items() if n > 1
            ]
        found = shown.answers(uid, query)
        labels = re.findall(r"{{\s*(\w+)\s*}}", query.legend)
        lacking = {label for label in labels if not any(one.labels.get(label) for one in found)}
        if found and lacking:
            wrong.append(f"{query.place} {query.ref}: nothing has the labels {lacking}")
    assert not wrong, "\n".join(wrong)


def test_every_exception_is_of_a_target_that_exists() -> None:
    """A target that is gone or was renamed leaves no exception behind."""
    there = {(uid, query.place, query.ref) for uid in UIDS for query in dashboard(uid).queries}
    assert set(SILENT) | set(UNFILTERED) <= there
