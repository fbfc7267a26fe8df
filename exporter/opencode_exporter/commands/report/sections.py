"""
Sections of the page: one function a table, from the document to what is printed.

Each yields a sentence instead of its table where there is nothing to show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from opencode_exporter.commands.report import tables, units
from opencode_exporter.commands.report.document import (
    LanguageFigures,
    ModelFigures,
    Report,
    SkillFigures,
    ToolFigures,
    Transition,
)
from opencode_exporter.commands.report.tables import Column, Page, grid

Model = tuple[str, str]
"""Provider and model."""
_CELL_WIDTH: Final = 20


def skills(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the skills by use."""
    rows = [one for one in report.skills if one.invocations.total]
    if not rows:
        yield "No skill has been loaded."
        return
    columns: list[Column[SkillFigures]] = [
        *tables.use(page, "Loads", rows, lambda row: row.invocations.total),
        tables.success(page.marks, lambda row: row.invocations),
        *tables.spread(page.marks, lambda row: row.duration),
        *tables.ends(lambda row: row.invocations),
        tables.number("Sessions", lambda row: row.sessions, 3),
        tables.number("Reloads", lambda row: row.reloads),
        tables.large("Content", lambda row: row.content_bytes, 6, "B"),
    ]
    yield from grid(page, "Skill", lambda row: row.skill, columns, rows)


def never_used(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the skills that are installed and have never been loaded."""
    if not report.never_used:
        installed = (
            "Every installed skill has been used." if report.skills else "None is installed."
        )
        yield installed
        return
    shown = [f"{one.skill} ({one.scope})" for one in report.never_used[: page.top]]
    more = len(report.never_used) - len(shown)
    rest = f" {page.marks.more} and {more:,} more (--top)" if more else ""
    yield Text(", ".join(shown) + rest)


def runs(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the outcomes, calls, tokens and cost of skill runs."""
    rows = [one for one in report.skills if one.runs.outcomes.total]
    rows.sort(key=lambda row: (-row.runs.outcomes.total, row.skill))
    if not rows:
        yield "No skill run has closed."
        return
    columns: list[Column[SkillFigures]] = [
        tables.number("Runs", lambda row: row.runs.outcomes.total),
        tables.success(page.marks, lambda row: row.runs.outcomes),
        *tables.spread(page.marks, lambda row: row.runs.duration, 2),
        tables.number("Failed", lambda row: row.runs.outcomes.failed),
        tables.number("Interrupted", lambda row: row.runs.outcomes.interrupted, 3, if_any=True),
        tables.number("Abandoned", lambda row: row.runs.outcomes.abandoned, 4, if_any=True),
        tables.number("Calls", lambda row: row.runs.invocations.total, 5),
        tables.number("Retries", lambda row: row.runs.retries, 1),
        tables.large("Tokens", lambda row: row.runs.tokens.total),
        tables.cost(lambda row: row.runs.cost_usd),
    ]
    yield from grid(page, "Skill", lambda row: row.skill, columns, rows)


def transitions(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield how often one skill was loaded after another."""
    if not report.transitions:
        yield "No session has loaded two skills."
        return

    def name(row: Transition) -> str:
        return f"{row.from_skill} {page.marks.arrow} {row.to_skill}"

    columns = tables.use(page, "Times", report.transitions, lambda row: row.count)
    yield from grid(page, "From and to", name, columns, report.transitions)


def agents(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield how each skill works for each agent, as a heatmap."""
    cells = {(one.agent, one.skill): one.invocations for one in report.agents_skills}
    if not cells:
        yield "No agent has loaded a skill."
        return
    by_agent, by_skill = Counter[str](), Counter[str]()
    for (agent, skill), invocations in cells.items():
        by_agent[agent] += invocations.total
        by_skill[skill] += invocations.total
    ranked = sorted(by_agent, key=lambda one: (-by_agent[one], one))
    fitting = ranked[: max(1, (page.width - _CELL_WIDTH) // _CELL_WIDTH)]

    heat = tables.heating(page, cells.values())

    def column(agent: str) -> Column[str]:
        return Column(agent, lambda skill: heat(cells.get((agent, skill))))

    rows = sorted(by_skill, key=lambda one: (-by_skill[one], one))
    yield from grid(page, "Skill", str, [column(agent) for agent in fitting], rows)
    if left_out := ranked[len(fitting) :]:
        yield Text(f"Not on this page: {', '.join(left_out)}.", style="dim")


def tools(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the tools by use."""
    rows = report.tools
    if not rows:
        yield "No tool has been called."
        return
    columns: list[Column[ToolFigures]] = [
        *tables.use(page, "Calls", rows, lambda row: row.invocations.total),
        tables.success(page.marks, lambda row: row.invocations),
        *tables.spread(page.marks, lambda row: row.duration),
        *tables.ends(lambda row: row.invocations),
        tables.number("Retries", lambda row: row.retries, 3, if_any=True),
        tables.large("Output", lambda row: row.output_bytes, 6, "B"),
        tables.reasons(lambda row: row.errors),
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

    heat = tables.heating(page, cells.values())

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
    """Return a name for each model, with its provider where models share one."""
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
        *tables.use(page, "Lines", rows, lambda row: row.lines_added + row.lines_removed),
        tables.number("Added", lambda row: row.lines_added),
        tables.number("Removed", lambda row: row.lines_removed),
        tables.number("Read", lambda row: row.read),
        tables.number("Edited", lambda row: row.edited),
        tables.number("Created", lambda row: row.created, if_any=True),
        tables.number("Deleted", lambda row: row.deleted, if_any=True),
        tables.number("Moved", lambda row: row.moved, if_any=True),
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
        *tables.use(page, "Steps", rows, lambda row: row.steps),
        *tables.spread(page.marks, lambda row: row.duration),
        tables.number("Retries", lambda row: row.retries, 2, if_any=True),
        tables.large("Input", lambda row: row.tokens.input, 1),
        tables.large("Output", lambda row: row.tokens.output, 1),
        tables.large("Reasoning", lambda row: row.tokens.reasoning, 7),
        tables.large("Cache read", lambda row: row.tokens.cache_read, 5),
        tables.large("Cache write", lambda row: row.tokens.cache_write, 6),
        tables.large("Tokens", lambda row: row.tokens.total),
        tables.cost(lambda row: row.cost_usd),
    ]
    yield from grid(page, "Model", lambda row: names[row.provider, row.model], columns, rows)
