"""
Columns that several tables have.

Each function returns columns of rows from which it is told how to get the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from rich.text import Text

from opencode_exporter.commands.report import units
from opencode_exporter.commands.report.document import Calls, Durations, Outcomes
from opencode_exporter.commands.report.grid import Column, Page
from opencode_exporter.commands.report.marks import Marks, rate_text

Row = TypeVar("Row")
_BAR: Final = 8


def use(page: Page, title: str, rows: Sequence[Row], of: Callable[[Row], int]) -> list[Column[Row]]:
    """Return a count and its bar, relative to the largest."""
    largest = max(map(of, rows), default=0)
    return [
        Column(title, lambda row: units.count(of(row))),
        Column(
            "",
            lambda row: Text(page.marks.bar(of(row), largest, _BAR), style="cyan"),
            drop=4,
            is_text=True,
        ),
    ]


def success(marks: Marks, of: Callable[[Row], Calls | Outcomes]) -> Column[Row]:
    """Return the success rate."""

    def cell(row: Row) -> Text:
        rate = of(row).success_rate
        return rate_text(marks.nothing if rate is None else units.rate(rate), rate)

    return Column("Success", cell)


def spread(marks: Marks, of: Callable[[Row], Durations], drop: int = 0) -> list[Column[Row]]:
    """Return median and 95th percentile."""

    def cell(seconds: float | None) -> str:
        return marks.nothing if seconds is None else units.duration(seconds)

    return [
        Column("p50", lambda row: cell(of(row).p50_seconds), drop=drop),
        Column("p95", lambda row: cell(of(row).p95_seconds), drop=drop),
    ]


def ends(of: Callable[[Row], Calls]) -> list[Column[Row]]:
    """Return the counts of the statuses beside completed."""
    return [
        Column("Errors", lambda row: units.count(of(row).error)),
        Column("Denied", lambda row: units.count(of(row).denied), drop=1, if_any=True),
        Column("Aborted", lambda row: units.count(of(row).aborted), drop=2, if_any=True),
        Column("Abandoned", lambda row: units.count(of(row).abandoned), drop=3, if_any=True),
    ]


def reasons(of: Callable[[Row], dict[str, int]]) -> Column[Row]:
    """Return the most frequent class of error."""
    return Column(
        "Mostly",
        lambda row: next((f"{reason} {n:,}" for reason, n in of(row).items()), ""),
        drop=7,
        if_any=True,
        is_text=True,
    )


def number(
    title: str, of: Callable[[Row], int], drop: int = 0, *, if_any: bool = False
) -> Column[Row]:
    """Return a count."""
    return Column(title, lambda row: units.count(of(row)), drop, if_any=if_any)


def large(title: str, of: Callable[[Row], int], drop: int = 0, unit: str = "") -> Column[Row]:
    """Return a number that may be large, such as of tokens or bytes."""
    return Column(title, lambda row: units.short(of(row), unit) if of(row) else "0", drop, True)


def cost(of: Callable[[Row], float], drop: int = 0) -> Column[Row]:
    """Return US dollars."""
    return Column("Cost", lambda row: units.dollars(of(row)), drop)


def heating(page: Page, every: Iterable[Calls]) -> Callable[[Calls | None], Text]:
    """Return what makes a cell of a heatmap, all equally wide: how good, and of how many."""
    digits = max(len(units.count(calls.total)) for calls in every)

    def heat(calls: Calls | None) -> Text:
        if calls is None:
            return Text("")
        rate = calls.success_rate
        share = page.marks.nothing if rate is None else units.rate(rate)
        shade = "" if rate is None else page.marks.shade(rate)
        return rate_text(f"{shade} {share:>6} of {units.count(calls.total):>{digits}}", rate)

    return heat
