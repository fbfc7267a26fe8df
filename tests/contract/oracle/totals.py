"""
All event metrics of a database at rest, by name and labels.

Counters map their label values, in the order of the metrics contract, to a number;
histograms map them to the observations in milliseconds (or in calls, or attempts).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contract.oracle import edits, runs
from contract.oracle.edits import Language, language
from contract.oracle.model import LATER_MS, Row, Session, took
from contract.oracle.reading import read, todos
from contract.oracle.turns import Turn, turns

Labels = tuple[str, ...]
Counts = Counter[Labels]
Observed = Mapping[Labels, list[int]]
Expected = dict[str, Any]
"""Values by labels, or observations by labels, of each metric."""


def expected(*paths: Path, of: Language = language, now: int = LATER_MS) -> Expected:
    """
    Return what an exporter must show for databases at rest, all calls being over.

    Args:
        paths: The databases; nobody writes to them.
        of: Tells a file's language by its name.
        now: When they are read, Unix ms.
    """
    sessions = read(*paths, now=now)
    return of_sessions(sessions, of) | {
        "opencode_todos": sum(map(Counter, map(todos, paths)), Counter[Labels]())
    }


def of_sessions(sessions: list[Session], of: Language = language) -> Expected:
    """Return the same for sessions that have been read."""
    counted = [one for one in sessions if any(_is_message(row) for row in one.rows) or one.copies]
    every = [turn for session in sessions for turn in turns(session)]
    return (
        _of_turns(every)
        | _of_runs(every)
        | _of_skills(sessions)
        | _of_edits(sessions, every, of)
        | _of_steps([(session, row) for session in sessions for row in session.rows])
        | _of_messages(counted)
    )


def _is_message(row: Row) -> bool:
    return bool(row.role or row.skills)


def _observations(pairs: Iterable[tuple[Labels, int | None]]) -> Observed:
    found: dict[Labels, list[int]] = defaultdict(list)
    for labels, value in pairs:
        if value is not None:
            found[labels].append(value)
    return dict(found)


def _of_turns(every: list[Turn]) -> Expected:
    """Turns "that ended"; those of sub-agents are turns too (choice)."""
    return {
        "opencode_turns_total": Counter((turn.agent, turn.outcome) for turn in every),
        "opencode_turn_duration_seconds": _observations(
            ((turn.agent,), turn.duration) for turn in every
        ),
        "opencode_tool_retries_total": Counter(
            (call.tool,) for turn in every for _, call in runs.retries(turn)
        ),
    }


def _of_runs(every: list[Turn]) -> Expected:
    """Runs; what is in a run counts to that run alone."""
    found = runs.skill_runs(every)
    retried = Counter(
        (run.skill,)
        for turn in every
        for step, _ in runs.retries(turn)
        if (run := found.of_step.get(step.message))
    )
    calls, tokens, cost = Counter[Labels](), Counter[Labels](), defaultdict[Labels, float](float)
    for run in found.runs:
        for step in run.steps:
            for call in step.calls:
                calls.update((run.skill, *one) for one in call.counted)
            for kind, used in step.tokens.items():
                tokens[run.skill, kind] += used
            cost[run.skill,] += step.cost
    return {
        "opencode_skill_runs_total": Counter(
            (run.skill, run.agent, run.outcome) for run in found.runs
        ),
        "opencode_skill_run_duration_seconds": _observations(
            ((run.skill,), run.duration) for run in found.runs
        ),
        "opencode_skill_run_tool_invocations_total": calls,
        "opencode_skill_run_retries_total": retried,
        "opencode_skill_run_tokens_total": +tokens,
        "opencode_skill_run_cost_usd_total": {key: usd for key, usd in cost.items() if usd},
        "opencode_exporter_unattributed_total": Counter({(): found.unattributed}),
    }


def _of_skills(sessions: list[Session]) -> Expected:
    return {
        "opencode_skill_transitions_total": Counter(
            pair for session in sessions for pair in runs.transitions(session)
        ),
        "opencode_skill_next_tool_total": Counter(
            pair for session in sessions for pair in runs.next_tools(session)
        ),
    }


def _of_edits(sessions: list[Session], every: list[Turn], of: Language) -> Expected:
    """Edits; an attempt is a call, whatever its status and however many files it names."""
    attempts = Counter(
        (call.tool, step.provider, step.model, call.status)
        for session in sessions
        for step in session.steps
        for call in filter(edits.is_edit, step.calls)
    )
    changes = [edits.changes(turn) for turn in every]
    return {
        "opencode_edit_attempts_total": attempts,
        "opencode_edit_attempts_per_change": _observations(
            ((tool,), tries) for done, _ in changes for tool, tries in done
        ),
        "opencode_edit_abandoned_changes_total": _sum(abandoned for _, abandoned in changes),
        "opencode_edit_lines_total": _sum(edits.lines(one, of) for one in sessions),
        "opencode_file_operations_total": _sum(edits.operations(one, of) for one in sessions),
    }


def _sum(counts: Iterable[Counts]) -> Counts:
    total: Counts = Counter()
    for one in counts:
        total.update(one)
    return total


def _of_steps(rows: list[tuple[Session, Row]]) -> Expected:
    """
    Model steps: a compaction's summary and a sub-agent's steps among them.

    "Model steps that finished", "only steps with a `finish` have a duration".  Choices:
    the finish is the source's own word, so a step of 2.x that failed finished as
    `error`, and one of 1.x that failed did not finish; the model's response is measured
    for the same steps; tokens and cost count for every row that has them, those of v2's
    compactions included.  Retries: "one for each step that has `retry`".
    """
    finished = [(session, row) for session, row in rows if row.finish]
    tokens, cost = Counter[Labels](), defaultdict[Labels, float](float)
    retries = Counter[Labels]()
    for session, row in rows:
        for kind, used in row.tokens.items():
            tokens[row.provider, row.model, kind] += used
        cost[row.provider, row.model, row.agent, session.project] += row.cost
        retries[row.provider, row.model] += row.retries
    return {
        "opencode_steps_total": Counter(
            (row.provider, row.model, row.finish) for _, row in finished
        ),
        "opencode_step_duration_seconds": _observations(
            ((row.provider, row.model), took(row.created, row.completed, session.now))
            for session, row in finished
        ),
        "opencode_model_response_seconds": _observations(
            ((row.provider, row.model), took(row.created, row.streamed, session.now))
            for session, row in finished
        ),
        "opencode_model_retries_total": +retries,
        "opencode_tokens_total": +tokens,
        "opencode_cost_usd_total": {key: usd for key, usd in cost.items() if usd},
    }


def _of_messages(sessions: list[Session]) -> Expected:
    """
    Sessions and messages.

    "A session is counted at its first message": choice: of a role, or a skill that the
    user invoked.  A message is a row of 1.x, or one of type `user` or `assistant` of 2.x
    (whose users have no agent: `_unknown`); 1.x's synthetic and `!cmd` rows have a role,
    so they are messages.  Calls per session count those inside `execute`, and a session
    without calls is observed as 0; copies are not its calls.
    """
    rows = [row for session in sessions for row in session.rows]
    return {
        "opencode_sessions_total": Counter((one.kind, one.project) for one in sessions),
        "opencode_session_tool_invocations": _observations(
            ((one.kind,), sum(len(call.counted) for call in one.calls)) for one in sessions
        ),
        "opencode_messages_total": Counter((row.role, row.agent) for row in rows if row.role),
        "opencode_session_errors_total": Counter((row.error,) for row in rows if row.error),
        "opencode_session_compactions_total": Counter(
            (row.compaction,) for row in rows if row.compaction
        ),
    }
