"""The page's head: what the report covers, and everything together."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from opencode_exporter.commands.report import units
from opencode_exporter.commands.report.document import (
    Calls,
    Outcomes,
    Report,
    SourceFigures,
    Totals,
)
from opencode_exporter.commands.report.tables import Page, rate_style


def headline(report: Report, page: Page) -> Iterator[RenderableType]:
    """Yield sources, period and totals."""
    yield Text("OpenCode report", style="bold")
    covered = [_source(one) for one in report.sources]
    if report.project is not None:
        covered.append(f"project {report.project}")
    yield Text(page.marks.between.join(covered))
    yield Text(_period(report), style="dim")
    yield ""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, number, more in _rows(report.totals):
        table.add_row(name, number, more)
    yield table


def _source(source: SourceFigures) -> str:
    wrote = ", ".join(one.opencode_version for one in source.versions)
    text = f"{source.source} (OpenCode {wrote})" if wrote else source.source
    if not source.up:
        text += ", cannot be read"
    if source.rows_rejected:
        rows = units.several(source.rows_rejected, "row")
        text += f", {rows} left out that could not be decoded"
    return text


def _period(report: Report) -> str:
    period = report.period
    parts = []
    if report.since:
        parts.append(f"since {units.moment(report.since)}")
    if period.first_skill_load and period.last_skill_load:
        first, last = units.moment(period.first_skill_load), units.moment(period.last_skill_load)
        parts.append(f"skills loaded from {first} to {last}")
    if period.newest_event:
        parts.append(f"newest event {units.moment(period.newest_event)}")
    parts.append(f"times in {units.zone(report.generated_at)}")
    text = ", ".join(parts)
    return text[0].upper() + text[1:]


def _rows(totals: Totals) -> Iterator[tuple[str, str, Text]]:
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in totals.sessions_by_kind.items())
    yield "Sessions", units.count(totals.sessions), Text(kinds)
    yield "Turns", units.count(totals.turns.total), _turns(totals)
    yield "Steps", units.count(totals.steps), Text("")
    ends = _ends(totals.invocations)
    if totals.in_flight:
        ends.append(f"{', ' if ends else ''}{totals.in_flight:,} running now")
    yield "Invocations", units.count(totals.invocations.total), ends
    yield "Skill loads", units.count(totals.skill_loads.total), _ends(totals.skill_loads)
    tokens = totals.tokens
    kinds = ", ".join(
        f"{units.short(number)} {name}"
        for name, number in (
            ("input", tokens.input),
            ("output", tokens.output),
            ("reasoning", tokens.reasoning),
            ("cache read", tokens.cache_read),
            ("cache write", tokens.cache_write),
        )
        if number
    )
    yield "Tokens", units.short(tokens.total), Text(kinds)
    each = (
        f"{units.dollars(totals.cost_usd / totals.turns.total)} a turn"
        if totals.turns.total
        else ""
    )
    yield "Cost", units.dollars(totals.cost_usd), Text(each)


def _turns(totals: Totals) -> Text:
    text = _ends(totals.turns)
    spread = totals.turn_duration
    if spread.p50_seconds is not None and spread.p95_seconds is not None:
        text += f"; p50 {units.duration(spread.p50_seconds)}"
        text += f", p95 {units.duration(spread.p95_seconds)}"
    return text


def _ends(counts: Calls | Outcomes) -> Text:
    """Return the success rate and the counts of all other ends."""
    text = Text()
    if counts.success_rate is not None:
        text.append(f"{units.rate(counts.success_rate)} success", rate_style(counts.success_rate))
    if isinstance(counts, Calls):
        others = {"failed": counts.error, "denied": counts.denied, "aborted": counts.aborted}
    else:
        others = {"failed": counts.failed, "interrupted": counts.interrupted}
    for name, number in (*others.items(), ("abandoned", counts.abandoned)):
        if number:
            text.append(f"{', ' if text else ''}{number:,} {name}")
    return text
