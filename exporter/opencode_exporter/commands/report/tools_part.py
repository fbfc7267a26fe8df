"""The page's part about tools, edits and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from opencode_exporter.commands.report import columns as col
from opencode_exporter.commands.report import units
from opencode_exporter.commands.report.document import (
    LanguageFigures,
    ModelFigures,
    Report,
    ToolFigures,
)
from opencode_exporter.commands.report.grid import Column, Page, grid

Model = tuple[str, str]
"""Provider and model."""


def tools(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the tools by use."""
    rows = report.tools
    if not rows:
        yield "No tool has been called."
        return
    columns: list[Column[ToolFigures]] = [
        *col.use(page, "Calls", rows, lambda row: row.invocations.total),
        col.success(page.marks, lambda row: row.invocations),
        *col.spread(page.marks, lambda row: row.duration),
        *col.ends(lambda row: row.invocations),
        col.number("Retries", lambda row: row.retries, 3, if_any=True),
        col.large("Output", lambda row: row.output_bytes, 6, "B"),
        col.reasons(lambda row: row.errors),
    ]
    yield from grid(page, "Tool", lambda row: row.tool, columns, rows)


def edits(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield which edit format works for which model, as a matrix."""
    cells = {(one.tool, (one.provider, one.model)): one.attempts for one in report.edit_formats}
    if not cells:
        yield "No file has been edited."
        return
    by_tool, by_model = Counter[str](), Counter[Model]()
    for (tool, model), attempts in cells.items():
        by_tool[tool] += attempts.total
        by_model[model] += attempts.total
    models = sorted(by_model, key=lambda one: (-by_model[one], one))
    names = _names(models)

    heat = col.heating(page, cells.values())

    def column(tool: str) -> Column[Model]:
        return Column(tool, lambda model: heat(cells.get((tool, model))))

    ranked = sorted(by_tool, key=lambda one: (-by_tool[one], one))
    columns = [column(tool) for tool in ranked]
    yield from grid(page, "Model", names.__getitem__, columns, models)
    for one in report.edit_changes:
        if one.made or one.abandoned:
            first = units.rate(one.at_first_attempt / one.made) if one.made else page.marks.nothing
            made = units.several(one.made, "change")
            lost = f", {one.abandoned:,} given up" if one.abandoned else ""
            text = f"{one.tool}: {made} made, {first} at the first attempt{lost}"
            yield Text(text, style="dim")


def _names(models: Sequence[Model]) -> dict[Model, str]:
    """Return what to call each model: with its provider where the name alone is not enough."""
    known = Counter(model for _, model in models)
    return {
        (provider, model): model if known[model] == 1 else f"{provider}/{model}"
        for provider, model in models
    }


def languages(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield lines and file operations by language."""
    rows = report.languages
    if not rows:
        yield "No file has been touched."
        return
    columns: list[Column[LanguageFigures]] = [
        *col.use(page, "Lines", rows, lambda row: row.lines_added + row.lines_removed),
        col.number("Added", lambda row: row.lines_added),
        col.number("Removed", lambda row: row.lines_removed),
        col.number("Read", lambda row: row.read),
        col.number("Edited", lambda row: row.edited),
        col.number("Created", lambda row: row.created, if_any=True),
        col.number("Deleted", lambda row: row.deleted, if_any=True),
        col.number("Moved", lambda row: row.moved, if_any=True),
    ]
    yield from grid(page, "Language", lambda row: row.language, columns, rows)


def models(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the models by steps."""
    rows = report.models
    if not rows:
        yield "No model has finished a step."
        return
    names = _names([(one.provider, one.model) for one in rows])
    columns: list[Column[ModelFigures]] = [
        *col.use(page, "Steps", rows, lambda row: row.steps),
        *col.spread(page.marks, lambda row: row.duration),
        col.number("Retries", lambda row: row.retries, 2, if_any=True),
        col.large("Input", lambda row: row.tokens.input, 1),
        col.large("Output", lambda row: row.tokens.output, 1),
        col.large("Reasoning", lambda row: row.tokens.reasoning, 7),
        col.large("Cache read", lambda row: row.tokens.cache_read, 5),
        col.large("Cache write", lambda row: row.tokens.cache_write, 6),
        col.large("Tokens", lambda row: row.tokens.total),
        col.cost(lambda row: row.cost_usd),
    ]
    yield from grid(page, "Model", lambda row: names[row.provider, row.model], columns, rows)
