"""Tools: how often, how long, how they fail, what runs now."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from boards import looks, panels, tables
from boards.board import board, choice
from boards.queries import (
    by,
    ever,
    failure_rate,
    in_range,
    mean,
    pick,
    quantile,
    rate,
    share,
    top,
    total,
)
from boards.tables import Column
from opencode_exporter import catalog as c

TOOL: Final = ("tool",)
THESE: Final = 'tool=~"$tool"'
AGE: Final[looks.Steps] = {0: looks.CALM, 600: looks.FAIR, 1800: looks.WORST}
"""Seconds for which an invocation runs: ten minutes are long, half an hour is stuck."""


def _age() -> str:
    """Return for how many seconds the oldest running invocation of each tool has run."""
    return f"time() - min by (tool) ({pick(c.TOOL_OLDEST_START, THESE)})"


def _heroes() -> list[panels.AnyPanel]:
    return [
        panels.numbers(
            "Invocations",
            "How often were these tools used?",
            {
                "in this time range": in_range(c.TOOL_USAGE, (), THESE),
                "since the beginning": ever(c.TOOL_USAGE, (), THESE),
            },
            unit=looks.LARGE,
        ),
        panels.numbers(
            "Failure rate",
            "How many of their invocations failed?",
            {
                "in this time range": failure_rate(c.TOOL_USAGE, (), THESE, count=in_range),
                "since the beginning": failure_rate(c.TOOL_USAGE, (), THESE, count=ever),
            },
            unit=looks.SHARE,
            decimals=1,
            steps=looks.FAILURES,
        ),
        panels.numbers(
            "Retries",
            "How often was a failed invocation tried again in the same turn?",
            {
                "in this time range": in_range(c.TOOL_RETRIES, (), THESE),
                "since the beginning": ever(c.TOOL_RETRIES, (), THESE),
            },
            unit=looks.LARGE,
        ),
        panels.numbers(
            "Output",
            "How much text did they return?",
            {
                "in this time range": in_range(c.TOOL_OUTPUT, (), THESE),
                "since the beginning": ever(c.TOOL_OUTPUT, (), THESE),
            },
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
            {"running for": f"max({_age()}) or vector(0)"},
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


def _failures() -> list[panels.AnyPanel]:
    return [
        panels.lines(
            "Failures an hour by reason",
            "Why do invocations fail, and since when?",
            {"{{reason}}": f"3600 * {rate(c.TOOL_ERRORS, ('reason',), THESE)}"},
            unit=looks.PER_HOUR,
            stacked=True,
            interval=panels.RARE,
            width=9,
        ),
        tables.matrix(
            "Failures by tool and reason",
            "Which tool fails for which reason?",
            f"{total(c.TOOL_ERRORS, ('tool', 'reason'), THESE)} >= 0.5",
            ("tool", "Tool"),
            "reason",
            steps={0: "semi-dark-yellow", 10: "semi-dark-orange", 100: "semi-dark-red"},
            none="nothing failed",
            width=15,
            height=8,
        ),
        panels.lines(
            "Retries an hour by tool",
            "Does an agent try the same thing again and again?",
            {"{{tool}}": f"3600 * {rate(c.TOOL_RETRIES, TOOL, THESE)} > 0"},
            unit=looks.PER_HOUR,
            stacked=True,
            interval=panels.RARE,
            width=8,
        ),
        panels.lines(
            "Running at the same time",
            "What runs now, and how much of it at once?",
            {"{{tool}}": f"sum by (tool) ({pick(c.TOOL_IN_FLIGHT, THESE)}) > 0"},
            decimals=0,
            stacked=True,
            interval="15s",
            width=8,
        ),
        panels.leaders(
            "Running for how long",
            "Is a running invocation stuck?",
            {"{{tool}}": f"sort_desc({_age()})"},
            unit="s",
            steps=AGE,
            none="nothing is running",
            width=8,
        ),
    ]


def _shell() -> list[panels.AnyPanel]:
    exits = total(c.SHELL_EXITS, ("program", "exit"))
    programs = total(c.SHELL_EXITS, ("program",))
    failed = total(c.SHELL_EXITS, ("program",), 'exit=~"nonzero|timeout|killed"')
    return [
        tables.table(
            "Shell commands",
            "Which programs do agents run, and which of them fail?",
            {"program": "Program"},
            [
                Column("Runs", f"{programs} > 0", decimals=0, bar=True),
                Column(
                    "Did not exit with 0",
                    share(failed, programs),
                    unit=looks.SHARE,
                    decimals=1,
                    steps=looks.FAILURES,
                    bar=True,
                ),
            ],
            label_width=140,
            none="no shell command was run",
            width=12,
        ),
        tables.matrix(
            "Shell exits",
            "How did the programs end?",
            f"{exits} >= 0.5",
            ("program", "Program"),
            "exit",
            steps={0: "transparent"},
            none="no shell command was run",
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
            "Failures": _failures(),
            "Shell": _shell(),
            "Output": _output(),
        },
        extra=[choice("tool", c.TOOL_INVOCATIONS)],
    )
