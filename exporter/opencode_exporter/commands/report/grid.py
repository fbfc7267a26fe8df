"""
The grid: a table that fits the page.

Where the page is narrow, the columns that matter least go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from opencode_exporter.commands.report.marks import Marks
from opencode_exporter.errors import printable

Row = TypeVar("Row")
_GAP: Final = 2
_NAME_WIDTH: Final = 26  # longer names are folded before columns go


@dataclass(frozen=True)
class Page:
    """What to draw on."""

    width: int
    top: int  # the most rows of a table
    marks: Marks


@dataclass(frozen=True)
class Column(Generic[Row]):
    """
    One column beside the name.

    ``drop``: those with the highest go first; 0 stays.  ``if_any``: it is there
    only if a cell of it says something.
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
