"""What goes wrong with tools: failures, retries, stuck invocations, exits of programs."""

from __future__ import annotations

from typing import Final

from boards import looks, panels, tables
from boards.queries import (
    pick,
    rate,
    share,
    total,
)
from boards.tables import Column
from opencode_exporter import catalog as c

TOOL: Final = ("tool",)
THESE: Final = 'tool=~"$tool"'
AGE: Final[looks.Steps] = {0: looks.CALM, 600: looks.FAIR, 1800: looks.WORST}
"""Seconds for which an invocation runs: ten minutes are long, half an hour is stuck."""


def age() -> str:
    """Return for how many seconds the oldest running invocation of each tool has run."""
    return f"time() - min by (tool) ({pick(c.TOOL_OLDEST_START, THESE)})"


def failures() -> list[panels.AnyPanel]:
    """Return the panels about failures, retries and invocations that do not end."""
    return [
        panels.lines(
            "Failures an hour by reason",
            "Why do invocations fail, and since when?",
            {"{{reason}}": f"3600 * {rate(c.TOOL_ERRORS, ('reason',), THESE)}"},
            unit=looks.PER_HOUR,
            stacked=True,
            interval=panels.RARE,
            width=7,
        ),
        tables.matrix(
            "Failures by tool and reason",
            "Which tool fails for which reason?",
            f"{total(c.TOOL_ERRORS, ('tool', 'reason'), THESE)} >= 0.5",
            ("tool", "Tool"),
            "reason",
            steps={0: "semi-dark-yellow", 10: "semi-dark-orange", 100: "semi-dark-red"},
            none="nothing failed",
            width=17,
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
            {"{{tool}}": f"sort_desc({age()})"},
            unit="s",
            steps=AGE,
            none="nothing is running",
            width=8,
        ),
    ]


def shell() -> list[panels.AnyPanel]:
    """Return the panels about the programs that the shell ran."""
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
