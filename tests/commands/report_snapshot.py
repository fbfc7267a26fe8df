"""
A snapshot written by hand, with something of everything that a report shows.

Numbers are in the scale of the ledger, as the real snapshot has them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from opencode_exporter import catalog as c
from opencode_exporter.catalog.metric import COST_SCALE
from opencode_exporter.counting.series import Histogram, Labels, Value
from opencode_exporter.expose.snapshot import AllSeries

NOON_MS = 1_795_003_200_000  # 2026-11-18T12:00:00Z
HOUR_MS = 3_600_000
Ends = Mapping[Labels, tuple[int, ...]]
"""Counts by status or outcome, in their usual order."""


def cells(metric: c.Metric, *values: float) -> Histogram:
    """Return a histogram of values in the metric's unit."""
    found = Histogram.empty(len(metric.buckets))
    for value in values:
        found.counts[bisect_left(metric.buckets, value)] += 1
    found.total = round(sum(values) * metric.scale)
    return found


def _statuses(metric: c.Metric, counts: Ends) -> dict[Labels, Value]:
    """Return the series of counts by status (or outcome), 0 included, in their usual order."""
    outcomes = ("succeeded", "failed", "interrupted", "abandoned")
    statuses = ("completed", "error", "denied", "aborted", "abandoned")
    ends = outcomes if metric.labels[-1] == "outcome" else statuses
    return {
        (*key, end): count
        for key, all_counts in counts.items()
        for end, count in zip(ends, all_counts, strict=True)
    }


def _skills() -> dict[c.Metric, dict[Labels, Value]]:
    loads: Ends = {
        ("pdf",): (18, 1, 2, 1, 3),
        ("review",): (7, 0, 0, 0, 0),
        ("_unknown",): (0, 4, 0, 0, 0),
        ("idle",): (0, 0, 0, 0, 0),
    }
    usage: Ends = {
        ("pdf", "model", "build", "shop"): (12, 1, 2, 1, 3),
        ("pdf", "user", "plan", "shop"): (6, 0, 0, 0, 0),
        ("review", "model", "plan", "shop"): (7, 0, 0, 0, 0),
        ("_unknown", "model", "build", "shop"): (0, 4, 0, 0, 0),
    }
    runs: Ends = {("pdf", "build"): (9, 3, 1, 0), ("review", "plan"): (0, 0, 0, 2)}
    inside: Ends = {("pdf", "shell"): (30, 2, 0, 0, 0), ("pdf", "read"): (8, 0, 0, 0, 0)}
    return {
        c.SKILL_INVOCATIONS: _statuses(c.SKILL_INVOCATIONS, loads),
        c.SKILL_USAGE: _statuses(c.SKILL_USAGE, usage),
        c.SKILL_DURATION: {
            ("pdf", "completed"): cells(c.SKILL_DURATION, *[0.03] * 18),
            ("pdf", "error"): cells(c.SKILL_DURATION, 5000),
        },
        c.SKILL_ERRORS: {("pdf", "timeout"): 1, ("_unknown", "not_found"): 4},
        c.SKILL_SESSIONS: {("pdf",): 11, ("review",): 7},
        c.SKILL_RELOADS: {("pdf",): 7},
        c.SKILL_CONTENT: {("pdf",): 43_210, ("review",): 999},
        c.SKILL_FIRST_USED: {("pdf",): NOON_MS, ("review",): NOON_MS + HOUR_MS},
        c.SKILL_LAST_USED: {("pdf",): NOON_MS + 9 * HOUR_MS, ("review",): NOON_MS + 2 * HOUR_MS},
        c.SKILL_INSTALLED: {("pdf", "user"): 1, ("idle", "project"): 1, ("spare", "builtin"): 1},
        c.SKILL_TRANSITIONS: {("pdf", "review"): 5, ("review", "pdf"): 2, ("pdf", "pdf"): 5},
        c.SKILL_RUNS: _statuses(c.SKILL_RUNS, runs),
        c.SKILL_RUN_DURATION: {("pdf",): cells(c.SKILL_RUN_DURATION, 4, 40, 400)},
        c.SKILL_RUN_INVOCATIONS: _statuses(c.SKILL_RUN_INVOCATIONS, inside),
        c.SKILL_RUN_RETRIES: {("pdf",): 2},
        c.SKILL_RUN_TOKENS: {("pdf", "input"): 40_000, ("pdf", "cache_read"): 2_000_000},
        c.SKILL_RUN_COST: {("pdf",): 3 * COST_SCALE // 4},
    }


def _tools() -> dict[c.Metric, dict[Labels, Value]]:
    calls: Ends = {
        ("shell",): (1990, 10, 0, 0, 0),
        ("edit",): (60, 40, 5, 0, 0),
        ("tracker_search",): (0, 0, 3, 0, 0),
        ("glob",): (0, 0, 0, 0, 0),
    }
    return {
        c.TOOL_INVOCATIONS: _statuses(c.TOOL_INVOCATIONS, calls),
        c.TOOL_DURATION: {("shell", "completed"): cells(c.TOOL_DURATION, *[0.5] * 90, *[30] * 10)},
        c.TOOL_WAIT: {("shell",): cells(c.TOOL_WAIT, 1.5)},
        c.TOOL_ERRORS: {("edit", "edit_mismatch"): 37, ("edit", "file_access"): 3},
        c.TOOL_RETRIES: {("edit",): 12},
        c.TOOL_OUTPUT: {("shell",): 5_700_000},
        c.TOOL_TRUNCATED: {("shell",): 4},
        c.TOOL_IN_FLIGHT: {("shell",): 2, ("edit",): 0},
        c.TOOL_INFO: {
            ("shell", "shell", ""): 1,
            ("edit", "edit", ""): 1,
            ("tracker_search", "mcp", "tracker"): 1,
        },
    }


def _work() -> dict[c.Metric, dict[Labels, Value]]:
    attempts: Ends = {
        ("edit", "acme", "large"): (55, 35, 5, 0, 0),
        ("edit", "other", "large"): (5, 5, 0, 0, 0),
        ("patch", "acme", "small"): (0, 0, 1, 0, 0),
    }
    large, small = ("acme", "large"), ("acme", "small")
    return {
        c.EDIT_ATTEMPTS: _statuses(c.EDIT_ATTEMPTS, attempts),
        c.EDIT_TRIES: {("edit",): cells(c.EDIT_TRIES, 1, 1, 1, 2)},
        c.EDIT_ABANDONED: {("edit",): 6},
        c.EDIT_LINES: {("added", "python"): 120, ("removed", "python"): 30, ("added", "go"): 200},
        c.FILE_OPERATIONS: {("read", "python"): 44, ("edited", "go"): 9, ("read", "_other"): 1},
        c.SESSIONS: {("root", "shop"): 9, ("subagent", "shop"): 3, ("root", "site"): 1},
        c.TURNS: _statuses(c.TURNS, {("build",): (30, 2, 1, 1), ("plan",): (8, 0, 0, 0)}),
        c.TURN_DURATION: {
            ("build",): cells(c.TURN_DURATION, 20),
            ("plan",): cells(c.TURN_DURATION),
        },
        c.STEPS: {(*large, "stop"): 40, (*large, "tool-calls"): 90, (*small, "stop"): 7},
        c.STEP_DURATION: {large: cells(c.STEP_DURATION, 3, 4, 5)},
        c.MODEL_RESPONSE: {large: cells(c.MODEL_RESPONSE, 2)},
        c.MODEL_RETRIES: {large: 3},
        c.TOKENS: {(*large, "input"): 1_000_000, (*large, "output"): 50_000, (*small, "input"): 9},
        c.COST: {(*large, "build", "shop"): 25 * COST_SCALE // 2, (*large, "plan", "shop"): 0},
    }


def snapshot() -> AllSeries:
    """Return it."""
    source: dict[c.Metric, dict[Labels, Value]] = {
        c.UP: {("opencode.db",): 1, ("broken.db",): 0},
        c.POLLS: {("opencode.db", "ok"): 1, ("broken.db", "error"): 1},
        c.SOURCE_INFO: {("opencode.db", "v2", "2.0.15"): 1, ("opencode.db", "v1", "1.18.33"): 1},
        c.SOURCE_LAST_EVENT: {("opencode.db",): NOON_MS + 10 * HOUR_MS},
        c.ROWS_REJECTED: {("opencode.db", "message", "json"): 2},
    }
    return _skills() | _tools() | _work() | source
