"""Tools: how often, how long, how they fail, what runs now."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import looks, panels, tables
from boards.board import board, choice
from boards.failures import AGE, THESE, TOOL, age, failures, shell
from boards.queries import (
    by,
    ever,
    failure_rate,
    mean,
    pick,
    quantile,
    rate,
    share,
    spans,
    top,
    total,
)
from boards.tables import Column
from opencode_exporter import catalog as c


def _heroes() -> list[panels.AnyPanel]:
    return [
        panels.numbers(
            "Invocations",
            "How often were these tools used?",
            spans(lambda count: count(c.TOOL_USAGE, (), THESE)),
            unit=looks.LARGE,
        ),
        panels.numbers(
            "Failure rate",
            "How many of their invocations failed?",
            spans(lambda count: failure_rate(c.TOOL_USAGE, (), THESE, count=count)),
            unit=looks.SHARE,
            decimals=1,
            steps=looks.FAILURES,
        ),
        panels.numbers(
            "Retries",
            "How often was a failed invocation tried again in the same turn?",
            spans(lambda count: count(c.TOOL_RETRIES, (), THESE)),
        ),
        panels.numbers(
            "Output",
            "How much text did they return?",
            spans(lambda count: count(c.TOOL_OUTPUT, (), THESE)),
            unit="decbytes",
        ),
        panels.numbers(
            "Running now",
            "How many invocations run now?",
            {"now": f"sum({pick(c.TOOL_IN_FLIGHT, THESE)})"},
            moving=True,
        ),
        panels.numbers(
            "Oldest one",
            "For how long has the oldest running invocation run: is one stuck?",
            {"running for": f"max({age()}) or vector(0)"},
            unit="s",
            decimals=0,
            steps=AGE,
            moving=True,
        ),
    ]


def _health() -> panels.AnyPanel:
    ended = f'status=~"{"completed|error"}"'
    return tables.table(
        "Health",
        "Which tools are used, do they work, how long do they take?",
        {"tool": "Tool"},
        [
            Column(
                "Invocations",
                f"{total(c.TOOL_INVOCATIONS, TOOL, THESE)} > 0",
                decimals=0,
                bar=True,
            ),
            Column(
                "Failed",
                failure_rate(c.TOOL_INVOCATIONS, TOOL, THESE),
                unit=looks.SHARE,
                decimals=1,
                steps=looks.FAILURES,
                width=85,
            ),
            Column("p50", quantile(0.5, c.TOOL_DURATION, TOOL, THESE), unit="s", width=95),
            Column("p95", quantile(0.95, c.TOOL_DURATION, TOOL, THESE), unit="s", width=95),
            Column("Mean wait", mean(c.TOOL_WAIT, TOOL, THESE), unit="s", width=105),
            Column("Retries", total(c.TOOL_RETRIES, TOOL, THESE), decimals=0, width=85),
            Column("Output", total(c.TOOL_OUTPUT, TOOL, THESE), unit="decbytes", width=95),
            Column(
                "Output a call",
                share(
                    total(c.TOOL_OUTPUT, TOOL, THESE),
                    total(c.TOOL_INVOCATIONS, TOOL, THESE, ended),
                ),
                unit="decbytes",
                width=115,
            ),
            Column(
                "Cut",
                share(
                    total(c.TOOL_TRUNCATED, TOOL, THESE),
                    total(c.TOOL_INVOCATIONS, TOOL, THESE, ended),
                ),
                unit=looks.SHARE,
                decimals=1,
                width=80,
            ),
            Column(
                "Running",
                by(TOOL, pick(c.TOOL_IN_FLIGHT, THESE)),
                decimals=0,
                width=85,
            ),
        ],
        label_width=190,
        none="no tool was used",
        height=12,
    )


def _use() -> list[panels.AnyPanel]:
    return [
        panels.lines(
            "Invocations a minute by status",
            "How busy are agents, and how do their invocations end?",
            {"{{status}}": f"60 * {rate(c.TOOL_USAGE, ('status',), THESE)}"},
            unit=looks.PER_MINUTE,
            stacked=True,
        ),
        panels.lines(
            "Invocations a minute by tool",
            "When is which tool used?",
            {"{{tool}}": f"60 * {rate(c.TOOL_USAGE, TOOL, THESE)}"},
            unit=looks.PER_MINUTE,
            stacked=True,
            beside=True,
            calcs=("mean",),
        ),
    ]


def _time() -> list[panels.AnyPanel]:
    duration = {
        f"p{q * 100:.0f}": quantile(q, c.TOOL_DURATION, (), THESE, count=rate)
        for q in (0.5, 0.9, 0.99)
    }
    return [
        panels.heat(
            "Durations",
            "How are durations spread, and do they move?",
            by(
                ("le",),
                f"increase({pick(c.TOOL_DURATION, THESE, suffix='_bucket')}[$__rate_interval])",
            ),
        ),
        panels.lines(
            "Duration quantiles",
            "How long do invocations take: half of them, 9 of 10, 99 of 100?",
            duration,
            unit="s",
            height=9,
        ),
        panels.lines(
            "Seconds of execution a minute",
            "On which tools do agents spend their time?",
            {"{{tool}}": f"60 * {rate(c.TOOL_DURATION, TOOL, THESE, suffix='_sum')}"},
            unit="suffix: s/min",
            decimals=1,
            stacked=True,
            beside=True,
            calcs=("mean",),
        ),
        panels.lines(
            "Mean wait before execution",
            "How long does an invocation wait before it runs (OpenCode 2.x records it)?",
            {"{{tool}}": mean(c.TOOL_WAIT, TOOL, THESE, count=rate)},
            unit="s",
            interval=panels.RARE,
            beside=True,
        ),
    ]


def _output() -> list[panels.AnyPanel]:
    returned = f"{ever(c.TOOL_OUTPUT, TOOL, THESE)} > 0"
    return [
        panels.lines(
            "Output an hour by tool",
            "Which tools fill the context?",
            {"{{tool}}": f"3600 * {rate(c.TOOL_OUTPUT, TOOL, THESE)} and {returned}"},
            unit="decbytes",
            stacked=True,
            interval=panels.RARE,
            beside=True,
            calcs=("mean",),
        ),
        panels.leaders(
            "Outputs that were cut",
            "Which tools return more than OpenCode keeps?",
            {"{{tool}}": top(10, total(c.TOOL_TRUNCATED, TOOL, THESE))},
            none="no output was cut",
        ),
    ]


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "opencode-tools",
        "Tools: how often are they used, do they work, how long do they take, what runs now?",
        {
            "": [*_heroes(), _health()],
            "Use": _use(),
            "Time": _time(),
            "Failures": failures(),
            "Shell": shell(),
            "Output": _output(),
        },
        extra=[choice("tool", c.TOOL_INVOCATIONS)],
    )
