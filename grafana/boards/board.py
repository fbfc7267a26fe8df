"""
What all dashboards have in common: variables, links to each other, annotations.

Knows no single panel and no metric but those that say which exporters there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from grafana_foundation_sdk.builders import dashboard as b
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as d

from boards.panels import SOURCE, AnyPanel
from boards.queries import FILTERS, IDENTITY
from opencode_exporter import catalog as c

UIDS: Final = {
    "opencode-overview": "Overview",
    "opencode-skills": "Skills",
    "opencode-tools": "Tools",
    "opencode-models": "Models and edits",
    "opencode-exporter": "Exporter",
}
ALL: Final = d.VariableOption(selected=True, text="All", value="$__all")
TAG: Final = "opencode"

Rows = Mapping[str, Iterable[AnyPanel]]
"""Panels below the title of their row; the first row's title may be empty."""


def _query(name: str, label: str, metric: c.Metric, matchers: str) -> b.QueryVariable:
    query = f"label_values({metric.name}{{{matchers}}}, {name})"
    return (
        b.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .definition(query)
        .refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(d.VariableSort.ALPHABETICAL_ASC)
    )


def choice(name: str, metric: c.Metric, *, shown: bool = True) -> b.QueryVariable:
    """Return a variable for some or all of a label's values."""
    hide = d.VariableHide.DONT_HIDE if shown else d.VariableHide.HIDE_VARIABLE
    variable = _query(name, name.capitalize(), metric, IDENTITY)
    return variable.multi(True).include_all(True).all_value(".*").current(ALL).hide(hide)


def one(name: str, metric: c.Metric, matchers: str = "") -> b.QueryVariable:
    """Return a variable for exactly one of a label's values."""
    chosen = ", ".join(filter(None, (IDENTITY, matchers)))
    return _query(name, name.capitalize(), metric, chosen)


def _over() -> b.CustomVariable:
    """Return the switch between what was counted in the time range and all there ever was."""
    query = "since the beginning : last_over_time, in the time range : increase"
    options = [
        d.VariableOption(selected=not at, text=text, value=value)
        for at, (text, value) in enumerate(part.split(" : ") for part in query.split(", "))
    ]
    return (
        b.CustomVariable("over")
        .label("Totals")
        .description("What tables and bars add up: the time range, or all history that is counted.")
        .values(query)
        .options(options)
        .current(options[0])
    )


def _variables(
    *, filtered: bool
) -> list[b.QueryVariable | b.CustomVariable | b.DatasourceVariable]:
    """Return the variables of every dashboard; two exporters of one database would add up."""
    build = c.BUILD_INFO
    found: list[b.QueryVariable | b.CustomVariable | b.DatasourceVariable] = [
        b.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _query("job", "Job", build, ""),
        _query("instance", "Instance", build, 'job=~"$job"'),
    ]
    found += [choice(name, c.TOOL_USAGE, shown=filtered) for name in FILTERS]
    return [*found, _over()] if filtered else found


def _links(uid: str) -> list[b.DashboardLink]:
    return [
        b.DashboardLink(title)
        .type(d.DashboardLinkType.LINK)
        .url(f"/d/{other}")
        .icon("dashboard")
        .keep_time(True)
        .include_vars(True)
        for other, title in UIDS.items()
        if other != uid
    ]


def _restarts() -> b.AnnotationQuery:
    return (
        b.AnnotationQuery()
        .name("Exporter restarts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("purple")
        .expr(f"{c.START.name}{{{IDENTITY}}} * 1000")
        .use_value_for_time(True)
        .step("60s")
        .title_format("Exporter started")
        .text_format("{{instance}}")
    )


def _expressions(panel: d.Panel) -> str:
    found = (getattr(target, "expr", "") for target in panel.targets or ())
    return " ".join(expression or "" for expression in found)


def _unfiltered(expressions: str) -> str:
    """Return the sentence that says which variables do not apply to a panel."""
    missing = [name for name in FILTERS if f"${name}" not in expressions]
    return f" (Not filtered by {' or '.join(missing)}.)" if expressions and missing else ""


class _Finished(Builder[d.Panel]):
    """A panel that says in its title what it adds up, and below it what does not apply."""

    def __init__(self, builder: AnyPanel, *, filtered: bool) -> None:
        self._panel = builder.build()
        expressions = _expressions(self._panel)
        if "$over(" in expressions:
            self._panel.title = f"{self._panel.title}, ${{over:text}}"
        if filtered:
            self._panel.description = f"{self._panel.description}{_unfiltered(expressions)}"

    def build(self) -> d.Panel:
        return self._panel


def board(
    uid: str,
    description: str,
    rows: Rows,
    *,
    extra: Iterable[b.QueryVariable] = (),
    filtered: bool = True,
) -> d.Dashboard:
    """
    Return a dashboard.

    Args:
        uid: one of `UIDS`.
        description: what it is for.
        rows: its panels, row by row.
        extra: variables of its own.
        filtered: whether project, agent and the switch of totals say anything here.

    """
    built = (
        b.Dashboard(f"OpenCode / {UIDS[uid]}")
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(d.DashboardCursorSync.CROSSHAIR)
        .variables([*_variables(filtered=filtered), *extra])
        .links(list(_links(uid)))
        .annotation(_restarts())
    )
    for title, panels in rows.items():
        if title:
            built = built.with_row(b.Row(title))
        for builder in panels:
            built = built.with_panel(_Finished(builder, filtered=filtered))
    dashboard = built.build()
    for number, panel in enumerate(dashboard.panels or (), start=1):
        panel.id_val = number
    return dashboard
