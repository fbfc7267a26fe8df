"""
Tables and matrices: panels of several queries that share their labels.

Each column is a query of its own; Grafana joins them by the labels they have in
common. Knows neither metrics nor dashboards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import table as t
from grafana_foundation_sdk.builders.common import TableSortByFieldState
from grafana_foundation_sdk.models import common as m
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from boards.looks import COUNT, NEUTRAL, SHARE, Steps, blank, coloured, thresholds
from boards.panels import SOURCE, AnyPanel, targets

_NOTHING: Final = "none"


@dataclass(frozen=True)
class Column:
    """
    One column of a table.

    With ``steps`` its cells have the colour of their value, with ``bar`` a bar
    beside it, with ``mappings`` words instead; a hidden one only says which rows
    there are.
    """

    header: str
    expression: str
    unit: str = COUNT
    decimals: int | None = None
    steps: Steps | None = None
    bar: bool = False
    mappings: Sequence[d.ValueMapping] = ()
    width: int = 0
    hidden: bool = False

    def properties(self) -> dict[str, Any]:
        """Return the field's properties that differ from the table's own."""
        cell: dict[str, Any] | None = None
        if self.bar:
            cell = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        elif self.steps:
            cell = {"type": "color-text"}
        found = {
            "unit": self.unit,
            "decimals": self.decimals,
            "thresholds": thresholds(self.steps or NEUTRAL).build(),
            "custom.cellOptions": cell,
            "custom.width": self.width or None,
            "mappings": list(self.mappings) or None,
            "min": 0 if self.bar else None,
            "max": 1 if self.bar and self.unit == SHARE else None,
            "fieldMinMax": True if self.bar else None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _properties(values: Mapping[str, Any]) -> list[d.DynamicConfigValue]:
    return [d.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def _step(name: str, **options: Any) -> d.DataTransformerConfig:
    return d.DataTransformerConfig(id_val=name, options=options)


def _only_rows_with(field: str) -> d.DataTransformerConfig:
    exists = {"fieldName": field, "config": {"id": "isNotNull", "options": {}}}
    return _step("filterByValue", type="include", match="all", filters=[exists])


def _base(title: str, question: str, *, none: str, width: int, height: int) -> t.Panel:
    return (
        t.Panel()
        .title(title)
        .description(question)
        .datasource(SOURCE)
        .no_value(none)
        .unit(COUNT)
        .mappings([blank()])
        .thresholds(thresholds(NEUTRAL))
        .color_scheme(coloured(d.FieldColorModeId.THRESHOLDS))
        .cell_height(m.TableCellHeight.SM)
        .min_width(70)
        .span(width)
        .height(height)
    )


def table(
    title: str,
    question: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    *,
    link: tuple[str, str] | None = None,
    label_width: int = 0,
    sort: str = "",
    none: str = _NOTHING,
    width: int = 24,
    height: int = 9,
) -> AnyPanel:
    """
    Return a table whose rows are the label sets of the first column's query.

    Args:
        title: of the panel.
        question: that it answers.
        labels: headers of the labels that identify a row.
        columns: the first of which says which rows there are.
        link: title and URL of a link on the first label.
        label_width: of the columns of labels, pixels.
        sort: header to sort by, largest first; by default the first column's.
        none: what to show instead of an empty table.
        width: of the panel, of 24.
        height: of the panel, in units of the grid.

    """
    fields = {f"Value #{chr(ord('A') + at)}": column for at, column in enumerate(columns)}
    if len(columns) == 1:
        fields = {"Value": columns[0]}
    renamed = dict(labels) | {field: column.header for field, column in fields.items()}
    hidden = {field: True for field, column in fields.items() if column.hidden}
    order = {name: at for at, name in enumerate((*labels, *fields))}
    panel = (
        _base(title, question, none=none, width=width, height=height)
        .targets(
            targets(
                {column.header: column.expression for column in columns},
                instant=True,
                kind=PromQueryFormat.TABLE,
            )
        )
        .transformations(
            [
                _step("merge"),
                _only_rows_with(next(iter(fields))),
                _step(
                    "organize",
                    excludeByName={"Time": True} | hidden,
                    indexByName=order,
                    renameByName=renamed,
                ),
            ]
        )
        .sort_by([TableSortByFieldState().display_name(sort or columns[0].header).desc(True)])
    )
    for at, header in enumerate(labels.values()):
        own: dict[str, Any] = {"custom.width": label_width} if label_width else {}
        if link and not at:
            own["links"] = [d.DashboardLink(title=link[0], url=link[1])]
        panel = panel.override_by_name(header, _properties(own)) if own else panel
    for column in (column for column in columns if not column.hidden):
        panel = panel.override_by_name(column.header, _properties(column.properties()))
    return panel


def matrix(
    title: str,
    question: str,
    expression: str,
    rows: tuple[str, str],
    across: str,
    *,
    unit: str = COUNT,
    decimals: int = 0,
    steps: Steps = NEUTRAL,
    none: str = _NOTHING,
    width: int = 12,
    height: int = 9,
) -> AnyPanel:
    """
    Return a matrix with a cell for each pair of two labels' values, coloured by its value.

    Args:
        title: of the panel.
        question: that it answers.
        expression: summed by the two labels.
        rows: label of the rows, and its header.
        across: label of the columns.
        unit: of the values.
        decimals: of the values.
        steps: thresholds of the colours.
        none: what to show instead of an empty matrix.
        width: of the panel, of 24.
        height: of the panel, in units of the grid.

    """
    label, header = rows
    corner = f"{label}\\{across}"
    plain = {"custom.cellOptions": {"type": "auto"}, "unit": "string"}
    return (
        _base(title, question, none=none, width=width, height=height)
        .targets(targets({header: expression}, instant=True, kind=PromQueryFormat.TABLE))
        .transformations(
            [
                _step(
                    "groupingToMatrix",
                    rowField=label,
                    columnField=across,
                    valueField="Value",
                    emptyValue="null",
                ),
                _step("organize", renameByName={corner: header}),
            ]
        )
        .unit(unit)
        .decimals(decimals)
        .thresholds(thresholds(steps))
        .cell_options(
            m.TableColoredBackgroundCellOptions(mode=m.TableCellBackgroundDisplayMode.BASIC)
        )
        .align(m.FieldTextAlignment.CENTER)
        .override_by_name(
            header, _properties(plain | {"custom.align": "left", "custom.width": 150})
        )
    )
