"""
The dashboards as they are committed: their panels, queries, variables and links.

Reads the JSON that Grafana reads, and judges nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness.places import DASHBOARDS

FOLDER: Final = DASHBOARDS
UIDS: Final = (
    "opencode-overview",
    "opencode-skills",
    "opencode-tools",
    "opencode-models",
    "opencode-exporter",
)
Json = dict[str, Any]


class Query(NamedTuple):
    """
    An expression of a dashboard, and where it stands.

    Attributes:
        place: The panel's title, or the annotation's name.
        ref: The target's refId, empty for an annotation.
        choice: The values of the custom variables in it: there is one query for each.
        least_step: The shortest time between two points, such as 2m; empty for any.
        legend: What a series is called, with its labels in double braces.
        is_table: It becomes columns, so its legend does not matter.
    """

    place: str
    ref: str
    expr: str
    is_instant: bool
    is_range: bool
    choice: tuple[str, ...] = ()
    least_step: str = ""
    legend: str = ""
    is_table: bool = False


class Dashboard:
    """One dashboard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.json: Json = json.loads(path.read_text("utf-8"))

    @cached_property
    def elements(self) -> list[Json]:
        """All panels and rows, those within collapsed rows included."""
        found = []
        for element in self.json.get("panels", []):
            found += [element, *element.get("panels", [])]
        return found

    @cached_property
    def panels(self) -> list[Json]:
        """All panels, without the rows."""
        return [panel for panel in self.elements if panel["type"] != "row"]

    @cached_property
    def variables(self) -> list[Json]:
        """The variables in their order."""
        found: list[Json] = self.json["templating"]["list"]
        return found

    @cached_property
    def annotations(self) -> list[Json]:
        """The annotations of its own, without the one that every dashboard has."""
        return [one for one in self.json["annotations"]["list"] if not one.get("builtIn")]

    def variable(self, name: str) -> Json | None:
        """Return the variable of a name."""
        return next((one for one in self.variables if one["name"] == name), None)

    @cached_property
    def queries(self) -> list[Query]:
        """Every target that is asked, panel by panel, for each choice that changes it."""
        found = [query for panel in self.panels for query in queries_of(panel)]
        return [chosen for query in found for chosen in self._choices(query)]

    def _choices(self, query: Query) -> Iterator[Query]:
        """Return a query for each value of the custom variables that it names."""
        names = [one["name"] for one in self.variables if one["type"] == "custom"]
        named = [name for name in names if re.search(rf"\${name}\b", query.expr)]
        for values in product(*(self.custom(name) for name in named)):
            expr = query.expr
            for name, value in zip(named, values, strict=True):
                expr = re.sub(rf"\${name}\b", value, expr)
            yield query._replace(expr=expr, choice=values)

    def custom(self, name: str) -> list[str]:
        """Return the values of a custom variable, which are written `text : value`, or alone."""
        variable = self.variable(name)
        assert variable
        return [word.split(" : ")[-1].strip() for word in variable["query"].split(",")]

    @cached_property
    def annotation_queries(self) -> list[Query]:
        """What the annotations ask: for each step of the range, as Grafana does."""
        return [
            Query(one["name"], "", one["expr"], is_instant=False, is_range=True)
            for one in self.annotations
        ]


def queries_of(panel: Json) -> Iterator[Query]:
    """Return the targets of a panel; a target that says nothing asks for a range."""
    for target in panel.get("targets", []):
        if "expr" in target:
            is_instant = bool(target.get("instant"))
            yield Query(
                panel["title"],
                target["refId"],
                target["expr"],
                is_instant=is_instant,
                is_range=bool(target.get("range")) or not is_instant,
                least_step=target.get("interval") or panel.get("interval") or "",
                legend=target.get("legendFormat", ""),
                is_table=target.get("format") in {"table", "heatmap"},
            )


def query_of(variable: Json) -> str:
    """Return what a variable of type query asks, in either form of the schema."""
    query = variable["query"]
    return str(query["query"] if isinstance(query, dict) else query)


@cache
def dashboard(uid: str) -> Dashboard:
    """Return a dashboard by its uid, which is its file's name as well."""
    return Dashboard(FOLDER / f"{uid}.json")
