"""
Figures: a report computed from one snapshot.

Pure: the clock's time and the request are passed in.  The durations of invocations
are those of completed and failed ones together.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from opencode_exporter import catalog as c
from opencode_exporter.commands.report import document as d
from opencode_exporter.commands.report.queries import (
    NO_DURATIONS,
    Sums,
    calls,
    dollars,
    durations,
    outcomes,
    tokens,
    when,
)
from opencode_exporter.counting.series import Histogram
from opencode_exporter.errors import printable
from opencode_exporter.expose.snapshot import AllSeries


class Asked(NamedTuple):
    """The request for a report.  Times are Unix ms, 0 for none; the project may be empty."""

    now_ms: int
    since_ms: int = 0
    project: str = ""


def figures(snapshot: AllSeries, asked: Asked) -> d.Report:
    """Return the report on a snapshot, which was taken for the same request."""
    sums = Sums(snapshot)
    skills = _skills(sums)
    return d.Report(
        version=d.VERSION,
        generated_at=when(asked.now_ms) or "",
        since=when(asked.since_ms),
        project=printable(asked.project) or None,
        sources=_sources(sums),
        period=_period(sums),
        totals=_totals(sums, asked),
        skills=skills,
        never_used=_never_used(sums, {figure.skill for figure in skills}),
        tools=_tools(sums),
        edit_formats=_edit_formats(sums),
        edit_changes=_edit_changes(sums),
        languages=_languages(sums),
        models=_models(sums),
        transitions=_transitions(sums),
        agents_skills=_agents_skills(sums),
    )


def _sources(sums: Sums) -> tuple[d.SourceFigures, ...]:
    up = sums.by(c.UP, "source")
    last = sums.by(c.SOURCE_LAST_EVENT, "source")
    rejected = sums.by(c.ROWS_REJECTED, "source")
    versions = sorted(sums.by(c.SOURCE_INFO, *c.SOURCE_INFO.labels))
    # A poll that failed leaves 0, which a sum does not hold.
    names = sorted({source for source, _ in sums.by(c.POLLS, "source", "result")})
    return tuple(
        d.SourceFigures(
            source=name,
            up=bool(up[name,]),
            versions=tuple(
                d.OpenCodeVersion(generation, version)
                for source, generation, version in versions
                if source == name
            ),
            newest_event=when(last[name,]),
            rows_rejected=rejected[name,],
        )
        for name in names
    )


def _period(sums: Sums) -> d.Period:
    first = sums.by(c.SKILL_FIRST_USED, "skill").values()
    last = sums.by(c.SKILL_LAST_USED, "skill").values()
    newest = sums.by(c.SOURCE_LAST_EVENT, "source").values()
    return d.Period(
        first_skill_load=when(min(first, default=0)),
        last_skill_load=when(max(last, default=0)),
        newest_event=when(max(newest, default=0)),
    )


def _statuses(sums: Sums, metric: c.Metric) -> Counter[str]:
    return Counter({status: count for (status,), count in sums.by(metric, "status").items()})


def _totals(sums: Sums, asked: Asked) -> d.Totals:
    kinds = {kind: count for (kind,), count in sums.by(c.SESSIONS, "session_kind").items()}
    turns = {end: count for (end,), count in sums.by(c.TURNS, "outcome").items()}
    used = {kind: count for (kind,), count in sums.by(c.TOKENS, "token_type").items()}
    return d.Totals(
        sessions=sum(kinds.values()),
        sessions_by_kind=dict(sorted(kinds.items())),
        turns=outcomes(turns),
        turn_duration=durations(c.TURN_DURATION, sums.histograms(c.TURN_DURATION).get(())),
        steps=sums.total(c.STEPS),
        invocations=calls(_statuses(sums, c.TOOL_INVOCATIONS)),
        in_flight=None if asked.project else sums.total(c.TOOL_IN_FLIGHT),
        skill_loads=calls(_statuses(sums, c.SKILL_INVOCATIONS)),
        tokens=tokens(used),
        cost_usd=dollars(c.COST, sums.total(c.COST)),
    )


def _ranked(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _skills(sums: Sums) -> tuple[d.SkillFigures, ...]:
    loads = sums.inner(c.SKILL_INVOCATIONS, ("skill",), "status")
    runs = _runs(sums)
    spread = sums.durations(c.SKILL_DURATION, "skill")
    errors = sums.inner(c.SKILL_ERRORS, ("skill",), "reason")
    triggers = sums.inner(c.SKILL_USAGE, ("skill",), "trigger")
    sessions, reloads, content, first, last = (
        sums.by(metric, "skill")
        for metric in (
            c.SKILL_SESSIONS,
            c.SKILL_RELOADS,
            c.SKILL_CONTENT,
            c.SKILL_FIRST_USED,
            c.SKILL_LAST_USED,
        )
    )
    found = (
        d.SkillFigures(
            skill=key[0],
            invocations=calls(loads.get(key, {})),
            duration=spread.get(key, NO_DURATIONS),
            errors=_ranked(errors.get(key, Counter())),
            triggers=_ranked(triggers.get(key, Counter())),
            sessions=sessions[key],
            reloads=reloads[key],
            content_bytes=content[key],
            first_used=when(first[key]),
            last_used=when(last[key]),
            runs=runs.get(key, _NO_RUNS),
        )
        for key in loads.keys() | runs.keys()
    )
    return tuple(sorted(found, key=lambda one: (-one.invocations.total, one.skill)))


_NO_RUNS = d.RunFigures(outcomes({}), NO_DURATIONS, calls({}), 0, tokens({}), 0.0)


def _runs(sums: Sums) -> dict[tuple[str, ...], d.RunFigures]:
    ends = sums.inner(c.SKILL_RUNS, ("skill",), "outcome")
    spread = sums.durations(c.SKILL_RUN_DURATION, "skill")
    inside = sums.inner(c.SKILL_RUN_INVOCATIONS, ("skill",), "status")
    retries = sums.by(c.SKILL_RUN_RETRIES, "skill")
    used = sums.inner(c.SKILL_RUN_TOKENS, ("skill",), "token_type")
    cost = sums.by(c.SKILL_RUN_COST, "skill")
    return {
        key: d.RunFigures(
            outcomes=outcomes(ends.get(key, {})),
            duration=spread.get(key, NO_DURATIONS),
            invocations=calls(inside.get(key, {})),
            retries=retries[key],
            tokens=tokens(used.get(key, {})),
            cost_usd=dollars(c.SKILL_RUN_COST, cost[key]),
        )
        for key in ends.keys() | inside.keys() | used.keys() | cost.keys()
    }


def _never_used(sums: Sums, used: set[str]) -> tuple[d.InstalledSkill, ...]:
    installed = sorted(sums.by(c.SKILL_INSTALLED, "skill", "scope"))
    return tuple(d.InstalledSkill(*key) for key in installed if key[0] not in used)


def _tools(sums: Sums) -> tuple[d.ToolFigures, ...]:
    infos = {tool: more for tool, *more in sums.by(c.TOOL_INFO, "tool", "category", "server")}
    spread = sums.durations(c.TOOL_DURATION, "tool")
    waits = sums.durations(c.TOOL_WAIT, "tool")
    errors = sums.inner(c.TOOL_ERRORS, ("tool",), "reason")
    retries, output, cut = (
        sums.by(metric, "tool") for metric in (c.TOOL_RETRIES, c.TOOL_OUTPUT, c.TOOL_TRUNCATED)
    )
    found = []
    for key, statuses in sums.inner(c.TOOL_INVOCATIONS, ("tool",), "status").items():
        category, server = infos.get(key[0], ("", ""))
        found.append(
            d.ToolFigures(
                tool=key[0],
                category=category or None,
                server=server or None,
                invocations=calls(statuses),
                duration=spread.get(key, NO_DURATIONS),
                wait=waits.get(key, NO_DURATIONS),
                errors=_ranked(errors.get(key, Counter())),
                retries=retries[key],
                output_bytes=output[key],
                outputs_truncated=cut[key],
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.invocations.total, one.tool)))


def _edit_formats(sums: Sums) -> tuple[d.EditFormat, ...]:
    attempts = sums.inner(c.EDIT_ATTEMPTS, ("tool", "provider", "model"), "status")
    found = (
        d.EditFormat(tool, provider, model, calls(statuses))
        for (tool, provider, model), statuses in attempts.items()
    )
    return tuple(
        sorted(found, key=lambda one: (-one.attempts.total, one.tool, one.provider, one.model))
    )


def _edit_changes(sums: Sums) -> tuple[d.EditChanges, ...]:
    tries = sums.histograms(c.EDIT_TRIES, "tool")
    abandoned = sums.by(c.EDIT_ABANDONED, "tool")
    found = []
    for key in tries.keys() | abandoned.keys():
        held = tries.get(key) or Histogram.empty(len(c.EDIT_TRIES.buckets))
        found.append(d.EditChanges(key[0], held.count, held.counts[0], abandoned[key]))
    return tuple(sorted(found, key=lambda one: (-one.made, one.tool)))


def _languages(sums: Sums) -> tuple[d.LanguageFigures, ...]:
    lines = sums.inner(c.EDIT_LINES, ("language",), "change")
    operations = sums.inner(c.FILE_OPERATIONS, ("language",), "operation")
    found = []
    for key in lines.keys() | operations.keys():
        changed, done = lines.get(key, Counter()), operations.get(key, Counter())
        kinds = (done[kind] for kind in ("read", "edited", "created", "deleted", "moved"))
        found.append(d.LanguageFigures(key[0], changed["added"], changed["removed"], *kinds))
    return tuple(
        sorted(
            found,
            key=lambda one: (-one.lines_added - one.lines_removed, -one.read, one.language),
        )
    )


def _models(sums: Sums) -> tuple[d.ModelFigures, ...]:
    model = ("provider", "model")
    finishes = sums.inner(c.STEPS, model, "finish")
    spread = sums.durations(c.STEP_DURATION, *model)
    response = sums.durations(c.MODEL_RESPONSE, *model)
    retries = sums.by(c.MODEL_RETRIES, *model)
    used = sums.inner(c.TOKENS, model, "token_type")
    cost = sums.by(c.COST, *model)
    found = (
        d.ModelFigures(
            provider=key[0],
            model=key[1],
            steps=finishes.get(key, Counter()).total(),
            finishes=_ranked(finishes.get(key, Counter())),
            duration=spread.get(key, NO_DURATIONS),
            response=response.get(key, NO_DURATIONS),
            retries=retries[key],
            tokens=tokens(used.get(key, {})),
            cost_usd=dollars(c.COST, cost[key]),
        )
        for key in finishes.keys() | used.keys() | cost.keys()
    )
    return tuple(sorted(found, key=lambda one: (-one.steps, one.provider, one.model)))


def _transitions(sums: Sums) -> tuple[d.Transition, ...]:
    pairs = sums.by(c.SKILL_TRANSITIONS, "from_skill", "to_skill")
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(d.Transition(first, then, count) for (first, then), count in ranked)


def _agents_skills(sums: Sums) -> tuple[d.AgentSkill, ...]:
    usage = sums.inner(c.SKILL_USAGE, ("agent", "skill"), "status")
    found = (
        d.AgentSkill(agent, skill, calls(statuses)) for (agent, skill), statuses in usage.items()
    )
    return tuple(sorted(found, key=lambda one: (-one.invocations.total, one.agent, one.skill)))
