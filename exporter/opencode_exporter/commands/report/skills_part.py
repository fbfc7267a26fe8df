"""The page's part about skills: use, runs, what follows what, and how they work for agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from opencode_exporter.commands.report import columns as col
from opencode_exporter.commands.report.document import Report, SkillFigures, Transition
from opencode_exporter.commands.report.grid import Column, Page, grid

_CELL_WIDTH: Final = 20


def skills(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the skills by use."""
    rows = [one for one in report.skills if one.invocations.total]
    if not rows:
        yield "No skill has been loaded."
        return
    columns: list[Column[SkillFigures]] = [
        *col.use(page, "Loads", rows, lambda row: row.invocations.total),
        col.success(page.marks, lambda row: row.invocations),
        *col.spread(page.marks, lambda row: row.duration),
        *col.ends(lambda row: row.invocations),
        col.number("Sessions", lambda row: row.sessions, 3),
        col.number("Reloads", lambda row: row.reloads),
        col.large("Content", lambda row: row.content_bytes, 6, "B"),
    ]
    yield from grid(page, "Skill", lambda row: row.skill, columns, rows)


def never_used(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield the skills that are installed and that nobody asked for."""
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
    """Yield what became of the work that skills governed."""
    rows = [one for one in report.skills if one.runs.outcomes.total]
    rows.sort(key=lambda row: (-row.runs.outcomes.total, row.skill))
    if not rows:
        yield "No skill run has closed."
        return
    columns: list[Column[SkillFigures]] = [
        col.number("Runs", lambda row: row.runs.outcomes.total),
        col.success(page.marks, lambda row: row.runs.outcomes),
        *col.spread(page.marks, lambda row: row.runs.duration, 2),
        col.number("Failed", lambda row: row.runs.outcomes.failed),
        col.number("Interrupted", lambda row: row.runs.outcomes.interrupted, 3, if_any=True),
        col.number("Abandoned", lambda row: row.runs.outcomes.abandoned, 4, if_any=True),
        col.number("Calls", lambda row: row.runs.invocations.total, 5),
        col.number("Retries", lambda row: row.runs.retries, 1),
        col.large("Tokens", lambda row: row.runs.tokens.total),
        col.cost(lambda row: row.runs.cost_usd),
    ]
    yield from grid(page, "Skill", lambda row: row.skill, columns, rows)


def transitions(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield which skill was loaded after which."""
    if not report.transitions:
        yield "No session has loaded two skills."
        return

    def name(row: Transition) -> str:
        return f"{row.from_skill} {page.marks.arrow} {row.to_skill}"

    columns = col.use(page, "Times", report.transitions, lambda row: row.count)
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

    heat = col.heating(page, cells.values())

    def column(agent: str) -> Column[str]:
        return Column(agent, lambda skill: heat(cells.get((agent, skill))))

    rows = sorted(by_skill, key=lambda one: (-by_skill[one], one))
    yield from grid(page, "Skill", str, [column(agent) for agent in fitting], rows)
    if left_out := ranked[len(fitting) :]:
        yield Text(f"Not on this page: {', '.join(left_out)}.", style="dim")
