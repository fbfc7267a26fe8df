"""
The terminal: a progress bar for long readings, and the tables of ``check``.

Where stderr is no terminal the progress goes to the log.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from opencode_exporter.commands.check import Finding
from opencode_exporter.errors import printable

log = logging.getLogger(__name__)

_LOG_EVERY_S: Final = 5.0
_WIDTH_WHEN_PIPED: Final = 100_000  # nothing is cut or wrapped


class ProgressBar:
    """
    A progress bar, of each source; silent when it is over at once.

    Args:
        doing: The work, for example "reading history".
        unit: The things that are counted meanwhile.
    """

    def __init__(self, doing: str = "reading history", unit: str = "rows") -> None:
        console = Console(stderr=True)
        self._doing = doing
        self._unit = unit
        self._bar = Progress(
            TextColumn(f"{doing} of {{task.description}}", markup=False),
            BarColumn(),
            TextColumn(f"{{task.percentage:>3.0f}} %  {{task.fields[done]:,}} {unit}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._on_terminal = console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Where nothing was drawn, rich would write an empty line into the log.
        if self._on_terminal:
            self._bar.stop()

    def show(self, what: str, share: float, done: int) -> None:
        """Show how far the work on a source is, 0 to 1, and how many units are done."""
        if not self._on_terminal:
            if time.monotonic() - self._told >= _LOG_EVERY_S:
                self._told = time.monotonic()
                facts = {"source": what, "progress": round(share, 3), self._unit: done}
                log.info(self._doing, extra=facts)
            return
        if share >= 1:
            if (task := self._tasks.pop(what, None)) is not None:
                self._bar.remove_task(task)
            if not self._tasks:
                self._bar.stop()
            return
        if what not in self._tasks:
            self._bar.start()
            self._tasks[what] = self._bar.add_task(what, total=1.0, done=done)
        self._bar.update(self._tasks[what], completed=share, done=done)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the findings of `check`, one table a database."""
    width = None if sys.stdout.isatty() else _WIDTH_WHEN_PIPED
    console = Console(width=width, emoji=False)
    for finding in findings:
        table = Table(title=_shown(finding.label), title_justify="left", show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")  # a path that is cut could not be copied
        for name, value in finding.facts.items():
            table.add_row(_shown(name), _shown(value))
        for warning in finding.warnings:
            table.add_row("[yellow]warning[/]", _shown(warning))
        for problem in finding.problems:
            table.add_row("[red]problem[/]", _shown(problem))
        if not finding.problems:
            table.add_row("[green]result[/]", "all is well")
        console.print(table)


def _shown(text: str) -> str:
    """Return a text without control characters and without rich's markup."""
    return escape(printable(text))
