"""One skill in detail: its loads, its runs, what they do and cost."""

from __future__ import annotations

from typing import Final

from boards import looks, panels, tables
from boards.queries import (
    ever,
    failure_rate,
    quantile,
    rate,
    share,
    spans,
    success_rate,
    top,
    total,
)
from boards.tables import Column
from opencode_exporter import catalog as c

THIS: Final = 'skill="$skill"'


def _numbers() -> list[panels.AnyPanel]:
    return [
        panels.numbers(
            "Loads",
            "How often was this skill loaded?",
            spans(lambda count: count(c.SKILL_USAGE, (), THIS)),
        ),
        panels.numbers(
            "Failed loads",
            "How many of its loads failed?",
            spans(lambda count: failure_rate(c.SKILL_USAGE, (), THIS, count=count)),
            unit=looks.SHARE,
            decimals=1,
            steps=looks.FAILURES,
        ),
        panels.numbers(
            "Runs that succeed",
            "How many of the runs after it came to their end?",
            spans(lambda count: success_rate(c.SKILL_RUNS, (), THIS, count=count)),
            unit=looks.SHARE,
            decimals=1,
            steps=looks.SUCCESSES,
        ),
        panels.numbers(
            "Length of a run",
            "How long does the work after a load take, in half of all runs and in 95 of 100?",
            {
                "half of all": quantile(0.5, c.SKILL_RUN_DURATION, (), THIS, count=ever),
                "95 of 100": quantile(0.95, c.SKILL_RUN_DURATION, (), THIS, count=ever),
            },
            unit="s",
            decimals=0,
        ),
        panels.numbers(
            "Cost of a run",
            "What does the work after a load cost, one by one and all together?",
            {
                "a run": share(ever(c.SKILL_RUN_COST, (), THIS), ever(c.SKILL_RUNS, (), THIS)),
                "all runs": ever(c.SKILL_RUN_COST, (), THIS),
            },
            unit="currencyUSD",
            decimals=2,
        ),
        panels.numbers(
            "Context",
            "How much text does a load put into the context, and how often is it loaded again?",
            {
                "bytes a load": share(
                    ever(c.SKILL_CONTENT, (), THIS),
                    ever(c.SKILL_INVOCATIONS, (), THIS, 'status="completed"'),
                ),
                "loads a session": share(
                    ever(c.SKILL_INVOCATIONS, (), THIS), ever(c.SKILL_SESSIONS, (), THIS)
                ),
            },
            decimals=1,
        ),
    ]


def detail() -> list[panels.AnyPanel]:
    """Return the panels about the skill that was chosen."""
    calls = total(c.SKILL_RUN_INVOCATIONS, ("tool",), THIS)
    return [
        *_numbers(),
        panels.lines(
            "Its loads an hour by status",
            "When was it loaded, and how did that end?",
            {"{{status}}": f"3600 * {rate(c.SKILL_USAGE, ('status',), THIS)}"},
            unit=looks.PER_HOUR,
            stacked=True,
            interval=panels.RARE,
            width=8,
        ),
        panels.lines(
            "Its runs an hour by outcome",
            "How did the work end that followed?",
            {"{{outcome}}": f"3600 * {rate(c.SKILL_RUNS, ('outcome',), THIS)}"},
            unit=looks.PER_HOUR,
            stacked=True,
            interval=panels.RARE,
            width=8,
        ),
        panels.lines(
            "Time to load this skill",
            "Does loading it take longer than it did?",
            {
                "median": quantile(0.5, c.SKILL_DURATION, (), THIS, count=rate),
                "p95": quantile(0.95, c.SKILL_DURATION, (), THIS, count=rate),
            },
            unit="s",
            interval=panels.RARE,
            width=8,
        ),
        tables.table(
            "Tools in its runs",
            "Which tools are called in its runs, and do they work?",
            {"tool": "Tool"},
            [
                Column("Calls", f"{calls} >= 0.5", decimals=0, bar=True),
                Column(
                    "Failed",
                    failure_rate(c.SKILL_RUN_INVOCATIONS, ("tool",), THIS),
                    unit=looks.SHARE,
                    decimals=1,
                    steps=looks.FAILURES,
                    width=80,
                ),
            ],
            label_width=150,
            none="there was no run",
            width=8,
            height=8,
        ),
        panels.leaders(
            "First tool after it",
            "What does the agent do first, once it has read the skill?",
            {"{{tool}}": top(8, total(c.SKILL_NEXT_TOOL, ("tool",), THIS))},
            width=8,
        ),
        panels.leaders(
            "Tokens of its runs",
            "What kind of tokens does the work after it use?",
            {"{{token_type}}": top(5, total(c.SKILL_RUN_TOKENS, ("token_type",), THIS))},
            unit=looks.LARGE,
            decimals=1,
            width=8,
        ),
    ]
