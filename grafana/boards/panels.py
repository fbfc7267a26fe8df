"""
Panels: one function for each way to show an answer.

Each takes a title, the question that the panel answers, and its queries, and
returns a builder of Grafana's own. Knows neither metrics nor dashboards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import Panel
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as m
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import heatmap as h
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from boards.looks import COUNT, MEANING, NEUTRAL, Steps, coloured, thresholds

AnyPanel = Builder[d.Panel]
Queries = Mapping[str, str]
"""Expressions by their legend."""

_LABEL: Final = re.compile(r"\{\{(\w+)\}\}")
SOURCE: Final = m.DataSourceRef(type_val="prometheus", uid="${datasource}")
SMOOTH: Final = "2m"
RARE: Final = "5m"
"""Least steps: shorter ones show single events as spikes, of rare ones all the more."""


def _query(
    at: int, expression: str, legend: str, *, instant: bool, kind: PromQueryFormat
) -> prometheus.Dataquery:
    query = prometheus.Dataquery().datasource(SOURCE).expr(expression).ref_id(chr(ord("A") + at))
    query = query.legend_format(legend).format(kind)
    return query.instant() if instant else query.range()


def targets(
    queries: Queries, *, instant: bool, kind: PromQueryFormat = PromQueryFormat.TIME_SERIES
) -> list[Builder[Any]]:
    """Return one target for each query, A, B and so on."""
    return [
        _query(at, expression, legend, instant=instant, kind=kind)
        for at, (legend, expression) in enumerate(queries.items())
    ]


def numbers(
    title: str,
    question: str,
    queries: Queries,
    *,
    unit: str = COUNT,
    decimals: int | None = None,
    steps: Steps = NEUTRAL,
    mappings: Sequence[d.ValueMapping] = (),
    moving: bool = False,
    since: str = "",
    width: int = 4,
    height: int = 4,
) -> AnyPanel:
    """Return large numbers; ``moving`` ones have their course behind them."""
    panel = (
        stat.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .targets(targets(queries, instant=not moving))
        .unit(unit)
        .thresholds(thresholds(steps))
        .color_scheme(coloured(d.FieldColorModeId.THRESHOLDS))
        .mappings(list(mappings))
        .no_value("none")
        .graph_mode(m.BigValueGraphMode.AREA if moving else m.BigValueGraphMode.NONE)
        .color_mode(m.BigValueColorMode.VALUE)
        .orientation(m.VizOrientation.HORIZONTAL if len(queries) > 1 else m.VizOrientation.AUTO)
        .text_mode(m.BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text(common.VizTextDisplayOptions().title_size(12).value_size(22))
        .span(width)
        .height(height)
    )
    if since:
        panel = panel.time_from(since).hide_time_override(True)
    if decimals is None and unit == COUNT:
        decimals = 0
    return panel if decimals is None else panel.decimals(decimals)


def _colours(panel: timeseries.Panel, legends: Iterable[str]) -> timeseries.Panel:
    """Give the values of a label that has a meaning the colours of that meaning."""
    for label, colours in MEANING.items():
        if f"{{{{{label}}}}}" in legends:
            for value, colour in colours.items():
                fixed = {"mode": "fixed", "fixedColor": colour}
                properties = [d.DynamicConfigValue(id_val="color", value=fixed)]
                panel = panel.override_by_name(value, properties)
    return panel


def lines(
    title: str,
    question: str,
    queries: Queries,
    *,
    unit: str = COUNT,
    decimals: int | None = None,
    stacked: bool = False,
    top: float | None = None,
    steps: Steps | None = None,
    interval: str = SMOOTH,
    beside: bool = False,
    calcs: Sequence[str] = ("mean", "max"),
    width: int = 12,
    height: int = 8,
) -> AnyPanel:
    """Return a course over time: lines, or filled areas one on the other."""
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(m.LegendDisplayMode.TABLE if beside else m.LegendDisplayMode.LIST)
        .placement(m.LegendPlacement.RIGHT if beside else m.LegendPlacement.BOTTOM)
        .calcs(list(calcs) if beside else [])
    )
    mode = m.StackingMode.NORMAL if stacked else m.StackingMode.NONE
    tooltip = common.VizTooltipOptions().mode(m.TooltipDisplayMode.MULTI)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .targets(targets(queries, instant=False))
        .unit(unit)
        .min(0)
        .interval(interval)
        .no_value("nothing in this time range")
        .legend(legend)
        .tooltip(tooltip.sort(m.SortOrder.DESCENDING))
        .line_width(0 if stacked else 2)
        .fill_opacity(70 if stacked else 0)
        .stacking(common.StackingConfig().mode(mode).group("A"))
        .show_points(m.VisibilityMode.NEVER if stacked else m.VisibilityMode.AUTO)
        .span_nulls(False)
        .color_scheme(coloured(d.FieldColorModeId.PALETTE_CLASSIC))
        .span(width)
        .height(height)
    )
    panel = _colours(panel, queries)
    if top is not None:
        panel = panel.max(top)
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(m.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds(steps)).thresholds_style(style)
    return panel if decimals is None else panel.decimals(decimals)


def leaders(
    title: str,
    question: str,
    queries: Queries,
    *,
    unit: str = COUNT,
    decimals: int = 0,
    steps: Steps = NEUTRAL,
    link: tuple[str, str] | None = None,
    none: str = "none",
    width: int = 12,
    height: int = 8,
) -> AnyPanel:
    """Return bars, one for each name, in the order of the query's answer."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .targets(targets(queries, instant=True))
        .unit(unit)
        .decimals(decimals)
        .min(0)
        .thresholds(thresholds(steps))
        .color_scheme(coloured(d.FieldColorModeId.THRESHOLDS))
        .no_value(none)
        .orientation(m.VizOrientation.HORIZONTAL)
        .text(common.VizTextDisplayOptions().title_size(12).value_size(14))
        .display_mode(m.BarGaugeDisplayMode.BASIC)
        .name_placement(m.BarGaugeNamePlacement.LEFT)
        .value_mode(m.BarGaugeValueMode.TEXT)
        .show_unfilled(False)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .span(width)
        .height(height)
    )
    if len(queries) == 1:
        # Grafana leaves out the name of a bar that is alone, unless it is given one.
        (legend,) = queries
        panel = panel.display_name(_LABEL.sub(r"${__field.labels.\1}", legend))
    if link:
        to = d.DashboardLink(title=link[0], url=link[1])
        panel = panel.with_override(
            d.MatcherConfig(id_val="byType", options="number"),
            [d.DynamicConfigValue(id_val="links", value=[to])],
        )
    return panel


def heat(
    title: str, question: str, expression: str, *, width: int = 12, height: int = 9
) -> AnyPanel:
    """Return a heatmap of a histogram of seconds: when did how many take how long."""
    return (
        heatmap.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .targets([_query(0, expression, "{{le}}", instant=False, kind=PromQueryFormat.HEATMAP)])
        .unit("s")
        .interval(SMOOTH)
        .no_value("nothing in this time range")
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(m.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().decimals(1))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_value(m.VisibilityMode.NEVER)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(h.HeatmapColorMode.OPACITY)
            .fill("blue")
            .scale(h.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .span(width)
        .height(height)
    )


def states(
    title: str,
    question: str,
    queries: Queries,
    mappings: Sequence[d.ValueMapping],
    *,
    width: int = 12,
    height: int = 6,
) -> AnyPanel:
    """Return what was true when, one row for each name."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .targets(targets(queries, instant=False))
        .unit("none")
        .mappings(list(mappings))
        .color_scheme(coloured(d.FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds({0: "text"}))
        .no_value("nothing in this time range")
        .legend(common.VizLegendOptions().show_legend(False))
        .show_value(m.VisibilityMode.NEVER)
        .span(width)
        .height(height)
    )


def alerts(title: str, question: str, *, width: int = 12, height: int = 8) -> AnyPanel:
    """
    Return the list of alerts that fire now, wherever Grafana finds them.

    The panel fills variables into its filter of labels, not into its data source.
    """
    options: dict[str, object] = {
        "alertInstanceLabelFilter": (
            '{alertname=~"OpenCode.+", job=~"${job:regex}", instance=~"${instance:regex}"}'
        ),
        "alertName": "OpenCode",
        "dashboardAlerts": False,
        "groupBy": [],
        "groupMode": "default",
        "maxItems": 20,
        "showInstances": True,
        "sortOrder": 3,  # by importance
        "stateFilter": {"firing": True, "pending": True, "noData": False, "error": True},
        "viewMode": "list",
    }
    panel = Panel().type("alertlist").title(title).description(question).datasource(SOURCE)
    return panel.options(options).unit("none").span(width).height(height)
