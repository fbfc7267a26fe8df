"""
The rules of Grafana's dashboard-linter, each as one test that carries the rule's name.

Exceptions are written down with a reason. What the linter does not ask for, and we
do, is in `test_dashboards_made`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from grafana.dashboards import UIDS, Dashboard, Json, Query, dashboard, query_of
from grafana.promql import Matcher, Selector, parsed

each = pytest.mark.parametrize("uid", UIDS)

EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("target-counter-agg-rule", "opencode-tools", "Output an hour by tool"): (
        "that a tool has ever written is a condition of its line, not the line"
    ),
}
"""What may break a rule, as (rule, dashboard, panel or variable), and why."""

SOURCE: Final = "${datasource}"
WITHOUT_QUERIES: Final = {"text", "alertlist", "dashlist"}
UNITS: Final = {
    *("none", "short", "locale", "string", "percentunit", "bool_yes_no", "bool_on_off"),
    *("s", "ms", "dtdurations", "dateTimeFromNow", "dateTimeAsIso", "dateTimeAsLocal"),
    *("bytes", "decbytes", "Bps", "binBps", "currencyUSD"),
    *("cps", "ops", "reqps", "cpm", "opm"),
}
"""Of the units that Grafana has, those that fit what we show; a suffix of one's own is another."""


def excused(rule: str, uid: str, place: str) -> bool:
    """Return whether an exception is written down."""
    return (rule, uid, place) in EXCEPTIONS


def asking(board: Dashboard) -> list[Json]:
    """Return the panels that ask a data source."""
    return [panel for panel in board.panels if panel["type"] not in WITHOUT_QUERIES]


def source_of(owner: Json) -> Any:
    """Return the uid of the data source that a panel, target or variable names."""
    source = owner.get("datasource")
    return source.get("uid") if isinstance(source, dict) else source


def selectors(board: Dashboard, rule: str) -> Iterator[tuple[Query, Selector]]:
    """Return each selector of each target that the rule is for."""
    for query in board.queries:
        if not excused(rule, board.json["uid"], query.place):
            for selector in parsed(query.expr).selectors:
                yield query, selector


def needed(uid: str, name: str) -> Json:
    """Return a variable that the linter asks for, its form being as the linter wants it."""
    variable = dashboard(uid).variable(name)
    assert variable, f"there is no variable {name}"
    assert variable["type"] == "query"
    assert source_of(variable) == SOURCE
    assert variable["label"] == name.title()
    return variable


def is_single(variable: Json) -> bool:
    """Return whether exactly one value is chosen."""
    return not (variable.get("multi") or variable.get("includeAll"))


@each
def test_template_datasource_rule(uid: str) -> None:
    """The data source is a variable, by the name and the label that others use too."""
    sources = [one for one in dashboard(uid).variables if one["type"] == "datasource"]
    found = [(one["name"], one["label"], one["query"]) for one in sources]
    assert found == [("datasource", "Data source", "prometheus")]


@each
def test_template_job_rule(uid: str) -> None:
    """
    The job is a variable.

    The linter wants several to be chosen at once. Here it is one: two exporters on one
    database would add up.
    """
    assert is_single(needed(uid, "job"))


@each
def test_template_instance_rule(uid: str) -> None:
    """The instance is a variable, one alone for the same reason, and it is of the chosen job."""
    instance = needed(uid, "instance")
    assert is_single(instance)
    assert "$job" in query_of(instance)


@each
def test_template_label_promql_rule(uid: str) -> None:
    """What a variable asks is a function of the data source around an expression."""
    for variable in dashboard(uid).variables:
        if variable["type"] == "query":
            query = query_of(variable)
            found = re.fullmatch(r"(label_values|query_result)\((.+)\)", query, re.DOTALL)
            assert found, variable["name"]
            assert parsed(found[2]).selectors, variable["name"]


@each
def test_template_on_time_change_reload_rule(uid: str) -> None:
    """A variable is asked for anew when the range of time changes."""
    asked = [one for one in dashboard(uid).variables if one["type"] == "query"]
    assert {one["name"] for one in asked if one.get("refresh") != 2} == set()


@each
def test_panel_datasource_rule(uid: str) -> None:
    """Every panel and every target asks the data source that was chosen."""
    for panel in asking(dashboard(uid)):
        assert source_of(panel) == SOURCE, panel["title"]
        for target in panel["targets"]:
            assert source_of(target) in {SOURCE, None}, panel["title"]


@each
def test_panel_title_description_rule(uid: str) -> None:
    """Every panel has a title and a description."""
    for panel in dashboard(uid).panels:
        assert panel.get("title"), panel["id"]
        assert panel.get("description"), panel["title"]


@each
def test_panel_units_rule(uid: str) -> None:
    """Every panel says what its numbers are; a heatmap says it of its axis."""
    for panel in asking(dashboard(uid)):
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if panel["type"] == "heatmap":
            unit = panel["options"]["yAxis"].get("unit")
        assert unit in UNITS or str(unit).startswith("suffix:"), panel["title"]


@each
def test_panel_no_targets_rule(uid: str) -> None:
    """Every panel that can ask asks."""
    assert [panel["title"] for panel in asking(dashboard(uid)) if not panel.get("targets")] == []


@each
def test_target_promql_rule(uid: str) -> None:
    """Every target is an expression that asks for something; whether it is valid, a run says."""
    board = dashboard(uid)
    assert board.queries
    for panel in asking(board):
        assert all(target.get("expr") for target in panel["targets"]), panel["title"]
    for query in board.queries:
        assert parsed(query.expr).selectors, query


@each
def test_target_rate_interval_rule(uid: str) -> None:
    """A rate is over `$__rate_interval`; where one number is shown, it may be over the range."""
    for query, selector in selectors(dashboard(uid), "target-rate-interval-rule"):
        if selector.calls and selector.calls[-1] in {"rate", "irate"}:
            totals = set() if query.is_range else {"$__range"}
            assert selector.range in {"$__rate_interval"} | totals, query


@pytest.mark.parametrize("label", ["job", "instance"])
@each
def test_target_job_and_target_instance_rule(uid: str, label: str) -> None:
    """Every selector is of the job and the instance that were chosen."""
    for query, selector in selectors(dashboard(uid), f"target-{label}-rule"):
        assert selector.matching(label) == [Matcher(label, "=~", f"${label}")], query


@each
def test_target_counter_agg_rule(uid: str) -> None:
    """
    A line of a counter is what it grew by: its rate or its increase.

    One number may be all that was ever counted: the ledger keeps it.
    """
    for query, selector in selectors(dashboard(uid), "target-counter-agg-rule"):
        if query.is_range and selector.metric.endswith("_total"):
            assert selector.range, query
            assert selector.calls[-1] in {"rate", "irate", "increase"}, query


@each
def test_uneditable_dashboard_rule(uid: str) -> None:
    """The dashboard comes from a file, so it can not be changed in place."""
    assert dashboard(uid).json["editable"] is False


def test_every_exception_is_of_something_that_exists() -> None:
    """A panel or variable that is gone leaves no exception behind."""
    there = {
        (uid, name)
        for uid in UIDS
        for name in (
            *(panel["title"] for panel in dashboard(uid).panels),
            *(variable["name"] for variable in dashboard(uid).variables),
        )
    }
    assert {(uid, place) for _, uid, place in EXCEPTIONS} <= there
