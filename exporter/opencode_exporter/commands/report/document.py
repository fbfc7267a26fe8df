"""
The document: what a report says, as plain data that becomes JSON.

Keys are promises to those who read the JSON; `VERSION` rises when one of them is
renamed, dropped or given another meaning.  Times are ISO 8601 in UTC, durations
seconds, costs US dollars, rates 0 to 1; an unknown value is None.
"""

from __future__ import annotations

from typing import Final

import msgspec

VERSION: Final = 1


class Calls(msgspec.Struct, frozen=True):
    """Invocations by status; the rate is completed over completed and error."""

    total: int
    completed: int
    error: int
    denied: int
    aborted: int
    abandoned: int
    success_rate: float | None


class Outcomes(msgspec.Struct, frozen=True):
    """Turns or runs by outcome; the rate is succeeded over succeeded and failed."""

    total: int
    succeeded: int
    failed: int
    interrupted: int
    abandoned: int
    success_rate: float | None


class Durations(msgspec.Struct, frozen=True):
    """Count, mean and quantiles of a histogram; quantiles are estimated from its buckets."""

    count: int
    mean_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None


class Tokens(msgspec.Struct, frozen=True):
    """Tokens by type; they do not overlap."""

    total: int
    input: int
    output: int
    reasoning: int
    cache_read: int
    cache_write: int


class OpenCodeVersion(msgspec.Struct, frozen=True):
    """The newest version that wrote in one storage generation."""

    generation: str
    opencode_version: str


class SourceFigures(msgspec.Struct, frozen=True):
    """One database."""

    source: str
    up: bool
    versions: tuple[OpenCodeVersion, ...]
    newest_event: str | None
    rows_rejected: int


class Period(msgspec.Struct, frozen=True):
    """The first and last skill load and the newest event."""

    first_skill_load: str | None
    last_skill_load: str | None
    newest_event: str | None


class Totals(msgspec.Struct, frozen=True):
    """
    Totals of the report; ``invocations`` are those of tools, the model's skill loads included.

    ``in_flight`` is None in a report on one project: it is counted for all together.
    """

    sessions: int
    sessions_by_kind: dict[str, int]
    turns: Outcomes
    turn_duration: Durations
    steps: int
    invocations: Calls
    in_flight: int | None
    skill_loads: Calls
    tokens: Tokens
    cost_usd: float


class RunFigures(msgspec.Struct, frozen=True):
    """The runs of one skill, and the work inside them."""

    outcomes: Outcomes
    duration: Durations
    invocations: Calls
    retries: int
    tokens: Tokens
    cost_usd: float


class SkillFigures(msgspec.Struct, frozen=True):
    """One skill that was loaded."""

    skill: str
    invocations: Calls
    duration: Durations
    errors: dict[str, int]
    triggers: dict[str, int]
    sessions: int
    reloads: int
    content_bytes: int
    first_used: str | None
    last_used: str | None
    runs: RunFigures


class InstalledSkill(msgspec.Struct, frozen=True):
    """A skill that lies on disk."""

    skill: str
    scope: str


class ToolFigures(msgspec.Struct, frozen=True):
    """One tool that was called; ``server`` is the MCP server that brings it."""

    tool: str
    category: str | None
    server: str | None
    invocations: Calls
    duration: Durations
    wait: Durations
    errors: dict[str, int]
    retries: int
    output_bytes: int
    outputs_truncated: int


class EditFormat(msgspec.Struct, frozen=True):
    """How one editing tool works for one model."""

    tool: str
    provider: str
    model: str
    attempts: Calls


class EditChanges(msgspec.Struct, frozen=True):
    """Changes to files by one editing tool: made, of those at the first attempt, given up."""

    tool: str
    made: int
    at_first_attempt: int
    abandoned: int


class LanguageFigures(msgspec.Struct, frozen=True):
    """Lines and file operations of one language."""

    language: str
    lines_added: int
    lines_removed: int
    read: int
    edited: int
    created: int
    deleted: int
    moved: int


class ModelFigures(msgspec.Struct, frozen=True):
    """One model of one provider."""

    provider: str
    model: str
    steps: int
    finishes: dict[str, int]
    duration: Durations
    response: Durations
    retries: int
    tokens: Tokens
    cost_usd: float


class Transition(msgspec.Struct, frozen=True):
    """Two skills loaded one after the other in a session."""

    from_skill: str
    to_skill: str
    count: int


class AgentSkill(msgspec.Struct, frozen=True):
    """How one skill works for one agent."""

    agent: str
    skill: str
    invocations: Calls


class Report(msgspec.Struct, frozen=True):
    """The whole report.  Lists are sorted by use, the most used first."""

    version: int
    generated_at: str
    since: str | None
    project: str | None
    sources: tuple[SourceFigures, ...]
    period: Period
    totals: Totals
    skills: tuple[SkillFigures, ...]
    never_used: tuple[InstalledSkill, ...]
    tools: tuple[ToolFigures, ...]
    edit_formats: tuple[EditFormat, ...]
    edit_changes: tuple[EditChanges, ...]
    languages: tuple[LanguageFigures, ...]
    models: tuple[ModelFigures, ...]
    transitions: tuple[Transition, ...]
    agents_skills: tuple[AgentSkill, ...]
