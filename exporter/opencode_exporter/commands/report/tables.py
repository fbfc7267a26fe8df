"""
Tables of the page: their marks, their columns, and how they fit its width.

Colour only repeats the number beside it.  On a narrow page the columns that matter
least are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from rich.box import Box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from opencode_exporter.commands.report import units
from opencode_exporter.commands.report.document import Calls, Durations, Outcomes
from opencode_exporter.errors import printable

Row = TypeVar("Row")
GOOD: Final = 0.95
FAIR: Final = 0.80
_GAP: Final = 2
_NAME_WIDTH: Final = 26  # longer names are folded before columns go
_BAR: Final = 8


@dataclass(frozen=True)
class Marks:
    """The characters of a page, for outputs that know all of Unicode or ASCII alone."""

    nothing: str
    arrow: str
    between: str
    more: str
    blocks: str  # from narrow to full
    shades: tuple[str, str, str]  # good, fair, bad
    box: Box

    def bar(self, value: float, largest: float, width: int) -> str:
        """Return a bar as long as the value's share of the largest; never empty for a value."""
        if value <= 0 or largest <= 0:
            return ""
        steps = len(self.blocks)
        length = max(1, round(value / largest * width * steps))
        whole, rest = divmod(length, steps)
        return self.blocks[-1] * whole + (self.blocks[rest - 1] if rest else "")

    def shade(self, rate: float) -> str:
        """Return how good a rate is, as a pattern."""
        return self.shades[0 if rate >= GOOD else 1 if rate >= FAIR else 2]


UNICODE: Final = Marks(
    nothing="–",  # noqa: RUF001  # a dash, and meant
    arrow="→",
    between=" · ",
    more="…",
    blocks="▏▎▍▌▋▊▉█",
    shades=("██", "▓▓", "░░"),
    box=Box("    \n    \n ── \n    \n    \n    \n    \n    \n"),
)
ASCII: Final = Marks(
    nothing="-",
    arrow="->",
    between=" | ",
    more="...",
    blocks="#",
    shades=("##", "==", ".."),
    box=Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True),
)


def rate_style(rate: float) -> str:
    """Return the colour of a success rate."""
    return "green" if rate >= GOOD else "yellow" if rate >= FAIR else "red"


def rate_text(text: str, rate: float | None) -> Text:
    """Return a text in the colour of a success rate."""
    return Text(text, style="dim" if rate is None else rate_style(rate))


@dataclass(frozen=True)
class Page:
    """The size of a page, and its characters."""

    width: int
    top: int  # the most rows of a table
    marks: Marks


@dataclass(frozen=True)
class Column(Generic[Row]):
    """
    One column beside the name.

    ``drop``: columns with the highest are left out first; one with 0 stays.
    ``if_any``: a column without a value in any cell is left out.
    """

    title: str
    cell: Callable[[Row], str | Text]
    drop: int = 0
    if_any: bool = False
    is_text: bool = False


def grid(
    page: Page,
    title: str,
    name: Callable[[Row], str],
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
) -> Iterator[RenderableType]:
    """Yield a table of the first rows, and how many there are besides."""
    shown = rows[: page.top]
    names = [printable(name(row)) for row in shown]
    filled = [_Filled(column, [_text(column.cell(row)) for row in shown]) for column in columns]
    filled = [one for one in filled if not (one.column.if_any and one.says_nothing(page.marks))]
    longest = max(map(cell_len, (title, *names)))
    filled = _fitting(filled, page.width - min(longest, _NAME_WIDTH))
    table = Table(
        box=page.marks.box,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        header_style="bold",
    )
    # A name is folded, not cut: it is there to be copied.
    left = page.width - sum(one.width for one in filled)
    table.add_column(title, overflow="fold", max_width=max(left, 1))
    for one in filled:
        side: Literal["left", "right"] = "left" if one.column.is_text else "right"
        table.add_column(one.column.title, justify=side, no_wrap=True)
    for row, *cells in zip(names, *(one.cells for one in filled), strict=True):
        table.add_row(row, *cells)
    yield table
    if more := len(rows) - len(shown):
        yield Text(f"{page.marks.more} and {more:,} more (--top)", style="dim")


@dataclass(frozen=True)
class _Filled(Generic[Row]):
    column: Column[Row]
    cells: list[Text]

    @property
    def width(self) -> int:
        """With the gap before it."""
        return _GAP + max(cell_len(text) for text in (self.column.title, *map(str, self.cells)))

    def says_nothing(self, marks: Marks) -> bool:
        return all(cell.plain in ("", "0", "$0", marks.nothing) for cell in self.cells)


def _fitting(filled: list[_Filled[Row]], room: int) -> list[_Filled[Row]]:
    while sum(one.width for one in filled) > room:
        least = max(filled, key=lambda one: one.column.drop)
        if not least.column.drop:
            break
        filled = [one for one in filled if one is not least]
    return filled


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell, style="dim" if cell == "0" else "")


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
    """Return a function that makes a heatmap's cells: success rate and count, equally wide."""
    digits = max(len(units.count(calls.total)) for calls in every)

    def heat(calls: Calls | None) -> Text:
        if calls is None:
            return Text("")
        rate = calls.success_rate
        share = page.marks.nothing if rate is None else units.rate(rate)
        shade = "" if rate is None else page.marks.shade(rate)
        return rate_text(f"{shade} {share:>6} of {units.count(calls.total):>{digits}}", rate)

    return heat
