"""
How the dashboards are made: layout, words, colours, links; what no query can tell.

Grafana's own rules are in `test_dashboards_lint`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

import pytest

from grafana.dashboards import FOLDER, UIDS, Dashboard, Json, dashboard, queries_of, query_of
from grafana.promql import labels_of, parsed
from grafana.templating import names_in

each = pytest.mark.parametrize("uid", UIDS)

OF_GRAFANA: Final = {
    *("__rate_interval", "__rate_interval_ms", "__interval", "__interval_ms"),
    *("__range", "__range_s", "__range_ms", "__from", "__to"),
}
OWN_VARIABLE: Final = {"opencode-skills": "skill", "opencode-tools": "tool"}
NO_SERVER: Final = {"${datasource}", "-- Grafana --", "-- Dashboard --", "-- Mixed --"}
BY_THRESHOLDS: Final = {"stat", "gauge", "bargauge"}
"""Panels whose colours come from thresholds unless they say otherwise."""


def everything(value: Any) -> Iterator[Json]:
    """Return every object within a dashboard."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from everything(inner)


def layouts(board: Dashboard) -> Iterator[list[Json]]:
    """Return the elements that are seen together: all, and those of each collapsed row."""
    yield board.json["panels"]
    for element in board.elements:
        yield element.get("panels", [])


def overlap(one: Json, other: Json) -> bool:
    """Return whether two places have something in common."""
    return all(
        a[start] < b[start] + b[size]
        for a, b in ((one, other), (other, one))
        for start, size in (("x", "w"), ("y", "h"))
    )


# The dashboard.


def test_there_are_five_dashboards() -> None:
    """Each file is a dashboard of ours, by the name that links use."""
    assert {path.stem for path in FOLDER.iterdir()} == set(UIDS)
    assert [dashboard(uid).json["uid"] for uid in UIDS] == list(UIDS)
    assert len({dashboard(uid).json["title"] for uid in UIDS}) == len(UIDS)


@each
def test_dashboard_is_ready_to_be_imported(uid: str) -> None:
    """It has no id of a server, one tag, a range, a refresh, and a schema that is still read."""
    board = dashboard(uid).json
    assert board.get("id") is None
    assert board["tags"] == ["opencode"]
    assert re.fullmatch(r"\d+[smh]", board["refresh"])
    assert board["time"]["from"].startswith("now-")
    assert board["schemaVersion"] >= 36


@each
def test_dashboard_needs_nothing_of_a_server(uid: str) -> None:
    """There are no library panels, and no data source is named but the one that is chosen."""
    found = list(everything(dashboard(uid).json))
    assert not any("libraryPanel" in one for one in found)
    assert not any("__inputs" in one for one in found)
    sources = [one["datasource"] for one in found if one.get("datasource")]
    assert {source if isinstance(source, str) else source["uid"] for source in sources} <= NO_SERVER


@each
def test_dashboard_links_to_the_other_four(uid: str) -> None:
    """The way to the others is short, and keeps the range of time and what was chosen."""
    linked: set[str] = set()
    for link in dashboard(uid).json["links"]:
        if link["type"] == "dashboards":
            assert link["tags"] == ["opencode"]
            linked |= set(UIDS)
        else:
            linked |= {other for other in UIDS if link["url"].endswith(f"/d/{other}")}
        assert link["keepTime"], link
        assert link["includeVars"], link
    assert linked >= set(UIDS) - {uid}


@each
def test_links_within_lead_to_dashboards_that_exist(uid: str) -> None:
    """A link of a panel or a cell ends at one of the five."""
    assert set(re.findall(r"/d/([\w-]+)", json.dumps(dashboard(uid).json))) <= set(UIDS)


@each
def test_restarts_are_marked(uid: str) -> None:
    """An annotation, which is on, says when an exporter was started."""
    marks = [one for one in dashboard(uid).annotations if "restart" in one["name"].lower()]
    assert [one["enable"] for one in marks] == [True]
    assert [one["datasource"]["uid"] for one in marks] == ["${datasource}"]


def test_overview_lists_alerts() -> None:
    """What fires is seen where people look first."""
    assert "alertlist" in {panel["type"] for panel in dashboard("opencode-overview").panels}


# The variables.


@each
def test_dashboard_has_the_variables_that_people_choose_by(uid: str) -> None:
    """Project and agent, and the skill or the tool where the dashboard is about them."""
    names = {one["name"] for one in dashboard(uid).variables}
    assert names >= {"project", "agent"} | ({OWN_VARIABLE[uid]} if uid in OWN_VARIABLE else set())


@each
def test_every_variable_is_used_and_every_name_is_a_variable(uid: str) -> None:
    """No choice is without effect, and no text names what does not exist."""
    board = dashboard(uid)
    known = {one["name"] for one in board.variables}
    seen = {one["name"] for one in board.variables if not one.get("hide")}
    exprs = [query.expr for query in [*board.queries, *board.annotation_queries]]
    asked = [query_of(one) for one in board.variables if one["type"] == "query"]
    assert names_in("\n".join(exprs + asked)) <= known | OF_GRAFANA
    assert seen - names_in(json.dumps(board.json)) == set()


@each
def test_many_values_are_matched_by_a_pattern(uid: str) -> None:
    """Where several values can be chosen, the condition takes a regular expression."""
    board = dashboard(uid)
    many = {one["name"] for one in board.variables if one.get("multi") or one.get("includeAll")}
    for query in board.queries:
        for selector in parsed(query.expr).selectors:
            for matcher in selector.matchers:
                if names_in(matcher.value) & many:
                    assert matcher.operator in {"=~", "!~"}, query


# The panels.


@each
def test_no_panel_overlaps_another_or_needs_scrolling_sideways(uid: str) -> None:
    """Every panel has its own place within the 24 columns."""
    for elements in layouts(dashboard(uid)):
        places = [element["gridPos"] for element in elements]
        assert all(min(place["w"], place["h"]) > 0 for place in places)
        assert all(place["x"] + place["w"] <= 24 for place in places)
        titles = [element["title"] for element in elements]
        pairs = combinations(zip(titles, places, strict=True), 2)
        assert [(a, b) for (a, one), (b, other) in pairs if overlap(one, other)] == []


@each
def test_names_are_unique(uid: str) -> None:
    """Ids, titles, and the letters of a panel's targets tell one from the other."""
    board = dashboard(uid)
    ids = [element["id"] for element in board.elements]
    titles = [panel["title"] for panel in board.panels]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles), titles
    for panel in board.panels:
        refs = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(refs)) == len(refs), panel["title"]


@each
def test_description_is_the_question_that_the_panel_answers(uid: str) -> None:
    """Who does not know what a panel is for reads its question."""
    for panel in dashboard(uid).panels:
        assert "?" in panel["description"], panel["title"]


def without_thresholds(panel: Json) -> Iterator[str]:
    """Return what is coloured by thresholds that are not there."""
    defaults = panel["fieldConfig"]["defaults"]
    mode = defaults.get("color", {}).get("mode")
    is_default = panel["type"] in BY_THRESHOLDS and mode is None
    if (mode == "thresholds" or is_default) and not has_steps(defaults.get("thresholds")):
        yield "defaults"
    for override in panel["fieldConfig"].get("overrides", []):
        values = {one["id"]: one["value"] for one in override["properties"]}
        by_thresholds = values.get("color", {}).get("mode") == "thresholds"
        if by_thresholds and not has_steps(values.get("thresholds", defaults.get("thresholds"))):
            yield str(override["matcher"]["options"])


def has_steps(thresholds: Json | None) -> bool:
    """Return whether thresholds give any value a colour."""
    return thresholds is not None and bool(thresholds["steps"])


@each
def test_colours_by_thresholds_have_thresholds(uid: str) -> None:
    """Where a number decides on a colour, it is said which."""
    found = {panel["title"]: list(without_thresholds(panel)) for panel in dashboard(uid).panels}
    assert {title: what for title, what in found.items() if what} == {}


@each
def test_legends_are_written_for_people(uid: str) -> None:
    """No line is called by its raw labels."""
    board = dashboard(uid)
    lines = [query for query in board.queries if query.is_range and not query.is_table]
    assert [query for query in lines if query.legend in {"", "__auto"}] == []


def columns(panel: Json) -> set[str]:
    """Return the names that the columns of a table can have."""
    names = {"Time", "Value"}
    for query in queries_of(panel):
        expression = parsed(query.expr)
        names |= {f"Value #{query.ref}"} | labels_of(query.expr) | expression.made
    for step in panel.get("transformations", []):
        options = step["options"]
        names |= set(options.get("renameByName", {}).values()) | {options.get("alias", "Value")}
    return names


@each
def test_overrides_are_of_columns_that_exist(uid: str) -> None:
    """A unit or a colour that is given by a column's name has such a column."""
    for panel in dashboard(uid).panels:
        if panel["type"] == "table":
            wanted = {
                override["matcher"]["options"]
                for override in panel["fieldConfig"].get("overrides", [])
                if override["matcher"]["id"] == "byName"
            }
            assert wanted <= columns(panel), panel["title"]
